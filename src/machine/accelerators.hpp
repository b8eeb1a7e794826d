// The choice of an accelerator by name: the one place that knows all of them.
#pragma once

#include "accel/accelerator.hpp"

namespace skerry::machine {

// By the name of `--accel`: auto, bt, interpreter, kvm. Says what is wrong with a name or a host that cannot do it.
Result<std::unique_ptr<accel::Accelerator>> make_accelerator(std::string_view name, accel::AcceleratorParts parts);

}  // namespace skerry::machine
