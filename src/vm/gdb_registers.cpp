#include "vm/gdb_registers.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace skerry::vm {

namespace {

using x86::CpuState;

// What POPF could change, and RF (Intel SDM vol. 1, 3.4.3). Not VM, which goes with segments.
constexpr uint64_t kWritableFlags = x86::flags::kStatus | x86::flags::kTf | x86::flags::kIf | x86::flags::kDf |
                                    x86::flags::kIopl | x86::flags::kNt | x86::flags::kRf | x86::flags::kAc |
                                    x86::flags::kId;
constexpr uint32_t kMxcsrBits = 0xffff;  // loading others faults

constexpr std::array<std::string_view, 16> kNames64 = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
                                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
// gdb's order is not the processor's.
constexpr std::array<unsigned, 16> kOrder64 = {x86::kRax, x86::kRbx, x86::kRcx, x86::kRdx, x86::kRsi, x86::kRdi,
                                               x86::kRbp, x86::kRsp, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr std::array<std::string_view, 8> kNames32 = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
constexpr std::array<std::pair<std::string_view, unsigned>, 6> kSegments = {
    {{"cs", x86::kCs}, {"ss", x86::kSs}, {"ds", x86::kDs}, {"es", x86::kEs}, {"fs", x86::kFs}, {"gs", x86::kGs}}};
constexpr std::array<std::string_view, 8> kX87Names = {"fctrl", "fstat", "ftag",  "fiseg",
                                                       "fioff", "foseg", "fooff", "fop"};

// As in gdb's features/i386/64bit-core.xml and 64bit-sse.xml.
constexpr std::string_view kCoreTypes =
    R"(<flags id="i386_eflags" size="4"><field name="" start="22" end="31"/><field name="CF" start="0" end="0"/>)"
    R"(<field name="" start="1" end="1"/><field name="PF" start="2" end="2"/><field name="AF" start="4" end="4"/>)"
    R"(<field name="ZF" start="6" end="6"/><field name="SF" start="7" end="7"/><field name="TF" start="8" end="8"/>)"
    R"(<field name="IF" start="9" end="9"/><field name="DF" start="10" end="10"/><field name="OF" start="11" end="11"/>)"
    R"(<field name="NT" start="14" end="14"/><field name="RF" start="16" end="16"/><field name="VM" start="17" end="17"/>)"
    R"(<field name="AC" start="18" end="18"/><field name="VIF" start="19" end="19"/>)"
    R"(<field name="VIP" start="20" end="20"/><field name="ID" start="21" end="21"/></flags>)";
constexpr std::string_view kSseTypes =
    R"(<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>)"
    R"(<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>)"
    R"(<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>)"
    R"(<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>)"
    R"(<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>)"
    R"(<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>)"
    R"(<flags id="i386_mxcsr" size="4"><field name="IE" start="0" end="0"/><field name="DE" start="1" end="1"/>)"
    R"(<field name="ZE" start="2" end="2"/><field name="OE" start="3" end="3"/><field name="UE" start="4" end="4"/>)"
    R"(<field name="PE" start="5" end="5"/><field name="DAZ" start="6" end="6"/><field name="IM" start="7" end="7"/>)"
    R"(<field name="DM" start="8" end="8"/><field name="ZM" start="9" end="9"/><field name="OM" start="10" end="10"/>)"
    R"(<field name="UM" start="11" end="11"/><field name="PM" start="12" end="12"/><field name="FZ" start="15" end="15"/></flags>)";

uint64_t x87_control(const x86::X87& x87, unsigned index) {
  switch (index) {
    case 0: return x87.fcw;
    case 1: return x87.fsw;
    case 2: return full_tag_word(x87);
    case 3: return x87.fcs;
    case 4: return x87.fip;
    case 5: return x87.fds;
    case 6: return x87.fdp;
    default: return x87.fop;
  }
}

void set_x87_control(x86::X87& x87, unsigned index, uint32_t value) {
  switch (index) {
    case 0: x87.fcw = static_cast<uint16_t>(value); break;
    case 1: x87.fsw = static_cast<uint16_t>(value); break;
    case 2:
      x87.ftw = 0;
      for (unsigned i = 0; i < 8; ++i)
        if ((value >> 2 * i & 3) != 3) x87.ftw |= static_cast<uint8_t>(1 << i);
      break;
    case 3: x87.fcs = static_cast<uint16_t>(value); break;
    case 4: x87.fip = value; break;
    case 5: x87.fds = static_cast<uint16_t>(value); break;
    case 6: x87.fdp = value; break;
    default: x87.fop = static_cast<uint16_t>(value & 0x7ff); break;
  }
}

uint64_t control_register(const CpuState& state, unsigned index) {
  switch (index) {
    case 0: return state.cr0;
    case 2: return state.cr2;
    case 3: return state.cr3;
    default: return state.cr4;
  }
}

bool canonical(uint64_t address) {
  const uint64_t top = address >> 47;
  return top == 0 || top == 0x1ffff;
}

uint64_t integer_of(const CpuState& state, GdbRegisters::Kind kind, unsigned index) {
  using Kind = GdbRegisters::Kind;
  switch (kind) {
    case Kind::kGpr: return state.gpr[index];
    case Kind::kRip: return state.rip;
    case Kind::kFlags: return state.rflags;
    case Kind::kSegment: return state.seg[index].selector;
    case Kind::kSegmentBase: return state.seg[index].base;
    case Kind::kKernelGsBase: return state.kernel_gs_base;
    case Kind::kControl: return control_register(state, index);
    case Kind::kEfer: return state.efer;
    case Kind::kX87Control: return x87_control(state.x87, index);
    case Kind::kMxcsr: return state.mxcsr;
    case Kind::kSt:
    case Kind::kXmm: break;
  }
  return 0;
}

bool set_integer(CpuState& state, GdbRegisters::Kind kind, unsigned index, uint64_t value) {
  using Kind = GdbRegisters::Kind;
  switch (kind) {
    case Kind::kGpr: state.gpr[index] = value; return true;
    case Kind::kRip:
      if (!canonical(value)) return false;
      state.rip = value;
      return true;
    case Kind::kFlags:
      state.rflags = (state.rflags & ~kWritableFlags) | (value & kWritableFlags);
      return true;
    case Kind::kSegmentBase:
      if (!state.long_mode_active() || !canonical(value)) return false;
      state.seg[index].base = value;
      return true;
    case Kind::kKernelGsBase:
      if (!canonical(value)) return false;
      state.kernel_gs_base = value;
      return true;
    case Kind::kX87Control: set_x87_control(state.x87, index, static_cast<uint32_t>(value)); return true;
    case Kind::kMxcsr:
      if (value & ~uint64_t{kMxcsrBits}) return false;
      state.mxcsr = static_cast<uint32_t>(value);
      return true;
    default: return false;
  }
}

}  // namespace

uint16_t full_tag_word(const x86::X87& x87) {
  constexpr unsigned kValid = 0, kZero = 1, kSpecial = 2, kEmpty = 3;
  const unsigned top = x87.fsw >> 11 & 7;
  unsigned word = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    const x86::X87::Register& st = x87.st[(physical - top) & 7];
    const unsigned exponent = st.sign_exponent & 0x7fff;
    unsigned tag = kSpecial;
    if (!(x87.ftw >> physical & 1))
      tag = kEmpty;
    else if (exponent == 0 && st.significand == 0)
      tag = kZero;
    else if (exponent != 0 && exponent != 0x7fff && st.significand >> 63)
      tag = kValid;
    word |= tag << 2 * physical;
  }
  return static_cast<uint16_t>(word);
}

