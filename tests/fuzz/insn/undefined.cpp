#include "undefined.hpp"

#include <map>

#include "guest_side.hpp"
#include "x86/exception.hpp"

namespace skerry::fuzz {

using namespace x86;

namespace {

constexpr uint64_t kCf = flags::kCf, kPf = flags::kPf, kAf = flags::kAf, kZf = flags::kZf, kSf = flags::kSf, kOf = flags::kOf;

// The count of a shift or rotate: its immediate, or -1 where it is in CL.
int shift_count(const Decoded& decoded) {
  const unsigned last = decoded.instruction.operand_count_visible - 1u;
  const ZydisDecodedOperand& operand = decoded.operands[last];
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
    return static_cast<int>(operand.imm.value.u & (decoded.operands[0].size == 64 ? 0x3f : 0x1f));
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER ? -1 : 1;
}

bool is_shift(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR: case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL: case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD: return true;
    default: return false;
  }
}

uint64_t undefined_by_shift(const Decoded& decoded) {
  const int count = shift_count(decoded);
  const int width = decoded.operands[0].size;
  const uint64_t overflow = count == 1 || count == 0 ? 0 : kOf;  // defined for 1-bit shifts only
  switch (decoded.instruction.mnemonic) {
    // SDM vol. 2, "SAL/SAR/SHL/SHR", Flags Affected: AF, OF for counts other than 1, CF for counts of the size or more.
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR: return overflow | (count == 0 ? 0 : kAf) | (count < 0 || count >= width ? kCf : 0);
    case ZYDIS_MNEMONIC_SAR: return overflow | (count == 0 ? 0 : kAf);
    // SDM vol. 2, "RCL/RCR/ROL/ROR": OF for counts other than 1.
    case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL: case ZYDIS_MNEMONIC_RCR: return overflow;
    // SDM vol. 2, "SHLD", "SHRD": AF, OF for counts other than 1; all when the count is greater than the size.
    default: return count < 0 || count > width ? flags::kStatus : overflow | (count == 0 ? 0 : kAf);
  }
}

}  // namespace

uint64_t undefined_flags(const Decoded& decoded) {
  const ZydisMnemonic mnemonic = decoded.instruction.mnemonic;
  if (is_shift(mnemonic)) return undefined_by_shift(decoded);
  switch (mnemonic) {
    // Intel SDM vol. 2, "Flags Affected" of each.
    case ZYDIS_MNEMONIC_AAA: case ZYDIS_MNEMONIC_AAS: return kOf | kSf | kZf | kPf;
    case ZYDIS_MNEMONIC_AAD: case ZYDIS_MNEMONIC_AAM: return kOf | kAf | kCf;
    case ZYDIS_MNEMONIC_DAA: case ZYDIS_MNEMONIC_DAS: return kOf;
    case ZYDIS_MNEMONIC_AND: case ZYDIS_MNEMONIC_OR: case ZYDIS_MNEMONIC_XOR: case ZYDIS_MNEMONIC_TEST: return kAf;
    case ZYDIS_MNEMONIC_ANDN: return kAf | kPf;
    case ZYDIS_MNEMONIC_BEXTR: return kAf | kSf | kPf;
    case ZYDIS_MNEMONIC_BLSI: case ZYDIS_MNEMONIC_BLSMSK: case ZYDIS_MNEMONIC_BLSR: case ZYDIS_MNEMONIC_BZHI: return kAf | kPf;
    case ZYDIS_MNEMONIC_BSF: case ZYDIS_MNEMONIC_BSR: return kCf | kOf | kSf | kAf | kPf;
    case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTC:
      return kOf | kSf | kAf | kPf;
    case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV: return flags::kStatus;
    case ZYDIS_MNEMONIC_MUL: case ZYDIS_MNEMONIC_IMUL: return kSf | kZf | kAf | kPf;
    case ZYDIS_MNEMONIC_LZCNT: case ZYDIS_MNEMONIC_TZCNT: return kOf | kSf | kPf | kAf;
    default: return 0;
  }
}

uint64_t written_flags(const Decoded& decoded) {
  const ZydisAccessedFlags* cpu = decoded.instruction.cpu_flags;
  if (!cpu) return 0;
  // A count of zero leaves all flags alone, and so may a repeated comparison.
  if (is_shift(decoded.instruction.mnemonic) && shift_count(decoded) <= 0) return 0;
  if (decoded.instruction.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) return 0;
  return (cpu->modified | cpu->set_0 | cpu->set_1) & flags::kStatus & ~undefined_flags(decoded);
}

