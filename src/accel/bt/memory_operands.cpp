// Guest memory: addresses, and the checks of the software TLB. See docs/engine.md, "Memory".
#include "accel/bt/translator.hpp"

#include <algorithm>

namespace skerry::accel::bt {

using namespace x86;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::RegExp;

namespace {

bool fits_disp(int64_t value) { return value == static_cast<int32_t>(value); }

// Bytes from where a window was made.
bool is_far(int64_t bytes) {
  constexpr int64_t kFarthest = 1 << 16;
  return bytes < -kFarthest || bytes > kFarthest;
}

}  // namespace

bool Translator::can_address(const ZydisDecodedOperand& memory) const {
  const unsigned segment = id_of(memory.mem.segment);
  if (!block_->mode.flat(segment) || decoded_->instruction.address_width == 16) return false;
  if (is_rip(memory)) return decoded_->instruction.address_width == 64;
  return memory.mem.index == ZYDIS_REGISTER_NONE || class_of(memory.mem.index) == ZYDIS_REGCLASS_GPR64 ||
         class_of(memory.mem.index) == ZYDIS_REGCLASS_GPR32;
}

// The linear address of an operand, in the first scratch register; the second one is used too. Gives a register that has it too.
unsigned Translator::address(const ZydisDecodedOperand& memory) {
  held_ = -1;
  unsigned also = kFirst;
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
    const auto in_register = [&](ZydisRegister reg, const Reg64& scratch) {
      if (reg == ZYDIS_REGISTER_NONE) return -1;
      const unsigned guest = id_of(reg);
      if (!is_homed(guest)) return static_cast<int>(host_register(guest));
      load_guest(scratch, guest);
      return scratch.getIdx();
    };
    const int base = in_register(memory.mem.base, first_), index = in_register(memory.mem.index, second_);
    also = lea_first(base, index, memory.mem.scale, static_cast<int32_t>(disp));
    if (narrow) mov(r14d, r14d), also = kFirst;
  }
  if (block_->mode.from_zero(segment)) return also;
  if (block_->mode.code64()) in_context().add(first_, field(at_.segment_base[segment]));
  else in_context().add(r14d, field32(at_.segment_base[segment]));
  return kFirst;
}

HostPlace Translator::check(const ZydisDecodedOperand& memory, unsigned size, bool write, bool split) {
  if (const auto base = window_base(memory))
    if (const auto place = window(*base, static_cast<int>(memory.mem.disp.value), size, write)) return *place;
  spare_flags();
  const uint8_t* retry = getCurr();
  const unsigned also = address(memory);
  return look_up(size, write, retry, {.split = split, .slot = slot_for(memory, write), .also = also});
}

HostPlace Translator::check_stack(int displacement, unsigned size, bool write) { return check_off(kRsp, displacement, size, write); }

HostPlace Translator::check_off(unsigned base, int displacement, unsigned size, bool write) {
  if (const auto place = window(base, displacement, size, write)) return *place;
  spare_flags();
  const uint8_t* retry = getCurr();
  unsigned also = lea_first(static_cast<int>(host_register(base)), -1, 1, displacement);
  if (!block_->mode.code64()) mov(r14d, r14d), also = kFirst;
  return look_up(size, write, retry, {.slot = slot_for(base == kRsp, write), .also = also});
}

HostPlace Translator::look_up(unsigned size, bool write, const uint8_t* retry, Look look) {
  const uint32_t info = access_info(offset_, size, write, look.window);
  if (look.slot) {
    held_ = -1;
    slow(Slow::What::kRecent, look_up_recent(*look.slot, kPageBytes - size, look.split), retry, info, *look.slot);
  } else {
    slow(Slow::What::kFill, find_page(write, kPageBytes - size, look.split, look.also), retry, info, tag_of(write));
  }
  return look.split ? HostPlace{.base = kSecond, .index = static_cast<int>(kFirst)} : HostPlace{.base = kFirst};
}

// Where an instruction will find the page that it accessed last: where it is likely the same one, and where what it takes to know that is
// not much memory in all. What goes off the stack pointer shares one; what goes off RIP shares one with what goes to the same page from the
// same page of code; an instruction of a loop has its own, in the quick round.
std::optional<int> Translator::slot_for(bool stack, bool write) {
  if (!options_.recent || !block_->mode.user()) return std::nullopt;
  if (stack) return slot(0, write);
  return round_.quick ? std::optional(slot(kFirstOwn + slots_[write]++ % (RecentPages::kSlots - kFirstOwn), write)) : std::nullopt;
}

