// SPDX-License-Identifier: Apache-2.0
// Writes records to /dev/vda from four threads, and says on standard output which of them are flushed: "flushed THREAD
// NUMBER" means that all records of this thread up to that number are. run knows where they belong.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { THREADS = 4, BLOCK = 4096 };

struct stamp {
  uint64_t magic, thread, number, check;
};

static uint64_t blocks;  // of each thread, a power of two

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void *work(void *argument) {
  const uint64_t thread = (uintptr_t)argument;
  // Two of them past the guest's page cache, two through it: then fdatasync() is what writes.
  const int fd = open("/dev/vda", O_RDWR | (thread % 2 ? O_DIRECT : 0));
  if (fd < 0) die("/dev/vda");
  struct stamp *block = NULL;
  if (posix_memalign((void **)&block, BLOCK, BLOCK)) die("memory");
  unsigned seed = (unsigned)thread + 1;
  for (uint64_t number = 1;;) {
    for (int left = 1 + rand_r(&seed) % 8; left > 0; --left, ++number) {
      for (unsigned i = 0; i < BLOCK / sizeof *block; ++i)
        block[i] = (struct stamp){0x796c697373656b61, thread, number, ~(thread << 56 ^ number)};
      const uint64_t place = thread * blocks + number * 40503 % blocks;
      if (pwrite(fd, block, BLOCK, (off_t)(place * BLOCK)) != BLOCK) die("write");
    }
    if (fdatasync(fd)) die("flush");
    char line[64];
    const int length = snprintf(line, sizeof line, "flushed %d %llu\n", (int)thread, (unsigned long long)(number - 1));
    if (write(STDOUT_FILENO, line, (size_t)length) != length) die("console");
  }
  return NULL;
}

int main(void) {
  const int fd = open("/dev/vda", O_RDONLY);
  uint64_t size = 0;
  if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size)) die("/dev/vda");
  blocks = size / BLOCK / THREADS;
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; ++i)
    if (pthread_create(&threads[i], NULL, work, (void *)i)) die("thread");
  pthread_join(threads[0], NULL);
  return 1;
}
