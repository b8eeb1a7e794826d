# Draws to the frame buffer of a virtio GPU, and tells what comes from a virtio keyboard and a tablet. Says lines "GPU ..." that
# the host looks at. A key says what to do: 1 and 2 draw pictures, e ends.
say() { echo "GPU $*"; }
fail() { say "ERROR $*"; exit 1; }

connector=/sys/class/drm/card0-Virtual-1
until [ -c /dev/fb0 ] && [ -f $connector/modes ]; do sleep 1; done
say "frame buffer $(cat /sys/class/graphics/fb0/virtual_size) $(cat /sys/class/graphics/fb0/bits_per_pixel) $(cat /sys/class/graphics/fb0/stride)"
mode() { head -n 1 $connector/modes; }
say "mode $(mode)"
say "name $(tail -c +78 $connector/edid | head -c 6)"
width=$(cut -d, -f1 /sys/class/graphics/fb0/virtual_size) height=$(cut -d, -f2 /sys/class/graphics/fb0/virtual_size)
band=$((width * 4 * height / 8))

mkdir -p /new && mount -t tmpfs none /new || fail "no room"
# colour BLUE GREEN RED: a band of it. fill BAND FILE: into the frame buffer.
colour() {
  printf "\\x$1\\x$2\\x$3\\x00" >/new/a
  while [ "$(stat -c %s /new/a)" -lt $band ]; do cat /new/a /new/a >/new/b && mv /new/b /new/a; done
}
fill() { dd if="$2" of=/dev/fb0 bs=$band seek="$1" count=1 conv=notrunc 2>/dev/null || fail "cannot draw band $1"; }
draw() {
  n=0
  for shade in "00 00 ff" "00 ff 00" "ff 00 00" "$1 22 33" "11 $1 33" "11 22 $1" "ff ff ff"; do
    # shellcheck disable=SC2086  # three words
    colour $shade
    fill $n /new/a
    n=$((n + 1))
  done
  fill 7 /bin/busybox
  say "drawn $1"
}

# What /proc/bus/input/devices calls so.
device_of() { grep -A 4 "Name=\"$1\"" /proc/bus/input/devices | grep Handlers | tr ' ' '\n' | grep event; }
until [ -n "$(device_of 'Skerry virtio keyboard')" ] && [ -n "$(device_of 'Skerry virtio tablet')" ]; do sleep 1; done
grep -A 9 'Skerry virtio' /proc/bus/input/devices | grep 'N: \|B: EV\|B: ABS\|B: LED\|B: REL' | while read -r line; do say "input $line"; done

# One event of descriptor 3, as type, code and value: struct input_event has the time before them.
next_event() {
  # shellcheck disable=SC2046  # many words
  set -- $(dd bs=24 count=1 <&3 2>/dev/null | od -An -v -tu2)
  [ $# = 12 ] || fail "an event has $# words"
  type=$9 code=${10} value=${11}
}
tell_tablet() {
  exec 3</dev/input/"$(device_of 'Skerry virtio tablet')"
  say "tablet open"
  while next_event; do [ "$type" = 0 ] || say "tablet $type $code $value"; done
}
tell_modes() {
  last=$(mode)
  while sleep 1; do [ "$(mode)" = "$last" ] || { last=$(mode) && say "now $last"; }; done
}
tell_tablet &
tell_modes &
exec 3</dev/input/"$(device_of 'Skerry virtio keyboard')"
say "keyboard open"
while next_event; do
  [ "$type" = 1 ] && [ "$value" != 2 ] && say "keyboard $code $value"
  case "$type $code $value" in
    "1 2 0") draw 40 ;;
    "1 3 0") draw d0 ;;
    "1 18 0") break ;;
  esac
done
dmesg | grep -iE '(drm|virtio|gpu).*(error|fail|timeout|response 0x12)' | grep -v 'failed to find\|features:' && fail "the kernel complains"
say "end"
