stress-ng --switch 2 --fork 2 --futex 2 --vm 1 --verify --timeout "$USERLAND_SECONDS" --metrics-brief
