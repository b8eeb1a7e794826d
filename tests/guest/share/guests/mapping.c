// Writes a file by a shared mapping, reads it back by another and by read(); and locks it, which keeps others out.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 3 * 4096 + 100 };

int main(int argc, char** argv) {
  static char read_back[SIZE];
  int fd = argc == 2 ? open(argv[1], O_RDWR | O_CREAT, 0644) : -1;
  if (fd < 0 || ftruncate(fd, SIZE) != 0) return perror("open"), 1;
  char* page = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return perror("mmap"), 1;
  for (int i = 0; i < SIZE; ++i) page[i] = (char)('a' + i % 26);
  if (msync(page, SIZE, MS_SYNC) != 0 || munmap(page, SIZE) != 0) return perror("msync"), 1;
  const char* again = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
  if (again == MAP_FAILED || pread(fd, read_back, SIZE, 0) != SIZE || memcmp(again, read_back, SIZE) != 0) return puts("differs"), 1;
  int other = open(argv[1], O_RDWR);
  if (flock(fd, LOCK_EX) != 0 || flock(other, LOCK_EX | LOCK_NB) == 0) return puts("is not locked"), 1;
  struct flock part = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
  if (fcntl(fd, F_SETLK, &part) != 0) return perror("fcntl"), 1;
  puts("good");
  return 0;
}
