#include "accel/bt/translator.hpp"

#include <algorithm>
#include <cstring>

namespace skerry::accel::bt {

using namespace x86;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::RegExp;

namespace {
constexpr uint8_t kNop[] = {0x0f, 0x1f, 0x80};  // nop [rax + displacement]
}  // namespace

// The block ------------------------------------------------------------------------------------------------------------------

bool Translator::translate(Block& block, std::span<const uint8_t> guest_page, const uint8_t* beyond, unsigned jump_slot, std::deque<Edge>& edges) {
  // Another vCPU may be changing the bytes: what was decoded has to be what is copied.
  const size_t size = std::min<size_t>(kMostInstructions * kLongestInsn, kPageBytes - block.offset);
  std::memcpy(code_copy_.data() + block.offset, guest_page.data() + block.offset, size);
  const std::span<const uint8_t> page(code_copy_);
  block_ = &block;
  edges_ = &edges;
  jump_slot_ = jump_slot;
  flags_ = block.entry == Entry::kFlagsLive ? Flags::kHost : Flags::kSaved;
  recipe_ = {};
  packed_ = false;
  vectors_ensured_ = ends_interpreted_ = false;
  slow_.clear();
  side_exits_.clear();
  unlinked_.clear();
  round_ = {};
  forget_windows();
  if (!decode_block(beyond)) return false;
  align(16);
  uint8_t* start = const_cast<uint8_t*>(getCurr());
  offset_ = next_ = block.offset;
  if (block.entry != Entry::kFlagsLive) poll();
  const uint8_t* const quiet = getCurr();
  open_windows_early();
  bool open = true;
  for (index_ = 0; open && index_ < count_; ++index_) {
    const Item& item = items_[index_];
    offset_ = item.offset;
    next_ = item.next;
    if (!item.good) {
      // Bytes of the next page, or no instruction: the interpreter sees.
      decoded_ = nullptr;
      interpret_and_look();
      open = false;
      continue;
    }
    decoded_ = &item.decoded;
    if (next_ > kPageBytes) check_beyond(item);
    open = one(item, page.subspan(offset_, item.decoded.instruction.length));
    move_windows(item);
    if (const ZydisAccessedFlags* changed = decoded_->instruction.cpu_flags)
      block.undefined_flags = (block.undefined_flags & ~(changed->modified | changed->set_0 | changed->set_1)) | changed->undefined;
  }
  block.length = static_cast<uint16_t>(std::min(next_, kPageBytes) - block.offset);
  if (open) go_to(next_);
  write_side_exits();
  block.code_size = static_cast<uint32_t>(getCurr() - start);
  switch_half();
  write_slow();
  write_unlinked();
  switch_half();
  check_library();
  block.instructions = static_cast<uint16_t>(index_ - ends_interpreted_);
  block.vectors = vectors_ensured_;
  block.code = cache_.executable(start);
  block.quiet = cache_.executable(quiet);
  return true;
}

// The instructions up to the end of the block, which may come earlier, when one of them turns out to be the interpreter's. One that
// ends in the page behind is a block of its own. False: it is this one, and that page is not known.
bool Translator::decode_block(const uint8_t* beyond) {
  const unsigned most = options_.stress ? 1 + random_() % kMostInstructions : kMostInstructions;
  unsigned ways_out = 0;
  carries_ = false;
  uint32_t next = block_->offset;
  for (count_ = 0; count_ < most && next < kPageBytes;) {
    Item& item = items_[count_++];
    item.offset = next;
    DecodeStatus status = decode_item(item, kPageBytes);
    if (status == DecodeStatus::kNeedMoreBytes && options_.split_code && !options_.lockstep) {
      if (count_ > 1) return --count_, true;
      if (!beyond) return false;
      std::memcpy(code_copy_.data() + kPageBytes, beyond, kLongestInsn);
      status = decode_item(item, code_copy_.size());
    }
    item.good = status == DecodeStatus::kOk && model_.has(item.decoded.instruction);
    item.next = next = item.good ? next + item.decoded.instruction.length : std::min<uint32_t>(next + kLongestInsn, kPageBytes);
    if (!item.good) return true;
    item.kind = kind_of(item.decoded);
    item.use = register_use(item.decoded);
    item.memory = memory_operand(item.decoded);
    item.reads_flags = reads_flags(item.decoded);
    item.writes_flags = writes_flags(item.decoded);
    carries_ |= carries(item.decoded);
    if (!ends_block(item.kind)) continue;
    if (item.kind != Kind::kConditional || !options_.long_blocks || options_.lockstep || ways_out++ == kMostSideExits) return true;
    // A loop ends at its jump back.
    if (item.decoded.operands[0].imm.value.s < 0 || next >= kPageBytes) return true;
  }
  return true;
}

DecodeStatus Translator::decode_item(Item& item, size_t end) {
  const std::span<const uint8_t> bytes(code_copy_.data() + item.offset, std::min<size_t>(kLongestInsn, end - item.offset));
  return decode(bytes, block_->mode.code_size(), item.decoded);
}

// Before an instruction that ends in the page behind: whether the bytes there are, now and here, those that were translated. It takes no
// watch over that page, nor a mark that other code there knows of this. Else it is the interpreter's.
void Translator::check_beyond(const Item& item) {
  const int tlb = at_.tlb[block_->mode.user() ? Interpreter::kUserTlb : Interpreter::kSupervisorTlb];
  spare_flags();
  held_ = -1;
  load_field(first_, at_.page_base);
  lea(first_, ptr[first_ + static_cast<int>(kPageBytes)]);  // beyond 4 GiB no code goes on at 0
  place_in_tlb();
  in_context().cmp(first_, qword[second_ + (tlb + static_cast<int>(offsetof(TlbEntry, fetch_tag)))]);
  to_interpreter(kNotZero);
  in_context().mov(second_, qword[second_ + (tlb + static_cast<int>(offsetof(TlbEntry, host_page)))]);
  for (uint32_t at = kPageBytes; at < item.next;) {
    const uint32_t size = item.next - at < 4 ? 1 : 4;
    const RegExp place = second_ + static_cast<int>(at - kPageBytes);
    uint32_t bytes = 0;
    std::memcpy(&bytes, code_copy_.data() + at, size);
    if (size == 4) cmp(dword[place], bytes);
    else cmp(byte[place], static_cast<uint32_t>(static_cast<int8_t>(bytes)));
    to_interpreter(kNotZero);
    at += size;
  }
}

bool Translator::one(const Item& item, std::span<const uint8_t> bytes) {
  if (wants_flags_packed(item.kind)) store_packed_flags();
  else if (wants_flags_stored(item.kind)) store_flags();
  else keep_recipe(item.use, item.kind == Kind::kPlain && item.writes_flags && !item.reads_flags);
  if (!keeps_scratch(item.kind)) held_ = -1;
  switch (item.kind) {
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
    case Kind::kReadSegment: return read_segment();
    case Kind::kClearInterrupts:
    case Kind::kSetInterrupts:
      if (block_->mode.user() || options_.lockstep) return interpret();
      return item.kind == Kind::kSetInterrupts ? set_interrupts() : clear_interrupts(), true;
    case Kind::kDivide: return plain(bytes);
    case Kind::kMultiply: return multiply();
    case Kind::kReadTsc:
      if (options_.lockstep) return interpret();  // it does not stand still
      return read_tsc(), true;
    case Kind::kSwapGs:
      // Lockstep would do it twice: it takes back general registers and memory only.
      if (block_->mode.user() || !block_->mode.code64() || options_.lockstep) return interpret();
      return swap_gs(), true;
    case Kind::kVerifyWrite: return verify_write();
    case Kind::kSyscall: return syscall_();
    case Kind::kSysret: return sysret_();
    case Kind::kSuspendSmap: return set_access(true);
    case Kind::kResumeSmap: return set_access(false);
    case Kind::kJump: return jump_();
    case Kind::kConditional: return conditional();
    case Kind::kCall: return call_(), false;
    case Kind::kJumpIndirect: return jump_indirect(), false;
    case Kind::kCallIndirect: return call_indirect(), false;
    case Kind::kReturn: return return_(), false;
    case Kind::kInterpret: return interpret();
    case Kind::kInterpretLast: return interpret_last(), false;
    case Kind::kInterruptReturn: return interrupt_return(), false;
    case Kind::kBitString: return bit_string();
    case Kind::kRepeated: return repeated();
  }
  return false;
}

// The interpreter ------------------------------------------------------------------------------------------------------------

bool Translator::interpret() {
  if (options_.lockstep) return interpret_last(), false;  // a block is then all translated
  store_packed_flags();
  forget_windows();
  store_field32(at_.insn, access_info(offset_, next_ - offset_, false));
  call_routine(interpret_);
  packed_ = true;
  return true;
}

// An instruction of which is not known how long it is.
void Translator::interpret_and_look() {
  if (options_.lockstep) return interpret_last();
  ends_interpreted_ = true;
  store_flags();
  store_field32(at_.insn, access_info(offset_, 0, false));
  call_routine(interpret_);
  load_field(first_, at_.argument);
  look_up();
}

// The mode may be another one then, but not without C++ code having been told: see Runner::interpret().
void Translator::interrupt_return() {
  if (options_.lockstep || !options_.crossings || !options_.jumps) return interpret_last();
  ends_interpreted_ = true;
  store_field32(at_.insn, any_mode_info(offset_));
  call_routine(interpret_);
  load_field(first_, at_.argument);
  leave_calls();
  mov(r15d, jump_info(offset_, 0));
  in_context().jmp(field(at_.return_lookup));
}

void Translator::interpret_last() {
  ends_interpreted_ = true;
  store_flags();
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
  store_field32(at_.insn, insn);
  jump_to(leave_[static_cast<unsigned>(exit)]);
}

// How an edge to an offset of this page can take the flags from where they are. Loops come back with the flags saved, because only such
// blocks look for requests.
std::optional<Entry> Translator::entry_without_store(uint32_t target) const {
  if (target >= kPageBytes) return std::nullopt;
  if (flags_ == Flags::kSaved || flags_ == Flags::kBoth) return Entry::kFlagsSaved;
  if (flags_ == Flags::kHost && target > offset_ && options_.live_flags) return Entry::kFlagsLive;
  return std::nullopt;
}

void Translator::edge(uint32_t target) {
  const auto entry = entry_without_store(target);
  if (!entry) store_flags();
  jump_by_edge(target, entry.value_or(Entry::kFlagsSaved));
}

void Translator::jump_by_edge(uint32_t target, Entry entry) {
  align_displacement(1);
  db(0xe9);
  uint8_t* displacement = const_cast<uint8_t*>(getCurr());
  dd(0);
  add_edge(displacement, target, entry);
}

void Translator::branch_by_edge(unsigned condition, uint32_t target, Entry entry) {
  align_displacement(2);
  add_edge(branch(condition), target, entry);
}

void Translator::add_edge(uint8_t* displacement, uint32_t target, Entry entry) {
  edges_->push_back({block_, block_->page, displacement, target, entry, target > offset_});
  unlinked_.push_back({&edges_->back(), entry == Entry::kFlagsLive});
}

void Translator::page_address(uint32_t offset) {
  in_context().mov(first_, field(at_.page_base));
  if (block_->mode.code64()) lea(first_, ptr[first_ + static_cast<int>(offset)]);
  else lea(r14d, ptr[first_ + static_cast<int>(offset)]);
}

void Translator::go_to(uint32_t target) {
  if (target < kPageBytes) return edge(target);
  store_flags();
  if (options_.jumps && !options_.lockstep) return go_beyond(target);
  page_address(target);
  look_up();
}

// To another page: by this jump's own place if the address was there last, else by the table of jumps.
void Translator::go_beyond(uint32_t target) {
  const int site = at_.sites + static_cast<int>((jump_slot_ * kSiteCount + sites_++ % kSiteCount) * sizeof(JumpEntry));
  const bool code64 = block_->mode.code64();
  const auto to = static_cast<int32_t>(target), to_page = to & -static_cast<int32_t>(kPageBytes);
  load_field(first_, at_.page_base);
  if (code64) lea(second_, ptr[first_ + to]);
  else lea(r15d, ptr[first_ + to]);
  in_context().xor_(second_, field(jump_key(jump_slot_)));
  in_context().cmp(second_, field(site + static_cast<int>(offsetof(JumpEntry, tag))));
  uint8_t* const other = branch(kNotZero);
  slow_.push_back({Slow::What::kFindSite, other, nullptr, jump_info(offset_, 0), site, std::nullopt});
  if (code64) lea(first_, ptr[first_ + to_page]);
  else lea(r14d, ptr[first_ + to_page]);
  store_field(at_.page_base, first_);
  in_context().jmp(field(site + static_cast<int>(offsetof(JumpEntry, code))));
}

void Translator::look_up(int undo) {
  if (options_.jumps && !options_.lockstep) return look_up_jump(jump_slot_, jump_info(offset_, undo));
  store_field32(at_.insn, jump_info(offset_, undo));
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
  slow(Slow::What::kForgetCalls, full, getCurr(), 0, 0);
  push(second_);
  db(0xe8);
  uint8_t* called = const_cast<uint8_t*>(getCurr());
  dd(0);
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
  go();
}

bool Translator::jump_() {
  if (loops_back(items_[index_])) return next_round();
  go_to(next_ + static_cast<uint32_t>(decoded_->operands[0].imm.value.s));
  return false;
}

// Whether the instruction, a direct jump, goes to the beginning of the block that it ends.
bool Translator::loops_back(const Item& item) const {
  return options_.loops && !options_.lockstep && &item == &items_[count_ - 1] && item.next <= kPageBytes &&
         item.next + static_cast<uint32_t>(item.decoded.operands[0].imm.value.s) == block_->offset;
}

// The first round of a loop is as any block. Behind it comes a copy that begins as it ends: with its flags, the checks of its
// windows, the vector registers loaded; this one jumps back to itself. Each round looks for requests, as blocks do, so that no
// window outlives a right that is taken away. If its instructions try the page that they accessed last (the quick round), then there is
// another copy behind it that does not; where that turns out to be better the jump back becomes one to the next instruction.
bool Translator::next_round() {
  uint16_t written = 0;
  for (unsigned n = 0; n < count_; ++n) written |= items_[n].use.written;
  for (unsigned n = 0; n < windows_.size(); ++n)
    if (written >> n & 1) windows_[n] = {};
  held_ = -1;
  if (!round_.start) {
    round_ = {.quick = options_.recent && block_->mode.user(), .slots = slots_, .flags = flags_, .recipe = recipe_, .windows = windows_};
  } else {
    const bool same = flags_ == round_.flags && recipe_ == round_.recipe && windows_ == round_.windows;
    if (!same || !round_.quick || round_.slots == slots_) {
      if (same) jump_to(round_.start);
      else edge(block_->offset);
      return false;
    }
    align_displacement(1);
    db(0xe9);
    round_.back = getCurr();
    dd(0);
    patch(const_cast<uint8_t*>(round_.back), round_.start);
    round_.quick = false;
  }
  round_.start = getCurr();
  packed_ = false;
  spare_flags();
  poll();
  open_windows_early();
  index_ = ~0u;  // the first one is next
  return true;
}

// What is executed is another view of what is written.
void Translator::leave_quick_round(uint64_t nop) {
  uint8_t* const at = cache_.writable() + (reinterpret_cast<const uint8_t*>(nop) - cache_.executable(cache_.writable()));
  if (std::memcmp(at, kNop, sizeof kNop) != 0) return;  // the loop has no such jump
  int32_t distance = 0;
  std::memcpy(&distance, at + sizeof kNop, sizeof distance);
  __atomic_store_n(reinterpret_cast<int32_t*>(at + distance), 0, __ATOMIC_RELEASE);
}

// At the beginning of a block, or of another round of it.
void Translator::poll() {
  in_context().cmp(field32(at_.requests), 0);
  uint8_t* asked = branch(kNotZero);
  slow(Slow::What::kPoll, asked, getCurr(), block_->offset, 0);
}

// The block goes on behind it if there is more of it.
bool Translator::conditional() {
  need_flags();
  if (loops_back(items_[index_])) {
    side_exits_.push_back({branch((decoded_->instruction.opcode & 15u) ^ 1u), next_, offset_, flags_, recipe_});
    return next_round();
  }
  const uint32_t target = next_ + static_cast<uint32_t>(decoded_->operands[0].imm.value.s);
  const unsigned condition = decoded_->instruction.opcode & 15u;
  if (const auto entry = entry_without_store(target)) branch_by_edge(condition, target, *entry);
  else side_exits_.push_back({branch(condition), target, offset_, flags_, recipe_});
  if (index_ + 1 < count_) return true;
  go_to(next_);
  return false;
}

// The address behind the call is pushed first: a fault of the push comes before one of the target.
void Translator::push_return() {
  const unsigned size = stack_size();
  const RegExp top = at(check_stack(-static_cast<int>(size), size, true));
  in_context().mov(second_, field(at_.page_base));
  lea(second_, ptr[second_ + static_cast<int>(next_)]);
  if (size == 8) mov(qword[top], second_);
  else mov(dword[top], r15d);
  move_stack(-static_cast<int>(size));
}

void Translator::call_() {
  push_return();
  call_to([&] { go_to(next_ + static_cast<uint32_t>(decoded_->operands[0].imm.value.s)); });
}

void Translator::jump_indirect() {
  const ZydisDecodedOperand& operand = decoded_->operands[0];
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    if (!can_address(operand)) return interpret_last();
    const RegExp from = at(check(operand, stack_size(), false));
    if (stack_size() == 8) mov(first_, qword[from]);
    else mov(r14d, dword[from]);
  } else {
    load_guest(first_, id_of(operand.reg.value));
  }
  look_up();
}

