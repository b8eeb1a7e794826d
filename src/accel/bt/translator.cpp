#include "accel/bt/translator.hpp"

#include <cstring>

#include "accel/bt/rewriter.hpp"

namespace skerry::accel::bt {

using namespace x86;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::RegExp;

namespace {

constexpr unsigned kBelow = 2, kAbove = 7, kNotZero = 5, kZero = 4, kAboveEqual = 3, kBelowEqual = 6;  // condition codes
constexpr uint32_t kPageBytes = memory::kPageSize;

bool fits_disp(int64_t value) { return value == static_cast<int32_t>(value); }

bool is_rip(const ZydisDecodedOperand& memory) {
  return memory.mem.base == ZYDIS_REGISTER_RIP || memory.mem.base == ZYDIS_REGISTER_EIP;
}

unsigned id_of(ZydisRegister reg) { return static_cast<unsigned>(ZydisRegisterGetId(reg)); }

bool writes(const ZydisDecodedOperand& operand) { return operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE; }

// The guest's general registers among the operands, with those written.
struct HomedUse {
  unsigned count = 0;
  unsigned guest[4];
  bool written[4];
};

HomedUse homed_use(const Decoded& decoded) {
  HomedUse use;
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
    unsigned guest = id_of(operand.reg.value);
    if (kind == ZYDIS_REGCLASS_GPR8) {
      if (operand.reg.value < ZYDIS_REGISTER_R8B) continue;
      guest = static_cast<unsigned>(operand.reg.value - ZYDIS_REGISTER_R8B) + 8;
    } else if (kind != ZYDIS_REGCLASS_GPR16 && kind != ZYDIS_REGCLASS_GPR32 && kind != ZYDIS_REGCLASS_GPR64) {
      continue;
    }
    if (!is_homed(guest)) continue;
    unsigned at = 0;
    while (at < use.count && use.guest[at] != guest) ++at;
    if (at == use.count) {
      use.guest[use.count] = guest;
      use.written[use.count++] = false;
    }
    use.written[at] |= writes(operand);
  }
  return use;
}

}  // namespace

// The block ------------------------------------------------------------------------------------------------------------------

void Translator::translate(Block& block, std::span<const uint8_t> guest_page, unsigned jump_slot, std::deque<Edge>& edges) {
  // Another vCPU may be changing the bytes: what was decoded has to be what is copied.
  const size_t size = std::min<size_t>(kMostInstructions * 15, kPageBytes - block.offset);
  std::memcpy(code_copy_.data() + block.offset, guest_page.data() + block.offset, size);
  const std::span<const uint8_t> page(code_copy_);
  block_ = &block;
  edges_ = &edges;
  jump_slot_ = jump_slot;
  flags_ = block.entry == Entry::kFlagsLive ? Flags::kHost : Flags::kSaved;
  vectors_ensured_ = ends_interpreted_ = false;
  slow_.clear();
  align(16);
  uint8_t* start = const_cast<uint8_t*>(getCurr());
  offset_ = next_ = block.offset;
  if (block.entry == Entry::kFlagsSaved) {
    in_context().cmp(field32(at_.requests), 0);
    uint8_t* asked = branch(kNotZero);
    slow_.push_back({Slow::What::kPoll, asked, getCurr(), block.offset, 0});
  }
  bool open = true;
  unsigned count = 0;
  const unsigned most = options_.stress ? 1 + random_() % kMostInstructions : kMostInstructions;
  for (; open && count < most && next_ < kPageBytes; ++count) {
    offset_ = next_;
    Decoded decoded;
    const std::span<const uint8_t> bytes = page.subspan(offset_, std::min<size_t>(15, kPageBytes - offset_));
    if (decode(bytes, block.mode.code_size(), decoded) != DecodeStatus::kOk || !model_.has(decoded.instruction)) {
      // Bytes of the next page, or no instruction: the interpreter sees.
      decoded_ = nullptr;
      interpret_last();
      next_ = std::min<uint32_t>(offset_ + 15, kPageBytes);
      open = false;
      continue;
    }
    next_ = offset_ + decoded.instruction.length;
    decoded_ = &decoded;
    open = one(decoded, bytes.first(decoded.instruction.length));
    if (const ZydisAccessedFlags* changed = decoded.instruction.cpu_flags)
      block.undefined_flags = (block.undefined_flags & ~(changed->modified | changed->set_0 | changed->set_1)) | changed->undefined;
  }
  if (open) go_to(next_);
  write_slow();
  check_library();
  block.length = static_cast<uint16_t>(next_ - block.offset);
  block.instructions = static_cast<uint16_t>(count - ends_interpreted_);
  block.vectors = vectors_ensured_;
  block.code = cache_.executable(start);
  block.code_size = static_cast<uint32_t>(getCurr() - start);
}

