# An idle minute, for the host to measure how much processor time an idle guest costs.
echo SKERRY-IDLE-BEGIN
sleep 60
echo SKERRY-IDLE-END