uint64_t read_flags(const Decoded& decoded) {
  const ZydisAccessedFlags* cpu = decoded.instruction.cpu_flags;
  uint64_t read = cpu ? cpu->tested & flags::kStatus : 0;
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFD: case ZYDIS_MNEMONIC_PUSHFQ: read = flags::kStatus; break;
    case ZYDIS_MNEMONIC_LAHF: read = kSf | kZf | kAf | kPf | kCf; break;
    default: break;
  }
  return read;
}

std::vector<Step> analyse(const Case& test) {
  std::vector<Step> steps;
  std::map<uint64_t, uint64_t> arriving;  // undefined flags by jump target
  uint64_t undefined = 0;
  for (size_t at = 0; at < test.code.size();) {
    Step step{};
    step.rip = test.registers.rip + at;
    step.undefined = undefined |= arriving[step.rip];
    if (decode(std::span(test.code).subspan(at), test.mode, step.decoded) != DecodeStatus::kOk) break;
    const Decoded& decoded = step.decoded;
    undefined = (undefined & ~written_flags(decoded)) | undefined_flags(decoded);
    at += decoded.instruction.length;
    if (decoded.instruction.operand_count_visible > 0 && decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
        decoded.operands[0].imm.is_relative)
      arriving[test.registers.rip + at + decoded.operands[0].imm.value.u] |= undefined;
    steps.push_back(step);
  }
  Step end{};
  end.rip = test.registers.rip + test.code.size();
  end.undefined = undefined | arriving[end.rip];
  steps.push_back(end);
  return steps;
}

namespace {

bool is_x87(const Decoded& decoded) {
  const ZydisDecodedInstruction& instruction = decoded.instruction;
  return (instruction.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (instruction.opcode & 0xf8) == 0xd8) ||
         instruction.mnemonic == ZYDIS_MNEMONIC_FXRSTOR || instruction.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
}

// Whether x87 pointers and opcode may be stored in memory that are those of some instruction: AMD's processors keep them
// otherwise than Intel's (see compare_x87()). The zeroes from before the first instruction are the same.
bool stores_x87_pointers(const std::vector<Step>& steps) {
  bool stores = false, sets = false;
  for (size_t n = 0; n + 1 < steps.size(); ++n) {
    const ZydisMnemonic mnemonic = steps[n].decoded.instruction.mnemonic;
    const bool store = mnemonic == ZYDIS_MNEMONIC_FNSAVE || mnemonic == ZYDIS_MNEMONIC_FNSTENV;
    stores |= store;
    sets |= !store && is_x87(steps[n].decoded);
  }
  return stores && sets;
}

}  // namespace

bool depends_on_undefined(const std::vector<Step>& steps) {
  for (size_t n = 0; n + 1 < steps.size(); ++n)
    if (read_flags(steps[n].decoded) & steps[n].undefined) return true;
  return processor_of_amd() && stores_x87_pointers(steps);
}

bool accesses_in_any_order(const std::vector<Step>& steps, const Outcome& outcome) {
  for (const Step& step : steps) {
    if (step.rip != outcome.registers.rip) continue;
    switch (step.decoded.instruction.mnemonic) {
      case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FRSTOR: case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FLDENV:
      case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64:
      case ZYDIS_MNEMONIC_ENTER: return true;
      // Several elements may lie in a page that faults; a store has been seen to report the last byte of them all.
      case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVD:
      case ZYDIS_MNEMONIC_VPMASKMOVQ: return true;
      default: return false;
    }
  }
  return false;
}

bool limit_is_open(const Case& test, const Outcome& a, const Outcome& b) {
  constexpr uint64_t kLastPage = 0xfffff000;
  return test.mode == CodeSize::k32 && (a.vector == kGeneralProtection || a.vector == kStackFault) && a.error_code == 0 &&
         b.vector == kPageFault && b.cr2 >= kLastPage;
}

uint64_t undefined_bits(const std::vector<Step>& steps, const Outcome& outcome, unsigned number) {
  for (const Step& step : steps) {
    // POPA that faults may have loaded some registers; it loads them again when it is restarted.
    if (step.rip == outcome.registers.rip && number != kRsp && outcome.vector != kBreakpoint &&
        (step.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_POPA || step.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_POPAD))
      return ~uint64_t{0};
    if (number != kRcx && number != kRsi && number != kRdi) continue;
    // A repeated string instruction with 32-bit addresses that faults: processors clear the upper halves even when
    // nothing was done; the manual does not say.
    constexpr uint64_t kRepeated = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    if (step.rip == outcome.registers.rip && (step.decoded.instruction.attributes & kRepeated) &&
        step.decoded.instruction.address_width == 32)
      return 0xffffffff00000000;
  }
  return 0;
}

