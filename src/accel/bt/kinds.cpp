#include "accel/bt/kinds.hpp"

#include <cpuid.h>

#include "accel/bt/operands.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::accel::bt {

namespace {

constexpr uint64_t kStatus = x86::flags::kStatus;

bool has_rep(const x86::Decoded& decoded) {
  return decoded.has(ZYDIS_ATTRIB_HAS_REP) || decoded.has(ZYDIS_ATTRIB_HAS_REPE) || decoded.has(ZYDIS_ATTRIB_HAS_REPNE);
}

bool is_gpr(ZydisRegisterClass kind) {
  return kind == ZYDIS_REGCLASS_GPR8 || kind == ZYDIS_REGCLASS_GPR16 || kind == ZYDIS_REGCLASS_GPR32 ||
         kind == ZYDIS_REGCLASS_GPR64;
}
bool is_segment(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && class_of(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT;
}
bool is_vector_register(ZydisRegisterClass kind) { return kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM; }

// Whether all it touches is general and vector registers, status flags, and one memory operand in the instruction.
bool has_plain_operands(const x86::Decoded& decoded) {
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    const bool hidden = operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
    switch (operand.type) {
      case ZYDIS_OPERAND_TYPE_IMMEDIATE: break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        if (operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM || operand.mem.type != ZYDIS_MEMOP_TYPE_MEM) return false;
        break;
      case ZYDIS_OPERAND_TYPE_REGISTER: {
        const ZydisRegisterClass kind = class_of(operand.reg.value);
        if (is_gpr(kind)) {
          if (hidden && id_of(operand.reg.value) == x86::kRsp && operand.size > 8) return false;
        } else if (!is_vector_register(kind) && kind != ZYDIS_REGCLASS_FLAGS && operand.reg.value != ZYDIS_REGISTER_MXCSR) {
          return false;
        }
        break;
      }
      default: return false;
    }
  }
  return true;
}

// The interpreter knows SHA instructions on every host.
bool host_has_sha() {
  static const bool has = [] {
    constexpr unsigned kSha = 1u << 29;
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & kSha);
  }();
  return has;
}

bool is_plain_category(const x86::Decoded& decoded) {
  switch (decoded.instruction.meta.category) {
    case ZYDIS_CATEGORY_BINARY: case ZYDIS_CATEGORY_LOGICAL: case ZYDIS_CATEGORY_SHIFT: case ZYDIS_CATEGORY_ROTATE:
    case ZYDIS_CATEGORY_BITBYTE: case ZYDIS_CATEGORY_CMOV: case ZYDIS_CATEGORY_DATAXFER: case ZYDIS_CATEGORY_SEMAPHORE:
    case ZYDIS_CATEGORY_CONVERT: case ZYDIS_CATEGORY_FLAGOP: case ZYDIS_CATEGORY_SSE: case ZYDIS_CATEGORY_AVX:
    case ZYDIS_CATEGORY_AVX2: case ZYDIS_CATEGORY_VFMA: case ZYDIS_CATEGORY_AES: case ZYDIS_CATEGORY_PCLMULQDQ:
    case ZYDIS_CATEGORY_BMI1: case ZYDIS_CATEGORY_BMI2: case ZYDIS_CATEGORY_LZCNT: case ZYDIS_CATEGORY_ADOX_ADCX:
    case ZYDIS_CATEGORY_LOGICAL_FP: case ZYDIS_CATEGORY_BROADCAST: case ZYDIS_CATEGORY_SETCC: return true;
    case ZYDIS_CATEGORY_SHA: return host_has_sha();
    default: return false;
  }
}

// Of those categories, what is not for copying.
bool is_special(const x86::Decoded& decoded) {
  const ZydisDecodedOperand* memory = memory_operand(decoded);
  if (memory && memory->size > 256) return true;  // FXSAVE and its like
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR: case ZYDIS_MNEMONIC_STMXCSR: case ZYDIS_MNEMONIC_VLDMXCSR: case ZYDIS_MNEMONIC_VSTMXCSR:
    case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: case ZYDIS_MNEMONIC_CLD: case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_SALC: case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV: case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD: case ZYDIS_MNEMONIC_VPMASKMOVQ: case ZYDIS_MNEMONIC_XLAT: case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2: case ZYDIS_MNEMONIC_CLAC: case ZYDIS_MNEMONIC_STAC: return true;
    default: return false;
  }
}

