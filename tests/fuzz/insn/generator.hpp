// Makes sequences out of random bytes that the decoder understands.
#pragma once

#include <cstdint>

#include "sequence.hpp"

namespace skerry::fuzz {

// The same seed gives the same case. Nothing in it makes a system call, depends on time or on the machine, loops for
// ever or changes a segment register.
Case generate(uint64_t seed);

// Whether the instruction may be in a sequence at all.
bool may_be_tested(const x86::Decoded& decoded);

}  // namespace skerry::fuzz
