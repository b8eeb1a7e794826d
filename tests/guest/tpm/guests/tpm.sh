# Uses a TPM 2.0 by raw commands. Says lines "TPM ..." that the host looks at. Words of the command line:
#   tpm.extends=N   so many extensions of PCR 23, one every fifth of a second; then the end
#   tpm.reset       a reset instead of the first end
say() { echo "TPM $*"; }
fail() { say "ERROR $*"; dmesg | grep -i -E 'tpm|MSFT0101' | sed 's/^/kernel: /'; exit 1; }
word() { sed -n "s/.*tpm\\.$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }

# The answer to a command, both in hexadecimal; nothing if the driver fails. Busybox's printf takes \xNN.
ask() {
  escaped=$(echo "$1" | sed 's/../\\x&/g')
  # shellcheck disable=SC2059
  (exec 3<>/dev/tpm0 && printf "$escaped" >&3 && dd bs=4096 count=1 <&3) 2>/dev/null | hexdump -v -e '1/1 "%02x"'
}
AUTH=00000009400000090000000000 # an empty password (TPM 2.0 Library, part 1, 19.4)
INDEX=01800001
good() { [ "$(echo "$1" | cut -c 13-20)" = 00000000 ]; }
random() { ask 80010000000c0000017b0010 | cut -c 25-; }
nv_define() { ask "80020000002d0000012a40000001${AUTH}0000000e${INDEX}000b0006000600000008"; }
nv_write() { ask "80020000002b00000137${INDEX}${INDEX}${AUTH}0008${1}0000"; }
nv_read() { ask "8002000000230000014e${INDEX}${INDEX}${AUTH}00080000"; }
extend() { ask "80020000004100000182000000170000000940000009000000000000000001000b$1"; }
pcr() { tr '[:upper:]' '[:lower:]' <"/sys/class/tpm/tpm0/pcr-sha256/$1"; }

[ -c /dev/tpm0 ] || fail "there is none"
say "version $(cat /sys/class/tpm/tpm0/tpm_version_major) driver $(basename "$(readlink -f /sys/class/tpm/tpm0/device/driver)")"
for index in 0 4 7 23; do say "pcr $index $(pcr $index)"; done
if [ -d /sys/kernel/security ] && mount -t securityfs none /sys/kernel/security && [ -f /sys/kernel/security/tpm0/binary_bios_measurements ]; then
  say "log $(wc -c </sys/kernel/security/tpm0/binary_bios_measurements)"
fi
say "random $(random) $(random)"
if dmesg | grep -q 'tpm_crb.*Disabling hwrng'; then # as Linux does on AMD's processors, whatever TPM it is
  say "hwrng none"
else
  echo tpm-rng-0 >/sys/class/misc/hw_random/rng_current || fail "there are $(cat /sys/class/misc/hw_random/rng_available)"
  say "hwrng $(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | hexdump -v -e '1/1 "%02x"')"
fi

answer=$(nv_read)
if good "$answer"; then
  say "kept $(echo "$answer" | cut -c 33-48)"
else
  value=$(random | cut -c 1-16)
  good "$(nv_define)" && good "$(nv_write "$value")" || fail "cannot write to NV memory"
  say "keeps $value"
fi

i=0
while [ $i -lt "$(word extends)" ]; do
  digest=$(random)$(random)
  answer=$(extend "$digest")
  if [ -z "$answer" ]; then
    say "no answer"
    [ -n "$(random)" ] && fail "an answer after none"
    sleep 1
    say "alive"
    sleep 1000
  fi
  good "$answer" || fail "extend: $answer"
  say "extended $digest $(pcr 23)"
  sleep 0.2
  i=$((i + 1))
done
if grep -q 'tpm\.reset' /proc/cmdline && [ -n "$value" ]; then
  say "resets"
  sleep 1
  reboot -f
  sleep 1000
fi
say "end"
