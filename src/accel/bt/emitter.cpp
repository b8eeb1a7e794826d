#include "accel/bt/emitter.hpp"

#include <cstdlib>

#include "base/log.hpp"

namespace skerry::accel::bt {

using namespace Xbyak::util;

Emitter::Emitter(CodeCache& cache, const Offsets& offsets)
    : Xbyak::CodeGenerator(cache.size(), cache.writable()), cache_(cache), at_(offsets), wide_(__builtin_cpu_supports("avx")), has_rorx_(__builtin_cpu_supports("bmi2")) {
  make_fixed();
}

void Emitter::make_fixed() {
  make_pack();
  make_leave();
  make_lookups();
  make_enter();
  make_call(fill_, at_.fill, Exit::kInterpret);
  for (unsigned tlb = 0; tlb < 3; ++tlb)
    for (const bool write : {false, true}) make_refill(tlb, write);
  make_call(note_site_, at_.note_site, Exit::kResume);
  for (const bool write : {false, true}) make_refill_recent(write);
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

// Bytes of an instruction, as they are put together.
class Bytes {
 public:
  void add(std::initializer_list<uint8_t> bytes) {
    for (const uint8_t byte : bytes) bytes_[size_++] = byte;
  }
  void add32(uint32_t value) {
    std::memcpy(bytes_ + size_, &value, sizeof value);
    size_ += sizeof value;
  }
  const uint8_t* data() const { return bytes_; }
  size_t size() const { return size_; }

 private:
  uint8_t bytes_[56];
  size_t size_ = 0;
};

// In the encodings below (Intel SDM vol. 2, 2.1 and 2.2): 65 is GS, 4x REX, and 04 25 the ModRM and SIB of an absolute address.
constexpr uint8_t kGs = 0x65, kRexW = 8, kRexR = 4, kRexX = 2, kRexB = 1, kRex = 0x40;

void Emitter::move_field(uint8_t opcode, const Xbyak::Reg64& reg, int offset) {
  const auto number = static_cast<unsigned>(reg.getIdx());
  Bytes b;
  b.add({kGs, static_cast<uint8_t>(kRex | kRexW | (number >= 8 ? kRexR : 0)), opcode, static_cast<uint8_t>(0x04 | (number & 7) << 3), 0x25});
  b.add32(static_cast<uint32_t>(offset));
  raw(b.data(), b.size());
}

void Emitter::store_field32(int offset, uint32_t value) {
  Bytes b;
  b.add({kGs, 0xc7, 0x04, 0x25});
  b.add32(static_cast<uint32_t>(offset));
  b.add32(value);
  raw(b.data(), b.size());
}

void Emitter::store_field_value(int offset, int32_t value) {
  Bytes b;
  b.add({kGs, kRex | kRexW, 0xc7, 0x04, 0x25});
  b.add32(static_cast<uint32_t>(offset));
  b.add32(static_cast<uint32_t>(value));
  raw(b.data(), b.size());
}

unsigned Emitter::lea_first(int base, int index, unsigned scale, int32_t disp) {
  constexpr uint8_t kReg = (kFirst & 7) << 3, kSib = 4, kNone = 5, kNoIndex = 4;
  const auto bit = [](int reg, uint8_t rex) { return static_cast<uint8_t>(reg >= 8 ? rex : 0); };
  if (index < 0 && base == static_cast<int>(kFirst) && disp == 0) return kFirst;
  if (index < 0 && base >= 0 && disp == 0) {  // mov r14, base
    const uint8_t mov[] = {static_cast<uint8_t>(kRex | kRexW | bit(base, kRexR) | kRexB), 0x89, static_cast<uint8_t>(0xc0 | (base & 7) << 3 | (kFirst & 7))};
    raw(mov, sizeof mov);
    return static_cast<unsigned>(base);
  }
  const bool sib = index >= 0 || base < 0 || (base & 7) == kSib;
  const bool byte_disp = base >= 0 && disp == static_cast<int8_t>(disp);
  const bool no_disp = base >= 0 && disp == 0 && (base & 7) != kNone;
  const uint8_t mod = base < 0 || no_disp ? 0 : byte_disp ? 0x40 : 0x80;
  Bytes b;
  b.add({static_cast<uint8_t>(kRex | kRexW | kRexR | bit(index, kRexX) | bit(base, kRexB)), 0x8d,
         static_cast<uint8_t>(mod | kReg | (sib ? kSib : base & 7))});
  if (sib) {
    const unsigned shift = scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
    b.add({static_cast<uint8_t>(shift << 6 | (index < 0 ? kNoIndex : index & 7) << 3 | (base < 0 ? kNone : base & 7))});
  }
  if (base < 0 || (!no_disp && !byte_disp)) b.add32(static_cast<uint32_t>(disp));
  else if (!no_disp) b.add({static_cast<uint8_t>(disp)});
  raw(b.data(), b.size());
  return kFirst;
}

// Where its jump's displacement is, of an offset that is too large.
static size_t add_range_check(Bytes& b, uint32_t last) {
  b.add({0x49, 0x81, 0xfe});  // cmp r14, last
  b.add32(last);
  b.add({0x0f, 0x87});        // ja
  const size_t jump = b.size();
  b.add32(0);
  return jump;
}

// The difference to the tag is the offset in the page if the tag matches, and large if not; an access that goes beyond the page is
// too large as well.
uint8_t* Emitter::look_up_page(int tag, int host_page, uint32_t last, bool split, unsigned also) {
  constexpr uint32_t kMask = (x86::Tlb::kSize - 1) * sizeof(x86::TlbEntry);
  static_assert(sizeof(x86::TlbEntry) == 32 && (kMask & (kMask + 32)) == 0 && kFirst == 14 && kSecond == 15);
  Bytes b;
  if (has_rorx_) {
    const auto low = static_cast<uint8_t>(also < 8 ? 0x20 : 0);
    b.add({0xc4, static_cast<uint8_t>(0x43 | low), 0xfb, 0xf0, static_cast<uint8_t>(0xf8 | (also & 7)), 12 - 5});  // rorx r15, also, 7
  } else {
    b.add({0x4d, 0x89, 0xf7});          // mov r15, r14
    b.add({0x49, 0xc1, 0xef, 12 - 5});  // shr r15, 7
  }
  b.add({0x41, 0x81, 0xe7});        // and r15d, mask
  b.add32(kMask);
  b.add({kGs, 0x4d, 0x33, 0xb7});   // xor r14, gs:[r15 + tag]
  b.add32(static_cast<uint32_t>(tag));
  const size_t jump = add_range_check(b, last);
  if (split) b.add({kGs, 0x4d, 0x8b, 0xbf});  // mov r15, gs:[r15 + host_page]
  else b.add({kGs, 0x4d, 0x03, 0xb7});        // add r14, gs:[r15 + host_page]
  b.add32(static_cast<uint32_t>(host_page));
  uint8_t* const displacement = top_ + size_ + jump;
  raw(b.data(), b.size());
  return displacement;
}

uint8_t* Emitter::look_up_recent(int slot, uint32_t last, bool split) {
  static_assert(offsetof(x86::RecentPages::Slot, tag) == 0 && kFirst == 14 && kSecond == 15);
  Bytes b;
  b.add({kGs, 0x4c, 0x33, 0x34, 0x25});  // xor r14, gs:[tag]
  b.add32(static_cast<uint32_t>(slot));
  const size_t jump = add_range_check(b, last);
  if (split) b.add({kGs, 0x4c, 0x8b, 0x3c, 0x25});  // mov r15, gs:[host_page]
  else b.add({kGs, 0x4c, 0x03, 0x34, 0x25});              // add r14, gs:[host_page]
  b.add32(static_cast<uint32_t>(slot) + offsetof(x86::RecentPages::Slot, host_page));
  uint8_t* const displacement = top_ + size_ + jump;
  raw(b.data(), b.size());
  return displacement;
}

void Emitter::place_in_tlb() {
  mov(second_, first_);
  shr(second_, 12 - 5);
  and_(r15d, (x86::Tlb::kSize - 1) * sizeof(x86::TlbEntry));
}

void Emitter::save_flags(bool packed) {
  Bytes b;
  b.add({0x49, 0x89, 0xc7, 0x9f, 0x0f, 0x90, 0xc0});  // mov r15, rax; lahf; seto al
  b.add({0x66, kGs, 0x89, 0x04, 0x25});               // mov gs:[flags], ax
  b.add32(static_cast<uint32_t>(at_.flags));
  b.add({0x4c, 0x89, 0xf8});                          // mov rax, r15
  raw(b.data(), b.size());
  if (!packed) store_field32(at_.kept, 0);
}

// Adding 127 overflows for 1 and not for 0; SAHF leaves OF alone.
void Emitter::restore_flags() {
  mov(second_, rax);
  in_context().movzx(eax, word[Xbyak::RegExp(static_cast<size_t>(at_.flags))]);
  add(al, 0x7f);
  sahf();
  mov(rax, second_);
}

void Emitter::do_again(FlagRecipe::How how, const Xbyak::Reg& value, const Xbyak::Reg* other, int32_t immediate) {
  using How = FlagRecipe::How;
  const auto number = static_cast<uint32_t>(immediate);
  const auto add_ = [&] { other ? add(value, *other) : add(value, number); };
  const auto sub_ = [&] { other ? sub(value, *other) : sub(value, number); };
  switch (how) {
    case How::kNone: return;
    case How::kCompared: return other ? cmp(value, *other) : cmp(value, number);
    case How::kTested: return other ? test(value, *other) : test(value, number);
    case How::kResult: return test(value, value);
    case How::kAdded: return sub_(), add_();
    case How::kSubtracted: return add_(), sub_();
    case How::kNegated: return neg(value), neg(value);
    case How::kShiftedLeft: return other ? shl(value, cl) : shl(value, immediate);
    case How::kShiftedRight: return other ? shr(value, cl) : shr(value, immediate);
    case How::kShiftedArithmetically: return other ? sar(value, cl) : sar(value, immediate);
    case How::kMultiplied: return other ? imul(value, *other) : imul(value, value, immediate);
  }
}

void Emitter::save_registers() {
  for (unsigned guest = 0; guest < 16; ++guest)
    if (!is_homed(guest)) store_field(at_.gpr + static_cast<int>(8 * guest), Xbyak::Reg64(static_cast<int>(host_register(guest))));
}

void Emitter::load_registers() {
  for (unsigned guest = 0; guest < 16; ++guest)
    if (!is_homed(guest)) load_field(Xbyak::Reg64(static_cast<int>(host_register(guest))), at_.gpr + static_cast<int>(8 * guest));
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

// Intel's processors take some 70 cycles to go from SSE to AVX instructions or back while an upper half counts as in use, which it does
// once something was loaded to it, zeroes too (Intel's optimization manual, "Mixing AVX Code with SSE Code"). So upper halves that
// the guest has cleared, as programs do before they go on with SSE, are not loaded.
void Emitter::load_vectors() {
  const auto place = [&](int n, size_t first = 0) {
    return Xbyak::RegExp(static_cast<size_t>(at_.vector) + static_cast<size_t>(n) * sizeof(x86::VectorRegister) + first);
  };
  Xbyak::Label upper, loaded;
  if (wide_) {
    in_context().vmovdqu(xmm0, xword[place(0, 16)]);
    in_context().vmovdqu(xmm1, xword[place(1, 16)]);
    for (int n = 2; n < 16; ++n) in_context().vpor(Xbyak::Xmm(n % 2), Xbyak::Xmm(n % 2), xword[place(n, 16)]);
    vpor(xmm0, xmm0, xmm1);
    vptest(xmm0, xmm0);
    jnz(upper, T_NEAR);
    for (int n = 0; n < 16; ++n) in_context().vmovdqu(Xbyak::Xmm(n), xword[place(n)]);
    jmp(loaded, T_NEAR);
    L(upper);
    for (int n = 0; n < 16; ++n) in_context().vmovdqu(Xbyak::Ymm(n), yword[place(n)]);
    L(loaded);
  } else {
    for (int n = 0; n < 16; ++n) in_context().movdqu(Xbyak::Xmm(n), xword[place(n)]);
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
  mov(ebx, r14d);
  pack_kept();
  in_context().mov(rsp, field(at_.host_stack));
  save_vectors();
  in_context().mov(field32(at_.vector_loaded), 0);
  mov(eax, ebx);
  add(rsp, 8);
  for (const auto& reg : {r15, r14, r13, r12, rbp, rbx}) pop(reg);
  ret();
}

// The tables have no room for a hash: the lower bits of the address with some higher ones.
// Looks up the address in the first scratch register: its entry's place in the second one. The first one has the entry's tag.
void Emitter::find_jump(unsigned jump_slot, const Xbyak::Label& miss) {
  static_assert(sizeof(JumpEntry) == 16);
  const int tag = jump_entry(jump_slot, offsetof(JumpEntry, tag));
  mov(second_, first_);
  shr(second_, 9);
  xor_(r15d, r14d);
  and_(r15d, kJumpCount - 1);
  shl(r15d, 4);
  in_context().xor_(first_, field(jump_key(jump_slot)));
  in_context().cmp(first_, qword[second_ + tag]);
  Xbyak::Label hit;
  je(hit);
  xor_(r15d, kOtherWay * sizeof(JumpEntry));
  in_context().cmp(first_, qword[second_ + tag]);
  jne(miss, T_NEAR);
  L(hit);
}

void Emitter::look_up_jump(unsigned jump_slot, std::optional<uint32_t> info) {
  const int key = jump_key(jump_slot);
  Xbyak::Label miss;
  if (!info) in_context().mov(field32(at_.insn), r15d);
  find_jump(jump_slot, miss);
  in_context().xor_(first_, field(key));
  and_(first_, -4096);
  in_context().mov(field(at_.page_base), first_);
  in_context().jmp(qword[second_ + jump_entry(jump_slot, offsetof(JumpEntry, code))]);
  L(miss);
  in_context().xor_(first_, field(key));
  in_context().mov(field(at_.argument), first_);
  if (info) store_field32(at_.insn, *info);
  jump_to(leave_[static_cast<unsigned>(Exit::kLookup)]);
}

void Emitter::make_find_site(unsigned jump_slot) {
  Xbyak::Label miss;
  align(16);
  find_site_[jump_slot] = getCurr();
  find_jump(jump_slot, miss);
  in_context().mov(second_, qword[second_ + jump_entry(jump_slot, offsetof(JumpEntry, code))]);
  in_context().mov(field(at_.argument), second_);
  push(rax);
  in_context().mov(eax, field32(at_.site));
  in_context().mov(qword[rax + offsetof(JumpEntry, tag)], first_);
  in_context().mov(qword[rax + offsetof(JumpEntry, code)], second_);
  pop(rax);
  in_context().xor_(first_, field(jump_key(jump_slot)));
  and_(first_, -4096);
  in_context().mov(field(at_.page_base), first_);
  in_context().jmp(field(at_.argument));
  L(miss);
  in_context().xor_(first_, field(jump_key(jump_slot)));
  in_context().mov(field(at_.argument), first_);
  jump_to(leave_[static_cast<unsigned>(Exit::kLookup)]);
}

void Emitter::make_lookups() {
  for (unsigned n = 0; n < kModeSlots; ++n) {
    align(16);
    lookup_[n] = getCurr();
    look_up_jump(n, std::nullopt);
    make_find_site(n);
  }
  align(16);
  no_call_ = getCurr();
  lea(rsp, ptr[rsp - 8]);  // it stays: what is below the stack pointer is safe for 128 bytes (System V ABI, 3.2.2)
  in_context().jmp(field(at_.return_lookup));
}

// From the second TLB, if the page is there. It counts as one that is not global from then on.
void Emitter::make_refill(unsigned tlb, bool write) {
  using x86::SecondTlb;
  using x86::TlbEntry;
  static_assert(sizeof(SecondTlb::Entry) == 32 && sizeof(TlbEntry) == 32);
  const auto offset = [](size_t of) { return static_cast<int>(of); };
  const int first = at_.tlb[tlb], second = at_.second_tlb[tlb], entries = second + offset(offsetof(SecondTlb, entries));
  const int read_tag = first + offset(offsetof(TlbEntry, read_tag)), write_tag = first + offset(offsetof(TlbEntry, write_tag));
  const int may_read = entries + offset(offsetof(SecondTlb::Entry, read)), may_write = entries + offset(offsetof(SecondTlb::Entry, write));
  Xbyak::Label miss, there;
  align(16);
  refill_[tlb][write] = getCurr();
  const int tag = write ? write_tag : read_tag;
  in_context().xor_(first_, qword[second_ + tag]);  // the address again
  in_context().mov(field(at_.argument), first_);
  push(rax);
  push(rcx);
  mov(rcx, first_);
  shr(rcx, 12);
  mov(rax, rcx);
  shl(rax, 12);
  in_context().cmp(rax, qword[second_ + tag]);
  je(there, T_NEAR);
  mov(eax, ecx);
  and_(eax, SecondTlb::kSize - 1);
  shl(eax, 5);
  and_(first_, -4096);
  mov(second_, first_);
  in_context().or_(second_, field(second + offset(offsetof(SecondTlb, key))));
  in_context().cmp(second_, qword[rax + (write ? may_write : may_read)]);
  jne(miss, T_NEAR);
  and_(ecx, x86::Tlb::kSize - 1);
  in_context().btr(dword[Xbyak::RegExp(static_cast<size_t>(first + offset(x86::Tlb::global_offset())))], ecx);
  shl(ecx, 5);
  in_context().cmp(second_, qword[rax + (write ? may_read : may_write)]);
  mov(second_, x86::Tlb::kNoPage);
  cmove(second_, first_);
  in_context().mov(qword[rcx + (write ? read_tag : write_tag)], second_);
  in_context().mov(qword[rcx + (write ? write_tag : read_tag)], first_);
  mov(second_, first_);
  in_context().or_(second_, field(second + offset(offsetof(SecondTlb, key))));
  in_context().cmp(second_, qword[rax + entries + offset(offsetof(SecondTlb::Entry, fetch))]);
  mov(second_, x86::Tlb::kNoPage);
  cmove(second_, first_);
  in_context().mov(qword[rcx + first + offset(offsetof(TlbEntry, fetch_tag))], second_);
  in_context().mov(second_, qword[rax + entries + offset(offsetof(SecondTlb::Entry, host_page))]);
  in_context().mov(qword[rcx + first + offset(offsetof(TlbEntry, host_page))], second_);
  xor_(eax, eax);
  L(miss);
  pop(rcx);
  pop(rax);
  ret();
  L(there);  // and still it failed: the access is over the end of the page
  test(rsp, rsp);
  jmp(miss);
}

// What the TLB has goes into the slot.
void Emitter::make_refill_recent(bool write) {
  using x86::RecentPages;
  using x86::TlbEntry;
  const auto offset = [](size_t of) { return static_cast<int>(of); };
  const int first = at_.tlb[x86::Interpreter::kUserTlb];
  const int tag = first + offset(write ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag));
  const auto number_of_slot = [&] {
    lea(eax, ptr[second_ - at_.recent[0]]);
    shr(eax, 4);
  };
  const auto restore = [&] {
    pop(rdx);
    pop(rcx);
    pop(rax);
  };
  static_assert(sizeof(RecentPages::Slot) == 16);
  Xbyak::Label again, over, second, replaced, done, many;
  align(16);
  refill_recent_[write] = getCurr();
  L(again);
  in_context().mov(field(at_.argument), first_);
  push(rax);
  push(rcx);
  push(rdx);
  mov(rax, first_);
  and_(rax, -4096);
  in_context().cmp(rax, qword[second_]);
  je(over, T_NEAR);  // and still it failed: the access is over the end of the page
  mov(rcx, first_);
  shr(rcx, 12);
  mov(edx, ecx);
  and_(ecx, x86::Tlb::kSize - 1);
  shl(ecx, 5);
  in_context().cmp(rax, qword[rcx + tag]);
  jne(second, T_NEAR);
  in_context().mov(rcx, qword[rcx + (first + offset(offsetof(TlbEntry, host_page)))]);
  and_(edx, RecentPages::kPages - 1);
  in_context().bts(dword[Xbyak::RegExp(static_cast<size_t>(at_.recent_pages))], edx);
  in_context().mov(rdx, qword[second_]);
  in_context().mov(qword[second_], rax);
  in_context().mov(qword[second_ + offset(offsetof(RecentPages::Slot, host_page))], rcx);
  test(dl, 1);  // no page
  jz(replaced);
  in_context().mov(ecx, field32(at_.recent_filled));
  number_of_slot();
  in_context().mov(word[rcx * 2 + at_.recent_list], ax);
  in_context().inc(field32(at_.recent_filled));
  jmp(done);
  L(replaced);
  sub(rax, rdx);  // one that is beside the other does not count
  add(rax, 4096);
  test(rax, ~0x2000);
  jz(done);
  number_of_slot();
  in_context().inc(byte[rax + at_.recent_misses]);
  in_context().test(byte[rax + at_.recent_misses], RecentPages::kMany - 1);
  jz(many);
  L(done);
  restore();
  cmp(eax, eax);
  ret();
  L(many);
  restore();
  in_context().mov(field32(at_.site), r15d);
  mov(second_, qword[rsp]);
  in_context().mov(field(at_.argument), second_);
  call_routine(note_site_);
  cmp(eax, eax);
  ret();
  L(over);
  restore();
  test(rsp, rsp);
  ret();
  L(second);
  restore();
  push(second_);
  place_in_tlb();
  in_context().xor_(first_, qword[second_ + tag]);
  call_routine(refill_[x86::Interpreter::kUserTlb][write]);
  pop(second_);
  in_context().mov(first_, field(at_.argument));
  jz(again, T_NEAR);
  ret();
}

// By what Context::kept says, one of many places of the same size.
void Emitter::make_pack() {
  using How = FlagRecipe::How;
  constexpr unsigned kPlace = 32;
  Xbyak::Label places, kept_value, known, done;
  align(16);
  pack_ = getCurr();
  push(first_);
  push(rax);
  push(rcx);
  in_context().mov(eax, field32(at_.kept));
  in_context().mov(first_, field(at_.flag_value[0]));
  test(al, kKeptImmediate);
  jz(kept_value);
  movsxd(second_, eax);
  sar(second_, 8);
  jmp(known);
  L(kept_value);
  in_context().mov(second_, field(at_.flag_value[1]));
  L(known);
  and_(eax, kKeptImmediate - 1);
  shl(eax, 5);
  mov(ecx, r15d);  // how far to shift
  push(second_);
  lea(second_, ptr[rip + places]);
  add(rax, second_);
  pop(second_);
  jmp(rax);
  align(kPlace);
  L(places);
  for (unsigned how = 0; how < FlagRecipe::kHows; ++how)
    for (unsigned size = 1; size <= 8; size *= 2) {
      align(kPlace);
      const auto sized = [&](const Xbyak::Reg64& reg) { return reg.changeBit(static_cast<int>(8 * size)); };
      const Xbyak::Reg value = sized(first_), other = sized(second_);
      if (size >= 4 || how < static_cast<unsigned>(How::kMultiplied)) do_again(static_cast<How>(how), value, &other, 0);
      jmp(done, T_NEAR);
    }
  L(done);
  pop(rcx);
  pop(rax);
  pop(first_);
  save_flags();
  ret();
}

void Emitter::pack_kept() {
  Xbyak::Label none;
  in_context().cmp(field32(at_.kept), 0);
  je(none);
  call_routine(pack_);
  L(none);
}

// A call of a C++ function that may change the guest's state, and says whether the block goes on.
void Emitter::make_call(const uint8_t*& routine, int helper, Exit otherwise) {
  Xbyak::Label leave, resume;
  align(16);
  routine = getCurr();
  save_registers();
  pack_kept();
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
