# The guest's idea of date and time, for the host to compare with its own.
echo "date: $(date -u '+%Y-%m-%d %H:%M:%S')"
echo "epoch: $(date +%s)"
echo "uptime: $(cut -d ' ' -f 1 /proc/uptime)"
