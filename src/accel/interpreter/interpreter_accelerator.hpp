// The accelerator that executes guests with x86::Interpreter.
#pragma once

#include "accel/accelerator.hpp"

namespace skerry::accel {

std::unique_ptr<Accelerator> make_interpreter_accelerator(AcceleratorParts parts);

}  // namespace skerry::accel
