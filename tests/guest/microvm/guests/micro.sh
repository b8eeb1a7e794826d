# Uses all devices of a microvm, and says lines "MICRO ..." that the host looks at.
say() { echo "MICRO $*"; }
fail() { say "ERROR $*"; exit 1; }
word() { sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }

for place in /sys/bus/virtio/devices/*; do
  driver=$(readlink "$place/driver")
  say "device $(($(cat "$place/device"))) ${driver##*/}"
done

if grep -q micro.rounds /proc/cmdline; then
  n=0
  while :; do
    n=$((n + 1))
    dd if=/dev/urandom of=/tmp/new bs=64k count=16 2>/dev/null
    dd if=/tmp/new of=/dev/vdb bs=64k oflag=direct 2>/dev/null || fail "a write ends with an error"
    [ "$(dd if=/dev/vdb bs=64k count=16 iflag=direct 2>/dev/null | md5sum)" = "$(md5sum </tmp/new)" ] || fail "not what was written"
    dd if=/dev/hwrng of=/dev/null bs=64 count=1 2>/dev/null || fail "no random bytes"
    say "round $n $(dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum)"
  done
fi

say "cpus $(grep -c ^processor /proc/cpuinfo)"
say "time $(date +%s)"
say "clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
say "pci $(find /sys/bus/pci/devices -mindepth 1 2>/dev/null | wc -l)"
say "rtc $(find /sys/class/rtc -mindepth 1 2>/dev/null | wc -l)"
say "pins $(grep -c 'IO-APIC.*virtio' /proc/interrupts)"
say "events $(grep -c 'IO-APIC.*ACPI:Ged' /proc/interrupts)"

say "read $(dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum)"
dd if=/dev/urandom of=/tmp/new bs=64k count=16 2>/dev/null
dd if=/tmp/new of=/dev/vdb bs=64k oflag=direct 2>/dev/null || fail "a write ends with an error"
say "wrote $(md5sum </tmp/new)"
[ -n "$(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | tr -d '\0')" ] || fail "no random bytes"

ip link set lo up
ip link set eth0 up || fail "no network card"
cat >/tmp/dhcp <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
END
chmod +x /tmp/dhcp
udhcpc -i eth0 -n -q -s /tmp/dhcp >/dev/null 2>&1 || fail "no DHCP"
say "got $(nc 10.0.2.2 "$(word micro.source)" </dev/null | md5sum)"

for port in /sys/class/virtio-ports/*/name; do
  say "port $(cat "$port")"
  place=${port%/name} line=
  # While nobody is connected at the other end there is nothing to be read. It stays open: what comes just before it is
  # closed, Linux throws away.
  until [ -n "$line" ]; do read -r line || sleep 1; done <"/dev/${place##*/}"
  say "heard $line"
done

# A driver that lets go of its device and takes it again: reset, and queues anew.
for place in /sys/bus/virtio/drivers/virtio_blk/virtio*; do
  name=${place##*/}
  echo "$name" >/sys/bus/virtio/drivers/virtio_blk/unbind
  echo "$name" >/sys/bus/virtio/drivers/virtio_blk/bind
done
disk=$(find /sys/block -name 'vd*' | sort | head -n 1)
say "again $(dd "if=/dev/${disk##*/}" bs=64k iflag=direct 2>/dev/null | md5sum)"

case $(word micro.end) in
  button)
    say "waits for the button"
    dd if=/dev/input/event0 of=/dev/null bs=24 count=1 2>/dev/null || fail "no button"
    say "pressed"
    ;;
  reset)
    say "resets"
    reboot -f
    sleep 60
    ;;
esac
dmesg | grep -E 'BUG:|WARNING:|ACPI Error|ACPI Warning|virtio.*(fail|error)' && fail "the kernel complains"
say "end"
