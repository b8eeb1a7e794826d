// Serves one measurement after the other over standard input and output, on the host and in a guest alike:
//
//   "run NAME"   ->  "bench-result NAME REPETITIONS UNITS NANOSECONDS"   unless it failed
//                    "bench-done NAME ok|absent FEATURE|failed REASON"
//   "check NAME" -> "bench-value NAME VALUE"                            if the row has a check and did not fail
//                    "bench-done ..." as above
//   "clock"      ->  "bench-clock NANOSECONDS", so that who asks can compare it with his own
//   "quit"       ->  the end
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rows.h"

enum { ROW_LIMIT_SECONDS = 20, FAILED = 1 };

static const struct row* const groups[] = {integer_rows, vector_rows, system_rows, program_rows};
enum { GROUPS = sizeof groups / sizeof *groups };

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint32_t next_random(void) {
  static uint32_t state = 2463534242u;
  state ^= state << 13;  // Marsaglia, "Xorshift RNGs"
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static int reason_pipe[2];

void row_fails(const char* what) {
  dprintf(reason_pipe[1], "%s%s%s", what, errno ? ": " : "", errno ? strerror(errno) : "");
  _exit(FAILED);
}

// On one processor a row with two processes means the same natively and in a guest of one vCPU.
static void stay_on_this_cpu(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(sched_getcpu(), &set);
  sched_setaffinity(0, sizeof set, &set);
}

// Repeats the row ever more often until it takes long enough; the runs before are its warming up.
static void measure(const struct row* row, double seconds) {
  const double wanted = seconds * 1e9;
  uint64_t repetitions = 1;
  for (;;) {
    uint64_t start = now();
    row->run(repetitions);
    double took = (double)(now() - start);
    if (took >= wanted) {
      dprintf(STDOUT_FILENO, "bench-result %s %llu %u %.0f\n", row->name, (unsigned long long)repetitions, row->units,
              took);
      return;
    }
    double more = took > 0 ? 1.2 * wanted / took : 10;
    repetitions = (uint64_t)((double)repetitions * (more < 2 ? 2 : more > 10 ? 10 : more));
  }
}

static unsigned limit_of(const struct row* row) { return row->limit_seconds ? row->limit_seconds : ROW_LIMIT_SECONDS; }

// In a group of its own with all that it starts. Without seconds it is checked and not measured.
static _Noreturn void row_process(const struct row* row, double seconds) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(limit_of(row));
  stay_on_this_cpu();
  if (row->setup) row->setup();
  if (seconds > 0) {
    measure(row, seconds);
  } else if (row->check) {
    dprintf(STDOUT_FILENO, "bench-value %s %016llx\n", row->name, (unsigned long long)row->check());
  }
  _exit(0);
}

// A process of its own, so that a row that crashes or hangs costs that row only.
static void serve_row(const struct row* row, double seconds) {
  char outcome[160] = "ok";
  const char* lacking = row->lacks ? row->lacks() : NULL;
  if (lacking) {
    snprintf(outcome, sizeof outcome, "absent %s", lacking);
  } else {
    if (pipe(reason_pipe) != 0) exit(FAILED);
    pid_t child = fork();
    if (child == 0) row_process(row, seconds);
    close(reason_pipe[1]);
    int status = 0;
    const int ended = child > 0 && waitpid(child, &status, 0) == child;
    if (ended) kill(-child, SIGKILL);  // what it started and did not end
    if (!ended) {
      snprintf(outcome, sizeof outcome, "failed fork: %s", strerror(errno));
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
      snprintf(outcome, sizeof outcome, "failed took longer than %u s", limit_of(row));
    } else if (WIFSIGNALED(status)) {
      snprintf(outcome, sizeof outcome, "failed %s", strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != 0) {
      char reason[128] = "";
      if (read(reason_pipe[0], reason, sizeof reason - 1) < 0) reason[0] = 0;
      snprintf(outcome, sizeof outcome, "failed %s", reason);
    }
    close(reason_pipe[0]);
  }
  dprintf(STDOUT_FILENO, "bench-done %s %s\n", row->name, outcome);
}

static const struct row* find(const char* name) {
  for (int group = 0; group < GROUPS; ++group) {
    for (const struct row* row = groups[group]; row->name; ++row) {
      if (strcmp(row->name, name) == 0) return row;
    }
  }
  return NULL;
}

static void serve(double seconds) {
  char line[128];
  dprintf(STDOUT_FILENO, "bench-ready\n");
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\r\n")] = 0;
    if (strcmp(line, "quit") == 0) return;
    if (strcmp(line, "clock") == 0) dprintf(STDOUT_FILENO, "bench-clock %llu\n", (unsigned long long)now());
    const int check = strncmp(line, "check ", 6) == 0;
    if (!check && strncmp(line, "run ", 4) != 0) continue;
    const char* name = strchr(line, ' ') + 1;
    const struct row* row = find(name);
    if (row) {
      serve_row(row, check ? 0 : seconds);
    } else {
      dprintf(STDOUT_FILENO, "bench-done %s failed there is no such row\n", name);
    }
  }
}

static void list(void) {
  for (int group = 0; group < GROUPS; ++group) {
    for (const struct row* row = groups[group]; row->name; ++row)
      printf("%s\t%s\t%s\t%u\t%d\n", row->group, row->name, row->unit, limit_of(row), row->check != NULL);
  }
}

int main(int count, char** arguments) {
  if (count == 2 && strcmp(arguments[1], "list") == 0) {
    list();
  } else if (count == 3 && strcmp(arguments[1], "serve") == 0 && atof(arguments[2]) > 0) {
    serve(atof(arguments[2]));
  } else if (count == 2 && strcmp(arguments[1], "nothing") == 0) {
    return 0;  // what the row "exec" runs
  } else {
    fprintf(stderr, "usage: rows list | rows serve SECONDS\n");
    return 2;
  }
  return 0;
}
