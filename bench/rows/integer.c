// What ordinary programs are made of: branches, loads, calls, copies.
#include <sys/mman.h>

#include "rows.h"

enum { SIEVE = 16384 };

static void run_sieve(uint64_t repetitions) {
  static uint8_t crossed_out_in[SIEVE];
  for (uint64_t i = 0; i < repetitions; ++i) {
    // Each round crosses out with a mark of its own, so that nothing has to be cleared in between
    const uint8_t round = (uint8_t)(i % 255 + 1);
    unsigned primes = 0;
    for (unsigned n = 2; n < SIEVE; ++n) {
      if (crossed_out_in[n] == round) continue;
      ++primes;
      for (unsigned multiple = 2 * n; multiple < SIEVE; multiple += n) crossed_out_in[multiple] = round;
    }
    KEEP(primes);
  }
}

enum { CRC_BYTES = 4096 };
static uint32_t crc_table[256];
static uint8_t crc_data[CRC_BYTES];

static void set_up_crc(void) {
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
    crc_table[byte] = value;
  }
  for (size_t i = 0; i < CRC_BYTES; ++i) crc_data[i] = (uint8_t)next_random();
}

static void run_crc(uint64_t repetitions) {
  uint32_t crc = ~0u;
  while (repetitions--) {
    for (size_t i = 0; i < CRC_BYTES; ++i) crc = crc_table[(crc ^ crc_data[i]) & 0xFF] ^ (crc >> 8);
    KEEP(crc);
  }
}

// One per cache line
struct node {
  struct node* next;
  uint8_t rest[56];
};
enum { CHASE_SMALL = 16 << 10, CHASE_LARGE = 8 << 20, CHASE_LOADS = 1024 };
static struct node* chase_start;

static void set_up_chase(size_t bytes) {
  const size_t count = bytes / sizeof(struct node);
  struct node* nodes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (nodes == MAP_FAILED) row_fails("mmap");
  // Small pages everywhere: whether a host or a guest uses huge ones by itself is not what is measured.
  madvise(nodes, bytes, MADV_NOHUGEPAGE);
  // Sattolo's shuffle makes one cycle through all nodes.
  for (size_t i = 0; i < count; ++i) nodes[i].next = &nodes[i];
  for (size_t i = count - 1; i > 0; --i) {
    const size_t other = next_random() % i;
    struct node* next = nodes[i].next;
    nodes[i].next = nodes[other].next;
    nodes[other].next = next;
  }
  chase_start = nodes;
}
static void set_up_chase_small(void) { set_up_chase(CHASE_SMALL); }
static void set_up_chase_large(void) { set_up_chase(CHASE_LARGE); }

static void run_chase(uint64_t repetitions) {
  const struct node* node = chase_start;
  while (repetitions--) {
    for (int i = 0; i < CHASE_LOADS / 8; ++i) node = node->next->next->next->next->next->next->next->next;
  }
  KEEP(node);
  chase_start = (struct node*)node;
}

enum { FIB_OF = 18, FIB_CALLS = 8361 };

static __attribute__((noinline)) unsigned fib(unsigned n) {
  __asm__ volatile("" : "+r"(n));  // one call is one call: nothing is inlined or computed ahead
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static void run_fib(uint64_t repetitions) {
  while (repetitions--) KEEP(fib(FIB_OF));
}

enum { TARGETS = 16, INDIRECT_CALLS = 1 << 16 };
// clang-format off
#define TARGET(number) \
  static __attribute__((noinline)) uint32_t target_##number(uint32_t value) { return value * (2 * number + 3) + number; }
TARGET(0) TARGET(1) TARGET(2) TARGET(3) TARGET(4) TARGET(5) TARGET(6) TARGET(7)
TARGET(8) TARGET(9) TARGET(10) TARGET(11) TARGET(12) TARGET(13) TARGET(14) TARGET(15)
static uint32_t (*const targets[TARGETS])(uint32_t) = {
    target_0, target_1, target_2,  target_3,  target_4,  target_5,  target_6,  target_7,
    target_8, target_9, target_10, target_11, target_12, target_13, target_14, target_15};
// clang-format on
// Long enough that no branch predictor learns it by heart
static uint8_t call_order[INDIRECT_CALLS];

static void set_up_random_order(void) {
  for (size_t i = 0; i < INDIRECT_CALLS; ++i) call_order[i] = (uint8_t)(next_random() % TARGETS);
}

static void run_indirect(uint64_t repetitions) {
  uint32_t value = 1;
  while (repetitions--) {
    for (size_t i = 0; i < INDIRECT_CALLS; ++i) value = targets[call_order[i]](value);
    KEEP(value);
  }
}

enum { COPIES = 64 };
static uint8_t from[4096] __attribute__((aligned(64)));
static uint8_t to[4096] __attribute__((aligned(64)));

static inline void copy(size_t bytes) {
  void *source = from, *target = to;
  __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(bytes) : : "memory");
}
static void run_copy_64(uint64_t repetitions) {
  while (repetitions--) {
    for (int i = 0; i < COPIES; ++i) copy(64);
  }
}
static void run_copy_4k(uint64_t repetitions) {
  while (repetitions--) {
    for (int i = 0; i < COPIES; ++i) copy(4096);
  }
}

static inline void fill(size_t bytes) {
  void* target = to;
  __asm__ volatile("rep stosb" : "+D"(target), "+c"(bytes) : "a"(7) : "memory");
}
static void run_fill_64(uint64_t repetitions) {
  while (repetitions--) {
    for (int i = 0; i < COPIES; ++i) fill(64);
  }
}
static void run_fill_4k(uint64_t repetitions) {
  while (repetitions--) {
    for (int i = 0; i < COPIES; ++i) fill(4096);
  }
}

const struct row integer_rows[] = {
    {"integer", "sieve", "number", SIEVE, run_sieve, NULL, NULL},
    {"integer", "crc", "byte", CRC_BYTES, run_crc, set_up_crc, NULL},
    {"integer", "chase-l1", "load", CHASE_LOADS, run_chase, set_up_chase_small, NULL},
    {"integer", "chase-8m", "load", CHASE_LOADS, run_chase, set_up_chase_large, NULL},
    {"integer", "fib", "call", FIB_CALLS, run_fib, NULL, NULL},
    {"integer", "call-one", "call", INDIRECT_CALLS, run_indirect, NULL, NULL},
    {"integer", "call-random", "call", INDIRECT_CALLS, run_indirect, set_up_random_order, NULL},
    {"integer", "movsb-64", "copy of 64 B", COPIES, run_copy_64, NULL, NULL},
    {"integer", "movsb-4k", "copy of 4 KiB", COPIES, run_copy_4k, NULL, NULL},
    {"integer", "stosb-64", "fill of 64 B", COPIES, run_fill_64, NULL, NULL},
    {"integer", "stosb-4k", "fill of 4 KiB", COPIES, run_fill_4k, NULL, NULL},
    {0},
};
