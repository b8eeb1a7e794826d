// A row is one small program of the benchmark: it repeats one kind of work and says how many units of it that is.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct row {
  const char* group;
  const char* name;
  const char* unit;  // what one unit of work is, for the table
  unsigned units;    // in one repetition
  void (*run)(uint64_t repetitions);
  void (*setup)(void);         // not measured; may be NULL
  const char* (*lacks)(void);  // the feature that this machine has not, or NULL; may be NULL
  uint64_t (*check)(void);     // a value that is the same wherever the work is done right; may be NULL
  unsigned limit_seconds;      // for a sample or a check; 0 is the usual limit
};

extern const struct row integer_rows[];
extern const struct row vector_rows[];
extern const struct row system_rows[];
extern const struct row program_rows[];
// Each ends with a row without a name.

// Ends the process of the row with this as its reason, and errno's if there is one.
_Noreturn void row_fails(const char* what);

// The same numbers everywhere, so that every engine has the same work.
uint32_t next_random(void);

// Keeps a value, and all that is in memory, from being optimised away.
#define KEEP(value) __asm__ volatile("" : : "r"(value) : "memory")
#define KEEP_MEMORY() __asm__ volatile("" : : : "memory")