void Translator::call_indirect() {
  const ZydisDecodedOperand& operand = decoded_->operands[0];
  const unsigned size = stack_size();
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    if (!can_address(operand)) return interpret_last();
    const RegExp from = at(check(operand, size, false));
    if (size == 8) mov(first_, qword[from]);
    else mov(r14d, dword[from]);
  } else {
    load_guest(first_, id_of(operand.reg.value));
  }
  in_context().mov(field(at_.value), first_);
  held_ = -1;
  push_return();
  call_to([&] {
    in_context().mov(first_, field(at_.value));
    look_up(-static_cast<int>(size));
  });
}

void Translator::return_() {
  const unsigned size = stack_size();
  const bool releases = decoded_->instruction.operand_count_visible > 0;
  const auto bytes = static_cast<uint32_t>(size + (releases ? decoded_->operands[0].imm.value.u & 0xffff : 0));
  const RegExp top = at(check_stack(0, size, false));
  if (size == 8) mov(first_, qword[top]);
  else mov(r14d, dword[top]);
  move_stack(static_cast<int>(bytes));
  if (!options_.returns || options_.lockstep) return look_up(static_cast<int>(bytes));
  mov(r15d, jump_info(offset_, static_cast<int>(bytes)));
  ret();
}

// Out of line ----------------------------------------------------------------------------------------------------------------