// A bit string in memory, which reaches beyond the operand.
bool is_bit_string(const x86::Decoded& decoded) {
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTC:
      return memory_operand(decoded) && decoded.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    default: return false;
  }
}

// Whether a shift or rotate may be one by nothing, which leaves all flags alone.
bool may_count_zero(const x86::Decoded& decoded) {
  const ZydisDecodedOperand& count = decoded.operands[decoded.instruction.operand_count_visible - 1];
  if (count.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return true;
  return (count.imm.value.u & (decoded.instruction.operand_width == 64 ? 63 : 31)) == 0;
}

Kind kind_of_branch(const x86::Decoded& decoded) {
  const ZydisDecodedInstruction& insn = decoded.instruction;
  const bool relative = insn.operand_count_visible > 0 && decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
                        decoded.operands[0].imm.is_relative;
  // Branches with a 16-bit instruction pointer, and far ones.
  const bool odd = insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || insn.operand_width == 16;
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_JMP: return odd ? Kind::kInterpretLast : relative ? Kind::kJump : Kind::kJumpIndirect;
    case ZYDIS_MNEMONIC_CALL: return odd ? Kind::kInterpretLast : relative ? Kind::kCall : Kind::kCallIndirect;
    case ZYDIS_MNEMONIC_RET: return odd ? Kind::kInterpretLast : Kind::kReturn;
    case ZYDIS_MNEMONIC_LOOP: case ZYDIS_MNEMONIC_LOOPE: case ZYDIS_MNEMONIC_LOOPNE: case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ: case ZYDIS_MNEMONIC_JRCXZ: return Kind::kInterpretLast;
    default: break;
  }
  return insn.meta.category == ZYDIS_CATEGORY_COND_BR && relative && !odd ? Kind::kConditional : Kind::kInterpretLast;
}

Kind kind_of_stack(const x86::Decoded& decoded) {
  const ZydisDecodedInstruction& insn = decoded.instruction;
  const bool wide = insn.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
  if (insn.operand_width != (wide ? 64 : 32) || insn.stack_width != (wide ? 64 : 32)) return Kind::kInterpret;
  if (insn.mnemonic == ZYDIS_MNEMONIC_LEAVE) return Kind::kLeave;
  const ZydisDecodedOperand& operand = decoded.operands[0];
  const bool simple = operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE ||
                      (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_gpr(class_of(operand.reg.value)));
  if (insn.mnemonic == ZYDIS_MNEMONIC_PUSH && operand.type == ZYDIS_OPERAND_TYPE_MEMORY) return Kind::kPush;
  if (!simple) return Kind::kInterpret;
  if (insn.mnemonic == ZYDIS_MNEMONIC_PUSH) return Kind::kPush;
  return insn.mnemonic == ZYDIS_MNEMONIC_POP ? Kind::kPop : Kind::kInterpret;
}

}  // namespace