bool Translator::one(const Decoded& decoded, std::span<const uint8_t> bytes) {
  switch (kind_of(decoded)) {
    case Kind::kPlain: return plain(bytes);
    case Kind::kNothing: return true;
    case Kind::kLea: return lea_();
    case Kind::kMoveOffset: return move_offset();
    case Kind::kPush: return push_();
    case Kind::kPop: return pop_(), true;
    case Kind::kLeave: return leave_frame(), true;
    case Kind::kPushFlags:
      if (options_.lockstep) return interpret();  // undefined flags would show
      return push_flags(), true;
    case Kind::kReadSegment: return read_segment(), true;
    case Kind::kClearInterrupts:
    case Kind::kSetInterrupts:
      if (block_->mode.user() || options_.lockstep) return interpret();
      return kind_of(decoded) == Kind::kSetInterrupts ? set_interrupts() : clear_interrupts(), true;
    case Kind::kDivide: return plain(bytes);
    case Kind::kSwapGs:
      if (block_->mode.user() || !block_->mode.code64()) return interpret();
      return swap_gs(), true;
    case Kind::kSyscall: return syscall_();
    case Kind::kSysret: return sysret_();
    case Kind::kSuspendSmap: return set_access(true);
    case Kind::kResumeSmap: return set_access(false);
    case Kind::kJump: return jump_(next_ + static_cast<uint32_t>(decoded.operands[0].imm.value.s)), false;
    case Kind::kConditional: return conditional(), false;
    case Kind::kCall: return call_(), false;
    case Kind::kJumpIndirect: return jump_indirect(), false;
    case Kind::kCallIndirect: return call_indirect(), false;
    case Kind::kReturn: return return_(), false;
    case Kind::kInterpret: return interpret();
    case Kind::kInterpretLast: return interpret_last(), false;
  }
  return false;
}

// Copied instructions --------------------------------------------------------------------------------------------------------

bool Translator::plain(std::span<const uint8_t> bytes) {
  const Decoded& decoded = *decoded_;
  const bool vector = is_vector(decoded);
  if ((vector && !options_.vectors) || (kind_of(decoded) == Kind::kDivide && !options_.division)) return interpret();
  if (vector) {
    const bool vex = decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    if (!(vex ? block_->mode.avx() : block_->mode.sse())) return interpret();
  }
  const ZydisDecodedOperand* memory = memory_operand(decoded);
  const HomedUse homed = homed_use(decoded);
  if (homed.count > (memory ? 1u : 2u) || (memory && !can_address(*memory))) return interpret();
  const bool division = kind_of(decoded) == Kind::kDivide;
  if (division && homed.count > 0) return interpret();

  std::array<uint8_t, 16> registers;
  for (unsigned n = 0; n < 16; ++n) registers[n] = static_cast<uint8_t>(is_homed(n) ? kSecond : host_register(n));
  for (unsigned n = 0; n < homed.count; ++n) registers[homed.guest[n]] = static_cast<uint8_t>(n == 0 ? kSecond : kFirst);
  HostInsn host;
  const bool short_inc = !(decoded.instruction.attributes & ZYDIS_ATTRIB_HAS_MODRM) && !block_->mode.code64() &&
                         (decoded.instruction.mnemonic == ZYDIS_MNEMONIC_INC || decoded.instruction.mnemonic == ZYDIS_MNEMONIC_DEC);
  if (!short_inc && !bt::rewrite(decoded, bytes, registers, kFirst, host)) return interpret();

  if (vector) ensure_vectors();
  if (memory) {
    check(*memory, memory->size / 8u, writes(*memory));
    if (const unsigned alignment = alignment_of(decoded, *memory)) check_alignment(alignment);
  }
  if (division) {
    divide();
    put(host.code());
    flags_ = Flags::kHost;
    return true;
  }
  if (reads_flags(decoded)) need_flags();
  for (unsigned n = 0; n < homed.count; ++n) load_guest(Reg64(n == 0 ? kSecond : kFirst), homed.guest[n]);
  if (short_inc) {
    const Xbyak::Reg reg = sized(host_register(id_of(decoded.operands[0].reg.value)), decoded.operands[0].size / 8u);
    if (decoded.instruction.mnemonic == ZYDIS_MNEMONIC_INC) inc(reg);
    else dec(reg);
  } else {
    put(host.code());
  }
  for (unsigned n = 0; n < homed.count; ++n)
    if (homed.written[n]) in_context().mov(field(at_.gpr + static_cast<int>(8 * homed.guest[n])), Reg64(n == 0 ? kSecond : kFirst));
  if (writes_flags(decoded)) flags_ = Flags::kHost;
  return true;
}

