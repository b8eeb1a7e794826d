// Runs each block in the interpreter first, takes that back, runs its translation, and compares.
#pragma once

#include <vector>

#include "accel/bt/block.hpp"
#include "x86/interp/interpreter.hpp"

namespace skerry::accel::bt {

class Lockstep {
 public:
  explicit Lockstep(x86::Interpreter& interpreter) : in_(interpreter), state_(interpreter.state) {}

  // What the interpreter makes of `block`, from the state as it is; the state and memory are as before afterwards. False if
  // the block cannot be compared: it faults, or touches a device or translated code.
  bool expect(const Block& block);
  // After the translation has run: false if the state or memory is not what was expected. The report is on the log.
  bool compare(const Block& block, const uint8_t* code);
  // How many of its instructions are still to be done, from RIP on.
  unsigned left_to_do(const Block& block) const;

 private:
  // What a block can change of a state.
  struct Snapshot {
    uint64_t gpr[16], rip, rflags;
    uint32_t mxcsr;
    std::array<x86::VectorRegister, 16> vector;
  };
  Snapshot take(bool vectors) const;
  void put_back(const Snapshot& snapshot, bool vectors);
  std::string differences(const Snapshot& now, const Block& block) const;

  x86::Interpreter& in_;
  x86::CpuState& state_;
  x86::Trial trial_;
  Snapshot before_, after_;
  std::vector<std::array<std::byte, memory::kPageSize>> written_;  // of each page of the trial, afterwards
};

}  // namespace skerry::accel::bt
