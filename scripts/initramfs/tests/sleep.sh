# Sleeps 10 seconds between two lines, for the host to measure. Being late now and then is a matter of a busy host, not
# of a wrong clock, so it is done again (up to three times) if the guest finds itself late.
for attempt in 1 2 3; do
  before=$(cut -d ' ' -f 1 /proc/uptime | sed 's/\.//; s/^0*\(.\)/\1/')
  echo SKERRY-SLEEP-BEGIN
  sleep 10
  echo SKERRY-SLEEP-END
  after=$(cut -d ' ' -f 1 /proc/uptime | sed 's/\.//; s/^0*\(.\)/\1/')
  echo "attempt $attempt: $((after - before)) hundredths of a second by the guest's clock"
  [ $((after - before)) -gt 1007 ] || break
done
