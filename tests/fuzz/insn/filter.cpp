// Which instructions say the same on the processor, under Linux, and in the guest.
#include "generator.hpp"
#include "guest_side.hpp"

namespace skerry::fuzz {

using namespace x86;

namespace {

bool depends_on_the_machine(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    // Time, randomness, identity.
    case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_RDPMC: case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED: case ZYDIS_MNEMONIC_RDPID: case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_XGETBV:
    // Descriptor tables: the machine's own, and under UMIP Linux invents values.
    case ZYDIS_MNEMONIC_SGDT: case ZYDIS_MNEMONIC_SIDT: case ZYDIS_MNEMONIC_SLDT: case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW: case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    // The extended state of this processor is wider than the guest's; these have unit tests.
    case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64: case ZYDIS_MNEMONIC_XSAVEOPT: case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64: case ZYDIS_MNEMONIC_XSETBV: return true;
    default: return false;
  }
}

bool leaves_the_sequence(const Decoded& decoded) {
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL: case ZYDIS_MNEMONIC_SYSENTER: case ZYDIS_MNEMONIC_SYSEXIT: case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_INT1: case ZYDIS_MNEMONIC_IRET: case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_VMCALL: case ZYDIS_MNEMONIC_VMMCALL: case ZYDIS_MNEMONIC_VMFUNC:
    case ZYDIS_MNEMONIC_WRFSBASE: case ZYDIS_MNEMONIC_WRGSBASE: case ZYDIS_MNEMONIC_RDFSBASE: return true;
    case ZYDIS_MNEMONIC_INT: return decoded.operands[0].imm.value.u == 0x80;
    case ZYDIS_MNEMONIC_JMP: case ZYDIS_MNEMONIC_CALL: case ZYDIS_MNEMONIC_RET:
      return decoded.instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    default: return false;
  }
}

bool changes_a_segment(const Decoded& decoded) {
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
        ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT)
      return true;
    // FS has the thread's own data.
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.segment == ZYDIS_REGISTER_FS) return true;
  }
  return false;
}

}  // namespace

bool may_be_tested(const Decoded& decoded) {
  return both_have(decoded) && !depends_on_the_machine(decoded.instruction.mnemonic) && !leaves_the_sequence(decoded) &&
         !changes_a_segment(decoded) && decoded.instruction.meta.isa_set != ZYDIS_ISA_SET_MPX;
}

}  // namespace skerry::fuzz
