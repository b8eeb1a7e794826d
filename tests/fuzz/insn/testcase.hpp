// One generated case and what a processor made of it. The sides (native.cpp, interpreted.cpp; later a translator) each
// turn a Case into an Outcome; main.cpp compares.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "x86/cpu_model.hpp"
#include "x86/decoder.hpp"

namespace skerry::insn_fuzz {

// The same linear addresses on every side. The page after the read-only one is not mapped.
constexpr uint64_t kCode = 0x10000000, kData = 0x20000000, kStack = 0x30000000;
constexpr uint64_t kPage = 4096, kDataSize = 2 * kPage, kReadOnly = kData + kDataSize, kStackSize = kPage;

struct Registers {
  std::array<uint64_t, 16> gpr{};
  uint64_t rip = 0, rflags = 2;
  std::array<std::array<uint8_t, 32>, 16> ymm{};
  uint32_t mxcsr = 0x1f80;
  uint16_t fcw = 0x37f, fsw = 0;
  uint8_t ftw = 0;  // abridged
  std::array<std::array<uint8_t, 10>, 8> st{};
};

struct Case {
  std::vector<uint8_t> code;  // ends with INT3
  Registers start;
  uint64_t undefined_flags = 0;  // status flags that no manual defines after this code
  uint64_t data_seed = 0;        // of the content of data, read-only page and stack
};

struct Outcome {
  unsigned vector = 0;     // of the exception that ended it; 3 at the INT3
  uint32_t error_code = 0;
  uint64_t cr2 = 0;
  Registers end;
  std::vector<uint8_t> memory;  // data and stack
};

std::vector<uint8_t> initial_memory(uint64_t seed, size_t size);

// generator.cpp: a random case; only instructions that `model` has.
Case generate(std::mt19937_64& random, const x86::CpuModel& model);
std::string listing(const Case& test);

// native.cpp: on this processor, at CPL 3, in this process.
void prepare_native();
Outcome run_native(const Case& test);

// interpreted.cpp
class Interpreted {
 public:
  explicit Interpreted(const x86::CpuModel& model);
  ~Interpreted();
  Outcome run(const Case& test);

 private:
  struct Machine;
  Machine* machine_;
};

}  // namespace skerry::insn_fuzz
