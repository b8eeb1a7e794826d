// SPDX-License-Identifier: Apache-2.0
// Text, verdicts, randomness, the choice of the case.
#include "rt.h"

#include <stdarg.h>

#include "cpu.h"

u64 rounds = 100000, seed = 1;
u32 cpus = 1;

extern const struct case_ cases_begin[], cases_end[];
extern u32 start_info;  // physical address of the PVH hvm_start_info

// ---------------------------------------------------------------------------------------------
// Memory

void *memset(void *to, int byte, size_t n) {
  void *at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
  return to;
}
void *memcpy(void *to, const void *from, size_t n) {
  void *at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
  return to;
}
int memcmp(const void *a, const void *b, size_t n) {
  const u8 *x = a, *y = b;
  for (; n; n--, x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}
size_t strlen(const char *s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}

// ---------------------------------------------------------------------------------------------
// Serial port

static void outb(u16 port, u8 value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static u8 inb(u16 port) {
  u8 value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static void put_char(char c) {
  while (!(inb(0x3fd) & 0x20)) {}  // transmitter empty
  outb(0x3f8, c);
}
static void put_string(const char *s) {
  while (*s) put_char(*s++);
}
static void put_number(u64 value, u32 base) {
  char digits[24];
  int n = 0;
  do digits[n++] = "0123456789abcdef"[value % base];
  while (value /= base);
  while (n) put_char(digits[--n]);
}

static volatile u32 print_lock;
static void lock_print(void) {
  while (__atomic_exchange_n(&print_lock, 1, __ATOMIC_ACQUIRE)) pause();
}
static void unlock_print(void) { __atomic_store_n(&print_lock, 0, __ATOMIC_RELEASE); }

// %s %c %d %u %x %lu %lx %p
static void print_list(const char *f, va_list list) {
  for (; *f; f++) {
    if (*f != '%') {
      put_char(*f);
      continue;
    }
    bool is_long = *++f == 'l';
    if (is_long) f++;
    switch (*f) {
      case 's': put_string(va_arg(list, const char *)); break;
      case 'c': put_char(va_arg(list, int)); break;
      case 'p': put_number(va_arg(list, u64), 16); break;
      case 'd': {
        s64 value = is_long ? va_arg(list, s64) : va_arg(list, int);
        if (value < 0) put_char('-');
        put_number(value < 0 ? -value : value, 10);
        break;
      }
      case 'u': put_number(is_long ? va_arg(list, u64) : va_arg(list, u32), 10); break;
      case 'x': put_number(is_long ? va_arg(list, u64) : va_arg(list, u32), 16); break;
      default: put_char(*f);
    }
  }
}
#define PRINT_LIST(before, after) \
  do {                            \
    va_list list;                 \
    va_start(list, format);       \
    lock_print();                 \
    put_string(before);           \
    print_list(format, list);     \
    put_string(after);            \
    unlock_print();               \
    va_end(list);                 \
  } while (0)

void print(const char *format, ...) { PRINT_LIST("", ""); }
void note(const char *format, ...) { PRINT_LIST("note: ", "\n"); }

// ---------------------------------------------------------------------------------------------
// Verdicts. The runner's lines are `note:`, `fail:`, `skip:`, and the status of the debug exit port.

enum { EXIT_OK = 0x10, EXIT_FAIL = 0x11, EXIT_SKIP = 0x12, MOST_FAILURES = 8 };

static volatile u32 failures;

static __attribute__((noreturn)) void leave(u32 status) {
  for (;;) asm volatile("cli; outl %0, %w1; hlt" : : "a"(status), "d"(0xf4));
}
void fail(const char *format, ...) {
  if (__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) <= MOST_FAILURES) PRINT_LIST("fail: ", "\n");
}
void die(const char *format, ...) {
  PRINT_LIST("fail: ", "\n");
  leave(EXIT_FAIL);
}
void skip(const char *why) {
  print("skip: %s\n", why);
  leave(EXIT_SKIP);
}
bool failed(void) { return failures != 0; }

// ---------------------------------------------------------------------------------------------
// Randomness: xorshift64*, seeded through splitmix64

struct random random_stream(u64 number) {
  u64 z = seed * 0x9e3779b97f4a7c15 + number * 0xd1342543de82ef95 + 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return (struct random){(z ^ z >> 31) | 1};
}
u64 next(struct random *r) {
  r->state ^= r->state >> 12;
  r->state ^= r->state << 25;
  r->state ^= r->state >> 27;
  return r->state * 0x2545f4914f6cdd1d;
}

// ---------------------------------------------------------------------------------------------
// The command line: case=NAME rounds=N seed=N cpus=N

static bool option(const char *line, const char *name, char *value, size_t size) {
  size_t n = strlen(name);
  for (const char *p = line; *p; p++) {
    if ((p != line && p[-1] != ' ') || memcmp(p, name, n) || p[n] != '=') continue;
    size_t i = 0;
    for (p += n + 1; *p && *p != ' ' && i + 1 < size; p++) value[i++] = *p;
    value[i] = 0;
    return true;
  }
  return false;
}
static void number_option(const char *line, const char *name, u64 *value) {
  char text[32];
  if (!option(line, name, text, sizeof text)) return;
  *value = 0;
  for (const char *p = text; *p >= '0' && *p <= '9'; p++) *value = *value * 10 + *p - '0';
}

void main(void) {
  const char *line = (const char *)(u64)(*(u32 *)(u64)(start_info + 24));  // cmdline_paddr; below 4 GiB
  char name[64] = "";
  u64 wanted_cpus = 1;
  option(line, "case", name, sizeof name);
  number_option(line, "rounds", &rounds);
  number_option(line, "seed", &seed);
  number_option(line, "cpus", &wanted_cpus);
  outb(0x3fb, 3);  // 8n1
  outb(0x3f9, 0);  // no interrupts
  outb(0x21, 0xff);
  outb(0xa1, 0xff);
  cpus = wanted_cpus;
  start_cpus();
  for (const struct case_ *c = cases_begin; c < cases_end; c++) {
    if (strlen(name) != strlen(c->name) || memcmp(name, c->name, strlen(name))) continue;
    c->run();
    leave(failures ? EXIT_FAIL : EXIT_OK);
  }
  die("no case '%s'", name);
}
