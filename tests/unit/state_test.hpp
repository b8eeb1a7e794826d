// The state test, for every device: random legal state, saved, loaded into a fresh device, must give the same bytes
// and from then on the same behaviour.
//
// A test gives a Rig: a default-constructible type that owns one device and everything around it, with
//   bus::Device& device();
// and, if the state holds times, `void follow(Rig& other)`, which sets the rig's clock and inputs to those of `other`;
// and a function `drive(Rig&, std::mt19937_64&)` that does things to the device (accesses, time, acknowledges) and
// returns what came out as numbers. Both rigs are driven by the same random numbers.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "bus/device.hpp"
#include "state/stream.hpp"

namespace skerry::test {

using Trace = std::vector<uint64_t>;

inline std::vector<uint8_t> save(bus::Device& device) {
  state::Saver saver;
  device.describe(saver);
  return saver.data();
}

// Loads and tells the device; the device is left as it is half-loaded when this fails.
inline Result<void> load(bus::Device& device, std::span<const uint8_t> data) {
  state::Loader loader(data);
  device.describe(loader);
  auto result = loader.finish();
  if (result) device.restored();
  return result;
}

inline void randomize(bus::Device& device, uint64_t seed) {
  state::Randomizer randomizer(seed);
  device.describe(randomizer);
  device.restored();
}

// The names of fields that stand before the first difference of two saved states.
inline ::testing::AssertionResult same_state(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  if (a == b) return ::testing::AssertionSuccess();
  const size_t common = std::min(a.size(), b.size());
  const size_t at = static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(common), b.begin()).first - a.begin());
  std::string names;
  for (size_t i = at < 120 ? 0 : at - 120; i < at; ++i)
    names += a[i] >= ' ' && a[i] < 127 ? static_cast<char>(a[i]) : '.';
  return ::testing::AssertionFailure() << "the states differ at byte " << at << ", after \"" << names << '"';
}

// Saves `original`, loads into a fresh rig, and expects the same bytes and behaviour.
template <typename Rig>
void expect_copy_behaves(Rig& original, uint64_t seed, const std::function<Trace(Rig&, std::mt19937_64&)>& drive) {
  const auto saved = save(original.device());
  Rig copy;
  if constexpr (requires { copy.follow(original); }) copy.follow(original);
  const auto loaded = load(copy.device(), saved);
  ASSERT_TRUE(loaded) << loaded.error().message();
  ASSERT_TRUE(same_state(save(copy.device()), saved)) << "a field is not loaded, or restored() changes what was loaded";

  std::mt19937_64 random_a(seed), random_b(seed);
  const Trace a = drive(original, random_a), b = drive(copy, random_b);
  ASSERT_EQ(a, b) << "the copy behaves differently: a field is missing from describe()";
  ASSERT_TRUE(same_state(save(original.device()), save(copy.device()))) << "the states diverge after the same accesses";
}

// From random legal values in every field, and from a state that use has led to.
template <typename Rig>
void expect_state_survives(uint64_t seed, const std::function<Trace(Rig&, std::mt19937_64&)>& drive) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  {
    Rig original;
    randomize(original.device(), seed);
    expect_copy_behaves(original, seed, drive);
    if (::testing::Test::HasFatalFailure()) return;
  }
  Rig used;
  std::mt19937_64 random(seed);
  drive(used, random);
  expect_copy_behaves(used, seed + 1, drive);
}

// A state that comes from an attacker: cut short or with bytes changed, it is refused or the device goes on safely.
template <typename Rig>
void expect_hostile_state_is_safe(uint64_t seed, const std::function<Trace(Rig&, std::mt19937_64&)>& drive) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Rig original;
  randomize(original.device(), seed);
  auto bytes = save(original.device());
  std::mt19937_64 random(seed);
  {
    Rig cut;
    const size_t length = bytes.empty() ? 0 : random() % bytes.size();
    if (!bytes.empty()) {
      EXPECT_FALSE(load(cut.device(), std::span(bytes).first(length)));
    }
  }
  for (unsigned i = 0; i < 4 && !bytes.empty(); ++i) bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
  Rig bent;
  if (load(bent.device(), bytes)) drive(bent, random);
}

template <typename Rig>
void run_state_test(unsigned seeds, const std::function<Trace(Rig&, std::mt19937_64&)>& drive) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    expect_state_survives<Rig>(seed, drive);
    expect_hostile_state_is_safe<Rig>(seed, drive);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace skerry::test
