# How many processors the guest sees, and what they are.
echo "cpus: $(grep -c '^processor' /proc/cpuinfo)"
echo "online: $(nproc)"
grep -m 1 '^model name' /proc/cpuinfo
echo "clocksource: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
