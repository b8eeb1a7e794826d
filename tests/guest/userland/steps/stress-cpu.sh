stress-ng --cpu 2 --cpu-method all --verify --timeout "$USERLAND_SECONDS" --metrics-brief