const GdbRegisters& GdbRegisters::of(GdbArch arch) {
  static const GdbRegisters i386(GdbArch::kI386), x86_64(GdbArch::kX8664);
  return arch == GdbArch::kI386 ? i386 : x86_64;
}

GdbRegisters::GdbRegisters(GdbArch arch) : wide_(arch == GdbArch::kX8664) {
  xml_ = fmt::format(R"(<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">)"
                     R"(<architecture>{}</architecture>)",
                     wide_ ? "i386:x86-64" : "i386");
  add_core();
  add_sse();
  add_system();
  xml_ += "</target>";
}

void GdbRegisters::feature(std::string_view name, std::string_view types) {
  xml_ += fmt::format(R"(<feature name="{}">{})", name, types);
}

void GdbRegisters::add(Kind kind, unsigned index, unsigned bytes, std::string_view name, std::string_view type,
                       std::string_view group) {
  xml_ += fmt::format(R"(<reg name="{}" bitsize="{}" type="{}" regnum="{}")", name, bytes * 8, type, registers_.size());
  xml_ += group.empty() ? "/>" : fmt::format(R"( group="{}"/>)", group);
  registers_.push_back({kind, index, bytes});
  total_ += bytes;
}

void GdbRegisters::add_core() {
  feature("org.gnu.gdb.i386.core", kCoreTypes);
  const unsigned word = wide_ ? 8 : 4;
  const std::string_view integer = wide_ ? "int64" : "int32";
  for (unsigned i = 0; i < (wide_ ? 16 : 8); ++i) {
    const unsigned gpr = wide_ ? kOrder64[i] : i;
    const bool stack = gpr == x86::kRsp || gpr == x86::kRbp;
    add(Kind::kGpr, gpr, word, wide_ ? kNames64[i] : kNames32[i], stack ? "data_ptr" : integer);
  }
  add(Kind::kRip, 0, word, wide_ ? "rip" : "eip", "code_ptr");
  add(Kind::kFlags, 0, 4, "eflags", "i386_eflags");
  for (const auto& [name, index] : kSegments) add(Kind::kSegment, index, 4, name, "int32");
  for (unsigned i = 0; i < 8; ++i) add(Kind::kSt, i, 10, fmt::format("st{}", i), "i387_ext");
  for (unsigned i = 0; i < kX87Names.size(); ++i) add(Kind::kX87Control, i, 4, kX87Names[i], "int", "float");
  end_feature();
}

