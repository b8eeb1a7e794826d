#include "accel/debug_options.hpp"

#include <array>

#include "base/units.hpp"

namespace skerry::accel {

namespace {

struct Switch {
  std::string_view name;
  bool DebugOptions::*member;
  bool value;
};
constexpr std::array kSwitches = {
    Switch{"lockstep", &DebugOptions::lockstep, true},
    Switch{"kvm-short-rescues", &DebugOptions::short_rescues, true},
    Switch{"bt-stats", &DebugOptions::stats, true},
    Switch{"bt-perf-map", &DebugOptions::perf_map, true},
    Switch{"bt-no-links", &DebugOptions::links, false},
    Switch{"bt-no-jumps", &DebugOptions::jumps, false},
    Switch{"bt-no-returns", &DebugOptions::returns, false},
    Switch{"bt-no-live-flags", &DebugOptions::live_flags, false},
    Switch{"bt-no-lazy-flags", &DebugOptions::lazy_flags, false},
    Switch{"bt-no-windows", &DebugOptions::windows, false},
    Switch{"bt-no-split-code", &DebugOptions::split_code, false},
    Switch{"bt-no-recent", &DebugOptions::recent, false},
    Switch{"bt-no-long-blocks", &DebugOptions::long_blocks, false},
    Switch{"bt-no-loops", &DebugOptions::loops, false},
    Switch{"bt-no-crossings", &DebugOptions::crossings, false},
    Switch{"bt-no-vectors", &DebugOptions::vectors, false},
    Switch{"bt-no-division", &DebugOptions::division, false},
};
constexpr std::string_view kStress = "bt-stress=", kCache = "bt-cache=", kSlowClock = "slow-clock=";
constexpr uint64_t kSlowestClock = 1000;
constexpr uint64_t kSmallestCache = MiB, kLargestCache = GiB;

}  // namespace

Result<bool> apply(std::string_view word, DebugOptions& options) {
  for (const Switch& one : kSwitches) {
    if (word != one.name) continue;
    options.*one.member = one.value;
    return true;
  }
  if (word.starts_with(kCache)) {
    auto size = parse_size(word.substr(kCache.size()));
    if (!size) return error("'{}': {}", word, size.error().message());
    if (*size < kSmallestCache || *size > kLargestCache) return error("'{}': the size may be from 1M to 1G", word);
    options.cache_size = *size;
    return true;
  }
  if (word.starts_with(kSlowClock)) {
    auto divisor = parse_number(word.substr(kSlowClock.size()));
    if (!divisor || *divisor < 1 || *divisor > kSlowestClock) return error("'{}': the clock may be 1 to {} times slower", word, kSlowestClock);
    options.slow_clock = static_cast<unsigned>(*divisor);
    return true;
  }
  if (!word.starts_with(kStress)) return false;
  auto seed = parse_number(word.substr(kStress.size()));
  if (!seed) return error("'{}': {}; the seed is a number", word, seed.error().message());
  options.stress = *seed;
  return true;
}

std::vector<std::string_view> debug_option_names() {
  std::vector<std::string_view> names;
  for (const Switch& one : kSwitches) names.push_back(one.name);
  names.push_back("bt-cache=SIZE");
  names.push_back("bt-stress=SEED");
  names.push_back("slow-clock=N");
  return names;
}

}  // namespace skerry::accel
