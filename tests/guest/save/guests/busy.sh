# Keeps a guest busy for ever, and says so by lines that must come one after the other without a gap:
#   BUSY number uptime seconds-of-the-real-time-clock uptime      (the uptimes, before and after, in 1/100 s)
# Anything that is not as it should be is a line BUSY-ERROR.
dd if=/dev/urandom of=/tmp/ballast bs=64k count=96 2>/dev/null
sum=$(md5sum </tmp/ballast)

worker() {
  while :; do
    cp /tmp/ballast "/tmp/copy$1"
    [ "$(md5sum <"/tmp/copy$1")" = "$sum" ] || echo "BUSY-ERROR worker $1: its memory has changed"
    # Processes, pipes, signals, files that come and go
    seq 1 300 | sort -r | sort -n | tail -n 1 | grep -qx 300 || echo "BUSY-ERROR worker $1: sort"
    rm "/tmp/copy$1"
  done
}

# Sleeps that must not end early, by the clock that the guest has.
sleeper() {
  while :; do
    read -r before _ </proc/uptime
    usleep 100000
    read -r after _ </proc/uptime
    [ $((${after%.*}${after#*.} - ${before%.*}${before#*.})) -ge 9 ] || echo "BUSY-ERROR sleep: from $before to $after"
  done
}

worker 1 &
worker 2 &
sleeper &
last=0 count=0 messages=0 rtc=0
while :; do
  read -r before _ </proc/uptime
  if [ -f /sys/class/rtc/rtc0/since_epoch ]; then read -r rtc </sys/class/rtc/rtc0/since_epoch; fi
  read -r after _ </proc/uptime
  before=${before%.*}${before#*.} after=${after%.*}${after#*.}
  [ "$before" -ge "$last" ] && [ "$after" -ge "$before" ] || echo "BUSY-ERROR uptime went from $last to $before to $after"
  last=$after count=$((count + 1))
  echo "BUSY $count $before $rtc $after"
  if [ $((count % 8)) = 0 ]; then
    # Kernel warnings and worse, each once, but for advice about the processor's model.
    dmesg | grep -E 'detected stall|lockup|hung_task|blocked for more|nstable|skew|BUG:|WARNING:|Oops|Call Trace' |
      grep -v 'WARNING: See https' >/tmp/bad
    bad=$(wc -l </tmp/bad)
    [ "$bad" = "$messages" ] || sed 's/^/BUSY-ERROR kernel: /' /tmp/bad
    messages=$bad
  fi
  usleep 100000
done