namespace {

// Whether AMD's processors leave another state than Intel's and the engine, or raise something else, where `decoded` raises
// the exception of `outcome`.
bool amd_faults_otherwise(const Decoded& decoded, const Outcome& outcome) {
  const ZydisDecodedInstruction& instruction = decoded.instruction;
  const ZydisDecodedOperand& first = decoded.operands[0];
  const bool stores = first.type == ZYDIS_OPERAND_TYPE_MEMORY && (first.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
  if (outcome.vector == kAlignmentCheck) {
    // Accesses of 16 bytes and more are checked too; Intel's processors leave it at those up to 8 bytes.
    for (unsigned n = 0; n < instruction.operand_count; ++n)
      if (decoded.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY && decoded.operands[n].size >= 128) return true;
  }
  // A store from an MMX register has left the x87 state alone.
  if (stores && decoded.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
      ZydisRegisterGetClass(decoded.operands[1].reg.value) == ZYDIS_REGCLASS_MMX)
    return true;
  switch (instruction.meta.category) {
    // Where both the value and the address raise an exception, it is that of the address. SDM vol. 3, table 6-2: the order
    // is up to the implementation.
    case ZYDIS_CATEGORY_X87_ALU: return stores && (~outcome.registers.x87.fcw & 0x3f);
    // The flags are those of the last comparison, not those from before the instruction.
    case ZYDIS_CATEGORY_STRINGOP: return instruction.attributes & (ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    // Elements of the mask that are still to do are not made all ones.
    case ZYDIS_CATEGORY_AVX2GATHER: return true;
    // MXCSR has not got the flags of the conversion.
    case ZYDIS_CATEGORY_CONVERT: return stores;
    default: return false;
  }
}

}  // namespace

bool is_open(const std::vector<Step>& steps, const Outcome& outcome) {
  // MXCSR.MM (AMD APM vol. 1, 4.2.2), which guests do not have: here loading it raises no #GP.
  constexpr uint32_t kMisalignedMask = 1 << 17;
  if (processor_of_amd() && (outcome.registers.mxcsr & kMisalignedMask)) return true;
  for (const Step& step : steps) {
    if (step.rip != outcome.registers.rip) continue;
    if (processor_of_amd() && outcome.vector != kBreakpoint && amd_faults_otherwise(step.decoded, outcome)) return true;
    switch (step.decoded.instruction.mnemonic) {
      // SDM vol. 2, MASKMOVDQU: whether masked bytes fault is up to the implementation.
      case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVDQU: return true;
      default: return false;
    }
  }
  return false;
}

namespace {

// Where the memory operand of an instruction is that changed no register, because it raised a fault.
uint64_t operand_address(const Step& step, const Registers& r, const ZydisDecodedOperand& operand) {
  ZydisRegisterContext context{};
  const bool wide = step.decoded.instruction.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
  for (unsigned n = 0; n < 16; ++n) {
    context.values[ZYDIS_REGISTER_RAX + n] = r.gpr[n];
    context.values[ZYDIS_REGISTER_EAX + n] = r.gpr[n] & 0xffffffff;
    context.values[ZYDIS_REGISTER_AX + n] = r.gpr[n] & 0xffff;
  }
  ZyanU64 address = 0;
  if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&step.decoded.instruction, &operand, r.rip, &context, &address))) return 0;
  if (operand.mem.segment == ZYDIS_REGISTER_GS) address += kGsBase;
  return wide ? address : address & 0xffffffff;
}

}  // namespace

std::vector<Range> undefined_memory(const std::vector<Step>& steps, const Outcome& outcome) {
  const Registers& r = outcome.registers;
  for (const Step& step : steps) {
    if (step.rip != r.rip || outcome.vector == kBreakpoint) continue;
    const bool wide = step.decoded.instruction.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    const uint64_t stack = r.gpr[kRsp] & (wide ? ~uint64_t{0} : 0xffffffff);
    switch (step.decoded.instruction.mnemonic) {
      // An indirect call to a bad address: SDM vol. 2, CALL, checks the target before it pushes, processors after.
      case ZYDIS_MNEMONIC_CALL: return {{stack - 8, 8}};
      // Stores of several parts, some of which may be done when another faults.
      case ZYDIS_MNEMONIC_PUSHA: case ZYDIS_MNEMONIC_PUSHAD: return {{stack - 32, 32}};
      case ZYDIS_MNEMONIC_ENTER: return {{stack - 8 * 33, 8 * 33}};
      case ZYDIS_MNEMONIC_FSTP: case ZYDIS_MNEMONIC_FBSTP: case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FNSAVE:
      case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_MOVBE:
        return {{operand_address(step, r, step.decoded.operands[0]), step.decoded.operands[0].size / 8u}};
      default: return {};
    }
  }
  return {};
}

}  // namespace skerry::fuzz
