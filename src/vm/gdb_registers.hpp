// The registers of a vCPU as gdb knows them: their order, names and encodings, and the target description that says so.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "x86/cpu_state.hpp"

namespace skerry::vm {

enum class GdbArch : uint8_t { kI386, kX8664 };

class GdbRegisters {
 public:
  static const GdbRegisters& of(GdbArch arch);

  const std::string& target_xml() const { return xml_; }
  size_t count() const { return registers_.size(); }
  size_t size(size_t number) const { return registers_[number].bytes; }
  size_t total_size() const { return total_; }

  // Little-endian, size(number) bytes.
  void read(const x86::CpuState& state, size_t number, std::span<uint8_t> to) const;
  // False for what may not be written so: segments and control registers, whose hidden parts and side effects a debugger
  // cannot give, and values that no processor can hold. Writing the value that is there already succeeds.
  bool write(x86::CpuState& state, size_t number, std::span<const uint8_t> from) const;

  enum class Kind : uint8_t {
    kGpr, kRip, kFlags, kSegment, kSegmentBase, kKernelGsBase, kControl, kEfer, kSt, kX87Control, kXmm, kMxcsr
  };

 private:
  struct Register {
    Kind kind;
    unsigned index;
    unsigned bytes;
  };
  explicit GdbRegisters(GdbArch arch);
  void feature(std::string_view name, std::string_view types);
  void end_feature() { xml_ += "</feature>"; }
  void add(Kind kind, unsigned index, unsigned bytes, std::string_view name, std::string_view type,
           std::string_view group = "");
  void add_core();
  void add_sse();
  void add_system();

  const bool wide_;
  std::vector<Register> registers_;
  size_t total_ = 0;
  std::string xml_;
};

// The tag word of the x87, two bits a physical register, from the one-bit form of FXSAVE (Intel SDM vol. 1, 10.5.1.1).
uint16_t full_tag_word(const x86::X87& x87);

}  // namespace skerry::vm
