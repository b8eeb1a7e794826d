// Running a program of the host for what it prints.
#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "doctor/system.hpp"

namespace skerry::doctor {

constexpr size_t kMaxProgramOutput = 1 << 20;

// As System::run().
Result<ProgramResult> run_program(const std::vector<std::string>& command, int milliseconds);

}  // namespace skerry::doctor