Xbyak::Reg Translator::sized(unsigned host, unsigned size) const {
  switch (size) {
    case 2: return Xbyak::Reg16(static_cast<int>(host));
    case 4: return Reg32(static_cast<int>(host));
    default: return Reg64(static_cast<int>(host));
  }
}

// Before DIV and IDIV: what would raise #DE goes to the interpreter. The divisor is at [first scratch], or in a register.
void Translator::divide() {
  const ZydisDecodedOperand& divisor = decoded_->operands[0];
  const unsigned size = divisor.size / 8u;
  const bool in_memory = divisor.type == ZYDIS_OPERAND_TYPE_MEMORY;
  spare_flags();
  const Reg64 value = in_memory ? second_ : Reg64(static_cast<int>(host_register(id_of(divisor.reg.value))));
  if (in_memory) {
    if (size == 8) mov(second_, qword[first_]);
    else mov(r15d, dword[first_]);
  }
  const auto to_interpreter = [&](unsigned condition) {
    slow_.push_back({Slow::What::kInterpret, branch(condition), nullptr, offset_, 0});
  };
  const Xbyak::Reg divisor_part = sized(static_cast<unsigned>(value.getIdx()), size);
  if (decoded_->instruction.mnemonic == ZYDIS_MNEMONIC_DIV) {  // the quotient fits if the upper half is below the divisor
    cmp(sized(kRdx, size), divisor_part);
    return to_interpreter(kAboveEqual);
  }
  // The common case only: the dividend is a sign-extended single, the divisor neither 0 nor -1.
  if (size == 8) lea(second_, ptr[value + 1]);
  else lea(r15d, ptr[value + 1]);
  cmp(sized(kSecond, size), 1);
  to_interpreter(kBelowEqual);
  mov(sized(kSecond, size), sized(kRax, size));
  sar(sized(kSecond, size), static_cast<int>(size * 8 - 1));
  cmp(sized(kSecond, size), sized(kRdx, size));
  to_interpreter(kNotZero);
}

void Translator::load_guest(const Reg64& to, unsigned guest) {
  if (is_homed(guest)) in_context().mov(to, field(at_.gpr + static_cast<int>(8 * guest)));
  else mov(to, Reg64(static_cast<int>(host_register(guest))));
}

bool Translator::lea_() {
  const ZydisDecodedOperand& memory = decoded_->operands[1];
  const ZydisDecodedOperand& target = decoded_->operands[0];
  if (is_rip(memory) && decoded_->instruction.address_width != 64) {
    return interpret();
  }
  const unsigned guest = id_of(target.reg.value);
  const bool direct = !is_homed(guest) && target.size >= 32 && !is_rip(memory) && memory.mem.base != ZYDIS_REGISTER_NONE &&
                      !is_homed(id_of(memory.mem.base)) &&
                      (memory.mem.index == ZYDIS_REGISTER_NONE || !is_homed(id_of(memory.mem.index)));
  if (direct) {
    RegExp place = Reg64(static_cast<int>(host_register(id_of(memory.mem.base))));
    if (memory.mem.index != ZYDIS_REGISTER_NONE)
      place = place + Reg64(static_cast<int>(host_register(id_of(memory.mem.index)))) * memory.mem.scale;
    place = place + static_cast<int>(memory.mem.disp.value);
    const unsigned size = decoded_->instruction.address_width == 32 ? 4 : target.size / 8u;
    if (size == 8) lea(Reg64(static_cast<int>(host_register(guest))), ptr[place]);
    else lea(Reg32(static_cast<int>(host_register(guest))), ptr[place]);
    return true;
  }
  if (is_rip(memory)) {
    in_context().mov(first_, field(at_.page_base));
    lea(first_, ptr[first_ + static_cast<int>(next_)]);
    lea(first_, ptr[first_ + static_cast<int>(memory.mem.disp.value)]);
  } else {
    ZydisDecodedOperand plain_memory = memory;
    plain_memory.mem.segment = ZYDIS_REGISTER_DS;
    const bool code64 = block_->mode.code64();
    if (code64) address(plain_memory);
    else {  // the segment has no part in it
      RegExp place;
      if (memory.mem.base != ZYDIS_REGISTER_NONE) place = place + Reg64(static_cast<int>(host_register(id_of(memory.mem.base))));
      if (memory.mem.index != ZYDIS_REGISTER_NONE)
        place = place + Reg64(static_cast<int>(host_register(id_of(memory.mem.index)))) * memory.mem.scale;
      lea(r14d, ptr[place + static_cast<int>(memory.mem.disp.value)]);
    }
  }
  if (target.size == 32) mov(r14d, r14d);
  if (is_homed(guest)) {
    if (target.size == 16) in_context().mov(word[RegExp(static_cast<size_t>(at_.gpr) + 8 * guest)], r14w);
    else in_context().mov(field(at_.gpr + static_cast<int>(8 * guest)), first_);
  } else if (target.size == 16) {
    mov(Xbyak::Reg16(static_cast<int>(host_register(guest))), r14w);
  } else {
    mov(Reg64(static_cast<int>(host_register(guest))), first_);
  }
  return true;
}

