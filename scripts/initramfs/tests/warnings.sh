# Shows what the kernel warned of: "warn:" before lines of level warning or worse, which a healthy guest may have, and
# "BAD:" before those that mean a broken machine. Status 1 if there are any of the latter.
bad='WARNING:|BUG:|Call Trace|soft lockup|rcu.*stall|unstable|Oops|general protection|clocksource.*skewed'
# Advice about the processor's speculation flaws is about the host's model, and it says WARNING too.
advice='(RETBleed|Spectre V[0-9].*|MDS.*|TAA.*|MMIO Stale Data.*|Speculative Return Stack Overflow.*) ?: WARNING:'

dmesg -r >/tmp/dmesg
grep -E "$bad" /tmp/dmesg | grep -vE "$advice" >/tmp/bad
# <N> is facility * 8 + level; the kernel's own facility is 0, and level 4 is KERN_WARNING
grep -E '^<[0-4]>' /tmp/dmesg | grep -vE "$bad" | sed 's/^<.>/warn: /'
sed 's/^<[0-9]*>/BAD: /' /tmp/bad
echo "kernel messages: $(wc -l </tmp/dmesg), bad: $(wc -l </tmp/bad)"
[ ! -s /tmp/bad ]
