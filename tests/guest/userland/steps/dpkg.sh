# Every file of every package against the package's sums
dpkg -V && echo all packages are as they were packed