void Translator::slow(Slow::What what, uint8_t* jump, const uint8_t* retry, uint32_t insn, int tag) {
  slow_.push_back({what, jump, retry, insn, tag, flags_ == Flags::kRecipe ? std::optional(recipe_) : std::nullopt});
}

void Translator::to_interpreter(unsigned condition) { slow(Slow::What::kInterpret, branch(condition), nullptr, offset_, 0); }

void Translator::write_side_exits() {
  for (const SideExit& exit : side_exits_) {
    patch(exit.jump, getCurr());
    flags_ = exit.flags;
    recipe_ = exit.recipe;
    packed_ = false;
    offset_ = exit.offset;
    go_to(exit.target);
  }
}

// The run loop wants the flags saved.
void Translator::write_unlinked() {
  for (const auto& [edge, live_flags] : unlinked_) {
    patch(edge->patch, getCurr());
    if (live_flags) save_flags();
    mov(first_, reinterpret_cast<uint64_t>(edge));
    store_field(at_.argument, first_);
    jump_to(leave_[static_cast<unsigned>(Exit::kLink)]);
  }
}

void Translator::store_flags_of(const Slow& slow) {
  if (!slow.recipe) return;
  make_flags(*slow.recipe);
  save_flags();
}

// Of a window's failed check, with the address in the first scratch register: where its range is over the end of a page there is no use in
// filling the TLB.
void Translator::write_apart(const Slow& slow) {
  mov(r15d, r14d);
  and_(r15d, kPageBytes - 1);
  cmp(r15d, kPageBytes - access_size(slow.insn));
  uint8_t* within = branch(kBelowEqual);
  store_flags_of(slow);
  jump_by_edge(jump_offset(slow.insn), Entry::kApart);
  patch(within, getCurr());
}

