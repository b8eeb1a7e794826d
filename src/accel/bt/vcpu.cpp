#include "accel/bt/vcpu.hpp"

#include <asm/prctl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"

namespace skerry::accel::bt {

using namespace x86;

namespace {

constexpr unsigned kJumpKeyShift = 48;
constexpr int kInternalError = 6;  // the exit status of skerry-vm for its own errors

// The GS base is nobody's in a 64-bit program: threads have FS.
void set_gs(const void* base) {
  constexpr unsigned long kFsgsbase = 2;  // AT_HWCAP2 of Linux on x86
  static const bool direct = ::getauxval(AT_HWCAP2) & kFsgsbase;
  if (direct) asm volatile("wrgsbase %0" : : "r"(base));
  else ::syscall(SYS_arch_prctl, ARCH_SET_GS, base);
}

}  // namespace

Runner::Runner(unsigned index, Environment& environment, Engine& engine)
    : engine_(engine),
      context_(std::make_unique<Context>(index, engine.parts().memory, environment, engine.parts().model)),
      state_(context_->interpreter.state),
      random_(static_cast<uint32_t>(engine.parts().options.stress.value_or(0) + index)) {
  if (engine.parts().options.lockstep) lockstep_ = std::make_unique<Lockstep>(context_->interpreter);
  context_->owner = this;
  context_->fill = [](Context* context) { return static_cast<Runner*>(context->owner)->fill(); };
  context_->interpret = [](Context* context) { return static_cast<Runner*>(context->owner)->interpret(); };
  context_->note_site = [](Context* context) { return static_cast<Runner*>(context->owner)->note_site(); };
  context_->second_tlbs[Interpreter::kUserTlb].recent.begin();
  forget_jumps();
  context_->interpreter.set_second_tlbs(context_->second_tlbs);
  context_->interpreter.set_mapping_listener(this);
  engine_.add(*context_);
}

Runner::~Runner() {
  if (!engine_.parts().options.stats) return;
  const Engine::Counts all = engine_.counts();
  log::info("bt: vCPU {}: left translated code for a lookup {}, a link {}, the interpreter {}, a request {}, on a change {}; "
            "TLB fills {}, instructions interpreted inside blocks {}, lookups of blocks {}, jumps forgotten {} times; "
            "{} blocks of {} pages, {} bytes of code, discarded {} times",
            context_->interpreter.index, counts_.exits[0], counts_.exits[1], counts_.exits[2], counts_.exits[3],
            counts_.exits[4], counts_.fills, counts_.interpreted, counts_.lookups, counts_.forgotten, all.blocks, all.pages, all.bytes,
            all.discards);
  std::vector<std::pair<uint64_t, ZydisMnemonic>> order;
  for (const auto& [mnemonic, count] : counts_.mnemonics) order.emplace_back(count, mnemonic);
  std::ranges::sort(order, std::greater());
  if (order.size() > 24) order.resize(24);
  std::string list;
  for (const auto& [count, mnemonic] : order)
    list += fmt::format(" {} {}", mnemonic == ZYDIS_MNEMONIC_INVALID ? "(invalid)" : ZydisMnemonicGetString(mnemonic), count);
  log::info("bt: vCPU {}: interpreted from translated code, most often:{}", context_->interpreter.index, list);
}

// What the next instruction is, for the statistics.
void Runner::count_instruction() {
  if (!engine_.parts().options.stats) return;
  const memory::GuestMemory& memory = engine_.parts().memory;
  uint64_t gpa = 0;
  const std::byte* page = probe(memory, state_, state_.rip, gpa) ? memory.page(gpa).host : nullptr;
  if (!page) return;
  const uint64_t offset = gpa & memory::kPageMask;
  Decoded decoded;
  const std::span bytes(reinterpret_cast<const uint8_t*>(page) + offset, std::min<size_t>(15, memory::kPageSize - offset));
  const bool known = decode(bytes, mode_.code_size(), decoded) == DecodeStatus::kOk;
  ++counts_.mnemonics[known ? decoded.instruction.mnemonic : ZYDIS_MNEMONIC_INVALID];
}

// What may happen at any moment, happens often.
// What costs most is rarest: else a stressed guest does nothing but translate its code again.
void Runner::stress() {
  switch (random_() % 512) {
    case 0: return forget_jumps();
    case 1: return context_->interpreter.flush_tlb();
    case 2:
    case 3: return context_->interpreter.set_request(request::kEngine);
    case 4:
      if (random_() % 1024 == 0) engine_.discard_all(*context_, engine_.generation());
      if (random_() % 4096 == 0) {
        engine_.trim(*context_, engine_.generation());
        rest();
      }
      return;
    default: return;
  }
}

StopReason Runner::run() {
  Interpreter& in = context_->interpreter;
  set_gs(context_.get());
  for (;;) {
    if (engine_.parts().options.stress) stress();
    if (const auto stop = in.boundary()) {
      if (*stop == StopReason::kHalted) rest();
      return *stop;
    }
    if (in.requests() & request::kEngine) {
      in.clear_request(request::kEngine);
      forget_jumps();
    }
    if (in.careful()) {
      if (const auto stop = in.careful_step()) return *stop;
      continue;
    }
    const std::optional<Mode> mode = Mode::of(in);
    const bool done = mode && (lockstep_ ? run_in_lockstep(*mode) : run_translated(*mode));
    if (!done) in.run_some();
  }
}

// About to sleep. Each vCPU gives back what is its own.
void Runner::rest() {
  engine_.rest(*context_);
  if (const uint64_t trims = engine_.trims(); std::exchange(trims_, trims) == trims) return;
  context_->give_back_jumps();
  context_->give_back_second_tlbs();
  context_->interpreter.forget_lowered();
}

uint64_t Runner::address_of(uint32_t offset) const {
  const uint64_t address = context_->page_base + static_cast<uint64_t>(static_cast<int32_t>(offset));
  return mode_.code64() ? address : static_cast<uint32_t>(address);
}

// A new key is what makes every entry old.
uint64_t Runner::new_key() {
  ++counts_.forgotten;
  last_key_ += uint64_t{1} << kJumpKeyShift;
  if (last_key_ == 0) {  // all have been used
    context_->give_back_jumps();
    space_keys_ = {};
    last_key_ = uint64_t{1} << kJumpKeyShift;
    for (uint64_t& key : context_->jump_key) {  // neither is left as it is: it would be given again
      key = last_key_;
      last_key_ += uint64_t{1} << kJumpKeyShift;
    }
    space_keys_[space_] = context_->jump_key[1];
  }
  return last_key_;
}

void Runner::forget_jumps() {
  space_keys_ = {};
  context_->jump_key[0] = new_key();
  context_->jump_key[1] = space_keys_[space_] = new_key();
  jump_pages_.reset();
  local_supervisor_jumps_ = false;
}

void Runner::address_space_changed(unsigned space, bool fresh) {
  space_ = space;
  if (fresh || space_keys_[space] == 0) space_keys_[space] = new_key();
  context_->jump_key[1] = space_keys_[space];
  if (std::exchange(local_supervisor_jumps_, false)) context_->jump_key[0] = new_key();
}

void Runner::page_changed(uint64_t linear) {
  if (jump_pages_[linear / memory::kPageSize % jump_pages_.size()]) forget_jumps();
}

unsigned Runner::jump_slot(Mode mode) {
  if (mode.bits() != slot_.mode || engine_.generation() != slot_.generation)
    slot_ = {.mode = mode.bits(), .number = engine_.jump_slot(*context_, mode), .generation = engine_.generation()};
  return slot_.number;
}

// Null: the instruction there ends in a page of code of which is not known where it is. The interpreter takes it, and knows then.
const Block* Runner::block_at(uint64_t rip, const std::byte* page, Mode mode, Entry entry) {
  const auto offset = static_cast<unsigned>(rip & memory::kPageMask);
  const std::byte* const beyond = offset + kLongestInsn > memory::kPageSize ? context_->interpreter.known_code(rip - offset + memory::kPageSize) : nullptr;
  const Block* block = engine_.block(*context_, page, offset, beyond, mode, entry);
  if (!block) context_->interpret_next = true;
  return block;
}

// The code for an address, by the table of jumps or by way of the page tables. Null: an exception is to be delivered, or it is the
// interpreter's turn.
const uint8_t* Runner::code_at(uint64_t rip, Mode mode) {
  Interpreter& in = context_->interpreter;
  // The tables' places may be given to other modes when all is discarded; then they are forgotten before they are used.
  JumpEntry* const table = context_->jumps[jump_slot(mode)];
  JumpEntry& entry = table[jump_index(rip)];
  JumpEntry& other = table[jump_index(rip) ^ kOtherWay];
  for (const JumpEntry* one : {&entry, &other})
    if (one->tag == (rip ^ context_->jump_key[mode.user()])) return reinterpret_cast<const uint8_t*>(one->code);
  ++counts_.lookups;
  const std::byte* page = nullptr;
  if (mode.code64() && !Interpreter::canonical(rip)) return nullptr;
  if (!in.fetch_page(rip, page) || !page) return nullptr;
  const Block* block = block_at(rip, page, mode, Entry::kFlagsSaved);
  if (!block) return nullptr;
  if (in.requests() & request::kEngine) return block->code;  // which looks for requests first
  jump_pages_.set(rip / memory::kPageSize % jump_pages_.size());
  if (!mode.user() && !in.fetched_global(rip)) local_supervisor_jumps_ = true;
  other = entry;
  entry = {rip ^ context_->jump_key[mode.user()], reinterpret_cast<uint64_t>(block->code)};
  return block->code;
}

const uint8_t* Runner::follow(Edge& edge) {
  const uint64_t generation = engine_.generation();
  const Edge wanted = edge;
  const uint64_t rip = address_of(wanted.target);
  state_.rip = rip;
  const std::byte* page = nullptr;
  if (!context_->interpreter.fetch_page(rip, page) || !page) return nullptr;
  const Block* to = block_at(rip, page, mode_, wanted.entry);
  if (!to) return nullptr;
  if (page == wanted.from_page) engine_.link(edge, *to, generation);
  return to->code;
}

// One check of several accesses has failed: on in a block that checks them one by one.
bool Runner::apart(const uint8_t*& code) {
  Interpreter& in = context_->interpreter;
  const std::byte* page = nullptr;
  if (!in.fetch_page(state_.rip, page) || !page) return false;
  const Block* block = block_at(state_.rip, page, mode_, Entry::kApart);
  if (!block) return false;
  code = block->code;
  return true;  // it looks for requests first
}

void Runner::before_interpreter() { state_.rflags = unpack_flags(state_.rflags, context_->flags); }
void Runner::after_interpreter() {
  context_->flags = pack_flags(state_.rflags);
  context_->tsc_offset = vm_tsc_offset_ + state_.tsc_offset;
}

void Runner::allow_reading_tsc() {
  const Environment::TscRate rate = context_->interpreter.env.tsc_rate();
  vm_tsc_offset_ = rate.offset;
  context_->tsc_direct[0] = rate.as_hosts;
  context_->tsc_direct[1] = rate.as_hosts && !(state_.cr4 & cr4::kTsd);
}

// Where SYSCALL, SYSRET, STAC and CLAC go from this mode.
void Runner::allow_crossings(Mode mode) {
  const bool smap = state_.cr4 & cr4::kSmap;
  const bool possible = mode.code64() && (state_.efer & efer::kSce);
  const Mode kernel = mode.at(false, smap ? Interpreter::kSmapTlb : Interpreter::kSupervisorTlb);
  if (kernel == crossings_.kernel && possible == crossings_.possible && crossings_.generation == engine_.generation()) return;
  crossings_ = {kernel, mode.at(true, Interpreter::kUserTlb), mode.at(false, Interpreter::kSupervisorTlb), possible, engine_.generation()};
  const auto to = [&](Mode other) {
    return possible ? Crossing{engine_.fixed().return_lookup(jump_slot(other)), other.bits()} : Crossing{};
  };
  context_->to_kernel = to(crossings_.kernel);
  context_->to_user = to(crossings_.user);
  context_->to_open = to(crossings_.open);
}

// Translated code has changed the privilege: what follows from it is made so before anybody looks.
void Runner::settle() {
  Interpreter& in = context_->interpreter;
  const Crossed crossed = std::exchange(context_->crossed, Crossed::kNo);
  if (crossed == Crossed::kSyscall) in.load_syscall_segments();
  if (crossed == Crossed::kSysret) in.load_sysret_segments(true);
  if (context_->mode == mode_.bits()) return;
  for (const Mode mode : {crossings_.kernel, crossings_.user, crossings_.open})
    if (mode.bits() == context_->mode) mode_ = mode;
  in.mode_changed();
}

void Runner::begin_mode(Mode mode) {
  mode_ = mode;
  context_->mode = mode.bits();
  allow_crossings(mode);
  allow_reading_tsc();
  context_->return_lookup = engine_.fixed().return_lookup(jump_slot(mode));
}

bool Runner::run_translated(Mode mode) {
  begin_mode(mode);
  const uint8_t* code = code_at(state_.rip, mode);
  if (!code && !context_->interpret_next) return false;
  context_->page_base = state_.rip & ~memory::kPageMask;
  after_interpreter();
  while (code) {
    const Exit exit = engine_.fixed().enter()(context_.get(), code);
    ++counts_.exits[static_cast<unsigned>(exit)];
    code = nullptr;
    if (!left(exit, code)) break;
  }
  before_interpreter();
  if (context_->interpret_next) {
    context_->interpret_next = false;
    count_instruction();
    context_->interpreter.execute();
  }
  return true;
}

bool Runner::run_in_lockstep(Mode mode) {
  Interpreter& in = context_->interpreter;
  mode_ = mode;
  context_->mode = mode.bits();
  const std::byte* page = nullptr;
  if (mode.code64() && !Interpreter::canonical(state_.rip)) return false;
  if (!in.fetch_page(state_.rip, page) || !page) return false;
  const unsigned offset = static_cast<unsigned>(state_.rip & memory::kPageMask);
  const Block& block = *engine_.block(*context_, page, offset, nullptr, mode, Entry::kFlagsSaved);
  if (block.instructions == 0 || !lockstep_->expect(block)) {
    in.execute();
    return true;
  }
  context_->page_base = state_.rip & ~memory::kPageMask;
  after_interpreter();
  const uint8_t* none = nullptr;
  const Exit exit = engine_.fixed().enter()(context_.get(), block.code);
  ++counts_.exits[static_cast<unsigned>(exit)];
  left(exit, none);
  before_interpreter();
  context_->interpret_next = false;
  if (exit == Exit::kPoll) return true;
  // An access that crosses a page, and the like: the interpreter takes it from there.
  if (exit == Exit::kInterpret)
    for (unsigned left = lockstep_->left_to_do(block); left > 0; --left)
      while (in.execute() == Flow::kRepeat) {
      }
  if (!lockstep_->compare(block, block.code)) ::_exit(kInternalError);
  return true;
}

// What to do after translated code came back. `code` is set to go on there; false: back to the run loop.
bool Runner::left(Exit exit, const uint8_t*& code) {
  settle();
  Interpreter& in = context_->interpreter;
  const uint32_t offset = context_->insn & 0xffff;
  switch (exit) {
    case Exit::kLookup: {
      const uint64_t rip = mode_.code64() ? context_->argument : static_cast<uint32_t>(context_->argument);
      if (mode_.code64() && !Interpreter::canonical(rip)) {  // the branch itself raises #GP
        state_.gpr[kRsp] -= static_cast<uint64_t>(static_cast<int64_t>(jump_undo(context_->insn)));
        state_.rip = address_of(jump_offset(context_->insn));
        context_->interpret_next = true;
        return false;
      }
      state_.rip = rip;
      if (in.event_waiting() || lockstep_ || engine_.parts().options.stress) return false;
      code = code_at(rip, mode_);
      context_->page_base = rip & ~memory::kPageMask;
      return code != nullptr;
    }
    case Exit::kLink: {
      if (lockstep_) {
        state_.rip = address_of(reinterpret_cast<const Edge*>(context_->argument)->target);
        return false;
      }
      Edge& edge = *reinterpret_cast<Edge*>(context_->argument);
      state_.rip = address_of(edge.target);
      if (in.requests() & request::kEngine) return false;  // the edge may be gone
      code = follow(edge);
      // A block that takes the flags live does not look for requests, and may go on by a jump that is to be forgotten.
      if (in.requests() & request::kEngine) code = nullptr;
      return code != nullptr;
    }
    case Exit::kInterpret:
      state_.rip = address_of(offset);
      if (access_is_window(context_->insn) && !lockstep_) return apart(code);
      context_->interpret_next = true;
      return false;
    case Exit::kPoll: state_.rip = address_of(offset); return false;
    case Exit::kResume: return false;
  }
  return false;
}

// Called from translated code: an access missed the TLB.
bool Runner::fill() {
  ++counts_.fills;
  settle();
  const uint64_t linear = mode_.code64() ? context_->argument : static_cast<uint32_t>(context_->argument);
  const unsigned size = access_size(context_->insn);
  if ((linear & memory::kPageMask) + size > memory::kPageSize) return false;
  return context_->interpreter.fill(linear, access_writes(context_->insn));
}

// Called from translated code: an instruction of a loop has accessed another page than the time before so often as RecentPages counts. Where
// that happened within a short time the loop goes on by the copy that looks into the TLB.
bool Runner::note_site() {
  constexpr int64_t kShort = 10'000'000;  // ns
  RecentPages& recent = context_->second_tlbs[Interpreter::kUserTlb].recent;
  const unsigned slot = recent.number(reinterpret_cast<const std::byte*>(context_.get()) + context_->site);
  if (slot % RecentPages::kSlots < Translator::kFirstOwn) return true;
  const int64_t now = VmClock::host_now(), since = recent.exchange_since(slot, now);
  if (now - since < kShort || engine_.parts().options.stress) engine_.leave_quick_round(context_->argument);
  return true;
}

// Called from translated code: one instruction by the interpreter. Whether the block goes on behind it; if its length is not given,
// at Context::argument.
bool Runner::interpret() {
  Interpreter& in = context_->interpreter;
  ++counts_.interpreted;
  settle();
  const uint32_t offset = context_->insn & 0xffff, length = access_size(context_->insn);
  const bool any_mode = is_any_mode(context_->insn);
  state_.rip = address_of(offset);
  before_interpreter();
  count_instruction();
  const uint64_t epoch = in.mapping_epoch();
  const uint32_t mxcsr = state_.mxcsr;
  Flow flow = Flow::kNext;
  do flow = in.execute();
  while (flow == Flow::kRepeat && !in.event_waiting());
  after_interpreter();
  if (flow == Flow::kFault || flow == Flow::kRepeat || in.careful() || in.event_waiting()) return false;
  context_->argument = state_.rip;
  if ((length != 0 && state_.rip != address_of(offset + length)) || in.mapping_epoch() != epoch || state_.activity != Activity::kRunning)
    return false;
  if (flow == Flow::kNext && mode_.code64() && state_.mxcsr == mxcsr) return true;  // as it was
  const auto mode = Mode::of(in);
  if (!mode) return false;
  if (*mode == mode_) return true;
  if (!any_mode || !mode->code64()) return false;
  const uint64_t generation = engine_.generation();
  begin_mode(*mode);
  return engine_.generation() == generation;  // else the block that called is gone: there were too many modes
}

}  // namespace skerry::accel::bt
