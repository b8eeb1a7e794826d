// Random numbers that are the same everywhere for the same seed: a seed is all that it takes to repeat a case.
#pragma once

#include <cstdint>
#include <span>

namespace skerry::fuzz {

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  uint64_t below(uint64_t limit) { return next() % limit; }
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(below(static_cast<uint64_t>(high - low + 1)));
  }
  bool percent(unsigned chance) { return below(100) < chance; }
  template <typename T, size_t kCount>
  const T& pick(const T (&from)[kCount]) {
    return from[below(kCount)];
  }
  template <typename T>
  const T& pick(std::span<const T> from) {
    return from[below(from.size())];
  }

 private:
  uint64_t state_;
};

}  // namespace skerry::fuzz
