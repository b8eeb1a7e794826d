# Reads, writes, discards and zeroes a SCSI disk, reads a SCSI CD-ROM. Says lines "SCSI ..." that the host looks at.
word=SCSI
. /tests/media.sh

# The disk that is target $1, by the name that the kernel has given it: it looks at several at a time.
disk_of() { ls /sys/bus/scsi/devices/*:0:$1:0/block 2>/dev/null; }
# They are looked for beside this; the host has its own idea of how long is too long.
wait_for_disk() { until disk=$(disk_of 0) && [ -n "$disk" ] && [ -b /dev/$disk ]; do sleep 1; done; }
wait_for_disk
until [ -b /dev/sr0 ]; do sleep 1; done
for device in /sys/bus/scsi/devices/[0-9]*; do
  say "unit $(basename $device | cut -d: -f2-) $(cat $device/vendor) $(cat $device/model)"
done
say "disk queue $(cat /sys/block/$disk/device/queue_depth) cache $(cat /sys/block/$disk/device/scsi_disk/*/cache_type) provisioning $(cat /sys/block/$disk/device/scsi_disk/*/provisioning_mode) sectors $(cat /sys/block/$disk/size)"
say "serial $(tail -c +5 /sys/block/$disk/device/vpd_pg80)"
look_at_disc

complaints() { dmesg | grep -E 'sd [0-9].*(timing out|FAILED|Sense Key)|I/O error|Medium Error|virtio_scsi.*(fail|error)'; }

passes $disk scsi.rounds
# The driver goes, and comes back.
driver=$(ls -d /sys/bus/virtio/drivers/virtio_scsi/virtio*)
echo $(basename $driver) >/sys/bus/virtio/drivers/virtio_scsi/unbind || fail "cannot unbind"
until [ -z "$(disk_of 0)" ]; do sleep 1; done
echo $(basename $driver) >/sys/bus/virtio/drivers/virtio_scsi/bind || fail "cannot bind"
wait_for_disk
dd if=/dev/$disk bs=1M count=16 2>/dev/null | cmp -s - /new/all || fail "the disk is another one"
# Resets of the unit beside reading: what is aborted is done again.
(while [ ! -f /new/enough ]; do dd if=/dev/$disk of=/dev/null bs=64k count=128 iflag=direct 2>/dev/null || say "ERROR cannot read beside a reset"; done) &
for i in 1 2 3 4 5; do scsi /dev/$disk reset || fail "cannot reset"; sleep 0.2; done
touch /new/enough
wait
complaints && fail "the kernel complains"
say "unknown $(scsi /dev/$disk unknown)"
# What follows is zeroed, which reads as zeroes, and discarded; the host looks at both.
scsi /dev/$disk zero 16777216 8388608 || fail "cannot zero"
fresh
dd if=/dev/$disk bs=1M skip=16 count=8 2>/dev/null | tr -d '\000' | grep -q . && fail "zeroes are none"
blkdiscard -o 33554432 -l 16777216 /dev/$disk || fail "cannot discard"
# Read-only, as the host has it.
until closed=$(disk_of 1) && [ -b "/dev/$closed" ]; do sleep 1; done
[ "$(cat /sys/block/$closed/ro)" = 1 ] || fail "the second disk can be written to"
dd if=/dev/urandom of=/dev/$closed bs=4k count=1 conv=fsync 2>/dev/null && fail "the second disk has been written to"
complaints && fail "the kernel complains"
dmesg | grep -E 'scsi|sd |sr ' | tail -40
say "end"
