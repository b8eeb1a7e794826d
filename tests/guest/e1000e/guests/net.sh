# Uses the card eth0 of Linux's driver e1000e against the host: 10.0.2.2, ports of the kernel's command line. Says lines
# "NIC ..." that the host looks at.
say() { echo "NIC $*"; }
fail() { say "ERROR $*"; exit 1; }
word() { sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }

sink=$(word nic.sink) source=$(word nic.source) size=$(word nic.size)
module=$(grep e1000e /etc/modules)
mkdir -p /new && mount -t tmpfs none /new || fail "no room"
cat >/new/dhcp <<'END'
#!/bin/sh
case $1 in
  bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/$mask" dev "$interface"
    ip route add default via "$router"
    ;;
esac
END
chmod +x /new/dhcp
ip link set lo up
dd if=/dev/urandom of=/new/content bs=64k count=96 2>/dev/null

up() {
  ip link set eth0 up || fail "eth0 does not come up"
  until [ "$(cat /sys/class/net/eth0/carrier 2>/dev/null)" = 1 ]; do sleep 1; done
  udhcpc -i eth0 -n -q -s /new/dhcp >/dev/null 2>&1 || fail "no DHCP"
  say "$1 address $(ip -4 addr show eth0 | sed -n 's/.*inet \([^ ]*\).*/\1/p')"
}
# Both ways; false if a connection ended early, or nothing more comes: of a restored VM's connection that only waits to be sent
# something, nobody tells it that it is gone. What the host has got and given is its own affair.
transfer() {
  [ "$(timeout 30 nc 10.0.2.2 "$sink" </new/content)" = all ] || return 1
  timeout 30 nc 10.0.2.2 "$source" </dev/null >/new/got || return 1
  [ "$(wc -c </new/got)" = "$size" ] || return 1
  say "$1 sent $(md5sum </new/content)"
  say "$1 got $(md5sum </new/got)"
}

if grep -q nic.rounds /proc/cmdline; then
  up begin
  n=0
  while :; do
    n=$((n + 1))
    # A restored VM's connections are gone, and so are those that were under way.
    if transfer "round$n"; then say "round $n"; else say "broken $n"; fi
  done
fi

nic=/tests/nic
for mode in 2 1 0; do # MSI-X, MSI, INTx
  rmmod e1000e
  insmod "$module" "IntMode=$mode" || fail "the driver does not load with IntMode=$mode"
  [ -d /sys/class/net/eth0 ] || fail "the driver finds no card"
  up "mode$mode"
  say "interrupts $mode $(grep eth0 /proc/interrupts | sed 's/.*\(PCI-MSI\|IO-APIC\).*/\1/' | tr '\n' ' ')"
  transfer "mode$mode" || fail "mode $mode"
done
for tso in on off; do
  $nic eth0 tso $tso
  before=$($nic eth0 stat tx_tcp_seg_good)
  transfer "tso-$tso" || fail "tso $tso"
  say "segmented $tso $(($($nic eth0 stat tx_tcp_seg_good) - before))"
done
$nic eth0 tx off
$nic eth0 rx off
transfer "checksums-off" || fail "without checksums"
$nic eth0 tx on
$nic eth0 rx on
for mtu in 9000 700 1500; do
  ip link set eth0 mtu $mtu || fail "mtu $mtu"
  until [ "$(cat /sys/class/net/eth0/carrier 2>/dev/null)" = 1 ]; do sleep 1; done
  ip route show | grep -q default || ip route add default via 10.0.2.2
  transfer "mtu$mtu" || fail "mtu $mtu"
done
ping -c 3 -s 1400 10.0.2.2 >/dev/null || fail "ping"
say "errors $($nic eth0 stat rx_csum_offload_errors) $($nic eth0 stat tx_timeout_count) $($nic eth0 stat rx_errors) $($nic eth0 stat tx_errors)"
say "waits"
nc -l -p 5000 >/new/inward </dev/null || fail "nobody comes"
say "inward got $(md5sum </new/inward)"
dmesg | grep -E 'e1000e.*([Ee]rror|[Hh]ang|[Ff]ail|[Tt]imeout|[Uu]nable|[Ii]nvalid)|NETDEV WATCHDOG|BUG:|WARNING:' && fail "the kernel complains"
say "end"
