/* What busybox has no command for:
 *   scsi DISK zero OFFSET LENGTH   zeroes it without giving the space back, by the device's own means
 *   scsi DISK reset                resets the logical unit, as error recovery does
 *   scsi DISK unknown              gives a command that the disk does not know, and says what it says */
#include <fcntl.h>
#include <linux/fs.h>
#include <scsi/sg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static int zero(int fd, char** arguments) {
  uint64_t range[2] = {strtoull(arguments[0], 0, 0), strtoull(arguments[1], 0, 0)};
  return ioctl(fd, BLKZEROOUT, range);
}

static int reset(int fd) {
  int what = SG_SCSI_RESET_DEVICE;
  return ioctl(fd, SG_SCSI_RESET, &what);
}

static int unknown(int fd) {
  unsigned char command[6] = {0xc7}, sense[32] = {0};
  sg_io_hdr_t request = {.interface_id = 'S', .dxfer_direction = SG_DXFER_NONE, .cmd_len = sizeof command, .cmdp = command,
                         .mx_sb_len = sizeof sense, .sbp = sense, .timeout = 60000};
  if (ioctl(fd, SG_IO, &request)) return -1;
  printf("status %d key %d code %02x\n", request.status, sense[2] & 15, sense[12]);
  return 0;
}

int main(int count, char** arguments) {
  if (count < 3) return 2;
  int fd = open(arguments[1], O_RDWR), failed = 1;
  if (fd < 0) return perror(arguments[1]), 1;
  if (!strcmp(arguments[2], "zero") && count == 5) failed = zero(fd, arguments + 3);
  if (!strcmp(arguments[2], "reset")) failed = reset(fd);
  if (!strcmp(arguments[2], "unknown")) failed = unknown(fd);
  if (failed) perror(arguments[2]);
  return failed != 0;
}
