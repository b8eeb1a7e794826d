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
  // `kvm_ns`: what KVM needs for an instruction of a guest's kernel; 0: it is the processor's business.
  Rescue(unsigned vcpu, double kvm_ns) : vcpu_(vcpu), kvm_ns_(kvm_ns) {}

  // Whether KVM executes a guest's kernel more slowly than the interpreter, by what both have been seen to need. Then it gets
  // the guest's programs only.
  bool programs_only() const { return kvm_ns_ > interpreter_ns_; }
  // The interpreter has executed so many instructions in `ns`.
  void interpreted(uint64_t instructions, int64_t ns);

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
  // "12 rescues: 7 fxsave, 5 cmpxchg16b; 1300 instructions interpreted"; empty if there were none.
  std::string summary() const;

 private:
  static constexpr uint64_t kLongestStretch = 1 << 20;
  static constexpr int64_t kShortVisit = 200'000;  // ns

  static constexpr uint64_t kEnoughToMeasure = 10'000;

  const unsigned vcpu_;
  const double kvm_ns_;
  double interpreter_ns_ = 50;  // an instruction; until it was measured, more than it needs anywhere
  uint64_t interpreted_ = 0;
  uint64_t stretch_ = 1;
  int64_t in_kvm_since_ = 0;
  uint64_t total_ = 0;
  std::map<std::string, uint64_t> kinds_;  // by mnemonic
};

}  // namespace skerry::accel::kvm
