// The accelerator that translates guest code into host code. See docs/engine.md.
#pragma once

#include "accel/accelerator.hpp"

namespace skerry::accel {

Result<std::unique_ptr<Accelerator>> make_bt_accelerator(AcceleratorParts parts);

}  // namespace skerry::accel