Kind kind_of(const x86::Decoded& decoded) {
  const ZydisDecodedInstruction& insn = decoded.instruction;
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_LEA: return insn.address_width == 16 ? Kind::kInterpret : Kind::kLea;
    case ZYDIS_MNEMONIC_LEAVE: return kind_of_stack(decoded);
    case ZYDIS_MNEMONIC_NOP: case ZYDIS_MNEMONIC_ENDBR32: case ZYDIS_MNEMONIC_ENDBR64: case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0: case ZYDIS_MNEMONIC_PREFETCHT1: case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW: return Kind::kNothing;
    case ZYDIS_MNEMONIC_LFENCE: case ZYDIS_MNEMONIC_MFENCE: case ZYDIS_MNEMONIC_SFENCE: return Kind::kPlain;
    case ZYDIS_MNEMONIC_MULX: return Kind::kMultiply;
    case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV: return insn.operand_width >= 32 ? Kind::kDivide : Kind::kInterpret;
    case ZYDIS_MNEMONIC_PUSHFD: return insn.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? Kind::kInterpret : Kind::kPushFlags;
    case ZYDIS_MNEMONIC_PUSHFQ: return Kind::kPushFlags;
    case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: return Kind::kReadTsc;
    case ZYDIS_MNEMONIC_SWAPGS: return Kind::kSwapGs;
    case ZYDIS_MNEMONIC_VERW: return Kind::kVerifyWrite;
    case ZYDIS_MNEMONIC_SYSCALL: return Kind::kSyscall;
    case ZYDIS_MNEMONIC_SYSRET: return Kind::kSysret;
    case ZYDIS_MNEMONIC_STAC: return Kind::kSuspendSmap;
    case ZYDIS_MNEMONIC_CLAC: return Kind::kResumeSmap;
    case ZYDIS_MNEMONIC_CLI: return Kind::kClearInterrupts;
    case ZYDIS_MNEMONIC_STI: return Kind::kSetInterrupts;
    case ZYDIS_MNEMONIC_IRETQ: return Kind::kInterruptReturn;
    case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ: return Kind::kInterpret;
    default: break;
  }
  switch (insn.meta.category) {
    case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET: case ZYDIS_CATEGORY_COND_BR: case ZYDIS_CATEGORY_UNCOND_BR:
      return kind_of_branch(decoded);
    case ZYDIS_CATEGORY_PUSH: case ZYDIS_CATEGORY_POP: return kind_of_stack(decoded);
    case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_SYSCALL: case ZYDIS_CATEGORY_SYSRET: return Kind::kInterpretLast;
    default: break;
  }
  if (insn.mnemonic == ZYDIS_MNEMONIC_MOV && is_segment(decoded.operands[1]) &&
      decoded.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
    return Kind::kReadSegment;
  if (insn.mnemonic == ZYDIS_MNEMONIC_HLT) return Kind::kInterpretLast;
  if (decoded.has(ZYDIS_ATTRIB_IS_PRIVILEGED) || insn.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
      insn.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW || insn.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP)
    return Kind::kInterpret;
  if (insn.address_width == 16 && memory_operand(decoded)) return Kind::kInterpret;
  if (insn.meta.category == ZYDIS_CATEGORY_STRINGOP && decoded.has(ZYDIS_ATTRIB_HAS_REP)) {
    switch (insn.mnemonic) {
      case ZYDIS_MNEMONIC_STOSB: case ZYDIS_MNEMONIC_STOSW: case ZYDIS_MNEMONIC_STOSD: case ZYDIS_MNEMONIC_STOSQ:
      case ZYDIS_MNEMONIC_MOVSB: case ZYDIS_MNEMONIC_MOVSW: case ZYDIS_MNEMONIC_MOVSD: case ZYDIS_MNEMONIC_MOVSQ: return Kind::kRepeated;
      default: return Kind::kInterpret;
    }
  }
  if (is_bit_string(decoded)) return insn.operand_width >= 32 ? Kind::kBitString : Kind::kInterpret;
  if (!is_plain_category(decoded) || is_special(decoded)) return Kind::kInterpret;
  if (insn.mnemonic == ZYDIS_MNEMONIC_MOV && !(insn.attributes & ZYDIS_ATTRIB_HAS_MODRM)) {
    for (unsigned n = 0; n < 2; ++n)
      if (decoded.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY) return Kind::kMoveOffset;
  }
  return has_plain_operands(decoded) && !(has_rep(decoded) && !decoded.has(ZYDIS_ATTRIB_HAS_LOCK)) ? Kind::kPlain
                                                                                                   : Kind::kInterpret;
}

bool ends_block(Kind kind) {
  switch (kind) {
    case Kind::kJump: case Kind::kConditional: case Kind::kCall: case Kind::kJumpIndirect: case Kind::kCallIndirect:
    case Kind::kReturn: case Kind::kInterruptReturn: case Kind::kInterpretLast: case Kind::kSyscall: case Kind::kSysret: case Kind::kSuspendSmap:
    case Kind::kResumeSmap: return true;
    default: return false;
  }
}

