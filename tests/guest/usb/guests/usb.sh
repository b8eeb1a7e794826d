# Reads and writes a USB disk, reads a USB CD-ROM, looks at keyboard and tablet. Says lines "USB ..." that the host looks at.
say() { echo "USB $*"; }
fail() { say "ERROR $*"; exit 1; }
fresh() { echo 3 >/proc/sys/vm/drop_caches; }

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
mkdir -p /cd /new && mount -t tmpfs none /new || fail "no room"
mount -t iso9660 -o ro /dev/sr0 /cd || fail "the disc cannot be mounted"
say "disc $(md5sum </cd/content)"
umount /cd

part=4
pass() {
  for i in 0 1 2 3; do dd if=/dev/urandom of=/new/$i bs=1M count=$part 2>/dev/null || fail urandom; done
  for i in 0 1 2 3; do dd if=/new/$i of=/dev/sda bs=64k seek=$((i * part * 16)) conv=fsync,notrunc 2>/dev/null & done
  wait
  fresh
  for i in 0 1 2 3; do
    (dd if=/dev/sda bs=64k skip=$((i * part * 16)) count=$((part * 16)) 2>/dev/null | cmp -s - /new/$i || say "ERROR part $i differs") &
  done
  dd if=/dev/sr0 of=/dev/null bs=64k count=100 2>/dev/null || fail "the disc cannot be read"
  wait
}
complaints() { dmesg | grep -E 'xhci_hcd.*(WARN|ERROR|not respond|died)|reset SuperSpeed|reset full-speed|I/O error|Medium Error|uas|device descriptor read'; }

if grep -q usb.rounds /proc/cmdline; then
  n=0
  while :; do
    n=$((n + 1))
    pass
    complaints && fail "the kernel complains"
    say "round $n"
  done
fi
pass
cat /new/0 /new/1 /new/2 /new/3 >/new/all
say "written $(md5sum </new/all)"
# The driver goes, and comes back.
echo 0000:00:1e.0 >/sys/bus/pci/drivers/xhci_hcd/unbind || fail "cannot unbind"
until [ ! -b /dev/sda ]; do sleep 1; done
echo 0000:00:1e.0 >/sys/bus/pci/drivers/xhci_hcd/bind || fail "cannot bind"
until [ -b /dev/sda ]; do sleep 1; done
dd if=/dev/sda bs=1M count=16 2>/dev/null | cmp -s - /new/all || fail "the disk is another one"
complaints && fail "the kernel complains"
dmesg | grep -E 'xhci|usb' | tail -40
say "end"
