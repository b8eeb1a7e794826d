// What becomes of one instruction that does not end its block.
#include <cassert>

#include "accel/bt/translator.hpp"

namespace skerry::accel::bt {

using namespace x86;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::RegExp;

// Copied -----------------------------------------------------------------------------------------------------------------------

bool Translator::plain(std::span<const uint8_t> bytes) {
  const Decoded& decoded = *decoded_;
  const Item& item = items_[index_];
  const bool vector = is_vector(decoded), division = item.kind == Kind::kDivide;
  if ((vector && !options_.vectors) || (division && !options_.division)) return interpret();
  if (vector) {
    const bool vex = decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    if (!(vex ? block_->mode.avx() : block_->mode.sse())) return interpret();
  }
  const ZydisDecodedOperand* memory = item.memory;
  const HomedUse homed = homed_use(item.use);
  if (homed.count > (memory ? 1u : 2u) || (memory && !can_address(*memory))) return interpret();
  if (division && homed.count > 0) return interpret();

  std::array<uint8_t, 16> registers;
  for (unsigned n = 0; n < 16; ++n) registers[n] = static_cast<uint8_t>(is_homed(n) ? kSecond : host_register(n));
  for (unsigned n = 0; n < homed.count; ++n) registers[homed.guest[n]] = static_cast<uint8_t>(n == 0 ? kSecond : kFirst);
  HostInsn host;
  const bool short_inc = !(decoded.instruction.attributes & ZYDIS_ATTRIB_HAS_MODRM) && !block_->mode.code64() &&
                         (decoded.instruction.mnemonic == ZYDIS_MNEMONIC_INC || decoded.instruction.mnemonic == ZYDIS_MNEMONIC_DEC);
  // Where the memory operand is comes later; whether it can be written does not depend on that.
  if (!short_inc && !bt::rewrite(decoded, bytes, registers, {.base = kFirst}, host)) return interpret();

  if (vector) ensure_vectors();
  FlagRecipe recipe;
  if (options_.lazy_flags && item.writes_flags) recipe = FlagRecipe::of(decoded, offset_);
  const bool changes_memory = memory && writes(*memory);
  if (recipe.keeps() && (!flags_survive(index_ + 1) || (changes_memory && homed.count > 0))) recipe = {};
  const bool keeps_memory = memory && recipe.keeps();
  HostPlace place{.base = kFirst};
  if (memory) {
    const unsigned alignment = alignment_of(decoded, *memory);
    // Making them takes the registers that the address is in, so that it must not come to that behind any check.
    if (item.reads_flags) !alignment && covered(*memory, memory->size / 8u, writes(*memory)) ? need_flags() : store_packed_flags();
    place = check(*memory, memory->size / 8u, changes_memory,
                  homed.count == 0 && !item.reads_flags && !division && !alignment && !(keeps_memory && changes_memory));
    if (alignment) check_alignment(place, alignment);
    if (place.index >= 0 || place.disp != 0) (void)bt::rewrite(decoded, bytes, registers, place, host);
  }
  if (division) {
    divide(place);
    put(host.code());
    flags_ = Flags::kHost;
    recipe_ = {};
    return true;
  }
  assert(!memory || !item.reads_flags || flags_ != Flags::kRecipe);
  if (item.reads_flags) need_flags();
  if (keeps_memory) {
    plain_keeping(place, homed);
    flags_ = Flags::kHost;
    recipe_ = recipe;
    return true;
  }
  for (unsigned n = 0; n < homed.count; ++n)
    if (homed.read[n]) load_guest(Reg64(n == 0 ? kSecond : kFirst), homed.guest[n]);
  if (homed.count > 1) held_ = -1;
  if (recipe.keeps()) {  // as it is before
    const unsigned guest = *general_register(decoded.operands[0].reg.value);
    store_field(at_.flag_value[0], Reg64(static_cast<int>(registers[guest])));
  }
  if (short_inc) {
    const Xbyak::Reg reg = sized(host_register(id_of(decoded.operands[0].reg.value)), decoded.operands[0].size / 8u);
    if (decoded.instruction.mnemonic == ZYDIS_MNEMONIC_INC) inc(reg);
    else dec(reg);
  } else {
    put(host.code());
  }
  for (unsigned n = 0; n < homed.count; ++n)
    if (homed.written[n]) store_field(at_.gpr + static_cast<int>(8 * homed.guest[n]), Reg64(n == 0 ? kSecond : kFirst));
  if (item.writes_flags) {
    flags_ = Flags::kHost;
    recipe_ = recipe;
  }
  return true;
}

// CMP, TEST, ADD, SUB, AND, OR or XOR by way of a register, so that what is in memory can be kept for the flags.
void Translator::plain_keeping(const HostPlace& place, const HomedUse& homed) {
  const ZydisDecodedOperand& target = decoded_->operands[0];
  const ZydisDecodedOperand& source = decoded_->operands[1];
  const unsigned size = target.size / 8u;
  const bool to_memory = target.type == ZYDIS_OPERAND_TYPE_MEMORY;
  const Reg64& kept = homed.count ? first_ : second_;
  const RegExp where = at(place);
  if (homed.count) held_ = -1;
  switch (size) {
    case 1: movzx(kept.cvt32(), byte[where]); break;
    case 2: movzx(kept.cvt32(), word[where]); break;
    case 4: mov(kept.cvt32(), dword[where]); break;
    default: mov(kept, qword[where]); break;
  }
  const Xbyak::Reg in_memory = sized(static_cast<unsigned>(kept.getIdx()), size);
  const auto in_register = [&](const ZydisDecodedOperand& operand) {
    const unsigned guest = *general_register(operand.reg.value);
    if (is_homed(guest)) load_guest(second_, guest);
    return sized(is_homed(guest) ? kSecond : host_register(guest), size);
  };
  const auto again = [&](const auto& instruction) {
    if (!to_memory) instruction(in_register(target), in_memory);
    else if (source.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) instruction(in_memory, static_cast<uint32_t>(immediate_of(source, size)));
    else instruction(in_memory, in_register(source));
  };
  switch (decoded_->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CMP: again([&](const auto& a, const auto& b) { cmp(a, b); }); break;
    case ZYDIS_MNEMONIC_TEST: again([&](const auto& a, const auto& b) { test(a, b); }); break;
    case ZYDIS_MNEMONIC_ADD: again([&](const auto& a, const auto& b) { add(a, b); }); break;
    case ZYDIS_MNEMONIC_SUB: again([&](const auto& a, const auto& b) { sub(a, b); }); break;
    case ZYDIS_MNEMONIC_AND: again([&](const auto& a, const auto& b) { and_(a, b); }); break;
    case ZYDIS_MNEMONIC_OR: again([&](const auto& a, const auto& b) { or_(a, b); }); break;
    default: again([&](const auto& a, const auto& b) { xor_(a, b); }); break;
  }
  store_field(at_.flag_value[to_memory ? 0 : 1], kept);
  if (to_memory && writes(target)) {
    switch (size) {
      case 1: mov(byte[where], in_memory); break;
      case 2: mov(word[where], in_memory); break;
      case 4: mov(dword[where], in_memory); break;
      default: mov(qword[where], in_memory); break;
    }
  } else if (homed.count && writes(target)) {
    store_field(at_.gpr + static_cast<int>(8 * homed.guest[0]), second_);
  }
}

Xbyak::Reg Translator::sized(unsigned host, unsigned size) const {
  switch (size) {
    case 1: return Xbyak::Reg8(static_cast<int>(host), host >= 4 && host < 8);
    case 2: return Xbyak::Reg16(static_cast<int>(host));
    case 4: return Reg32(static_cast<int>(host));
    default: return Reg64(static_cast<int>(host));
  }
}

// Before DIV and IDIV: what would raise #DE goes to the interpreter. The divisor is at `place`, or in a register.
void Translator::divide(const HostPlace& place) {
  const ZydisDecodedOperand& divisor = decoded_->operands[0];
  const unsigned size = divisor.size / 8u;
  const bool in_memory = divisor.type == ZYDIS_OPERAND_TYPE_MEMORY;
  spare_flags();
  const Reg64 value = in_memory ? second_ : Reg64(static_cast<int>(host_register(id_of(divisor.reg.value))));
  if (in_memory) {
    if (size == 8) mov(second_, qword[at(place)]);
    else mov(r15d, dword[at(place)]);
  }
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

// MULX: three registers, of which all may be homed, beside memory. Its results go where nothing is wanted any more. It sets no flags.
bool Translator::multiply() {
  const ZydisDecodedOperand& source = decoded_->operands[2];
  const unsigned high = id_of(decoded_->operands[0].reg.value), low = id_of(decoded_->operands[1].reg.value), size = source.size / 8u;
  unsigned from = kSecond;
  if (source.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    if (!can_address(source)) return interpret();
    const RegExp place = at(check(source, size, false, true));
    if (size == 8) mov(second_, qword[place]);
    else mov(r15d, dword[place]);
  } else if (const unsigned guest = id_of(source.reg.value); is_homed(guest)) {
    load_guest(second_, guest);
  } else {
    from = host_register(guest);
  }
  if (is_homed(high)) held_ = -1;
  const Reg64 to_high = is_homed(high) ? first_ : Reg64(static_cast<int>(host_register(high)));
  const Reg64 to_low = is_homed(low) ? second_ : Reg64(static_cast<int>(host_register(low)));
  if (size == 8) mulx(to_high, to_low, Reg64(static_cast<int>(from)));
  else mulx(to_high.cvt32(), to_low.cvt32(), Reg32(static_cast<int>(from)));
  if (is_homed(low)) store_field(at_.gpr + static_cast<int>(8 * low), to_low);
  if (is_homed(high)) store_field(at_.gpr + static_cast<int>(8 * high), to_high);
  return true;
}

void Translator::load_guest(const Reg64& to, unsigned guest) {
  if (is_homed(guest)) load_field(to, at_.gpr + static_cast<int>(8 * guest));
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
  held_ = -1;
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
  const RegExp place = at(check(memory, size, store, true));
  switch (size) {
    case 1: store ? mov(byte[place], al) : mov(al, byte[place]); break;
    case 2: store ? mov(word[place], ax) : mov(ax, word[place]); break;
    case 4: store ? mov(dword[place], eax) : mov(eax, dword[place]); break;
    default: store ? mov(qword[place], rax) : mov(rax, qword[place]); break;
  }
  return true;
}

void Translator::ensure_vectors() {
  if (std::exchange(vectors_ensured_, true)) return;
  spare_flags();
  in_context().cmp(field32(at_.vector_loaded), 0);
  uint8_t* jump = branch(kZero);
  slow(Slow::What::kLoadVectors, jump, getCurr(), 0, 0);
}

// BT and its like with a bit's number in a register: it may be anywhere beyond the operand. It changes CF only.
bool Translator::bit_string() {
  const ZydisDecodedOperand& memory = decoded_->operands[0];
  const unsigned size = memory.size / 8u, bit = id_of(decoded_->operands[1].reg.value);
  const bool write = decoded_->instruction.mnemonic != ZYDIS_MNEMONIC_BT;
  if (!block_->mode.code64() || decoded_->instruction.address_width != 64 || !can_address(memory)) return interpret();
  need_packed();
  const uint8_t* retry = getCurr();
  address(memory);
  load_guest(second_, bit);
  if (size == 8) {
    sar(second_, 6);
    lea(first_, ptr[first_ + second_ * 8]);
  } else {
    movsxd(second_, r15d);
    sar(second_, 5);
    lea(first_, ptr[first_ + second_ * 4]);
  }
  const RegExp place = at(look_up(size, write, retry, {}));
  load_guest(second_, bit);
  and_(r15d, 8 * size - 1);
  if (decoded_->has(ZYDIS_ATTRIB_HAS_LOCK)) lock();
  const Xbyak::Address operand = size == 8 ? qword[place] : dword[place];
  const Xbyak::Reg number = sized(kSecond, size);
  switch (decoded_->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_BT: bt(operand, number); break;
    case ZYDIS_MNEMONIC_BTS: bts(operand, number); break;
    case ZYDIS_MNEMONIC_BTR: btr(operand, number); break;
    default: btc(operand, number); break;
  }
  static_assert(flags::kCf == 1);
  const RegExp carry(static_cast<size_t>(at_.flags + 1));  // as LAHF has it
  setc(r15b);
  in_context().and_(byte[carry], 0xfe);
  in_context().or_(byte[carry], r15b);
  return true;
}

// Upwards and inside of one page (two pages, MOVS) the host's own does it; all else is the interpreter's.
bool Translator::repeated() {
  const bool moves = decoded_->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSB || decoded_->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSW ||
                     decoded_->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSD || decoded_->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSQ;
  const unsigned size = decoded_->operands[0].size / 8u;
  if (options_.lockstep || !block_->mode.code64() || decoded_->instruction.address_width != 64 ||
      (moves && !block_->mode.from_zero(id_of(decoded_->operands[1].mem.segment))))
    return interpret();
  spare_flags();
  forget_windows();
  std::array<uint8_t*, 6> otherwise;
  unsigned count = 0;
  const auto find = [&](const Reg64& address, bool write) {
    mov(first_, address);
    otherwise[count++] = find_page(write, kPageBytes - 1, true);
    lea(first_, ptr[first_ + rcx * static_cast<int>(size)]);
    cmp(first_, kPageBytes);
    otherwise[count++] = branch(kAbove);
  };
  in_context().test(field32(at_.rflags), static_cast<uint32_t>(flags::kDf));
  otherwise[count++] = branch(kNotZero);
  cmp(rcx, kPageBytes / size);
  otherwise[count++] = branch(kAbove);
  if (moves) {
    find(rsi, false);
    mov(r14d, esi);
    and_(r14d, kPageBytes - 1);
    add(first_, second_);
    store_field(at_.value, first_);
  }
  find(rdi, true);
  mov(first_, rdi);
  and_(edi, kPageBytes - 1);
  add(rdi, second_);
  sub(first_, rdi);  // what is to be added to be the guest's again
  if (moves) {
    mov(second_, rsi);
    load_field(rsi, at_.value);
    sub(second_, rsi);
  }
  rep();
  switch (size) {
    case 1: moves ? movsb() : stosb(); break;
    case 2: moves ? movsw() : stosw(); break;
    case 4: moves ? movsd() : stosd(); break;
    default: moves ? movsq() : stosq(); break;
  }
  add(rdi, first_);
  if (moves) add(rsi, second_);
  for (unsigned n = 0; n < count; ++n)
    slow(Slow::What::kInterpretHere, otherwise[n], getCurr(), access_info(offset_, next_ - offset_, false), 0);
  return true;
}

// Stack ------------------------------------------------------------------------------------------------------------------------

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
    const RegExp from = at(check(operand, size, false));
    if (size == 8) mov(second_, qword[from]);
    else mov(r15d, dword[from]);
    in_context().mov(field(at_.value), second_);
  }
  const RegExp top = at(check_stack(-static_cast<int>(size), size, true));
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    const auto value = static_cast<int32_t>(operand.imm.value.s);
    if (size == 8) mov(qword[top], value);
    else mov(dword[top], static_cast<uint32_t>(value));
  } else {
    Reg64 from = second_;
    if (from_memory) in_context().mov(second_, field(at_.value));
    else if (const unsigned guest = id_of(operand.reg.value); is_homed(guest)) load_guest(second_, guest);
    else from = Reg64(static_cast<int>(host_register(guest)));
    if (size == 8) mov(qword[top], from);
    else mov(dword[top], from.cvt32());
  }
  move_stack(-static_cast<int>(size));
  return true;
}

void Translator::pop_() {
  const unsigned guest = id_of(decoded_->operands[0].reg.value);
  const unsigned size = stack_size();
  const RegExp top = at(check_stack(0, size, false));
  const Reg64 to = is_homed(guest) ? second_ : Reg64(static_cast<int>(host_register(guest)));
  if (size == 8) mov(to, qword[top]);
  else mov(to.cvt32(), dword[top]);
  if (guest != kRsp) move_stack(static_cast<int>(size));  // POP RSP: it is the value
  if (is_homed(guest)) in_context().mov(field(at_.gpr + static_cast<int>(8 * guest)), second_);
}

void Translator::leave_frame() {
  const RegExp frame = at(check_off(kRbp, 0, stack_size(), false));
  if (stack_size() == 8) {
    lea(stack_, ptr[rbp + 8]);
    mov(rbp, qword[frame]);
  } else {
    lea(r13d, ptr[rbp + 4]);
    mov(ebp, dword[frame]);
  }
}

}  // namespace skerry::accel::bt
