# Tells what comes from the keyboard and the tablet, by lines "VIEWER ..." that the host looks at: evdev's type, code and value. Ends with
# the key Delete.
say() { echo "VIEWER $*"; }
fail() { say "ERROR $*"; exit 1; }

# What /proc/bus/input/devices calls so.
device_of() { grep -A 4 "Name=\"Skerry .* $1\"" /proc/bus/input/devices | grep Handlers | tr ' ' '\n' | grep event; }
# The events that descriptor 3 has: each is the time, and then a type, a
# code and a value. Not told: where a report ends, scan codes, and what the kernel repeats.
tell_some() {
  device=$1
  # shellcheck disable=SC2046  # many words
  set -- $(dd bs=1536 count=1 <&3 2>/dev/null | od -An -v -tu2)
  [ $# -ge 12 ] || fail "an event of $device has $# words"
  while [ $# -ge 12 ]; do
    case "$9 ${11}" in
      "0 0") [ "${10}" = 3 ] && fail "events of the $device were lost" ;;
      0\ * | 4\ * | 1\ 2) ;;
      *) say "$device $9 ${10} ${11}" ;;
    esac
    [ "$device $9 ${10} ${11}" = "keyboard 1 111 0" ] && ended=1
    shift 12
  done
}
tell() {
  exec 3<"/dev/input/$(device_of "$1")"
  say "$1 open"
  until [ -n "$ended" ]; do tell_some "$1"; done
}
ended=

until [ -n "$(device_of keyboard)" ] && [ -n "$(device_of tablet)" ]; do sleep 1; done
tell tablet &
tell keyboard
say "end"
