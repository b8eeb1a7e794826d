# The kernel's messages of level warning or worse: <N> is facility * 8 + level, the kernel's own facility is 0.
dmesg -r | grep -E '^<[0-4]>' || true
