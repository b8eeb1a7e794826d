// Sessions of random accesses to a device, one after the other for some time.
//
// SKERRY_SEED chooses the sessions, SKERRY_FUZZ_MS how long they go on. The seed of a session that ends the program stays as
// a file in SKERRY_CORPUS, and those that are there come first.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace skerry::test {

using Random = std::mt19937_64;

inline uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

// Seeds in files of the corpus, by the test's name; that of the session under way is one too.
class Corpus {
 public:
  explicit Corpus(std::string test) : prefix_(std::move(test) + "-") {
    if (const char* folder = std::getenv("SKERRY_CORPUS")) folder_ = folder;
  }
  std::vector<uint64_t> seeds() const {
    std::vector<uint64_t> all;
    std::error_code none;
    if (folder_.empty()) return all;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, none))
      if (const std::string name = entry.path().filename(); name.starts_with(prefix_))
        all.push_back(std::strtoull(name.c_str() + prefix_.size(), nullptr, 10));
    return all;
  }
  void begin(uint64_t seed) const {
    if (!folder_.empty()) std::ofstream(path(seed)) << "a session of test_devices\n";
  }
  void end(uint64_t seed, bool failed) const {
    std::error_code none;
    if (!folder_.empty() && !failed) std::filesystem::remove(path(seed), none);
  }

 private:
  std::filesystem::path path(uint64_t seed) const { return folder_ / (prefix_ + std::to_string(seed)); }
  const std::string prefix_;
  std::filesystem::path folder_;
};

template <typename Session>
void sessions(const char* test, Session session) {
  const Corpus corpus(test);
  const auto one = [&](uint64_t seed) {
    SCOPED_TRACE("session " + std::to_string(seed));
    Random random(seed);
    session(random);
  };
  for (const uint64_t known : corpus.seeds()) one(known);
  const uint64_t seed = from_environment("SKERRY_SEED", 1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(from_environment("SKERRY_FUZZ_MS", 500));
  std::printf("SKERRY_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  uint64_t count = 0;
  while (!::testing::Test::HasFailure() && (count < 5 || std::chrono::steady_clock::now() < end)) {
    const uint64_t own = seed * 1'000'003 + count++;
    corpus.begin(own);
    one(own);
    corpus.end(own, ::testing::Test::HasFailure());
  }
  std::printf("%llu sessions\n", static_cast<unsigned long long>(count));
}

}  // namespace skerry::test
