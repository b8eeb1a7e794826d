// The registers of a vCPU as text, for logs and for `monitor info registers`.
#pragma once

#include <string>

#include "x86/cpu_state.hpp"

namespace skerry::vm {

// Lines that end with '\n'.
std::string describe_registers(const x86::CpuState& state);

}  // namespace skerry::vm
