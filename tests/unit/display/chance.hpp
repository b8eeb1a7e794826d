// Random numbers of a seed.
#pragma once

#include <cstdint>
#include <random>

namespace skerry::display::test {

class Chance {
 public:
  explicit Chance(uint64_t seed) : engine_(seed) {}
  uint32_t operator()(uint32_t below) { return static_cast<uint32_t>(engine_() % below); }
  uint32_t any() { return static_cast<uint32_t>(engine_()); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace skerry::display::test