void Translator::write_fill(const Slow& slow) {
  store_flags_of(slow);
  store_field32(at_.insn, slow.insn);
  call_routine(fill_);
  jump_to(slow.retry);
}

void Translator::write_slow() {
  for (const Slow& slow : slow_) {
    patch(slow.jump, getCurr());
    switch (slow.what) {
      case Slow::What::kFill:
        if (access_is_window(slow.insn) && !options_.lockstep) {
          in_context().xor_(first_, qword[second_ + slow.tag]);
          write_apart(slow);
          place_in_tlb();  // as it was behind the check
          in_context().xor_(first_, qword[second_ + slow.tag]);
        }
        call_routine(refill_[block_->mode.tlb()][access_writes(slow.insn)]);
        patch(branch(kZero), slow.retry);
        write_fill(slow);
        break;
      case Slow::What::kRecent:
        in_context().xor_(first_, field(slow.tag));
        if (access_is_window(slow.insn) && !options_.lockstep) write_apart(slow);
        mov(r15d, static_cast<uint32_t>(slow.tag));
        call_routine(refill_recent_[access_writes(slow.insn)]);
        if (round_.back) {
          const auto distance = static_cast<int32_t>(round_.back - getCurr());
          raw(kNop, sizeof kNop);
          dd(static_cast<uint32_t>(distance));
        }
        patch(branch(kZero), slow.retry);
        write_fill(slow);
        break;
      case Slow::What::kInterpret:
        store_flags_of(slow);
        leave_with(Exit::kInterpret, slow.insn);
        break;
      case Slow::What::kInterpretHere:  // and on behind it
        store_flags_of(slow);
        store_field32(at_.insn, slow.insn);
        call_routine(interpret_);
        jump_to(slow.retry);
        break;
      case Slow::What::kPoll:  // if the present state lets it through
        in_context().mov(r14d, field32(at_.requests));
        in_context().test(field32(at_.interest), r14d);
        patch(branch(kZero), slow.retry);
        store_flags_of(slow);
        leave_with(Exit::kPoll, slow.insn);
        break;
      case Slow::What::kForgetCalls:
        in_context().mov(rsp, field(at_.host_stack));
        lea(rsp, ptr[rsp - 8]);
        jump_to(slow.retry);
        break;
      case Slow::What::kFindSite:  // the address is in the second scratch register, as the table's tag
        mov(first_, second_);
        in_context().xor_(first_, field(jump_key(jump_slot_)));
        store_field32(at_.insn, slow.insn);
        store_field32(at_.site, static_cast<uint32_t>(slow.tag));
        jump_to(find_site_[jump_slot_]);
        break;
      case Slow::What::kPack:
        call_routine(pack_);
        jump_to(slow.retry);
        break;
      case Slow::What::kLoadVectors:
        call_routine(load_vectors_);
        jump_to(slow.retry);
        break;
    }
  }
}

}  // namespace skerry::accel::bt
