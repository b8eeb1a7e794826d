# Reads and writes a USB disk, reads a USB CD-ROM, looks at keyboard and tablet. Says lines "USB ..." that the host looks at.
word=USB
. /tests/media.sh

# They are looked for beside this; the host has its own idea of how long is too long.
until [ -b /dev/sda ] && [ -b /dev/sr0 ]; do sleep 1; done
for device in /sys/bus/usb/devices/*; do
  [ -f $device/product ] && say "device $(cat $device/speed) $(cat $device/manufacturer) $(cat $device/product)"
done
say "disk $(cat /sys/block/sda/device/model) sectors $(cat /sys/block/sda/size)"
say "drive $(cat /sys/block/sr0/device/model)"
grep -q usb.input /proc/cmdline && {
  until grep -q 'USB tablet' /proc/bus/input/devices && grep -q 'USB keyboard' /proc/bus/input/devices; do sleep 1; done
  grep -A 9 'USB keyboard\|USB tablet' /proc/bus/input/devices | grep 'N: \|B: EV\|B: ABS\|B: LED\|B: REL' | while read -r line; do say "input $line"; done
}
look_at_disc

complaints() { dmesg | grep -E 'xhci_hcd.*(WARN|ERROR|not respond|died)|reset SuperSpeed|reset full-speed|I/O error|Medium Error|uas|device descriptor read'; }

passes sda usb.rounds
# The driver goes, and comes back.
echo 0000:00:1e.0 >/sys/bus/pci/drivers/xhci_hcd/unbind || fail "cannot unbind"
until [ ! -b /dev/sda ]; do sleep 1; done
echo 0000:00:1e.0 >/sys/bus/pci/drivers/xhci_hcd/bind || fail "cannot bind"
until [ -b /dev/sda ]; do sleep 1; done
dd if=/dev/sda bs=1M count=16 2>/dev/null | cmp -s - /new/all || fail "the disk is another one"
complaints && fail "the kernel complains"
dmesg | grep -E 'xhci|usb' | tail -40
say "end"
