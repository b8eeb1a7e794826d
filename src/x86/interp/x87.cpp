// x87: arithmetic by host thunks on an FXSAVE image of the guest's state, control instructions by themselves.
// Intel SDM vol. 1, chapter 8.
#include <algorithm>
#include <cstring>

#include "x86/interp/fx_image.hpp"
#include "x86/interp/host_thunks.hpp"
#include "x86/interp/operands.hpp"
#include "x86/interp/vector.hpp"

namespace skerry::x86 {

namespace {

constexpr uint16_t kExceptionFlags = 0x3f;
constexpr unsigned kTopShift = 11;

unsigned top_of(const X87& x87) { return x87.fsw >> kTopShift & 7; }

bool x87_enabled(Interpreter& in) {
  if (!(in.state.cr0 & (cr0::kEm | cr0::kTs))) [[likely]] return true;
  in.raise(kDeviceNotAvailable);
  return false;
}

// ES and B follow from the flags and the masks.
void update_summary(X87& x87) {
  const bool pending = x87.fsw & ~x87.fcw & kExceptionFlags;
  x87.fsw = static_cast<uint16_t>((x87.fsw & ~(kFswEs | kFswB)) | (pending ? kFswEs | kFswB : 0));
}

// The instruction and data pointers are the guest's own. As CPUID says (FDP_EXCPTN_ONLY), opcode and data pointer are
// kept only for an instruction that raises an unmasked exception. SDM vol. 1, 8.1.8 and 8.1.9.
void note_pointers(Interpreter& in, const Insn& insn, bool memory, uint64_t offset) {
  X87& x87 = in.state.x87;
  x87.fip = in.insn_start();
  x87.fcs = in.state.seg[kCs].selector;
  if (!(x87.fsw & kFswEs)) return;
  x87.fop = insn.imm & 0x7ff;
  if (!memory) return;
  x87.fdp = offset;
  x87.fds = in.state.seg[insn.segment].selector;
}

// Insn::aux: operand size in bytes, and how it is used.
constexpr uint16_t kSizeMask = 0x7f, kReads = 0x80, kWrites = 0x100;

Flow x87_thunk(Interpreter& in, const Insn& insn) {
  if (!x87_enabled(in) || x87_error_pending(in)) return Flow::kFault;
  CpuState& s = in.state;
  ThunkBuffer buffer;
  const unsigned size = insn.aux & kSizeMask;
  uint64_t offset = 0;
  if (size) {
    offset = in.ea(insn);
    if ((insn.aux & kReads) && !load_operand(in, insn, offset, buffer.memory, size)) return Flow::kFault;
  }
  // An exception can be pending here with CR0.NE = 0 only, where the error line tells of it: not to the host.
  X87 after = s.x87;
  const uint16_t pending = after.fsw & kFswEs ? after.fsw & (kExceptionFlags | kFswEs | kFswB) : 0;
  after.fsw &= static_cast<uint16_t>(~pending);
  fx_from_x87(after, buffer.fx);
  reinterpret_cast<Thunk>(const_cast<void*>(insn.data))(&s, &buffer);
  fx_to_x87(buffer.fx, after);
  after.fsw |= pending;
  // A store that an unmasked exception held back leaves memory alone.
  const bool held_back = (insn.aux & kWrites) && (after.fsw & kFswEs) && (after.fsw & ~after.fcw & 0x1b);
  if ((insn.aux & kWrites) && !held_back && !store_operand(in, insn, offset, buffer.memory, size)) return Flow::kFault;
  s.x87 = after;
  note_pointers(in, insn, size != 0, offset);
  return Flow::kNext;
}

// Control ------------------------------------------------------------------------------------------------------------------

Flow fwait(Interpreter& in, const Insn&) {
  const uint64_t c = in.state.cr0;
  if ((c & cr0::kMp) && (c & cr0::kTs)) return in.raise(kDeviceNotAvailable);
  return x87_error_pending(in) ? Flow::kFault : Flow::kNext;
}

void initialise(X87& x87) {
  x87.fcw = 0x37f;
  x87.fsw = 0;
  x87.ftw = 0;
  x87.fop = x87.fcs = x87.fds = 0;
  x87.fip = x87.fdp = 0;
}

// FNINIT keeps the registers; relative to the new TOP of 0 they are in physical order.
void rotate_to_top(X87& x87, unsigned new_top) {
  const unsigned shift = (new_top + 8 - top_of(x87)) & 7;
  std::rotate(x87.st.begin(), x87.st.begin() + shift, x87.st.end());
}

Flow fninit(Interpreter& in, const Insn&) {
  if (!x87_enabled(in)) return Flow::kFault;
  rotate_to_top(in.state.x87, 0);
  initialise(in.state.x87);
  return Flow::kNext;
}

Flow fnclex(Interpreter& in, const Insn&) {
  if (!x87_enabled(in)) return Flow::kFault;
  in.state.x87.fsw &= 0x7f00;
  return Flow::kNext;
}

Flow fldcw(Interpreter& in, const Insn& insn) {
  if (!x87_enabled(in) || x87_error_pending(in)) return Flow::kFault;
  uint16_t value;
  if (!in.load<uint16_t>(insn.segment, in.ea(insn), value)) return Flow::kFault;
  in.state.x87.fcw = static_cast<uint16_t>((value & 0x1f7f) | 0x40);
  update_summary(in.state.x87);
  return Flow::kNext;
}

Flow fnstcw(Interpreter& in, const Insn& insn) {
  if (!x87_enabled(in)) return Flow::kFault;
  return in.store<uint16_t>(insn.segment, in.ea(insn), in.state.x87.fcw) ? Flow::kNext : Flow::kFault;
}
Flow fnstsw_memory(Interpreter& in, const Insn& insn) {
  if (!x87_enabled(in)) return Flow::kFault;
  return in.store<uint16_t>(insn.segment, in.ea(insn), in.state.x87.fsw) ? Flow::kNext : Flow::kFault;
}
Flow fnstsw_ax(Interpreter& in, const Insn&) {
  if (!x87_enabled(in)) return Flow::kFault;
  in.set_gpr<uint16_t>(kRax * 8, in.state.x87.fsw);
  return Flow::kNext;
}

// Environments: 14 bytes with 16-bit operand size, 28 with 32-bit; real-mode forms keep linear addresses.
// SDM vol. 1, figures 8-9 to 8-12. In the protected-mode forms selectors are zero, as CPUID says (ZERO_FCS_FDS).

bool real_format(const Interpreter& in) { return !in.state.protected_mode() || in.state.v86_mode(); }

unsigned write_environment(const Interpreter& in, unsigned size, uint8_t* to) {
  const X87& x87 = in.state.x87;
  const uint16_t ftw = full_tag_word(x87);
  if (size == 2) {
    uint16_t words[7] = {x87.fcw, x87.fsw, ftw, static_cast<uint16_t>(x87.fip), 0, static_cast<uint16_t>(x87.fdp), 0};
    if (real_format(in)) {
      const uint64_t ip = x87.fip + (uint64_t{x87.fcs} << 4), dp = x87.fdp + (uint64_t{x87.fds} << 4);
      words[3] = static_cast<uint16_t>(ip);
      words[4] = static_cast<uint16_t>((ip >> 4 & 0xf000) | x87.fop);
      words[5] = static_cast<uint16_t>(dp);
      words[6] = static_cast<uint16_t>(dp >> 4 & 0xf000);
    }
    std::memcpy(to, words, 14);
    return 14;
  }
  uint32_t words[7] = {0xffff0000u | x87.fcw, 0xffff0000u | x87.fsw, 0xffff0000u | ftw, static_cast<uint32_t>(x87.fip),
                       static_cast<uint32_t>(x87.fop) << 16, static_cast<uint32_t>(x87.fdp), 0xffff0000u};
  if (real_format(in)) {
    const uint64_t ip = x87.fip + (uint64_t{x87.fcs} << 4), dp = x87.fdp + (uint64_t{x87.fds} << 4);
    words[3] = 0xffff0000u | static_cast<uint16_t>(ip);
    words[4] = static_cast<uint32_t>((ip >> 4 & 0x0ffff000) | x87.fop);
    words[5] = 0xffff0000u | static_cast<uint16_t>(dp);
    words[6] = static_cast<uint32_t>(dp >> 4 & 0x0ffff000);
  }
  std::memcpy(to, words, 28);
  return 28;
}

void read_environment(const Interpreter& in, unsigned size, const uint8_t* from, X87& x87) {
  const auto word = [&](unsigned n) {
    uint32_t value = 0;
    std::memcpy(&value, from + n * size, size);
    return value;
  };
  x87.fcw = static_cast<uint16_t>((word(0) & 0x1f7f) | 0x40);
  const uint16_t fsw = static_cast<uint16_t>(word(1));
  rotate_to_top(x87, fsw >> kTopShift & 7);
  x87.fsw = fsw;
  x87.ftw = abridged_tags(static_cast<uint16_t>(word(2)));
  if (real_format(in)) {
    x87.fip = (word(3) & 0xffff) | (word(4) & (size == 2 ? 0xf000 : 0x0ffff000)) << 4;
    x87.fdp = (word(5) & 0xffff) | (word(6) & (size == 2 ? 0xf000 : 0x0ffff000)) << 4;
    x87.fcs = x87.fds = 0;
    x87.fop = word(4) & 0x7ff;
  } else {
    x87.fip = word(3);
    x87.fcs = static_cast<uint16_t>(word(4));
    x87.fdp = word(5);
    x87.fds = static_cast<uint16_t>(word(6));
    x87.fop = size == 4 ? word(4) >> 16 & 0x7ff : 0;
  }
  update_summary(x87);
}

unsigned environment_word(const Insn& insn) { return insn.op_size == 2 ? 2 : 4; }

// Where #AC is on, an environment must be aligned as its words are (SDM vol. 3, table 6-7).
bool check_environment(Interpreter& in, const Insn& insn, bool write) {
  const uint64_t offset = in.ea(insn);
  const unsigned word = environment_word(insn);
  std::byte* host;
  uint8_t first[4];
  return write ? in.writable_host(insn.segment, offset, word, host) : load_operand(in, insn, offset, first, word);
}

Flow fnstenv(Interpreter& in, const Insn& insn) {
  if (!x87_enabled(in)) return Flow::kFault;
  uint8_t image[28];
  const unsigned size = write_environment(in, environment_word(insn), image);
  if (!check_environment(in, insn, true) || !in.store_bytes(insn.segment, in.ea(insn), image, size)) return Flow::kFault;
  in.state.x87.fcw |= kExceptionFlags;  // all exceptions are masked
  update_summary(in.state.x87);
  return Flow::kNext;
}

Flow fldenv(Interpreter& in, const Insn& insn) {
  if (!x87_enabled(in) || x87_error_pending(in)) return Flow::kFault;
  uint8_t image[28];
  const unsigned word = environment_word(insn);
  if (!check_environment(in, insn, false) || !in.load_bytes(insn.segment, in.ea(insn), image, word * 7)) return Flow::kFault;
  read_environment(in, word, image, in.state.x87);
  return Flow::kNext;
}

Flow fnsave(Interpreter& in, const Insn& insn) {
  if (!x87_enabled(in)) return Flow::kFault;
  uint8_t image[108];
  const unsigned size = write_environment(in, environment_word(insn), image);
  X87& x87 = in.state.x87;
  for (unsigned n = 0; n < 8; ++n) {
    std::memcpy(image + size + 10 * n, &x87.st[n].significand, 8);
    std::memcpy(image + size + 10 * n + 8, &x87.st[n].sign_exponent, 2);
  }
  if (!check_environment(in, insn, true) || !in.store_bytes(insn.segment, in.ea(insn), image, size + 80)) return Flow::kFault;
  rotate_to_top(x87, 0);
  initialise(x87);
  return Flow::kNext;
}

Flow frstor(Interpreter& in, const Insn& insn) {
  if (!x87_enabled(in) || x87_error_pending(in)) return Flow::kFault;
  uint8_t image[108];
  const unsigned word = environment_word(insn);
  if (!check_environment(in, insn, false) || !in.load_bytes(insn.segment, in.ea(insn), image, word * 7 + 80)) return Flow::kFault;
  X87& x87 = in.state.x87;
  read_environment(in, word, image, x87);
  for (unsigned n = 0; n < 8; ++n) {
    std::memcpy(&x87.st[n].significand, image + word * 7 + 10 * n, 8);
    std::memcpy(&x87.st[n].sign_exponent, image + word * 7 + 10 * n + 8, 2);
  }
  return Flow::kNext;
}

Flow legacy_nop(Interpreter& in, const Insn&) { return x87_enabled(in) ? Flow::kNext : Flow::kFault; }  // FNENI, FNDISI, FNSETPM

Handler select_thunk(Lowering& lowering) {
  const Decoded& decoded = lowering.decoded;
  Insn& insn = lowering.insn;
  const Thunk thunk = lowering.interpreter.thunks().x87(decoded, insn.bytes);
  if (!thunk) return nullptr;
  insn.data = reinterpret_cast<const void*>(thunk);
  insn.imm = static_cast<uint64_t>((decoded.instruction.opcode & 7) << 8) | insn.bytes[decoded.instruction.raw.modrm.offset];
  insn.aux = 0;
  for (unsigned n = 0; n < decoded.instruction.operand_count_visible; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    insn.aux = static_cast<uint16_t>(operand.size / 8);
    if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) insn.aux |= kReads;
    if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) insn.aux |= kWrites;
  }
  return x87_thunk;
}

}  // namespace

Handler select_x87(Lowering& lowering) {
  const bool memory = is_memory(lowering, 0);
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_FWAIT: return fwait;
    case ZYDIS_MNEMONIC_FNINIT: return fninit;
    case ZYDIS_MNEMONIC_FNCLEX: return fnclex;
    case ZYDIS_MNEMONIC_FLDCW: return fldcw;
    case ZYDIS_MNEMONIC_FNSTCW: return fnstcw;
    case ZYDIS_MNEMONIC_FNSTSW: return memory ? fnstsw_memory : fnstsw_ax;
    case ZYDIS_MNEMONIC_FNSTENV: return fnstenv;
    case ZYDIS_MNEMONIC_FLDENV: return fldenv;
    case ZYDIS_MNEMONIC_FNSAVE: return fnsave;
    case ZYDIS_MNEMONIC_FRSTOR: return frstor;
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP: return legacy_nop;
    default: break;
  }
  if (lowering.decoded.instruction.meta.isa_ext != ZYDIS_ISA_EXT_X87 &&
      lowering.decoded.instruction.mnemonic != ZYDIS_MNEMONIC_FISTTP)
    return nullptr;
  return select_thunk(lowering);
}

}  // namespace skerry::x86
