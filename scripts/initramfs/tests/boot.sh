# Everything that tests/guest/boot asks of a guest, in one go.
status=0
for name in cpus clock sleep warnings; do
  sh "/tests/$name.sh" || status=1
done
exit $status