bool Translator::move_offset() {
  const bool store = decoded_->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
  const ZydisDecodedOperand& memory = decoded_->operands[store ? 0 : 1];
  const unsigned size = memory.size / 8u;
  if (!can_address(memory)) return interpret();
  check(memory, size, store);
  switch (size) {
    case 1: store ? mov(byte[first_], al) : mov(al, byte[first_]); break;
    case 2: store ? mov(word[first_], ax) : mov(ax, word[first_]); break;
    case 4: store ? mov(dword[first_], eax) : mov(eax, dword[first_]); break;
    default: store ? mov(qword[first_], rax) : mov(rax, qword[first_]); break;
  }
  return true;
}

// Stack ----------------------------------------------------------------------------------------------------------------------

void Translator::move_stack(int by) {
  if (block_->mode.code64()) lea(stack_, ptr[stack_ + by]);
  else lea(r13d, ptr[stack_ + by]);
}

bool Translator::push_() {
  const ZydisDecodedOperand& operand = decoded_->operands[0];
  const unsigned size = stack_size();
  const bool from_memory = operand.type == ZYDIS_OPERAND_TYPE_MEMORY;
  if (from_memory) {
    if (!can_address(operand)) return interpret();
    check(operand, size, false);
    if (size == 8) mov(second_, qword[first_]);
    else mov(r15d, dword[first_]);
    in_context().mov(field(at_.value), second_);
  }
  check_stack(-static_cast<int>(size), size, true);
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    const auto value = static_cast<int32_t>(operand.imm.value.s);
    if (size == 8) mov(qword[first_], value);
    else mov(dword[first_], static_cast<uint32_t>(value));
  } else {
    Reg64 from = second_;
    if (from_memory) in_context().mov(second_, field(at_.value));
    else if (const unsigned guest = id_of(operand.reg.value); is_homed(guest)) load_guest(second_, guest);
    else from = Reg64(static_cast<int>(host_register(guest)));
    if (size == 8) mov(qword[first_], from);
    else mov(dword[first_], from.cvt32());
  }
  move_stack(-static_cast<int>(size));
  return true;
}

void Translator::pop_() {
  const unsigned guest = id_of(decoded_->operands[0].reg.value);
  const unsigned size = stack_size();
  check_stack(0, size, false);
  move_stack(static_cast<int>(size));  // POP RSP takes the value from the old place
  if (is_homed(guest)) {
    mov(second_, qword[first_]);
    in_context().mov(field(at_.gpr + static_cast<int>(8 * guest)), second_);
    return;
  }
  const Reg64 to(static_cast<int>(host_register(guest)));
  if (size == 8) mov(to, qword[first_]);
  else mov(to.cvt32(), dword[first_]);
}

void Translator::leave_frame() {
  const unsigned size = stack_size();
  check_register(kRbp, size, false);
  if (size == 8) {
    lea(stack_, ptr[rbp + 8]);
    mov(rbp, qword[first_]);
  } else {
    lea(r13d, ptr[rbp + 4]);
    mov(ebp, dword[first_]);
  }
}

// Sensitive instructions -----------------------------------------------------------------------------------------------------

void Translator::push_flags() {
  const unsigned size = stack_size();
  spare_flags();
  gather_flags();
  in_context().mov(field(at_.value), second_);
  check_stack(-static_cast<int>(size), size, true);
  in_context().mov(second_, field(at_.value));
  if (size == 8) mov(qword[first_], second_);
  else mov(dword[first_], r15d);
  move_stack(-static_cast<int>(size));
}

