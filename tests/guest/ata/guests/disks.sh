# Reads and writes sda, reads sr0, several at a time. Says lines "ATA ..." that the host looks at.
word=ATA
. /tests/media.sh

# They are looked for beside this; the host has its own idea of how long is too long.
until [ -b /dev/sda ] && [ -b /dev/sr0 ]; do sleep 1; done
say "disk $(cat /sys/block/sda/device/model) queue $(cat /sys/block/sda/device/queue_depth) sectors $(cat /sys/block/sda/size)"
say "drive $(cat /sys/block/sr0/device/model)"
look_at_disc

complaints() { dmesg | grep -E 'ata[0-9.]+: (exception|failed|error|hard resetting|softreset)|I/O error|Medium Error'; }

passes sda ata.rounds
dd if=/dev/zero of=/dev/sda bs=1M seek=40 count=8 conv=fsync,notrunc 2>/dev/null
blkdiscard -o $((40 << 20)) -l $((8 << 20)) /dev/sda || fail "cannot discard"
complaints && fail "the kernel complains"
say "end"
