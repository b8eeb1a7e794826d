# With dog.fed on the command line keeps Linux's i6300esb watchdog quiet for a while; then does not. Says lines "DOG ..." that the host looks at.
say() { echo "DOG $*"; }

[ -c /dev/watchdog ] || { say "ERROR there is none"; exit 1; }
say "expired-before $(cat /sys/class/watchdog/watchdog0/bootstatus)"
rmmod i6300esb
insmod "$(grep i6300esb /etc/modules)" "heartbeat=$(sed -n 's/.*dog.heartbeat=\([0-9]*\).*/\1/p' /proc/cmdline)"
say "found $(cat /sys/class/watchdog/watchdog0/identity) timeout $(cat /sys/class/watchdog/watchdog0/timeout)"
exec 3>/dev/watchdog
say "armed"
if grep -q dog.fed /proc/cmdline; then
  for i in 1 2 3 4 5 6; do
    sleep 1
    echo >&3
    say "fed $i"
  done
  echo V >&3
  exec 3>&-
  say "off"
  sleep 6
  exec 3>/dev/watchdog
fi
say "left alone"
sleep 1000