bool wants_flags_packed(Kind kind) {
  switch (kind) {
    case Kind::kPushFlags: case Kind::kSyscall: case Kind::kInterpret: case Kind::kVerifyWrite: case Kind::kBitString:
    case Kind::kInterruptReturn: return true;
    default: return false;
  }
}

bool wants_flags_stored(Kind kind) {
  switch (kind) {
    case Kind::kClearInterrupts: case Kind::kSetInterrupts: return true;
    default: return ends_block(kind) && kind != Kind::kJump && kind != Kind::kConditional;
  }
}

bool keeps_scratch(Kind kind) {
  switch (kind) {
    case Kind::kPlain: case Kind::kNothing: case Kind::kLea: case Kind::kMoveOffset: case Kind::kPush: case Kind::kPop:
    case Kind::kLeave: case Kind::kMultiply: case Kind::kConditional: return true;
    default: return false;
  }
}

const ZydisDecodedOperand* memory_operand(const x86::Decoded& decoded) {
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) return &operand;
  }
  return nullptr;
}

bool writes_flags(const x86::Decoded& decoded) {
  const ZydisAccessedFlags* flags = decoded.instruction.cpu_flags;
  return flags && ((flags->modified | flags->set_0 | flags->set_1 | flags->undefined) & kStatus);
}

bool reads_flags(const x86::Decoded& decoded) {
  const ZydisAccessedFlags* flags = decoded.instruction.cpu_flags;
  if (!flags) return false;
  if (flags->tested & kStatus) return true;
  const uint64_t written = (flags->modified | flags->set_0 | flags->set_1) & kStatus;
  if (!((written | flags->undefined) & kStatus)) return false;
  const auto category = decoded.instruction.meta.category;
  if ((category == ZYDIS_CATEGORY_SHIFT || category == ZYDIS_CATEGORY_ROTATE) && may_count_zero(decoded)) return true;
  return ((written | flags->undefined) & kStatus) != kStatus;
}

bool carries(const x86::Decoded& decoded) {
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_ADC: case ZYDIS_MNEMONIC_SBB: case ZYDIS_MNEMONIC_ADCX: case ZYDIS_MNEMONIC_ADOX: return true;
    default: return false;
  }
}

bool is_vector(const x86::Decoded& decoded) {
  if (decoded.instruction.meta.category == ZYDIS_CATEGORY_AVX || decoded.instruction.meta.category == ZYDIS_CATEGORY_AVX2 ||
      decoded.instruction.meta.category == ZYDIS_CATEGORY_SSE)
    return true;
  if (decoded.instruction.meta.category == ZYDIS_CATEGORY_CONVERT) {  // from memory to a general register none shows
    switch (decoded.instruction.mnemonic) {
      case ZYDIS_MNEMONIC_CBW: case ZYDIS_MNEMONIC_CWDE: case ZYDIS_MNEMONIC_CDQE: case ZYDIS_MNEMONIC_CWD:
      case ZYDIS_MNEMONIC_CDQ: case ZYDIS_MNEMONIC_CQO: return false;
      default: return true;
    }
  }
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    if (is_vector_register(class_of(operand.reg.value)) || operand.reg.value == ZYDIS_REGISTER_MXCSR) return true;
  }
  return false;
}

unsigned alignment_of(const x86::Decoded& decoded, const ZydisDecodedOperand& memory) {
  const unsigned size = memory.size / 8u;
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CMPXCHG16B: return 16;
    case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU: case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI: case ZYDIS_MNEMONIC_PCMPESTRM: case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM: return 0;
    case ZYDIS_MNEMONIC_VMOVAPS: case ZYDIS_MNEMONIC_VMOVAPD: case ZYDIS_MNEMONIC_VMOVDQA: case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD: case ZYDIS_MNEMONIC_VMOVNTDQ: case ZYDIS_MNEMONIC_VMOVNTDQA: return size;
    default: break;
  }
  return decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && size == 16 && is_vector(decoded) ? 16 : 0;
}

}  // namespace skerry::accel::bt
