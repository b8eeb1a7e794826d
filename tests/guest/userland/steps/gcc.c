// Compiled and run in the guest: integers, vectors, floating point, signals, threads.
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state = 88172645463325252u;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static void integers(void) {
  uint64_t sum = 0;
  for (int i = 0; i < 2000000; i++) {
    uint64_t a = next(), b = next() | 1;
    sum += a / b + a % (uint32_t)b + __builtin_popcountll(a ^ b) + (uint64_t)((unsigned __int128)a * b >> 64);
    sum = sum << (a & 63) | sum >> (64 - (a & 63)) % 64;
  }
  printf("integers %016lx\n", sum);
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}
static void sorting(void) {
  static uint32_t list[300000];
  uint64_t hash = 14695981039346656037u;
  for (int i = 0; i < 300000; i++) list[i] = next();
  qsort(list, 300000, sizeof list[0], compare);
  for (int i = 0; i < 300000; i++) hash = (hash ^ list[i]) * 1099511628211u;
  printf("sorted %016lx\n", hash);
}

static void vectors(void) {
  static float a[4096], b[4096];
  double sum = 0;
  for (int i = 0; i < 4096; i++) a[i] = (int)(next() & 0xffff), b[i] = (int)(next() & 0xff) - 128;
  for (int n = 0; n < 500; n++)
    for (int i = 0; i < 4096; i++) a[i] = a[i] * 0.5f + b[i];
  for (int i = 0; i < 4096; i++) sum += a[i];
  printf("vectors %.3f\n", sum);
}

static void *counted;
static sigjmp_buf back;
static volatile sig_atomic_t alarms;
static void on_fault(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  counted = info->si_addr;
  siglongjmp(back, 1);
}
static void on_alarm(int number) {
  (void)number;
  alarms++;
}
static void signals(void) {
  struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, alarm_action = {.sa_handler = on_alarm};
  char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int faults = 0;
  sigaction(SIGSEGV, &fault, NULL);
  sigaction(SIGFPE, &fault, NULL);
  sigaction(SIGUSR1, &alarm_action, NULL);
  for (volatile int i = 0; i < 2000; i++) {
    if (sigsetjmp(back, 1) == 0) ((volatile char *)page)[i * 4] = 1;
    else if (counted == page + i * 4) faults++;
  }
  for (volatile int i = 0; i < 2000; i++) {
    volatile int zero = 0;
    if (sigsetjmp(back, 1) == 0) zero = i / zero;
    else faults++;
  }
  for (int i = 0; i < 5000; i++) raise(SIGUSR1);
  printf("signals %d %d\n", faults, alarms);
}

static atomic_long shared;
static long plain;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_int flag;
static int data;
static void *work(void *unused) {
  (void)unused;
  for (int i = 0; i < 200000; i++) {
    atomic_fetch_add(&shared, 1);
    if (i % 4) continue;
    pthread_mutex_lock(&mutex);
    plain++;
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}
static void *receive(void *unused) {
  (void)unused;
  long bad = 0;
  for (int i = 1; i <= 2000; i++) {
    while (atomic_load_explicit(&flag, memory_order_acquire) != i) sched_yield();
    bad += data != i * 3;
    atomic_store_explicit(&flag, -i, memory_order_release);
  }
  return (void *)bad;
}
static void threads(void) {
  pthread_t list[4], receiver;
  void *bad;
  for (int i = 0; i < 4; i++) pthread_create(&list[i], NULL, work, NULL);
  for (int i = 0; i < 4; i++) pthread_join(list[i], NULL);
  pthread_create(&receiver, NULL, receive, NULL);
  for (int i = 1; i <= 2000; i++) {
    data = i * 3;
    atomic_store_explicit(&flag, i, memory_order_release);
    while (atomic_load_explicit(&flag, memory_order_acquire) != -i) sched_yield();
  }
  pthread_join(receiver, &bad);
  printf("threads %ld %ld %ld\n", (long)shared, plain, (long)bad);
}

// Machine code that is written and run again and again, in the manner of a compiler at run time
static void code(void) {
  unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  long sum = 0;
  for (int i = 0; i < 20000; i++) {
    unsigned char *at = page + i * 37 % 4000;
    memcpy(at, (unsigned char[]){0xb8, i, i >> 8, 0, 0, 0xc3}, 6);
    sum += ((int (*)(void))at)();
  }
  printf("code %ld\n", sum);
}

static void processes(void) {
  int sum = 0;
  for (int i = 0; i < 100; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      state += i;  // a page that is copied on write
      _exit(next() & 63);
    }
    int status;
    waitpid(pid, &status, 0);
    sum = sum * 3 + WEXITSTATUS(status);
  }
  printf("processes %d\n", sum);
}

int main(void) {
  integers();
  sorting();
  vectors();
  signals();
  threads();
  code();
  fflush(stdout);
  processes();
  return 0;
}
