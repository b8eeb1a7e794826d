// One decoded instruction as the interpreter keeps it: a cache line, made once by lower() and then only executed.
//
// An Insn is a pure function of its bytes, the code size and the CPU model. Before each use the interpreter compares the
// bytes with guest memory, so nothing ever has to be invalidated when code changes.
#pragma once

#include <array>
#include <cstdint>

#include "x86/cpu_state.hpp"
#include "x86/decoder.hpp"

namespace skerry::x86 {

class Interpreter;
class CpuModel;
struct Insn;

// How execution goes on after a handler.
enum class Flow : uint8_t {
  kNext,    // at state.rip, which was advanced before the handler ran and may have been set by it
  kRepeat,  // the instruction has done a part (REP); it is begun again after a look at events
  kFault,   // an exception was raised by Interpreter::raise(); nothing the instruction does is visible
  kStop,    // like kNext, but the state that the fast loop relies on may have changed: interrupt and trap flags,
            // segments, mode, privilege, activity
};

using Handler = Flow (*)(Interpreter&, const Insn&);

// Where a part of an address or a register operand is in CpuState: a slot is a number of 8-byte words from gpr[0].
constexpr uint8_t kSlotRip = 16, kSlotZero = 17;

namespace prefix {
constexpr uint8_t kLock = 1, kRep = 2, kRepne = 4;
}

// All zeroes is no instruction.
struct alignas(64) Insn {
  std::array<uint8_t, 16> bytes{};  // the instruction itself, then zeroes
  Handler handler = nullptr;
  uint64_t imm = 0;     // sign-extended where the instruction says so; the offset of moffs forms
  const void* data = nullptr;  // the handler's own
  int32_t disp = 0;
  uint8_t length = 0;   // 0: no instruction here
  uint8_t code_size = 0;  // a CodeSize, none of which is 0
  uint8_t op_size = 0;    // operand size in bytes
  uint8_t addr_size = 0;  // address size in bytes
  // Memory operand: segment, base and index slots (kSlotZero for none), shift of the index.
  uint8_t segment = 0, base = kSlotZero, index = kSlotZero, scale = 0;
  // Register operands in order of appearance. General registers: the byte offset of the register from gpr[0] (so AH is 1
  // and R8 is 64); others: their number.
  std::array<uint8_t, 3> reg{};
  uint8_t prefixes = 0;
  uint16_t aux = 0;    // the handler's own
  uint16_t match = 0;  // a bit for each of `bytes` that memory must still hold
};
static_assert(sizeof(Insn) == 64);

// What a file of handlers needs to choose one.
struct Lowering {
  const Decoded& decoded;
  const CpuModel& model;
  Interpreter& interpreter;
  Insn& insn;  // all common fields are filled in; the selector sets what else its handler wants
};

// Each gives the handler for the instruction, or null if the instruction is not of its group.
Handler select_integer(Lowering& lowering);     // two-operand arithmetic, moves, CMOVcc, SETcc
Handler select_bits(Lowering& lowering);        // shifts, rotates, bit tests, BMI, ADX, CRC32
Handler select_arithmetic(Lowering& lowering);  // multiply, divide, exchanges, decimal
Handler select_flow(Lowering& lowering);     // near jumps, calls, returns, stack, flags
Handler select_string(Lowering& lowering);   // MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS
Handler select_interrupts(Lowering& lowering);  // INT, IRET, BOUND
Handler select_segments(Lowering& lowering);    // segment registers, descriptor tables, LAR and its like
Handler select_far(Lowering& lowering);         // far transfers, system calls
Handler select_control(Lowering& lowering);     // control and debug registers, INVLPG, HLT, CPUID, RDTSC
Handler select_msr(Lowering& lowering);         // RDMSR, WRMSR
Handler select_paravirt(Lowering& lowering);    // VMCALL, VMMCALL
Handler select_smm(Lowering& lowering);         // RSM
Handler select_io(Lowering& lowering);          // IN, OUT
Handler select_x87(Lowering& lowering);      // x87 and MMX state management
Handler select_vector(Lowering& lowering);   // MMX, SSE, AVX, AES, SHA
Handler select_xstate(Lowering& lowering);   // FXSAVE, XSAVE and family, LDMXCSR, STMXCSR

}  // namespace skerry::x86
