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

// Branches that depend on data, in the way of a sort: each step takes the greater of two children
enum { HEAP = 1024 };
static uint32_t heap_values[HEAP];

static void set_up_heap(void) {
  for (size_t i = 0; i < HEAP; ++i) heap_values[i] = next_random();
}

static void sift_down(uint32_t* heap, size_t at, size_t count) {
  const uint32_t value = heap[at];
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && heap[child] < heap[child + 1]) ++child;
    if (value >= heap[child]) break;
    heap[at] = heap[child];
  }
  heap[at] = value;
}

static void run_heapsort(uint64_t repetitions) {
  static uint32_t heap[HEAP];
  while (repetitions--) {
    for (size_t i = 0; i < HEAP; ++i) heap[i] = heap_values[i];
    for (size_t i = HEAP / 2; i-- > 0;) sift_down(heap, i, HEAP);
    for (size_t count = HEAP; count-- > 1;) {
      const uint32_t greatest = heap[0];
      heap[0] = heap[count];
      heap[count] = greatest;
      sift_down(heap, 0, count);
    }
    KEEP(heap);
  }
}

// A state machine with branches of its own for each state, in the way of a compiler's first pass
enum { TEXT_BYTES = 4096 };
static char text[TEXT_BYTES];

static void set_up_text(void) {
  static const char some[] = "abcdefgxyz0123456789    \n\"\"/*+-";
  for (size_t i = 0; i < TEXT_BYTES; ++i) text[i] = some[next_random() % (sizeof some - 1)];
}

static inline int is_letter(char c) { return c >= 'a' && c <= 'z'; }
static inline int is_digit(char c) { return c >= '0' && c <= '9'; }

static void run_tokens(uint64_t repetitions) {
  while (repetitions--) {
    enum { BETWEEN, NAME, NUMBER, STRING } state = BETWEEN;
    unsigned names = 0, numbers = 0, strings = 0, others = 0;
    for (size_t i = 0; i < TEXT_BYTES; ++i) {
      const char c = text[i];
      if (state == STRING) {
        if (c == '"' || c == '\n') state = BETWEEN;
      } else if (c == '"') {
        ++strings;
        state = STRING;
      } else if (is_letter(c)) {
        names += state != NAME;
        state = NAME;
      } else if (is_digit(c)) {
        if (state == NAME) continue;
        numbers += state != NUMBER;
        state = NUMBER;
      } else {
        if (c != ' ' && c != '\n') ++others;
        state = BETWEEN;
      }
    }
    KEEP(names + 3 * numbers + 5 * strings + 7 * others);
  }
}

// Loads from places that do not depend on what was loaded before, so that several are under way
enum { LOOKUPS = 4096, TABLE_SMALL = 16 << 10, TABLE_LARGE = 256 << 10 };
static uint32_t lookup_table[TABLE_LARGE / sizeof(uint32_t)];
static uint16_t lookup_places[LOOKUPS];

static void set_up_lookup(size_t bytes) {
  for (size_t i = 0; i < bytes / sizeof *lookup_table; ++i) lookup_table[i] = next_random();
  for (size_t i = 0; i < LOOKUPS; ++i) lookup_places[i] = (uint16_t)(next_random() % (bytes / sizeof *lookup_table));
}
static void set_up_lookup_small(void) { set_up_lookup(TABLE_SMALL); }
static void set_up_lookup_large(void) { set_up_lookup(TABLE_LARGE); }

static void run_lookup(uint64_t repetitions) {
  uint32_t sum = 0;
  while (repetitions--) {
    for (size_t i = 0; i < LOOKUPS; ++i) sum += lookup_table[lookup_places[i]];
    KEEP(sum);
  }
}

enum { STORES = 4096 };

static void run_stores(uint64_t repetitions) {
  static uint8_t bytes[STORES];
  uint8_t value = 1;
  while (repetitions--) {
    for (size_t i = 0; i < STORES; ++i) {
      value = (uint8_t)(value * 5 + 1);
      bytes[i] = value;
    }
    KEEP(bytes);
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

static void set_up_four_in_turn(void) {
  for (size_t i = 0; i < INDIRECT_CALLS; ++i) call_order[i] = (uint8_t)(i % 4);
}
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
    {"integer", "heapsort", "number", HEAP, run_heapsort, set_up_heap, NULL},
    {"integer", "tokens", "character", TEXT_BYTES, run_tokens, set_up_text, NULL},
    {"integer", "lookup-16k", "load", LOOKUPS, run_lookup, set_up_lookup_small, NULL},
    {"integer", "lookup-256k", "load", LOOKUPS, run_lookup, set_up_lookup_large, NULL},
    {"integer", "stores", "byte", STORES, run_stores, NULL, NULL},
    {"integer", "chase-l1", "load", CHASE_LOADS, run_chase, set_up_chase_small, NULL},
    {"integer", "chase-8m", "load", CHASE_LOADS, run_chase, set_up_chase_large, NULL},
    {"integer", "fib", "call", FIB_CALLS, run_fib, NULL, NULL},
    {"integer", "call-one", "call", INDIRECT_CALLS, run_indirect, NULL, NULL},
    {"integer", "call-four", "call", INDIRECT_CALLS, run_indirect, set_up_four_in_turn, NULL},
    {"integer", "call-random", "call", INDIRECT_CALLS, run_indirect, set_up_random_order, NULL},
    {"integer", "movsb-64", "copy of 64 B", COPIES, run_copy_64, NULL, NULL},
    {"integer", "movsb-4k", "copy of 4 KiB", COPIES, run_copy_4k, NULL, NULL},
    {"integer", "stosb-64", "fill of 64 B", COPIES, run_fill_64, NULL, NULL},
    {"integer", "stosb-4k", "fill of 4 KiB", COPIES, run_fill_4k, NULL, NULL},
    {0},
};