void Translator::read_segment() {
  const ZydisDecodedOperand& target = decoded_->operands[0];
  const unsigned guest = id_of(target.reg.value);
  in_context().movzx(r14d, word[RegExp(static_cast<size_t>(at_.selector[id_of(decoded_->operands[1].reg.value)]))]);
  if (target.size == 16) {
    if (is_homed(guest)) in_context().mov(word[RegExp(static_cast<size_t>(at_.gpr) + 8 * guest)], r14w);
    else mov(Xbyak::Reg16(static_cast<int>(host_register(guest))), r14w);
  } else {
    if (is_homed(guest)) in_context().mov(field(at_.gpr + static_cast<int>(8 * guest)), first_);
    else mov(Reg64(static_cast<int>(host_register(guest))), first_);
  }
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
  slow_.push_back({Slow::What::kInterpret, branch(kNotZero), nullptr, offset_, 0});
  in_context().or_(field32(at_.rflags), static_cast<uint32_t>(flags::kIf));
  in_context().or_(field32(at_.interest), static_cast<uint32_t>(request::kInterrupt));
}

// Other privileges -----------------------------------------------------------------------------------------------------------

void Translator::swap_gs() {
  in_context().mov(first_, field(at_.kernel_gs_base));
  in_context().mov(second_, field(at_.segment_base[kGs]));
  in_context().mov(field(at_.segment_base[kGs]), first_);
  in_context().mov(field(at_.kernel_gs_base), second_);
}

// CS and SS are loaded when somebody may look: see Runner::settle(). The mapping is the same, but what calls are remembered is
// code of the mode that is left.
void Translator::cross(int crossing) {
  in_context().mov(r15d, field32(crossing + static_cast<int>(offsetof(Crossing, mode))));
  in_context().mov(field32(at_.mode), r15d);
  in_context().mov(second_, field(crossing + static_cast<int>(offsetof(Crossing, lookup))));
  in_context().mov(field(at_.return_lookup), second_);
  in_context().mov(rsp, field(at_.host_stack));
  lea(rsp, ptr[rsp - 8]);
  mov(r15d, jump_info(offset_, 0));
  in_context().jmp(field(crossing + static_cast<int>(offsetof(Crossing, lookup))));
}

// Into R15, the whole of RFLAGS.
void Translator::gather_flags() {
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
  shr(r15d, 8);
  and_(r15d, static_cast<uint32_t>(request::kInterrupt));
  in_context().mov(r14d, field32(at_.interest));
  and_(r14d, static_cast<uint32_t>(~request::kInterrupt));
  or_(r14d, r15d);
  in_context().mov(field32(at_.interest), r14d);
}

// Intel SDM vol. 2, SYSCALL. With AC set, and where it is not there, it is the interpreter's.
bool Translator::syscall_() {
  if (!options_.crossings || !options_.jumps || options_.lockstep || !block_->mode.code64() || !block_->mode.user())
    return interpret_last(), false;
  const auto to_interpreter = [&](unsigned condition) {
    slow_.push_back({Slow::What::kInterpret, branch(condition), nullptr, offset_, 0});
  };
  spare_flags();
  in_context().cmp(field(at_.to_kernel + static_cast<int>(offsetof(Crossing, lookup))), 0);
  to_interpreter(kZero);
  gather_flags();
  test(r15d, static_cast<uint32_t>(flags::kAc));
  to_interpreter(kNotZero);
  mov(r11, second_);
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
  if (!options_.crossings || !options_.jumps || options_.lockstep || !block_->mode.code64() || block_->mode.user() || !wide)
    return interpret_last(), false;
  const auto to_interpreter = [&](unsigned condition) {
    slow_.push_back({Slow::What::kInterpret, branch(condition), nullptr, offset_, 0});
  };
  spare_flags();
  in_context().cmp(field(at_.to_user + static_cast<int>(offsetof(Crossing, lookup))), 0);
  to_interpreter(kZero);
  mov(first_, rcx);
  shl(first_, 16);
  sar(first_, 16);
  cmp(first_, rcx);
  to_interpreter(kNotZero);
  test(r11d, static_cast<uint32_t>(flags::kTf | flags::kAc));
  to_interpreter(kNotZero);
  mov(r15d, r11d);
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
  if (!options_.crossings || !options_.jumps || options_.lockstep || !block_->mode.code64() || block_->mode.user())
    return interpret_last(), false;
  spare_flags();
  in_context().cmp(field(crossing + static_cast<int>(offsetof(Crossing, lookup))), 0);
  slow_.push_back({Slow::What::kInterpret, branch(kZero), nullptr, offset_, 0});
  if (suspended) in_context().or_(field32(at_.rflags), static_cast<uint32_t>(flags::kAc));
  else in_context().and_(field32(at_.rflags), static_cast<uint32_t>(~flags::kAc));
  page_address(next_);
  cross(crossing);
  return false;
}

// Memory ---------------------------------------------------------------------------------------------------------------------