std::optional<int> Translator::slot_for(const ZydisDecodedOperand& memory, bool write) {
  if (!is_rip(memory)) return slot_for(memory.mem.base == ZYDIS_REGISTER_RSP && memory.mem.index == ZYDIS_REGISTER_NONE, write);
  if (!options_.recent || !block_->mode.user()) return std::nullopt;
  const uint64_t place = reinterpret_cast<uintptr_t>(block_->page) + next_ + static_cast<uint64_t>(memory.mem.disp.value);
  const uint64_t both = (place >> 12) + (reinterpret_cast<uintptr_t>(block_->page) >> 12) * 0x9e3779b97f4a7c15;
  return slot(1 + static_cast<unsigned>((both ^ both >> 32) % (kFirstOwn - 1)), write);
}

int Translator::slot(unsigned number, bool write) const {
  return at_.recent[write] + static_cast<int>(number * sizeof(RecentPages::Slot));
}

int Translator::tag_of(bool write) const {
  return at_.tlb[block_->mode.tlb()] + static_cast<int>(write ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag));
}

uint8_t* Translator::find_page(bool write, uint32_t last, bool split, unsigned also) {
  held_ = -1;
  return look_up_page(tag_of(write), at_.tlb[block_->mode.tlb()] + static_cast<int>(offsetof(TlbEntry, host_page)), last, split, also);
}

void Translator::check_alignment(const HostPlace& place, unsigned alignment) {
  spare_flags();
  lea(second_, ptr[at(place)]);
  test(r15b, alignment - 1);
  to_interpreter(kNotZero);
}

RegExp Translator::at(const HostPlace& place) const {
  RegExp result = Reg64(static_cast<int>(place.base));
  if (place.index >= 0) result = result + Reg64(place.index);
  return result + place.disp;
}

// Windows: one check for several accesses off one register ---------------------------------------------------------------------

// The register that a window can be made for.
std::optional<unsigned> Translator::window_base(const ZydisDecodedOperand& memory) const {
  if (!block_->mode.code64() || is_rip(memory) || memory.mem.base == ZYDIS_REGISTER_NONE || memory.mem.index != ZYDIS_REGISTER_NONE ||
      class_of(memory.mem.base) != ZYDIS_REGCLASS_GPR64 || !block_->mode.from_zero(id_of(memory.mem.segment)))
    return std::nullopt;
  const unsigned base = id_of(memory.mem.base);
  return is_homed(base) ? std::nullopt : std::optional(base);
}

// What the instruction accesses off `base`, as far as a window can have it; at most two. False: no window reaches beyond it.
bool Translator::accesses_off(unsigned base, const Item& item, std::array<Access, 2>& list, unsigned& count) const {
  count = 0;
  if (const ZydisDecodedOperand* memory = item.memory; memory && window_base(*memory) == base)
    list[count++] = {static_cast<int>(memory->mem.disp.value), memory->size / 8u, writes(*memory)};
  constexpr int kSize = 8;
  switch (item.kind) {
    case Kind::kPlain:
    case Kind::kMultiply:
    case Kind::kNothing:
    case Kind::kLea:
    case Kind::kMoveOffset:
    case Kind::kReadSegment:
    case Kind::kConditional:
      if (item.kind == Kind::kLea || item.kind == Kind::kNothing) count = 0;
      return true;
    case Kind::kPush:
    case Kind::kCall:
    case Kind::kCallIndirect:
      if (base == kRsp) list[count++] = {-kSize, kSize, true};
      return item.kind == Kind::kPush;
    case Kind::kPop:
    case Kind::kReturn:
      if (base == kRsp) list[count++] = {0, kSize, false};
      return item.kind == Kind::kPop;
    case Kind::kLeave:
      if (base == kRbp) list[count++] = {0, kSize, false};
      return true;
    case Kind::kJumpIndirect: return false;
    default: count = 0; return false;
  }
}

