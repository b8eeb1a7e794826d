# Sleeps 10 seconds between two lines, for the host to measure. Being late now and then is a matter of a busy host, not
# of a wrong clock, so it is done again (up to three times) if the guest finds itself late. It starts no program but sleep
# between its looks at the clock: on a slow host those alone would make it late.
hundredths() { # of the guest's clock, into $now
  read -r now _ < /proc/uptime
  now=${now%.*}${now#*.}
  now=${now#0}
}
for attempt in 1 2 3; do
  hundredths; before=$now
  echo SKERRY-SLEEP-BEGIN
  sleep 10
  echo SKERRY-SLEEP-END
  hundredths; after=$now
  echo "attempt $attempt: $((after - before)) hundredths of a second by the guest's clock"
  [ $((after - before)) -gt 1007 ] || break
done