bool Translator::can_address(const ZydisDecodedOperand& memory) const {
  const unsigned segment = id_of(memory.mem.segment);
  if (!block_->mode.flat(segment) || decoded_->instruction.address_width == 16) return false;
  if (is_rip(memory)) return decoded_->instruction.address_width == 64;
  return memory.mem.index == ZYDIS_REGISTER_NONE || ZydisRegisterGetClass(memory.mem.index) == ZYDIS_REGCLASS_GPR64 ||
         ZydisRegisterGetClass(memory.mem.index) == ZYDIS_REGCLASS_GPR32;
}

// The linear address of an operand, in the first scratch register; the second one is used too.
void Translator::address(const ZydisDecodedOperand& memory) {
  const unsigned segment = id_of(memory.mem.segment);
  const bool narrow = decoded_->instruction.address_width == 32;
  const int64_t disp = memory.mem.disp.has_displacement ? memory.mem.disp.value : 0;
  if (is_rip(memory)) {
    in_context().mov(first_, field(at_.page_base));
    const int64_t from_page = disp + static_cast<int64_t>(next_);
    if (fits_disp(from_page)) {
      lea(first_, ptr[first_ + static_cast<int>(from_page)]);
    } else {
      lea(first_, ptr[first_ + static_cast<int>(next_)]);
      lea(first_, ptr[first_ + static_cast<int>(disp)]);
    }
  } else if (memory.mem.base == ZYDIS_REGISTER_NONE && memory.mem.index == ZYDIS_REGISTER_NONE) {
    if (narrow) mov(r14d, static_cast<uint32_t>(disp));
    else mov(first_, disp);
  } else {
    RegExp place;
    bool empty = true;
    if (memory.mem.base != ZYDIS_REGISTER_NONE) {
      const unsigned guest = id_of(memory.mem.base);
      if (is_homed(guest)) load_guest(first_, guest);
      place = is_homed(guest) ? RegExp(first_) : RegExp(Reg64(static_cast<int>(host_register(guest))));
      empty = false;
    }
    if (memory.mem.index != ZYDIS_REGISTER_NONE) {
      const unsigned guest = id_of(memory.mem.index);
      if (is_homed(guest)) load_guest(second_, guest);
      const RegExp index = RegExp(is_homed(guest) ? second_ : Reg64(static_cast<int>(host_register(guest))), memory.mem.scale);
      place = empty ? index : place + index;
    }
    place = place + static_cast<int>(disp);
    if (narrow) lea(r14d, ptr[place]);
    else lea(first_, ptr[place]);
  }
  if (block_->mode.from_zero(segment)) return;
  if (block_->mode.code64()) in_context().add(first_, field(at_.segment_base[segment]));
  else in_context().add(r14d, field32(at_.segment_base[segment]));
}

void Translator::check(const ZydisDecodedOperand& memory, unsigned size, bool write) {
  spare_flags();
  const uint8_t* retry = getCurr();
  address(memory);
  look_up(size, write, retry);
}

void Translator::check_stack(int displacement, unsigned size, bool write) {
  spare_flags();
  const uint8_t* retry = getCurr();
  if (block_->mode.code64()) lea(first_, ptr[stack_ + displacement]);
  else lea(r14d, ptr[stack_ + displacement]);
  look_up(size, write, retry);
}

void Translator::check_register(unsigned host, unsigned size, bool write) {
  spare_flags();
  const uint8_t* retry = getCurr();
  if (block_->mode.code64()) mov(first_, Reg64(static_cast<int>(host)));
  else mov(r14d, Reg32(static_cast<int>(host)));
  look_up(size, write, retry);
}

// From the linear address in the first scratch register to the host's. The difference to the tag is the offset in the page
// if the tag matches, and large if not; an access that goes beyond the page is too large as well.
void Translator::look_up(unsigned size, bool write, const uint8_t* retry) {
  constexpr uint32_t kMask = (Tlb::kSize - 1) * sizeof(TlbEntry);
  static_assert(sizeof(TlbEntry) == 32 && (kMask & (kMask + 32)) == 0);
  const int table = at_.tlb[block_->mode.tlb()];
  const int tag = table + static_cast<int>(write ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag));
  mov(second_, first_);
  shr(second_, 12 - 5);
  and_(r15d, kMask);
  in_context().xor_(first_, qword[second_ + tag]);
  cmp(first_, kPageBytes - size);
  slow_.push_back({Slow::What::kFill, branch(kAbove), retry, access_info(offset_, size, write), tag});
  in_context().add(first_, qword[second_ + table + static_cast<int>(offsetof(TlbEntry, host_page))]);
}

void Translator::check_alignment(unsigned alignment) {
  test(r14b, alignment - 1);
  slow_.push_back({Slow::What::kInterpret, branch(kNotZero), nullptr, offset_, 0});
}

