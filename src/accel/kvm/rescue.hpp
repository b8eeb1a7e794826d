// How long the interpreter goes on where KVM could not, and what it was called for.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "x86/decoder.hpp"

namespace skerry::accel::kvm {

// Used by the vCPU's thread.
class Rescue {
 public:
  explicit Rescue(unsigned vcpu) : vcpu_(vcpu) {}

  // KVM stopped at an instruction, at host time `now`. The result: how many instructions the interpreter executes.
  //
  // To change hands costs as much as hundreds of interpreted instructions. If KVM was not in the guest for much longer than
  // that since the last time, the next stretch is twice as long; else it is half as long. So where one instruction in a
  // million is lacking just that one is interpreted, and where KVM gets nowhere the interpreter does nearly all.
  uint64_t begin(int64_t now);
  // KVM has the state again.
  void ended(int64_t now);

  // Counts the instruction, and logs the first of a kind.
  void count(std::span<const uint8_t> bytes, x86::CodeSize size, uint64_t rip);
  // "12 rescues: 7 fxsave, 5 cmpxchg16b"; empty if there were none.
  std::string summary() const;

 private:
  static constexpr uint64_t kLongestStretch = 1 << 20;
  static constexpr int64_t kShortVisit = 200'000;  // ns

  const unsigned vcpu_;
  uint64_t stretch_ = 1;
  int64_t in_kvm_since_ = 0;
  uint64_t total_ = 0;
  std::map<std::string, uint64_t> kinds_;  // by mnemonic
};

}  // namespace skerry::accel::kvm
