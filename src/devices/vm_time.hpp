// Arithmetic of device clocks on VmClock time, safe for every value that a guest or a loaded state can give.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/event_loop.hpp"
#include "state/fields.hpp"

namespace skerry::devices {

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
// A timer is not set nearer than this, whatever the guest asks for: its periods must not keep the loop busy.
constexpr int64_t kShortestWait = 20'000;
constexpr int64_t kLongestWait = int64_t{1} << 53;  // 104 days; a timer that is early looks at its clock and waits on

// Instants that a state may hold: VmClock counts from 0.
constexpr state::Legal instant() { return state::up_to(uint64_t{1} << 62); }

constexpr uint64_t multiply_divide(uint64_t value, uint64_t multiplier, uint64_t divisor) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(value) * multiplier / divisor);
}
constexpr uint64_t multiply_divide_up(uint64_t value, uint64_t multiplier, uint64_t divisor) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(value) * multiplier + divisor - 1) / divisor);
}

// Nanoseconds from `then` to `now`; 0 if a loaded state puts `then` into the future.
constexpr uint64_t elapsed(int64_t then, int64_t now) {
  return now > then ? static_cast<uint64_t>(now) - static_cast<uint64_t>(then) : 0;
}

// Sets `timer` to expire `wait_ns` after `now`, within sane limits.
inline void set_after(Timer& timer, int64_t now, uint64_t wait_ns) {
  const uint64_t wait = std::clamp<uint64_t>(wait_ns, kShortestWait, kLongestWait);
  timer.set(now + static_cast<int64_t>(wait));
}

}  // namespace skerry::devices