void GdbRegisters::add_sse() {
  feature("org.gnu.gdb.i386.sse", kSseTypes);
  for (unsigned i = 0; i < (wide_ ? 16 : 8); ++i) add(Kind::kXmm, i, 16, fmt::format("xmm{}", i), "vec128");
  add(Kind::kMxcsr, 0, 4, "mxcsr", "i386_mxcsr", "vector");
  end_feature();
}

void GdbRegisters::add_system() {
  if (wide_) {
    feature("org.gnu.gdb.i386.segments", "");
    add(Kind::kSegmentBase, x86::kFs, 8, "fs_base", "int");
    add(Kind::kSegmentBase, x86::kGs, 8, "gs_base", "int");
    end_feature();
  }
  const unsigned word = wide_ ? 8 : 4;
  const std::string_view integer = wide_ ? "int64" : "int32";
  feature("org.skerry.x86.system", "");
  if (wide_) add(Kind::kKernelGsBase, 0, 8, "k_gs_base", "int64");
  for (const unsigned index : {0, 2, 3, 4}) add(Kind::kControl, index, word, fmt::format("cr{}", index), integer);
  add(Kind::kEfer, 0, word, "efer", integer);
  end_feature();
}

void GdbRegisters::read(const CpuState& state, size_t number, std::span<uint8_t> to) const {
  const Register& reg = registers_[number];
  if (reg.kind == Kind::kSt) {
    std::memcpy(to.data(), &state.x87.st[reg.index].significand, 8);
    std::memcpy(to.data() + 8, &state.x87.st[reg.index].sign_exponent, 2);
  } else if (reg.kind == Kind::kXmm) {
    std::memcpy(to.data(), state.vector[reg.index].bytes.data(), 16);
  } else {
    const uint64_t value = integer_of(state, reg.kind, reg.index);
    std::memcpy(to.data(), &value, reg.bytes);
  }
}

bool GdbRegisters::write(CpuState& state, size_t number, std::span<const uint8_t> from) const {
  const Register& reg = registers_[number];
  std::array<uint8_t, 16> now{};
  read(state, number, now);
  if (std::memcmp(now.data(), from.data(), reg.bytes) == 0) return true;
  if (reg.kind == Kind::kSt) {
    std::memcpy(&state.x87.st[reg.index].significand, from.data(), 8);
    std::memcpy(&state.x87.st[reg.index].sign_exponent, from.data() + 8, 2);
    return true;
  }
  if (reg.kind == Kind::kXmm) {
    std::memcpy(state.vector[reg.index].bytes.data(), from.data(), 16);
    return true;
  }
  uint64_t value = 0;
  std::memcpy(&value, from.data(), reg.bytes);
  return set_integer(state, reg.kind, reg.index, value);
}

}  // namespace skerry::vm
