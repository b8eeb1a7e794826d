// A test case: a few instructions and the state in which they begin; and what came out of it on one side.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "x86/cpu_state.hpp"
#include "x86/decoder.hpp"

namespace skerry::fuzz {

// Where a sequence finds its memory: the same linear addresses in this process and in the guest, below 4 GiB so that
// 32-bit code reaches them. Around each range nothing is mapped.
constexpr uint64_t kPage = 4096;
constexpr uint64_t kCodeBase = 0x10000000, kCodeSize = 2 * kPage;                  // read and execute
constexpr uint64_t kDataBase = 0x20000000, kDataSize = 3 * kPage;                  // the third page is read-only
constexpr uint64_t kReadOnlyBase = kDataBase + 2 * kPage;
constexpr uint64_t kStackBase = 0x30000000, kStackSize = 2 * kPage;
constexpr uint64_t kGsBase = kDataBase + 0x800;

// As Linux has them for programs.
constexpr uint16_t kUserCode64 = 0x33, kUserCode32 = 0x23, kUserData = 0x2b;

using Ymm = std::array<uint8_t, 32>;

struct Registers {
  uint64_t gpr[16] = {};
  uint64_t rip = 0;
  uint64_t rflags = x86::flags::kFixed1 | x86::flags::kIf;
  x86::X87 x87;
  uint32_t mxcsr = 0x1f80;
  std::array<Ymm, 16> ymm{};
};

struct Case {
  x86::CodeSize mode = x86::CodeSize::k64;  // k64 or k32
  std::vector<uint8_t> code;                // at registers.rip; each side puts an INT3 behind it
  Registers registers;
  uint64_t memory_seed = 0;  // data and stack are fill_memory() of it
};

struct Outcome {
  bool usable = true;  // false: it did not end in time, or made a system call
  uint8_t vector = 0;  // every sequence ends with an exception; INT3 is the good one
  uint32_t error_code = 0;
  uint64_t cr2 = 0;    // for #PF
  Registers registers;
  std::span<const uint8_t> data, stack;  // valid until the side runs again
};

// The content of data and stack: random, with floating-point values, small integers and pointers among it.
void fill_memory(uint64_t seed, std::span<uint8_t> data, std::span<uint8_t> stack);

// One way to execute a case.
class Side {
 public:
  virtual ~Side() = default;
  virtual const char* name() const = 0;
  virtual void run(const Case& test, Outcome& outcome) = 0;
};

std::string listing(const Case& test);

// The differences, one a line; empty if there are none. `x` and `y` name the sides.
std::string difference(const Case& test, const Outcome& a, const Outcome& b);

// As text, and back; throws std::runtime_error for bad text.
std::string to_text(const Case& test);
Case from_text(const std::string& text);

}  // namespace skerry::fuzz
