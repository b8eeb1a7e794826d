#include "accel/bt/emitter.hpp"

#include <cstdlib>

#include "base/log.hpp"

namespace skerry::accel::bt {

using namespace Xbyak::util;

Emitter::Emitter(CodeCache& cache, const Offsets& offsets)
    : Xbyak::CodeGenerator(cache.size(), cache.writable()), cache_(cache), at_(offsets), wide_(__builtin_cpu_supports("avx")) {
  make_fixed();
}

void Emitter::make_fixed() {
  make_leave();
  make_lookups();
  make_enter();
  make_call(fill_, at_.fill, Exit::kInterpret);
  make_call(interpret_, at_.interpret, Exit::kResume);
  align(16);
  load_vectors_ = getCurr();
  load_vectors();
  ret();
  align(64);
  fixed_size_ = getSize();
  check_library();
}

// The library keeps an error until it is asked: it would be one of this program.
void Emitter::check_library() {
  if (Xbyak::GetError() == Xbyak::ERR_NONE) return;
  log::failure("bt: host code cannot be written: {}", Xbyak::ConvertErrorToString(Xbyak::GetError()));
  std::abort();
}

void Emitter::save_flags() {
  mov(second_, rax);
  lahf();
  seto(al);
  in_context().mov(word[Xbyak::RegExp(static_cast<size_t>(at_.flags))], ax);
  mov(rax, second_);
}

// Adding 127 overflows for 1 and not for 0; SAHF leaves OF alone.
void Emitter::restore_flags() {
  mov(second_, rax);
  in_context().movzx(eax, word[Xbyak::RegExp(static_cast<size_t>(at_.flags))]);
  add(al, 0x7f);
  sahf();
  mov(rax, second_);
}

void Emitter::save_registers() {
  for (int n = 0; n < 13; ++n)
    if (n != x86::kRsp) in_context().mov(field(at_.gpr + 8 * n), Xbyak::Reg64(n));
  in_context().mov(field(at_.gpr + 8 * x86::kRsp), stack_);
}

void Emitter::load_registers() {
  in_context().mov(stack_, field(at_.gpr + 8 * x86::kRsp));
  for (int n = 0; n < 13; ++n)
    if (n != x86::kRsp) in_context().mov(Xbyak::Reg64(n), field(at_.gpr + 8 * n));
}

void Emitter::save_vectors() {
  Xbyak::Label none;
  in_context().cmp(field32(at_.vector_loaded), 0);
  je(none, T_NEAR);
  for (int n = 0; n < 16; ++n) {
    const Xbyak::RegExp place(static_cast<size_t>(at_.vector) + static_cast<size_t>(n) * sizeof(x86::VectorRegister));
    if (wide_) in_context().vmovdqu(yword[place], Xbyak::Ymm(n));
    else in_context().movdqu(xword[place], Xbyak::Xmm(n));
  }
  in_context().stmxcsr(field32(at_.mxcsr));
  in_context().ldmxcsr(field32(at_.host_mxcsr));
  if (wide_) vzeroupper();
  L(none);
}

void Emitter::load_vectors() {
  for (int n = 0; n < 16; ++n) {
    const Xbyak::RegExp place(static_cast<size_t>(at_.vector) + static_cast<size_t>(n) * sizeof(x86::VectorRegister));
    if (wide_) in_context().vmovdqu(Xbyak::Ymm(n), yword[place]);
    else in_context().movdqu(Xbyak::Xmm(n), xword[place]);
  }
  in_context().ldmxcsr(field32(at_.mxcsr));
  in_context().mov(field32(at_.vector_loaded), 1);
}

// rdi: the context; rsi: the code.
void Emitter::make_enter() {
  align(16);
  enter_ = reinterpret_cast<Enter>(const_cast<uint8_t*>(cache_.executable(getCurr())));
  for (const auto& reg : {rbx, rbp, r12, r13, r14, r15}) push(reg);
  sub(rsp, 8);
  in_context().mov(field(at_.host_stack), rsp);
  lea(rax, ptr[rsp - static_cast<int>(kReturnSpace)]);
  in_context().mov(field(at_.return_limit), rax);
  lea(rax, ptr[rip]);
  const uint8_t* here = getCurr();
  add(rax, static_cast<int>(no_call_ - here));
  push(rax);
  in_context().mov(field(at_.value), rsi);
  in_context().movzx(eax, word[Xbyak::RegExp(static_cast<size_t>(at_.flags))]);
  add(al, 0x7f);
  sahf();
  load_registers();
  in_context().jmp(field(at_.value));
}

void Emitter::make_leave() {
  Xbyak::Label common;
  for (unsigned n = 0; n < 5; ++n) {
    align(16);
    leave_[n] = getCurr();
    mov(r14d, n);
    jmp(common, T_NEAR);
  }
  align(16);
  L(common);
  save_registers();
  in_context().mov(rsp, field(at_.host_stack));
  save_vectors();
  in_context().mov(field32(at_.vector_loaded), 0);
  mov(eax, r14d);
  add(rsp, 8);
  for (const auto& reg : {r15, r14, r13, r12, rbp, rbx}) pop(reg);
  ret();
}

// The tables have no room for a hash: the lower bits of the address with some higher ones.
void Emitter::look_up_jump(unsigned jump_slot) {
  static_assert(sizeof(JumpEntry) == 32);
  const int table = at_.jumps + static_cast<int>(jump_slot * kJumpCount * sizeof(JumpEntry));
  const int key = at_.jump_key + static_cast<int>(8 * (jump_slot & 1));
  in_context().mov(field32(at_.insn), r15d);
  mov(second_, first_);
  shr(second_, 9);
  xor_(r15d, r14d);
  and_(r15d, kJumpCount - 1);
  shl(r15d, 5);
  in_context().xor_(first_, field(key));
  in_context().cmp(first_, qword[second_ + table + static_cast<int>(offsetof(JumpEntry, tag))]);
  Xbyak::Label hit, miss;
  je(hit);
  xor_(r15d, kOtherWay * sizeof(JumpEntry));
  in_context().cmp(first_, qword[second_ + table + static_cast<int>(offsetof(JumpEntry, tag))]);
  jne(miss);
  L(hit);
  in_context().mov(first_, qword[second_ + table + static_cast<int>(offsetof(JumpEntry, page))]);
  in_context().mov(field(at_.page_base), first_);
  in_context().jmp(qword[second_ + table + static_cast<int>(offsetof(JumpEntry, code))]);
  L(miss);
  in_context().xor_(first_, field(key));
  in_context().mov(field(at_.argument), first_);
  jump_to(leave_[static_cast<unsigned>(Exit::kLookup)]);
}

void Emitter::make_lookups() {
  for (unsigned n = 0; n < kModeSlots; ++n) {
    align(16);
    lookup_[n] = getCurr();
    look_up_jump(n);
  }
  align(16);
  no_call_ = getCurr();
  lea(rsp, ptr[rsp - 8]);  // it stays: what is below the stack pointer is safe for 128 bytes (System V ABI, 3.2.2)
  in_context().jmp(field(at_.return_lookup));
}

// A call of a C++ function that may change the guest's state, and says whether the block goes on.
void Emitter::make_call(const uint8_t*& routine, int helper, Exit otherwise) {
  Xbyak::Label leave, resume;
  align(16);
  routine = getCurr();
  save_registers();
  save_vectors();
  in_context().mov(rdi, field(at_.self));
  mov(rbx, rsp);  // remembered calls are above; the ABI wants it aligned
  and_(rsp, -16);
  in_context().call(field(helper));
  mov(rsp, rbx);
  test(al, al);
  jz(leave, T_NEAR);
  in_context().cmp(field32(at_.vector_loaded), 0);
  je(resume, T_NEAR);
  load_vectors();
  L(resume);
  load_registers();
  ret();
  L(leave);
  // The registers are saved, the state is right: only the way out is left.
  in_context().mov(rsp, field(at_.host_stack));
  in_context().mov(field32(at_.vector_loaded), 0);
  mov(eax, static_cast<unsigned>(otherwise));
  add(rsp, 8);
  for (const auto& reg : {r15, r14, r13, r12, rbp, rbx}) pop(reg);
  ret();
}

}  // namespace skerry::accel::bt
