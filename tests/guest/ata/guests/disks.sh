# Reads and writes sda, reads sr0, several at a time. Says lines "ATA ..." that the host looks at.
say() { echo "ATA $*"; }
fail() { say "ERROR $*"; exit 1; }
fresh() { echo 3 >/proc/sys/vm/drop_caches; }

# They are looked for beside this; the host has its own idea of how long is too long.
until [ -b /dev/sda ] && [ -b /dev/sr0 ]; do sleep 1; done
say "disk $(cat /sys/block/sda/device/model) queue $(cat /sys/block/sda/device/queue_depth) sectors $(cat /sys/block/sda/size)"
say "drive $(cat /sys/block/sr0/device/model)"
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

if grep -q ata.rounds /proc/cmdline; then
  n=0
  while :; do
    n=$((n + 1))
    pass
    say "round $n"
  done
fi
pass
cat /new/0 /new/1 /new/2 /new/3 >/new/all
say "written $(md5sum </new/all)"
dd if=/dev/zero of=/dev/sda bs=1M seek=40 count=8 conv=fsync,notrunc 2>/dev/null
blkdiscard -o $((40 << 20)) -l $((8 << 20)) /dev/sda || fail "cannot discard"
dmesg | grep -E 'ata[0-9.]+: (exception|failed|error|hard resetting|softreset)|I/O error|Medium Error' && fail "the kernel complains"
say "end"
