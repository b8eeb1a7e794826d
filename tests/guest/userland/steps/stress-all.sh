stress-ng --cpu 2 --cpu-method all --vm 1 --vm-bytes 256M --mmap 1 --mmap-bytes 128M --fork 1 --signal 1 --futex 1 --switch 1 --verify --timeout "$USERLAND_SECONDS" --metrics-brief
