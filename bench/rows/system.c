// What a guest's kernel does for its programs: calls, switches, processes, page faults, files, signals, the clock.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rows.h"

#define SHARED_MEMORY "/dev/shm"

static void run_syscall(uint64_t repetitions) {
  while (repetitions--) syscall(SYS_getppid);
}

static int zero_device, null_device;

static void set_up_devices(void) {
  zero_device = open("/dev/zero", O_RDONLY);
  null_device = open("/dev/null", O_WRONLY);
  if (zero_device < 0 || null_device < 0) row_fails("open a device");
}

static void run_read(uint64_t repetitions) {
  char byte;
  while (repetitions--) {
    if (read(zero_device, &byte, 1) != 1) row_fails("read");
  }
}

static void run_write(uint64_t repetitions) {
  char byte = 0;
  while (repetitions--) {
    if (write(null_device, &byte, 1) != 1) row_fails("write");
  }
}

static int to_partner[2], from_partner[2];

static void set_up_pipe(void) {
  if (pipe(to_partner) != 0 || pipe(from_partner) != 0) row_fails("pipe");
  const pid_t partner = fork();
  if (partner < 0) row_fails("fork");
  if (partner == 0) {
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(to_partner[0], &byte, 1) == 1 && write(from_partner[1], &byte, 1) == 1) {
    }
    _exit(0);
  }
}

static void run_pipe(uint64_t repetitions) {
  char byte = 0;
  while (repetitions--) {
    if (write(to_partner[1], &byte, 1) != 1 || read(from_partner[0], &byte, 1) != 1) row_fails("pipe");
  }
}

// Whose turn it is, in memory that both share
enum { OURS, THEIRS };
static uint32_t* turn;

static void wait_while(uint32_t value) {
  while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) == value) syscall(SYS_futex, turn, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void pass_turn(uint32_t to) {
  __atomic_store_n(turn, to, __ATOMIC_RELEASE);
  syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void set_up_futex(void) {
  turn = mmap(NULL, sizeof *turn, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (turn == MAP_FAILED) row_fails("mmap");
  const pid_t partner = fork();
  if (partner < 0) row_fails("fork");
  if (partner == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
      wait_while(OURS);
      pass_turn(OURS);
    }
  }
}

static void run_futex(uint64_t repetitions) {
  while (repetitions--) {
    pass_turn(THEIRS);
    wait_while(THEIRS);
  }
}

static void run_fork(uint64_t repetitions) {
  while (repetitions--) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0 || waitpid(child, NULL, 0) != child) row_fails("fork");
  }
}

// This very program, which is static, with an argument that makes it end at once
static void run_exec(uint64_t repetitions) {
  static char* const arguments[] = {"rows", "nothing", NULL};
  static char* const environment[] = {NULL};
  while (repetitions--) {
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
      execve("/proc/self/exe", arguments, environment);
      _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) row_fails("exec");
  }
}

enum { PAGES = 64, PAGE = 4096 };

static void run_fault(uint64_t repetitions) {
  while (repetitions--) {
    volatile uint8_t* pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) row_fails("mmap");
    for (int page = 0; page < PAGES; ++page) pages[page * PAGE] = 1;
    munmap((void*)pages, PAGES * PAGE);
  }
}

static const char* lacks_tmpfs(void) {
  struct statfs about;
  return statfs(SHARED_MEMORY, &about) == 0 && about.f_type == TMPFS_MAGIC ? NULL : "tmpfs at " SHARED_MEMORY;
}

static void run_files(uint64_t repetitions) {
  char old[64], new[64];
  struct stat about;
  snprintf(old, sizeof old, SHARED_MEMORY "/bench-%d-old", getpid());
  snprintf(new, sizeof new, SHARED_MEMORY "/bench-%d-new", getpid());
  while (repetitions--) {
    const int file = open(old, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (file < 0 || close(file) != 0) row_fails("create");
    if (stat(old, &about) != 0) row_fails("stat");
    if (rename(old, new) != 0) row_fails("rename");
    if (unlink(new) != 0) row_fails("unlink");
  }
}

static volatile sig_atomic_t signals;
static void count_signal(int number) {
  (void)number;
  ++signals;
}

static void set_up_signal(void) {
  struct sigaction action = {.sa_handler = count_signal};
  if (sigaction(SIGUSR1, &action, NULL) != 0) row_fails("sigaction");
}

static void run_signal(uint64_t repetitions) {
  const pid_t self = getpid();
  while (repetitions--) syscall(SYS_kill, self, SIGUSR1);
}

static void run_clock(uint64_t repetitions) {
  struct timespec time;
  while (repetitions--) clock_gettime(CLOCK_MONOTONIC, &time);
}

const struct row system_rows[] = {
    {"system", "syscall", "getppid", 1, run_syscall, NULL, NULL},
    {"system", "read", "byte", 1, run_read, set_up_devices, NULL},
    {"system", "write", "byte", 1, run_write, set_up_devices, NULL},
    {"system", "pipe", "round trip", 1, run_pipe, set_up_pipe, NULL},
    {"system", "futex", "round trip", 1, run_futex, set_up_futex, NULL},
    {"system", "fork", "fork and exit", 1, run_fork, NULL, NULL},
    {"system", "exec", "fork, exec, exit", 1, run_exec, NULL, NULL},
    {"system", "fault", "page", PAGES, run_fault, NULL, NULL},
    {"system", "files", "file", 1, run_files, NULL, lacks_tmpfs},
    {"system", "signal", "signal", 1, run_signal, set_up_signal, NULL},
    {"system", "clock", "clock_gettime", 1, run_clock, NULL, NULL},
    {0},
};
