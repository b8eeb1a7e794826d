// Permission of port accesses, shared by IN, OUT and the string forms.
#pragma once

#include "x86/interp/interpreter.hpp"

namespace skerry::x86 {

// Checks IOPL and the I/O permission bitmap of the TSS; raises #GP(0). Intel SDM vol. 1, 19.5.
[[nodiscard]] bool io_allowed(Interpreter& in, uint16_t port, unsigned size);
// An I/O breakpoint (DR7 R/W = 10 under CR4.DE) traps after the access.
void watch_io(Interpreter& in, uint16_t port, unsigned size);

}  // namespace skerry::x86
