# Of the scripts that look at a disk and a CD-ROM drive, whatever they are reached by. Who takes it in says $word, with which its lines
# begin for the host, and has complaints(), which prints what the kernel does not like.
say() { echo "$word $*"; }
fail() { say "ERROR $*"; exit 1; }
fresh() { echo 3 >/proc/sys/vm/drop_caches; }

# The disc that is in sr0; and room for what is to be written.
look_at_disc() {
  mkdir -p /cd /new && mount -t tmpfs none /new || fail "no room"
  mount -t iso9660 -o ro /dev/sr0 /cd || fail "the disc cannot be mounted"
  say "disc $(md5sum </cd/content)"
  umount /cd
}

# Writes and reads the first 16 MiB of /dev/$1, and reads the disc, several at a time.
part=4
pass() {
  for i in 0 1 2 3; do dd if=/dev/urandom of=/new/$i bs=1M count=$part 2>/dev/null || fail urandom; done
  for i in 0 1 2 3; do dd if=/new/$i of=/dev/$1 bs=64k seek=$((i * part * 16)) conv=fsync,notrunc 2>/dev/null & done
  wait
  fresh
  for i in 0 1 2 3; do
    (dd if=/dev/$1 bs=64k skip=$((i * part * 16)) count=$((part * 16)) 2>/dev/null | cmp -s - /new/$i || say "ERROR part $i differs") &
  done
  dd if=/dev/sr0 of=/dev/null bs=64k count=100 2>/dev/null || fail "the disc cannot be read"
  wait
}

# Once; what is on the disk then is /new/all too. Or, where the command line has $2, for ever.
passes() {
  n=0
  while grep -q "$2" /proc/cmdline; do
    n=$((n + 1))
    pass "$1"
    complaints && fail "the kernel complains"
    say "round $n"
  done
  pass "$1"
  cat /new/0 /new/1 /new/2 /new/3 >/new/all
  say "written $(md5sum </new/all)"
}
