# The sound card as Linux finds it; then plays and records numbered frames. Says lines "SND ..." that the host looks at.
say() { echo "SND $*"; }

word() { sed -n "s/.*snd\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
find_card() {
  tries=0
  until [ -e /dev/snd/pcmC0D0p ]; do
    tries=$((tries + 1))
    [ $tries -le 40 ] || { say "ERROR there is no card: $(cat /proc/asound/cards)"; exit 1; }
    sleep 0.5
  done
}
driver=$(grep snd-hda-intel /etc/modules)

find_card
say "card $(sed -n 's/.*: //p' /proc/asound/cards | head -n 1)"
say "codec $(sed -n 's/^Codec: //p' '/proc/asound/card0/codec#0')"
say "pcm $(cat /proc/asound/pcm)"
for kind in $(word interrupts | tr , ' '); do
  rmmod snd_hda_intel
  insmod "$driver" "enable_msi=$kind"
  find_card
  /tests/sound mixer
  for format in $(word formats | tr , ' '); do
    IFS=- read -r what bits rate milliseconds <<FORMAT
$format
FORMAT
    /tests/sound "$what" "$what$kind-$bits-$rate" "$bits" "$rate" "$milliseconds" || exit 1
  done
  say "interrupts $kind $(grep snd_hda_intel /proc/interrupts | sed 's/.*\(PCI-MSI\|IO-APIC\).*/\1/')"
done
# What the driver says on a guest that is slow is left out.
dmesg | grep 'snd_hda_intel 0000' | grep -v 'IRQ timing' | while read -r line; do say "complaint $line"; done
say "end"