// By how much the instruction moves a register that it writes to; none: by nobody knows what.
std::optional<int> Translator::moves(unsigned reg, const Item& item) const {
  const Decoded& decoded = item.decoded;
  const auto target = decoded.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? general_register(decoded.operands[0].reg.value) : std::nullopt;
  switch (item.kind) {
    case Kind::kPush: return reg == kRsp ? std::optional(-8) : std::nullopt;
    case Kind::kPop: return reg == kRsp && target != kRsp ? std::optional(8) : std::nullopt;
    case Kind::kLea: {
      const auto& memory = decoded.operands[1].mem;
      if (decoded.operands[0].size != 64 || memory.base != decoded.operands[0].reg.value || memory.index != ZYDIS_REGISTER_NONE) break;
      return static_cast<int>(memory.disp.value);
    }
    case Kind::kPlain: {
      const bool adds = decoded.instruction.mnemonic == ZYDIS_MNEMONIC_ADD;
      if (!adds && decoded.instruction.mnemonic != ZYDIS_MNEMONIC_SUB) break;
      if (target != reg || decoded.operands[0].size != 64 || decoded.operands[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE) break;
      const int64_t by = decoded.operands[1].imm.value.s;
      if (is_far(by)) break;
      return static_cast<int>(adds ? by : -by);
    }
    default: break;
  }
  return std::nullopt;
}

// The range that one check here can cover, of what the block goes on to access off `base`. It writes only if the instructions
// up to the next way out do.
Translator::Window Translator::plan(unsigned base) const {
  Window window;
  int shift = 0;
  bool sure = true;
  for (unsigned n = index_; n < count_ && items_[n].good; ++n) {
    const Item& item = items_[n];
    std::array<Access, 2> list;
    unsigned count = 0;
    const bool on = accesses_off(base, item, list, count);
    for (unsigned k = 0; k < count; ++k) {
      const Access& access = list[k];
      if (is_far(access.displacement)) return window;
      const int first = access.displacement + shift, last = first + static_cast<int>(access.size);
      const int lo = window.accesses ? std::min(window.lo, first) : first, hi = window.accesses ? std::max(window.hi, last) : last;
      if (hi - lo > kWidest || (access.write && !window.write && !sure)) return window;
      window.lo = lo;
      window.hi = hi;
      window.write |= access.write;
      ++window.accesses;
    }
    if (!on) break;
    if (item.kind == Kind::kConditional) sure = false;
    if (!(item.use.written >> base & 1)) continue;
    const auto by = moves(base, item);
    if (!by || is_far(*by) || is_far(shift + *by)) break;
    shift += *by;
  }
  return window;
}

bool Translator::covers(unsigned base, int displacement, unsigned size, bool write) const {
  const Window& window = windows_[base];
  if (is_far(displacement)) return false;
  const int first = displacement + window.shift, last = first + static_cast<int>(size);
  return window.valid && first >= window.lo && last <= window.hi && (window.write || !write);
}

bool Translator::covered(const ZydisDecodedOperand& memory, unsigned size, bool write) const {
  const auto base = window_base(memory);
  return base && covers(*base, static_cast<int>(memory.mem.disp.value), size, write);
}

// Where an access off `base` is, by way of what one check found for several; none: it is to be checked by itself.
std::optional<HostPlace> Translator::window(unsigned base, int displacement, unsigned size, bool write) {
  Window& window = windows_[base];
  const auto place = [&] { return HostPlace{.base = kFirst, .disp = displacement + window.shift - window.lo}; };
  if (covers(base, displacement, size, write)) {
    if (held_ != static_cast<int>(base)) load_field(first_, window_field(base));
    held_ = static_cast<int>(base);
    return place();
  }
  if (!options_.windows || !block_->mode.code64() || block_->entry == Entry::kApart || is_far(displacement))
    return std::nullopt;
  window = plan(base);
  if (window.accesses < 2 || displacement < window.lo || displacement + static_cast<int>(size) > window.hi || (write && !window.write))
    return std::nullopt;
  open_window(base);
  return place();
}

// The check of what windows_[base] is to cover.
void Translator::open_window(unsigned base) {
  Window& window = windows_[base];
  spare_flags();
  const uint8_t* retry = getCurr();
  const unsigned also = lea_first(static_cast<int>(host_register(base)), -1, 1, window.lo);
  look_up(static_cast<unsigned>(window.hi - window.lo), window.write, retry,
          {.window = true, .slot = slot_for(base == kRsp, window.write), .also = also});
  store_field(window_field(base), first_);
  window.valid = true;
  held_ = static_cast<int>(base);
}

// At the beginning of a block or round with a chain of carries, whose flags have no recipe: what would be checked in the midst of it is
// checked before it.
void Translator::open_windows_early() {
  if (!carries_ || !options_.windows || !block_->mode.code64() || block_->entry == Entry::kApart || flags_ != Flags::kSaved) return;
  index_ = 0;
  offset_ = block_->offset;
  for (unsigned base = 0; base < windows_.size(); ++base) {
    if (is_homed(base) || windows_[base].valid) continue;
    windows_[base] = plan(base);
    if (windows_[base].accesses >= 2) open_window(base);
  }
}

// Behind an instruction.
void Translator::move_windows(const Item& item) {
  for (unsigned base = 0; base < windows_.size(); ++base) {
    if (!windows_[base].valid || !(item.use.written >> base & 1)) continue;
    const auto by = moves(base, item);
    if (by && !is_far(*by) && !is_far(windows_[base].shift + *by)) windows_[base].shift += *by;
    else windows_[base].valid = false;
  }
}

void Translator::forget_windows() {
  for (Window& window : windows_) window.valid = false;
  held_ = -1;
}

}  // namespace skerry::accel::bt
