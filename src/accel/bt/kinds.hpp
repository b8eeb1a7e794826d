// What the translator does with an instruction.
#pragma once

#include "x86/decoder.hpp"

namespace skerry::accel::bt {

enum class Kind : uint8_t {
  kPlain,      // copied, with its memory operand checked
  kNothing,    // no effect
  kLea,
  kMoveOffset, // MOV between the accumulator and an address in the instruction
  kPush, kPop, kLeave, kPushFlags,
  kReadSegment,    // MOV from a segment register to a general one
  kClearInterrupts, kSetInterrupts,
  kDivide, kMultiply,  // the latter: MULX
  kBitString,
  kRepeated,  // REP STOS and REP MOVS
  kReadTsc,
  kSwapGs,
  kVerifyWrite,  // VERW, which kernels execute on their way to a program so that it clears the processor's buffers
  kSyscall, kSysret, kSuspendSmap, kResumeSmap,  // change the mode, and may go on in translated code
  kJump, kConditional, kCall,                  // to an address in the instruction
  kJumpIndirect, kCallIndirect, kReturn,
  kInterpret,      // by the interpreter, and then on
  kInterruptReturn,  // IRETQ, by the interpreter
  kInterpretLast,  // by the interpreter, and the block ends: it goes elsewhere or changes the mode
};

Kind kind_of(const x86::Decoded& decoded);
// No instruction of the block comes after it, but for one behind a conditional jump.
bool ends_block(Kind kind);
// What it becomes needs the status flags in Context, or leaves translated code.
bool wants_flags_packed(Kind kind);
bool wants_flags_stored(Kind kind);
// What it becomes leaves the first scratch register alone, or says so if not.
bool keeps_scratch(Kind kind);

// The explicit memory operand, or null.
const ZydisDecodedOperand* memory_operand(const x86::Decoded& decoded);

bool reads_flags(const x86::Decoded& decoded);          // or leaves some as they were
bool writes_flags(const x86::Decoded& decoded);
bool carries(const x86::Decoded& decoded);  // one flag goes in and out, as in additions of many words
bool is_vector(const x86::Decoded& decoded);
// The alignment that a memory operand must have, or 0.
unsigned alignment_of(const x86::Decoded& decoded, const ZydisDecodedOperand& memory);

}  // namespace skerry::accel::bt
