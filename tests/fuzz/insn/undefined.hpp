// What the manual leaves open about the results of a sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "sequence.hpp"

namespace skerry::fuzz {

// The status flags that `decoded` leaves undefined.
uint64_t undefined_flags(const x86::Decoded& decoded);
// The flags that it certainly writes, and those that its result depends on.
uint64_t written_flags(const x86::Decoded& decoded);
uint64_t read_flags(const x86::Decoded& decoded);

struct Step {
  uint64_t rip = 0;
  x86::Decoded decoded;
  uint64_t undefined = 0;  // flags that may be undefined before it
};

// The instructions of a sequence in order, with the flags that are undefined on some way there. The last element is
// the INT3 at the end.
std::vector<Step> analyse(const Case& test);

// Whether some instruction's result depends on an undefined flag, or on what this processor keeps otherwise than the
// engine, so that nothing can be said about the outcome.
bool depends_on_undefined(const std::vector<Step>& steps);

// Whether `a` is a violation of a segment's limit by an operand that goes on at address 0, and `b`, which has no such
// exception, faults on its page. With a limit of 4 GiB it is up to the processor: SDM vol. 3, 5.3.
bool limit_is_open(const Case& test, const Outcome& a, const Outcome& b);

struct Range {
  uint64_t start, size;
};
// The memory that the end of a sequence leaves undefined.
std::vector<Range> undefined_memory(const std::vector<Step>& steps, const Outcome& outcome);

// The bits of general register `number` that the end of a sequence leaves undefined.
uint64_t undefined_bits(const std::vector<Step>& steps, const Outcome& outcome, unsigned number);

// Whether nothing can be said about an outcome that ended there.
bool is_open(const std::vector<Step>& steps, const Outcome& outcome);

// Whether the instruction that raised the outcome's exception makes several accesses in an order of the processor's own:
// which of them is reported is open.
bool accesses_in_any_order(const std::vector<Step>& steps, const Outcome& outcome);

}  // namespace skerry::fuzz
