// What a guest's kernel does for its programs: system calls, switches, processes, page faults, signals, the clock.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rows.h"

static void run_syscall(uint64_t repetitions) {
  while (repetitions--) syscall(SYS_getppid);
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

static void run_fork(uint64_t repetitions) {
  while (repetitions--) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0 || waitpid(child, NULL, 0) != child) row_fails("fork");
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
    {"system", "pipe", "round trip", 1, run_pipe, set_up_pipe, NULL},
    {"system", "fork", "fork and exit", 1, run_fork, NULL, NULL},
    {"system", "fault", "page", PAGES, run_fault, NULL, NULL},
    {"system", "signal", "signal", 1, run_signal, set_up_signal, NULL},
    {"system", "clock", "clock_gettime", 1, run_clock, NULL, NULL},
    {0},
};
