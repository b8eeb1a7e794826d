// Executes a sequence on the processor itself, in this process: a signal frame is filled with the state to begin with,
// and the signal at the end of the sequence brings the state that came out.
#pragma once

#include <memory>

#include "sequence.hpp"

namespace skerry::fuzz {

// At most one in a process: it owns the addresses of sequence.hpp and the handlers of all signals that faults raise.
std::unique_ptr<Side> make_native_side();

// Called by the timer when a sequence has been running for long; may only do what a signal handler may.
void on_timeout(void (*call)(void*), void* argument);

}  // namespace skerry::fuzz
