# Uses shared folders as programs do, as the words "share.WORD" of the command line say. Says lines "SHARE ..." that the host looks at.
say() { echo "SHARE $*"; }
fail() { say "ERROR $*"; exit 1; }
must() { "$@" >/tmp/said 2>&1 || fail "cannot: $* ($(tail -n 1 /tmp/said))"; }
must_not() { "$@" >/tmp/said 2>&1 && fail "should not be possible: $*"; }
fresh() { echo 3 >/proc/sys/vm/drop_caches; }
asked() { grep -q "share\.$1" /proc/cmdline; }
owner() { stat -c %u:%g "$1"; }

mkdir -p /mnt
must mount -t virtiofs folder /mnt

if asked work; then
  say "host $(md5sum </mnt/from-host)"
  must dd if=/dev/urandom of=/mnt/from-guest bs=1M count=24
  fresh
  say "guest $(md5sum </mnt/from-guest)"
  must dd if=/dev/zero of=/mnt/from-guest bs=3333 count=1 seek=100 conv=notrunc
  fresh
  say "changed $(md5sum </mnt/from-guest)"

  must mkdir /mnt/made
  cd /mnt/made || fail "cannot enter a folder"
  echo one >a
  must mv a b
  must ln b hard
  must ln -s b soft
  [ "$(cat soft)" = one ] || fail "a link in the folder leads elsewhere"
  [ "$(stat -c %h b)" = 2 ] || fail "the second name is not counted"
  must chmod 600 b
  must touch -d '2001-02-03 04:05:06' b
  must truncate -s 1000 b
  must mkfifo fifo
  { echo through >fifo & } && [ "$(cat fifo)" = through ] || fail "a FIFO passes nothing on"
  must_not mknod disk b 8 0
  must_not mknod null c 1 3
  must_not rmdir /mnt/made
  must cp b replaced
  must mv b replaced
  [ -e b ] && fail "a file has two names after a move"
  exec 3>deleted 4<deleted && rm deleted && echo "still there" >&3
  [ "$(cat <&4)" = "still there" ] || fail "a file that is open is lost with its name"
  exec 3>&- 4<&-

  # Two that append to one file lose nothing of each other's.
  for who in x y; do (for i in $(seq 200); do echo $who$i >>log; done) & done
  wait
  [ "$(sort -u log | wc -l)" = 400 ] || fail "appended lines are lost"

  # As programs that keep many files do.
  must mkdir tree
  for i in $(seq 20); do mkdir tree/$i && for j in $(seq 20); do echo "$i $j" >tree/$i/$j; done; done
  must cp -r tree copy
  fresh
  must diff -r tree copy
  [ "$(find copy -type f | wc -l)" = 400 ] || fail "files are lost: $(find copy -type f | wc -l)"
  must tar cf tree.tar tree
  must rm -r copy
  [ -e copy ] && fail "a tree is still there"

  # Pages of a file: a program that runs from the folder, and a mapping that is written to.
  must cp /bin/busybox busybox
  fresh
  [ "$(./busybox echo runs)" = runs ] || fail "a program of the folder does not run"
  say "mapping $(/tests/mapping mapped)"

  # Links that the host has made lead where they say in the guest, not on the host.
  must_not cat /mnt/to-canary
  must_not ls /mnt/to-outside/canary
  [ -e /mnt/to-root/init ] || fail "a link to / does not lead to the guest's"
  [ "$(stat -c %i /mnt/..)" = "$(stat -c %i /)" ] || fail "the folder above is not the guest's"

  sync
  cd /
  must umount /mnt
  must mount -t virtiofs folder /mnt
  say "again $(md5sum </mnt/from-guest)"
fi

if asked readonly; then
  say "content $(cat /mnt/file)"
  must_not touch /mnt/new
  must_not rm /mnt/file
  must_not sh -c 'echo more >>/mnt/file'
  must_not chmod 777 /mnt/file
  must_not mv /mnt/file /mnt/other
  mkdir -p /other
  must mount -t virtiofs 'other folder' /other
  must touch /other/new
fi

if asked user; then
  say "mine $(owner /mnt/mine) roots $(owner /mnt/roots) folder $(owner /mnt)"
  echo new >/mnt/new
  must chmod 4755 /mnt/new
  say "new $(owner /mnt/new) $(stat -c %a /mnt/new)"
  must_not chown 5 /mnt/new
  must chown 0:0 /mnt/new
  must_not sh -c 'echo more >>/mnt/roots'
  must_not chmod 777 /mnt/roots
  must_not cat /mnt/secret
fi

if asked root; then
  echo 'joe:x:1000:1000:joe:/:/bin/sh' >>/etc/passwd
  echo 'joe:x:1000:' >>/etc/group
  say "somebodys $(owner /mnt/somebodys)"
  must su joe -c 'echo hello >/mnt/joes; mkdir /mnt/joes-folder; ln -s x /mnt/joes-link'
  say "joes $(owner /mnt/joes)"
  must_not su joe -c 'echo more >>/mnt/somebodys'
  must chown 1000:1000 /mnt/somebodys
  must su joe -c 'echo more >>/mnt/somebodys'
fi

if asked killed; then
  n=0
  while dd if=/dev/zero of=/mnt/file bs=64k count=4 2>/dev/null && cat /mnt/file >/dev/null 2>&1; do
    n=$((n + 1))
    [ $n = 5 ] && say busy
  done
  must_not ls /mnt/.
  must_not cat /mnt/file
  say "error $(cat /tmp/said)"
  say "alive $((6 * 7))"
fi

if asked few; then
  n=0
  for i in $(seq 400); do cat /mnt/$i >/dev/null 2>/tmp/said && n=$((n + 1)); done
  say "few $n $(cat /tmp/said)"
  echo 2 >/proc/sys/vm/drop_caches
  say "again $(cat /mnt/400)"
fi

if asked idle; then
  say idle
  until [ -e /mnt/go-on ]; do sleep 1; done
fi
say end
