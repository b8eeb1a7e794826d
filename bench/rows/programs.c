// Debian's programs, out of the same files on the host and in the guests: bench/programs/make-root makes them. Where
// they are is in BENCH_PROGRAMS of the environment.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rows.h"

static const char* lacks_programs(void) {
  if (!getenv("BENCH_PROGRAMS")) return "file system with the programs (bench/programs/make-root)";
  return geteuid() == 0 ? NULL : "root, to enter the file system with the programs";
}

static void mount_at(const char* what, const char* where, const char* type, unsigned long flags) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", getenv("BENCH_PROGRAMS"), where);
  if (mount(what, path, type, flags, NULL) != 0) row_fails(path);
}

// The row's process gets mounts of its own, which go with it: nothing but /tmp, in memory, can be written to, as on a
// guest's disk.
static void enter_root(void) {
  const char* root = getenv("BENCH_PROGRAMS");
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) row_fails("own mounts");
  mount_at(root, "", NULL, MS_BIND);
  mount_at(root, "", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY);
  mount_at("bench", "tmp", "tmpfs", 0);
  mount_at("/proc", "proc", NULL, MS_BIND | MS_REC);
  if (chroot(root) != 0 || chdir("/bench") != 0) row_fails("chroot");
}

static pid_t start(char* command, int output) {
  const pid_t child = fork();
  if (child < 0) row_fails("fork");
  if (child == 0) {
    char* const arguments[] = {"bash", "-o", "pipefail", "-c", command, NULL};
    char* const environment[] = {"PATH=/usr/bin:/bin", "HOME=/tmp", "LC_ALL=C.UTF-8", NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int input = open("/dev/null", O_RDONLY);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execve("/bin/bash", arguments, environment);
    _exit(127);
  }
  return child;
}

static void expect_success(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child) row_fails("waitpid");
  if (status != 0) {
    errno = 0;
    char what[64];
    snprintf(what, sizeof what, "the program ended with %s %d", WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    row_fails(what);
  }
}

static void run_program(uint64_t repetitions, char* command) {
  const int nowhere = open("/dev/null", O_WRONLY);
  while (repetitions--) expect_success(start(command, nowhere));
}

// A sum (FNV-1a) of all that the program prints
static uint64_t check_program(char* command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) row_fails("pipe");
  const pid_t child = start(command, ends[1]);
  close(ends[1]);
  uint64_t sum = 0xCBF29CE484222325u;
  static uint8_t data[65536];
  for (ssize_t count; (count = read(ends[0], data, sizeof data)) > 0;) {
    for (ssize_t i = 0; i < count; ++i) sum = (sum ^ data[i]) * 0x100000001B3u;
  }
  expect_success(child);
  return sum;
}

// clang-format off
#define PROGRAM(id, command) \
  static void run_##id(uint64_t repetitions) { run_program(repetitions, command); } \
  static uint64_t check_##id(void) { return check_program(command); }

// In /bench; what counts is printed.
#define ZERO "00000000000000000000000000000000"
PROGRAM(gzip, "gzip -6 -c text")
PROGRAM(gunzip, "gzip -dc $(yes text.gz | head -n 8)")
PROGRAM(xz, "head -c 512k text | xz -T1 -6 -c")
PROGRAM(sha256, "cat $(yes text | head -n 8) | openssl dgst -sha256")
PROGRAM(aes, "cat $(yes text | head -n 8) | openssl enc -aes-128-cbc -K " ZERO " -iv " ZERO " | tail -c 16")
// 2^1279 - 1, three times: what signatures with RSA consist of, a known number of times
PROGRAM(prime, "openssl prime -checks 8 -hex $(yes 7$(printf %0319d 0 | tr 0 F) | head -n 3)")
PROGRAM(python, "python3 objects.py")
PROGRAM(perl, "perl words.pl")
PROGRAM(sqlite, "sqlite3 :memory: <tables.sql")
PROGRAM(gcc, "gcc -O2 -c -o /tmp/compile.o compile.c && cat /tmp/compile.o")
PROGRAM(node, "node numbers.js")
// clang-format on

enum { LIMIT_SECONDS = 60 };
#define ROW(name, id) \
  { "programs", name, "run", 1, run_##id, enter_root, lacks_programs, check_##id, LIMIT_SECONDS }

const struct row program_rows[] = {
    ROW("gzip", gzip),       ROW("gunzip", gunzip),
    ROW("xz", xz),           ROW("openssl-sha256", sha256),
    ROW("openssl-aes", aes), ROW("openssl-prime", prime),
    ROW("python3", python),  ROW("perl", perl),
    ROW("sqlite3", sqlite),  ROW("gcc", gcc),
    ROW("node", node),       {0},
};
