// Instructions that read or change what is the processor's rather than the program's: flags, segments, counters, privilege.
#include "accel/bt/translator.hpp"

namespace skerry::accel::bt {

using namespace x86;
using Xbyak::Reg64;
using Xbyak::RegExp;

void Translator::push_flags() {
  const unsigned size = stack_size();
  gather_flags();
  in_context().mov(field(at_.value), second_);
  const RegExp top = at(check_stack(-static_cast<int>(size), size, true));
  in_context().mov(second_, field(at_.value));
  if (size == 8) mov(qword[top], second_);
  else mov(dword[top], r15d);
  move_stack(-static_cast<int>(size));
}

bool Translator::read_segment() {
  const ZydisDecodedOperand& target = decoded_->operands[0];
  const unsigned segment = id_of(decoded_->operands[1].reg.value);
  if (block_->mode.code64() && (segment == kCs || segment == kSs)) {
    if (options_.lockstep) return interpret();
    spare_flags();
    in_context().cmp(field32(at_.crossed), 0);  // they may still be those of another privilege: see cross()
    to_interpreter(kNotZero);
  }
  const unsigned guest = id_of(target.reg.value);
  in_context().movzx(r14d, word[RegExp(static_cast<size_t>(at_.selector[segment]))]);
  if (target.size == 16) {
    if (is_homed(guest)) in_context().mov(word[RegExp(static_cast<size_t>(at_.gpr) + 8 * guest)], r14w);
    else mov(Xbyak::Reg16(static_cast<int>(host_register(guest))), r14w);
  } else {
    if (is_homed(guest)) in_context().mov(field(at_.gpr + static_cast<int>(8 * guest)), first_);
    else mov(Reg64(static_cast<int>(host_register(guest))), first_);
  }
  return true;
}

void Translator::clear_interrupts() {
  spare_flags();
  in_context().and_(field32(at_.rflags), static_cast<uint32_t>(~flags::kIf));
  in_context().and_(field32(at_.interest), static_cast<uint32_t>(~request::kInterrupt));
}

// With an interrupt waiting it is the interpreter's, who takes it after the next instruction. One that comes later is taken
// when the next block begins.
void Translator::set_interrupts() {
  spare_flags();
  in_context().test(field32(at_.requests), static_cast<uint32_t>(request::kInterrupt));
  to_interpreter(kNotZero);
  in_context().or_(field32(at_.rflags), static_cast<uint32_t>(flags::kIf));
  in_context().or_(field32(at_.interest), static_cast<uint32_t>(request::kInterrupt));
}

void Translator::read_tsc() {
  spare_flags();
  in_context().cmp(field32(at_.tsc_direct + (block_->mode.user() ? 4 : 0)), 0);
  to_interpreter(kZero);
  const bool with_processor = decoded_->instruction.mnemonic == ZYDIS_MNEMONIC_RDTSCP;
  if (with_processor) lfence();  // it waits for what comes before it
  rdtsc();
  shl(rdx, 32);
  or_(rax, rdx);
  in_context().add(rax, field(at_.tsc_offset));
  mov(rdx, rax);
  shr(rdx, 32);
  mov(eax, eax);
  if (with_processor) in_context().mov(ecx, field32(at_.tsc_aux));
}

// Other privileges -------------------------------------------------------------------------------------------------------------

void Translator::swap_gs() {
  in_context().mov(first_, field(at_.kernel_gs_base));
  in_context().mov(second_, field(at_.segment_base[kGs]));
  in_context().mov(field(at_.segment_base[kGs]), first_);
  in_context().mov(field(at_.kernel_gs_base), second_);
}

// Of a writable data segment in the GDT. All else, which has another outcome or may fault, is the interpreter's.
bool Translator::verify_write() {
  const ZydisDecodedOperand& operand = decoded_->operands[0];
  const bool from_memory = operand.type == ZYDIS_OPERAND_TYPE_MEMORY;
  if (block_->mode.user() || !block_->mode.code64() || options_.lockstep || (from_memory && !can_address(operand))) return interpret();
  need_packed();
  // The table is accessed as by SMAP whatever AC is.
  if (block_->mode.tlb() == Interpreter::kSupervisorTlb) {
    in_context().test(field32(at_.rflags), static_cast<uint32_t>(flags::kAc));
    to_interpreter(kNotZero);
  }
  if (from_memory) {
    const RegExp place = at(check(operand, 2, false, true));
    movzx(r14d, word[place]);
  } else {
    load_guest(first_, id_of(operand.reg.value));
    movzx(r14d, r14w);
  }
  held_ = -1;
  constexpr unsigned kNotIndex = 7, kLast = 7;  // RPL and TI; of a descriptor's bytes
  test(r14b, kNotIndex);
  to_interpreter(kNotZero);
  test(r14d, r14d);
  to_interpreter(kZero);
  in_context().movzx(r15d, word[RegExp(static_cast<size_t>(at_.gdt_limit))]);
  lea(r14d, ptr[first_ + static_cast<int>(kLast)]);
  cmp(r14d, r15d);
  to_interpreter(kAbove);
  lea(first_, ptr[first_ - static_cast<int>(kLast)]);
  in_context().add(first_, field(at_.gdt_base));
  slow(Slow::What::kInterpret, find_page(false, kPageBytes - 8, false), nullptr, offset_, 0);
  mov(first_, qword[first_]);
  constexpr unsigned kWritable = 1 << 1, kCode = 1 << 3, kCodeOrData = 1 << 4;  // from bit 40 on
  shr(first_, 40);
  and_(r14d, kWritable | kCode | kCodeOrData);
  cmp(r14d, kWritable | kCodeOrData);
  to_interpreter(kNotZero);
  in_context().or_(byte[RegExp(static_cast<size_t>(at_.flags + 1))], static_cast<uint32_t>(flags::kZf));  // as LAHF has it
  return true;
}

// Whether an instruction of that privilege can be translated that changes it.
bool Translator::may_cross(bool user) const {
  return options_.crossings && options_.jumps && !options_.lockstep && block_->mode.code64() && block_->mode.user() == user;
}

void Translator::begin_crossing(int crossing) {
  spare_flags();
  in_context().cmp(field(crossing + static_cast<int>(offsetof(Crossing, lookup))), 0);
  to_interpreter(kZero);
}

// CS and SS are loaded when somebody may look: see Runner::settle(). The mapping is the same, but what calls are remembered is
// code of the mode that is left.
void Translator::cross(int crossing) {
  in_context().mov(r15d, field32(crossing + static_cast<int>(offsetof(Crossing, mode))));
  in_context().mov(field32(at_.mode), r15d);
  in_context().mov(second_, field(crossing + static_cast<int>(offsetof(Crossing, lookup))));
  in_context().mov(field(at_.return_lookup), second_);
  leave_calls();
  mov(r15d, jump_info(offset_, 0));
  in_context().jmp(field(crossing + static_cast<int>(offsetof(Crossing, lookup))));
}

void Translator::leave_calls() {
  in_context().mov(rsp, field(at_.host_stack));
  lea(rsp, ptr[rsp - 8]);
}

// Into R15, the whole of RFLAGS.
void Translator::gather_flags() {
  need_packed();
  const RegExp flags(static_cast<size_t>(at_.flags));
  in_context().movzx(r14d, byte[flags]);  // OF
  shl(r14d, 11);
  in_context().movzx(r15d, byte[flags + 1]);
  or_(r14d, r15d);
  in_context().mov(r15d, field32(at_.rflags));
  and_(r15d, static_cast<uint32_t>(~(flags::kStatus | flags::kRf | flags::kVm)));
  or_(r15d, r14d);
}

// From R15, and what follows from IF.
void Translator::scatter_flags() {
  static_assert(request::kInterrupt == flags::kIf >> 8 && flags::kOf == 1 << 11);
  in_context().mov(field(at_.rflags), second_);
  mov(r14d, r15d);
  and_(r14d, static_cast<uint32_t>(flags::kStatus & ~flags::kOf));
  shl(r14d, 8);
  bt(r15d, 11);
  adc(r14d, 0);
  in_context().mov(word[RegExp(static_cast<size_t>(at_.flags))], r14w);
  store_field32(at_.kept, 0);
  shr(r15d, 8);
  and_(r15d, static_cast<uint32_t>(request::kInterrupt));
  in_context().mov(r14d, field32(at_.interest));
  and_(r14d, static_cast<uint32_t>(~request::kInterrupt));
  or_(r14d, r15d);
  in_context().mov(field32(at_.interest), r14d);
}

// Intel SDM vol. 2, SYSCALL. With AC set, and where it is not there, it is the interpreter's.
bool Translator::syscall_() {
  if (!may_cross(true)) return interpret_last(), false;
  begin_crossing(at_.to_kernel);
  gather_flags();
  test(r15d, static_cast<uint32_t>(flags::kAc));
  to_interpreter(kNotZero);
  static_assert(is_homed(x86::kR11) && !is_homed(x86::kRcx));
  store_field(at_.gpr + 8 * x86::kR11, second_);
  in_context().mov(rcx, field(at_.page_base));
  lea(rcx, ptr[rcx + static_cast<int>(next_)]);
  in_context().mov(first_, field(at_.fmask));
  not_(first_);
  and_(second_, first_);
  or_(r15d, static_cast<uint32_t>(flags::kFixed1));
  scatter_flags();
  in_context().mov(field32(at_.crossed), static_cast<uint32_t>(Crossed::kSyscall));
  in_context().mov(first_, field(at_.lstar));
  cross(at_.to_kernel);
  return false;
}

// Of the flags that R11 may set, TF and AC make the interpreter do it.
bool Translator::sysret_() {
  constexpr uint32_t kTaken = 0x3c7fd7;  // all but RF, VM and reserved bits
  const bool wide = decoded_->instruction.raw.rex.W;
  if (!may_cross(false) || !wide) return interpret_last(), false;
  begin_crossing(at_.to_user);
  mov(first_, rcx);
  shl(first_, 16);
  sar(first_, 16);
  cmp(first_, rcx);
  to_interpreter(kNotZero);
  load_guest(second_, x86::kR11);
  test(r15d, static_cast<uint32_t>(flags::kTf | flags::kAc));
  to_interpreter(kNotZero);
  and_(r15d, kTaken);
  or_(r15d, static_cast<uint32_t>(flags::kFixed1));
  scatter_flags();
  in_context().mov(field32(at_.crossed), static_cast<uint32_t>(Crossed::kSysret));
  mov(first_, rcx);
  cross(at_.to_user);
  return false;
}

// STAC and CLAC.
bool Translator::set_access(bool suspended) {
  const int crossing = suspended ? at_.to_open : at_.to_kernel;
  if (!may_cross(false)) return interpret_last(), false;
  begin_crossing(crossing);
  if (suspended) in_context().or_(field32(at_.rflags), static_cast<uint32_t>(flags::kAc));
  else in_context().and_(field32(at_.rflags), static_cast<uint32_t>(~flags::kAc));
  page_address(next_);
  cross(crossing);
  return false;
}

}  // namespace skerry::accel::bt
