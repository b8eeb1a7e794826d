// Executes a sequence in a vCPU of Skerry, at CPL 3 under page tables that map what this process has at those addresses.
#pragma once

#include <memory>

#include "sequence.hpp"

namespace skerry::fuzz {

std::unique_ptr<Side> make_interpreter_side();
std::unique_ptr<Side> make_translator_side();

// Whether this processor is AMD's, or one of that family. The one place that says so.
bool processor_of_amd();

// Whether this processor has five levels of paging, and so linear addresses of 57 bits, in use or not. The guest's has 48.
bool processor_has_57_bits();

// Whether the guest's processor has the instruction, and this one too.
bool both_have(const x86::Decoded& decoded);

}  // namespace skerry::fuzz
