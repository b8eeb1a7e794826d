// What every device on a board is.
#pragma once

#include <cstdint>
#include <string_view>

#include "state/fields.hpp"

namespace skerry::bus {

// A device owns one lock at the most, which its entry points take (docs/threads.md). reset() and describe() are called
// with the VM at rest: no vCPU runs and no callback of the device is under way.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view name() const = 0;  // unique on a board, stable across versions: it keys the saved state
  virtual void reset() = 0;                    // to the state after power-on
  virtual void describe(state::Fields& fields) = 0;
  // After describe() has loaded a state: derive what is not saved (timers, line levels).
  virtual void restored() {}
};

}  // namespace skerry::bus
