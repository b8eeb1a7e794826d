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

bool has_prefix(const ZydisDecodedInstruction& instruction, uint8_t prefix) {
  for (unsigned n = 0; n < instruction.raw.prefix_count; ++n)
    if (instruction.raw.prefixes[n].value == prefix) return true;
  return false;
}

// What AMD's processors do otherwise than Intel's, whose manual the engine follows. How they differ where an instruction
// faults is in undefined.cpp, amd_faults_otherwise().
bool differs_on_amd(const Decoded& decoded) {
  const ZydisDecodedInstruction& instruction = decoded.instruction;
  const bool wide = instruction.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
  // In 64-bit mode 66 makes the operand size of a near branch 16 bits (AMD APM vol. 1, 3.7.9); Intel's ignore it.
  if (wide && instruction.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && (instruction.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE))
    return true;
  // A count of 0 in ECX leaves RCX, RSI and RDI alone; Intel's clear the upper halves. The manuals do not say.
  constexpr uint64_t kRepeated = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
  if (wide && (instruction.attributes & kRepeated) && instruction.address_width == 32) return true;
  switch (instruction.mnemonic) {
    // MXCSR_MASK, which it stores, has the bit MM (AMD APM vol. 1, 4.2.2) that Intel's and the guest's have not.
    case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: return true;
    // 0F 0D with a register raises #UD (AMD APM vol. 3, PREFETCH); Intel's take it for a NOP.
    case ZYDIS_MNEMONIC_NOP: return instruction.opcode_map == ZYDIS_OPCODE_MAP_0F && instruction.opcode == 0x0d;
    // REX.B makes it an XCHG with R8, F3 or not.
    case ZYDIS_MNEMONIC_PAUSE: return instruction.raw.rex.B;
    // F2 and F3, reserved with these, choose the condition (AMD APM vol. 3, 1.2.6; Intel SDM vol. 2, 2.1.1).
    case ZYDIS_MNEMONIC_LOOPE: case ZYDIS_MNEMONIC_LOOPNE:
      return has_prefix(instruction, 0xf2) || has_prefix(instruction, 0xf3);
    // VEX.W raises #UD outside of 64-bit mode; Intel's ignore it (Intel SDM vol. 2, PINSRB/PINSRD/PINSRQ).
    case ZYDIS_MNEMONIC_VPINSRD: case ZYDIS_MNEMONIC_VPEXTRD: return !wide && instruction.raw.vex.W;
    // With 66 it reads 32 bits, of which it keeps 16 (AMD APM vol. 3, MOVSXD); Intel's read 16.
    case ZYDIS_MNEMONIC_MOVSXD: return instruction.operand_width == 16;
    // Zero-extends a selector to 32 bits; Intel's store 16 bits (Intel SDM vol. 2, PUSH, allows both).
    case ZYDIS_MNEMONIC_PUSH:
      return ZydisRegisterGetClass(decoded.operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT && instruction.operand_width == 32;
    default: return false;
  }
}

// Of FIP and FDP as loaded with 64 bits the processor keeps as many as its addresses have.
bool differs_with_57_bits(const Decoded& decoded) { return decoded.instruction.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64; }

}  // namespace

bool may_be_tested(const Decoded& decoded) {
  return both_have(decoded) && !depends_on_the_machine(decoded.instruction.mnemonic) && !leaves_the_sequence(decoded) &&
         !changes_a_segment(decoded) && decoded.instruction.meta.isa_set != ZYDIS_ISA_SET_MPX &&
         !(processor_of_amd() && differs_on_amd(decoded)) && !(differs_with_57_bits(decoded) && processor_has_57_bits());
}

}  // namespace skerry::fuzz