// Flags ----------------------------------------------------------------------------------------------------------------------

void Translator::need_flags() {
  if (flags_ != Flags::kSaved) return;
  restore_flags();
  flags_ = Flags::kBoth;
}

void Translator::spare_flags() {
  if (flags_ == Flags::kHost) save_flags();
  flags_ = Flags::kSaved;
}

void Translator::ensure_vectors() {
  if (std::exchange(vectors_ensured_, true)) return;
  spare_flags();
  in_context().cmp(field32(at_.vector_loaded), 0);
  uint8_t* jump = branch(kZero);
  slow_.push_back({Slow::What::kLoadVectors, jump, getCurr(), 0, 0});
}

// The interpreter ------------------------------------------------------------------------------------------------------------

bool Translator::interpret() {
  if (options_.lockstep) return interpret_last(), false;  // a block is then all translated
  spare_flags();
  in_context().mov(field32(at_.insn), access_info(offset_, next_ - offset_, false));
  call(interpret_);
  return true;
}

void Translator::interpret_last() {
  ends_interpreted_ = true;
  spare_flags();
  leave_with(Exit::kInterpret, offset_);
}

// Ways out -------------------------------------------------------------------------------------------------------------------

uint8_t* Translator::branch(unsigned condition) {
  db(0x0f);
  db(0x80 | condition);
  uint8_t* displacement = const_cast<uint8_t*>(getCurr());
  dd(0);
  return displacement;
}

void Translator::patch(uint8_t* displacement, const uint8_t* to) {
  const auto distance = static_cast<int32_t>(to - (displacement + 4));
  std::memcpy(displacement, &distance, 4);
}

// So that the displacement behind an opcode can be changed with one store.
void Translator::align_displacement(unsigned opcode_size) {
  const size_t excess = (reinterpret_cast<uintptr_t>(getCurr()) + opcode_size) % 4;
  if (excess) nop(4 - excess);
}

void Translator::leave_with(Exit exit, uint32_t insn) {
  in_context().mov(field32(at_.insn), insn);
  jump_to(leave_[static_cast<unsigned>(exit)]);
}

// Loops come back with the flags saved, because only such blocks look for requests.
void Translator::edge(uint32_t target) {
  if (target <= offset_ || !options_.live_flags) spare_flags();
  const Entry entry = flags_ == Flags::kSaved ? Entry::kFlagsSaved : Entry::kFlagsLive;
  align_displacement(1);
  db(0xe9);
  uint8_t* displacement = const_cast<uint8_t*>(getCurr());
  dd(0);
  edges_->push_back({block_, block_->page, displacement, target, entry});
  patch(displacement, getCurr());
  // Until it is linked: out. The run loop wants the flags saved.
  if (flags_ == Flags::kHost) save_flags();
  mov(first_, reinterpret_cast<uint64_t>(&edges_->back()));
  in_context().mov(field(at_.argument), first_);
  jump_to(leave_[static_cast<unsigned>(Exit::kLink)]);
}

void Translator::page_address(uint32_t offset) {
  in_context().mov(first_, field(at_.page_base));
  if (block_->mode.code64()) lea(first_, ptr[first_ + static_cast<int>(offset)]);
  else lea(r14d, ptr[first_ + static_cast<int>(offset)]);
}

void Translator::go_to(uint32_t target) {
  if (target < kPageBytes) return edge(target);
  spare_flags();
  page_address(target);
  look_up();
}

void Translator::look_up(int undo) {
  mov(r15d, jump_info(offset_, undo));
  if (options_.jumps && !options_.lockstep) return look_up_jump(jump_slot_);
  in_context().mov(field32(at_.insn), r15d);
  in_context().mov(field(at_.argument), first_);
  jump_to(leave_[static_cast<unsigned>(Exit::kLookup)]);
}

// The host's own call, so that its own return is predicted. It lands where the guest's return address is compared with the
// one that this call has pushed. On the host's stack are only calls made since translated code was entered; whatever
// changes the mapping or the mode leaves it.
template <typename Go>
void Translator::call_to(Go go) {
  if (!options_.returns || options_.lockstep) return go();
  in_context().cmp(rsp, field(at_.return_limit));
  uint8_t* full = branch(kBelow);
  slow_.push_back({Slow::What::kForgetCalls, full, getCurr(), 0, 0});
  push(second_);
  db(0xe8);
  uint8_t* called = const_cast<uint8_t*>(getCurr());
  dd(0);
  const Flags flags = flags_;
  // Back again.
  cmp(first_, qword[rsp]);
  lea(rsp, ptr[rsp + 8]);
  patch(branch(kNotZero), lookup_[jump_slot_]);
  if (next_ < kPageBytes) {
    and_(first_, -static_cast<int>(kPageBytes));
    in_context().mov(field(at_.page_base), first_);
    edge(next_);
  } else {
    jump_to(lookup_[jump_slot_]);
  }
  patch(called, getCurr());
  flags_ = flags;
  go();
}

void Translator::jump_(uint32_t target) { go_to(target); }

void Translator::conditional() {
  need_flags();
  const uint32_t target = next_ + static_cast<uint32_t>(decoded_->operands[0].imm.value.s);
  const unsigned condition = decoded_->instruction.opcode & 15u;
  const Flags before = flags_;
  uint8_t* taken = branch(condition);
  go_to(next_);
  patch(taken, getCurr());
  flags_ = before;
  go_to(target);
}

// The address behind the call is pushed first: a fault of the push comes before one of the target.
void Translator::call_() {
  const unsigned size = stack_size();
  check_stack(-static_cast<int>(size), size, true);
  in_context().mov(second_, field(at_.page_base));
  lea(second_, ptr[second_ + static_cast<int>(next_)]);
  if (size == 8) mov(qword[first_], second_);
  else mov(dword[first_], r15d);
  move_stack(-static_cast<int>(size));
  call_to([&] { go_to(next_ + static_cast<uint32_t>(decoded_->operands[0].imm.value.s)); });
}

void Translator::jump_indirect() {
  const ZydisDecodedOperand& operand = decoded_->operands[0];
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    if (!can_address(operand)) return interpret_last();
    check(operand, stack_size(), false);
    if (stack_size() == 8) mov(first_, qword[first_]);
    else mov(r14d, dword[first_]);
  } else {
    spare_flags();
    load_guest(first_, id_of(operand.reg.value));
  }
  look_up();
}

void Translator::call_indirect() {
  const ZydisDecodedOperand& operand = decoded_->operands[0];
  const unsigned size = stack_size();
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    if (!can_address(operand)) return interpret_last();
    check(operand, size, false);
    if (size == 8) mov(first_, qword[first_]);
    else mov(r14d, dword[first_]);
  } else {
    spare_flags();
    load_guest(first_, id_of(operand.reg.value));
  }
  in_context().mov(field(at_.value), first_);
  check_stack(-static_cast<int>(size), size, true);
  in_context().mov(second_, field(at_.page_base));
  lea(second_, ptr[second_ + static_cast<int>(next_)]);
  if (size == 8) mov(qword[first_], second_);
  else mov(dword[first_], r15d);
  move_stack(-static_cast<int>(size));
  call_to([&] {
    in_context().mov(first_, field(at_.value));
    look_up(-static_cast<int>(size));
  });
}

void Translator::return_() {
  const unsigned size = stack_size();
  const bool releases = decoded_->instruction.operand_count_visible > 0;
  const auto bytes = static_cast<uint32_t>(size + (releases ? decoded_->operands[0].imm.value.u & 0xffff : 0));
  check_stack(0, size, false);
  if (size == 8) mov(first_, qword[first_]);
  else mov(r14d, dword[first_]);
  move_stack(static_cast<int>(bytes));
  if (!options_.returns || options_.lockstep) return look_up(static_cast<int>(bytes));
  mov(r15d, jump_info(offset_, static_cast<int>(bytes)));
  ret();
}

// Out of line ----------------------------------------------------------------------------------------------------------------

void Translator::write_slow() {
  for (const Slow& slow : slow_) {
    patch(slow.jump, getCurr());
    switch (slow.what) {
      case Slow::What::kFill:
        in_context().xor_(first_, qword[second_ + slow.tag]);  // the linear address again
        in_context().mov(field(at_.argument), first_);
        in_context().mov(field32(at_.insn), slow.insn);
        call(fill_);
        jump_to(slow.retry);
        break;
      case Slow::What::kInterpret: leave_with(Exit::kInterpret, slow.insn); break;
      case Slow::What::kPoll:  // if the present state lets it through
        in_context().mov(r14d, field32(at_.requests));
        in_context().test(field32(at_.interest), r14d);
        patch(branch(kZero), slow.retry);
        leave_with(Exit::kPoll, slow.insn);
        break;
      case Slow::What::kForgetCalls:
        in_context().mov(rsp, field(at_.host_stack));
        lea(rsp, ptr[rsp - 8]);
        jump_to(slow.retry);
        break;
      case Slow::What::kLoadVectors:
        call(load_vectors_);
        jump_to(slow.retry);
        break;
    }
  }
}

}  // namespace skerry::accel::bt
