#include "x86/interp/interpreter.hpp"

#include <emmintrin.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/log.hpp"
#include "base/units.hpp"
#include "x86/interp/host_thunks.hpp"

namespace skerry::x86 {

namespace {

// DR7: L0..G3, and per breakpoint R/W and LEN (SDM vol. 3, 17.2.4).
constexpr bool breakpoint_enabled(uint64_t dr7, unsigned n) { return dr7 >> (2 * n) & 3; }
constexpr unsigned breakpoint_kind(uint64_t dr7, unsigned n) { return dr7 >> (16 + 4 * n) & 3; }
constexpr uint64_t kDr6Bs = 1 << 14;

// Which exceptions make a double fault of a second one. SDM vol. 3, table 6-5.
bool contributory(unsigned vector) {
  return vector == kDivideError || (vector >= kInvalidTss && vector <= kGeneralProtection);
}
bool makes_double_fault(unsigned first, unsigned second) {
  if (first == kPageFault) return second == kPageFault || contributory(second);
  return contributory(first) && contributory(second);
}

}  // namespace

// Another one in each process; the two bits above differ, so that it is not canonical however many levels of tables there are.
const uint64_t Tlb::kNoPage = [] {
  uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) std::abort();
  return (random & (bit(62) - 1) & ~memory::kPageMask) | bit(62) | 1;
}();

Interpreter::Interpreter(unsigned vcpu_index, memory::GuestMemory& guest_memory, Environment& environment,
                         const CpuModel& cpu_model)
    : memory(guest_memory),
      env(environment),
      model(cpu_model),
      index(vcpu_index),
      memo_(map_memo()),
      thunks_(std::make_unique<HostThunks>()) {
  tlb_ = &tlbs_[0];
  state.reset(model.signature(), false);
  state_changed();
}

Interpreter::~Interpreter() { ::munmap(memo_.data(), memo_.size_bytes()); }

// Zeroes from the host are a table of no instructions, of which a guest that is translated uses little.
std::span<Insn> Interpreter::map_memo() {
  constexpr size_t kSize = kMemoCount * sizeof(Insn), kHugePage = 2 << 20;
  static_assert(kSize % kHugePage == 0);
  auto* start = static_cast<std::byte*>(
      ::mmap(nullptr, kSize + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (start == MAP_FAILED) {
    log::failure("no memory for the instructions of a vCPU");
    std::abort();
  }
  const size_t head = -reinterpret_cast<uintptr_t>(start) % kHugePage;
  if (head) ::munmap(start, head);
  if (kHugePage - head) ::munmap(start + head + kSize, kHugePage - head);
  auto* first = reinterpret_cast<Insn*>(start + head);
  return {first, kMemoCount};
}

// The table is looked up at every instruction: without huge pages half of the time goes to the host's TLB.
void Interpreter::use_huge_pages() {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE: those that are there already. Linux 6.1; elsewhere the host does it in time
  ::madvise(memo_.data(), memo_.size_bytes(), MADV_HUGEPAGE);
  ::madvise(memo_.data(), memo_.size_bytes(), kCollapse);
}

void Interpreter::state_changed() {
  env.smm_changed(state.in_smm);
  tell_that_it_runs();
  flush_tlb();
  pending_debug_ = 0;
  mode_changed();
}

void Interpreter::mode_changed() {
  // Cached translations hold for the bits they were made under.
  if ((state.cr0 ^ tlb_made_under_.cr0) & (cr0::kPg | cr0::kWp | cr0::kPe) || state.cr4 != tlb_made_under_.cr4 ||
      state.efer != tlb_made_under_.efer) {
    tlb_made_under_ = {state.cr0, state.cr4, state.efer};
    flush_tlb();
  }
  cpl_ = state.cpl();
  code64_ = state.code64();
  const Segment& cs = state.seg[kCs];
  code_size_ = code64_ ? CodeSize::k64 : cs.big && !state.v86_mode() ? CodeSize::k32 : CodeSize::k16;
  code_base_ = code64_ ? 0 : cs.base;
  code_mask_ = code64_ ? ~uint64_t{0} : 0xffffffff;
  fetch_limit_ = code64_ ? ~uint64_t{0} : cs.limit;
  fetch_page_ = kNoPage;

  alignment_check_ = cpl_ == 3 && (state.cr0 & cr0::kAm) && (state.rflags & flags::kAc);
  data_breakpoints_ = !watchpoints_.empty();
  bool any_breakpoint = !breakpoints_.empty() || !watchpoints_.empty();
  for (unsigned n = 0; n < 4; ++n) {
    if (!breakpoint_enabled(state.dr7, n)) continue;
    any_breakpoint = true;
    data_breakpoints_ |= breakpoint_kind(state.dr7, n) & 1;  // 01 writes, 11 reads and writes
  }
  tlb_ = alignment_check_ || data_breakpoints_ || store_listener_ ? &never_ : &data_tlb();

  interest_ = request::kKick | request::kEngine | (state.rflags & flags::kIf ? request::kInterrupt : 0) |
              (state.nmi_blocked ? 0 : request::kNmi) | (state.in_smm ? 0 : request::kSmi);
  careful_ = any_breakpoint || state.sti_shadow || state.mov_ss_shadow || (state.rflags & (flags::kTf | flags::kRf));
}

void Interpreter::flush_tlb() {
  for (Tlb& tlb : tlbs_) tlb.clear();
  forget_second();
  for (Space& space : spaces_) space.kept = false;
  spaces_[space_].pcid = state.cr4 & cr4::kPcide ? state.cr3 & 0xfff : 0;
  ++mapping_epoch_;
  if (mapping_listener_) mapping_listener_->all_changed();
  fetch_page_ = kNoPage;
  map_generation_ = memory.map_generation();
}

void Interpreter::flush_address_space() {
  for (Tlb& tlb : tlbs_) tlb.clear_address_space();
  forget_second();
  fetch_page_ = kNoPage;
  ++mapping_epoch_;
  if (mapping_listener_) mapping_listener_->address_space_changed(space_, true);
}

void Interpreter::flush_address_spaces() {
  for (Space& space : spaces_) space.kept = false;
  flush_address_space();
}

void Interpreter::flush_pcid(uint16_t pcid) {
  for (Space& space : spaces_)
    if (space.pcid == pcid) space.kept = false;
  if (!(state.cr4 & cr4::kPcide) || (state.cr3 & 0xfff) == pcid) flush_address_space();
}

void Interpreter::switch_address_space(bool keep) {
  const auto pcid = static_cast<uint16_t>(state.cr3 & 0xfff);
  if (!(state.cr4 & cr4::kPcide)) return flush_address_space();
  if (pcid == spaces_[space_].pcid) {
    if (!keep) flush_address_space();
    return;
  }
  spaces_[space_].user = tlbs_[kUserTlb];
  spaces_[space_].kept = true;
  const auto known = std::ranges::find_if(spaces_, [&](const Space& space) { return space.kept && space.pcid == pcid; });
  if (known != spaces_.end()) {
    space_ = static_cast<unsigned>(known - spaces_.begin());
  } else {
    next_space_ = (next_space_ + 1) % kSpaces;
    if (next_space_ == space_) next_space_ = (next_space_ + 1) % kSpaces;
    space_ = next_space_;
  }
  const bool fresh = known == spaces_.end() || !keep;
  if (fresh) tlbs_[kUserTlb].clear();
  else tlbs_[kUserTlb] = known->user;
  spaces_[space_].pcid = pcid;
  spaces_[space_].kept = false;
  for (const unsigned n : {kSupervisorTlb, kSmapTlb}) tlbs_[n].clear_address_space();
  forget_second();
  fetch_page_ = kNoPage;
  ++mapping_epoch_;
  if (mapping_listener_) mapping_listener_->address_space_changed(space_, fresh);
}

bool Interpreter::fetched_global(uint64_t linear) const { return code_tlb().global(linear); }

void Interpreter::flush_page(uint64_t linear) {
  bool large = false;
  for (Tlb& tlb : tlbs_) {
    large |= tlb.may_be_large(linear);
    tlb.drop_page(linear);
  }
  if (large) forget_second();
  for (unsigned n = 0; second_ && n < tlbs_.size(); ++n) second_[n].drop(linear);
  for (Space& space : spaces_)
    if (space.kept) space.user.drop_page(linear);
  fetch_page_ = kNoPage;
  ++mapping_epoch_;
  if (!mapping_listener_) return;
  if (large) mapping_listener_->all_changed();
  else mapping_listener_->page_changed(linear);
}

uint64_t Interpreter::gpr_sized(unsigned number, unsigned size) const {
  return size == 8 ? state.gpr[number] : state.gpr[number] & (bit(8 * size) - 1);
}

void Interpreter::set_gpr_sized(unsigned number, unsigned size, uint64_t value) {
  switch (size) {
    case 1: state.gpr[number] = (state.gpr[number] & ~uint64_t{0xff}) | (value & 0xff); break;
    case 2: state.gpr[number] = (state.gpr[number] & ~uint64_t{0xffff}) | (value & 0xffff); break;
    case 4: state.gpr[number] = value & 0xffffffff; break;
    default: state.gpr[number] = value; break;
  }
}

Flow Interpreter::raise(uint8_t vector, uint32_t error_code) {
  fault_ = {vector, error_code, 0, 0};
  return Flow::kFault;
}

Flow Interpreter::raise_page_fault(uint64_t address, uint32_t error_code) {
  fault_ = {kPageFault, error_code, address, 0};
  return Flow::kFault;
}

// Events -----------------------------------------------------------------------------------------------------------

void Interpreter::deliver_exception(Exception exception) {
  log::debug(log::Category::kCpu, "vCPU {}: exception {} error {:#x} at {:04x}:{:#x} cr2 {:#x}", index, exception.vector,
             exception.error_code, state.seg[kCs].selector, state.rip, exception.cr2);
  for (;;) {
    if (exception.vector == kPageFault) state.cr2 = exception.cr2;
    PendingEvent event{EventKind::kException, exception.vector, pushes_error_code(exception.vector),
                       exception.error_code};
    if (deliver(event, true)) return mode_changed();
    const Exception second = fault_;
    if (exception.vector == kDoubleFault) {
      state.activity = Activity::kShutdown;
      return;
    }
    exception = makes_double_fault(exception.vector, second.vector) ? Exception{kDoubleFault, 0, 0, 0} : second;
  }
}

void Interpreter::deliver_event(PendingEvent event) {
  if (deliver(event, event.kind != EventKind::kSoftwareInterrupt))
    mode_changed();
  else
    deliver_exception(fault_);
}

// What comes before the next instruction, by priority. SDM vol. 3, 6.9.
std::optional<StopReason> Interpreter::boundary() {
  const uint32_t requests = requests_.load(std::memory_order_acquire);
  if (requests & request::kKick) {
    clear_request(request::kKick);
    if (memory.map_generation() != map_generation_) flush_tlb();
    return StopReason::kKicked;
  }
  if (state.activity == Activity::kShutdown) return StopReason::kTripleFault;
  if (state.activity == Activity::kWaitForSipi) return StopReason::kHalted;

  if (state.pending.kind != EventKind::kNone) {
    const PendingEvent event = std::exchange(state.pending, {});
    state.activity = Activity::kRunning;
    deliver_event(event);
    return std::nullopt;
  }
  if (pending_debug_ != 0 && !state.mov_ss_shadow) {
    state.dr6 |= std::exchange(pending_debug_, 0);
    state.activity = Activity::kRunning;
    deliver_event({EventKind::kException, kDebug, false, 0});
    return std::nullopt;
  }
  if (watch_stop_) {
    watch_stop_ = false;
    return StopReason::kWatchpoint;
  }
  if ((requests & request::kSmi) && !state.in_smm && !state.sti_shadow && !state.mov_ss_shadow) {
    clear_request(request::kSmi);
    enter_smm();
    return std::nullopt;
  }
  if ((requests & request::kNmi) && !state.nmi_blocked && !state.mov_ss_shadow) {
    clear_request(request::kNmi);
    state.activity = Activity::kRunning;
    state.nmi_blocked = true;
    deliver_event({EventKind::kNmi, kNmi, false, 0});
    return std::nullopt;
  }
  if ((requests & request::kInterrupt) && (state.rflags & flags::kIf) && !state.sti_shadow && !state.mov_ss_shadow) {
    const int vector = env.acknowledge_interrupt();
    if (vector >= 0) {
      state.activity = Activity::kRunning;
      deliver_event({EventKind::kExternalInterrupt, static_cast<uint8_t>(vector), false, 0});
      return std::nullopt;
    }
  }
  if (state.activity == Activity::kHalted) return StopReason::kHalted;
  return std::nullopt;
}

bool Interpreter::code_breakpoint(uint64_t linear) {
  uint64_t hit = 0;
  for (unsigned n = 0; n < 4; ++n)
    if (breakpoint_kind(state.dr7, n) == 0 && state.dr[n] == linear) hit |= bit(n);
  bool enabled = false;
  for (unsigned n = 0; n < 4; ++n) enabled |= (hit & bit(n)) && breakpoint_enabled(state.dr7, n);
  if (!enabled) return false;
  state.dr6 |= hit;
  return true;
}

// Running ----------------------------------------------------------------------------------------------------------

StopReason Interpreter::run() {
  for (;;) {
    if (const auto stop = boundary()) return *stop;
    if (!careful_) {
      run_fast();
    } else if (const auto stop = careful_step()) {
      return *stop;
    }
  }
}

StopReason Interpreter::step() {
  const uint64_t executed = executed_;
  const uint64_t rip = state.rip;
  skip_breakpoint_ = true;
  for (unsigned tries = 0; tries < 4; ++tries) {
    if (const auto stop = boundary()) return *stop;
    if (state.rip != rip) return StopReason::kStepped;  // an event was delivered
    if (const auto stop = careful_step()) return *stop;
    if (executed_ != executed) break;
  }
  // A watchpoint hit by this instruction is reported for it, not for the next one.
  return std::exchange(watch_stop_, false) ? StopReason::kWatchpoint : StopReason::kStepped;
}

void Interpreter::record(const Insn& insn) {
  Recent& slot = recent_[executed_ % kRecentCount];
  slot.rip = state.rip;
  slot.bytes = insn.bytes;
  slot.code_size = insn.code_size;
  slot.length = insn.length;
  ++executed_;
}

void Interpreter::finish(Flow flow) {
  switch (flow) {
    case Flow::kNext:
    case Flow::kStop: break;
    case Flow::kRepeat: state.rip = insn_start_; break;
    case Flow::kFault:
      state.rip = insn_start_;
      deliver_exception(fault_);
      break;
  }
}

void Interpreter::run_fast() {
  for (;;) {
    insn_start_ = state.rip;
    const Insn* insn = fetch();
    if (!insn) [[unlikely]] return finish(Flow::kFault);
    record(*insn);
    state.rip += insn->length;
    const Flow flow = insn->handler(*this, *insn);
    if (flow != Flow::kNext) [[unlikely]] return finish(flow);
    if (requests_.load(std::memory_order_relaxed) & interest_) [[unlikely]] return;
  }
}

Flow Interpreter::try_one() {
  insn_start_ = state.rip;
  const Insn* insn = fetch();
  if (!insn) return Flow::kFault;
  state.rip += insn->length;
  const Flow flow = insn->handler(*this, *insn);
  if (flow != Flow::kNext) state.rip = insn_start_;
  return flow;
}

Flow Interpreter::execute() {
  insn_start_ = state.rip;
  const Insn* insn = fetch();
  if (!insn) {
    finish(Flow::kFault);
    return Flow::kFault;
  }
  record(*insn);
  state.rip += insn->length;
  const Flow flow = insn->handler(*this, *insn);
  finish(flow);
  return flow;
}

// One instruction with everything that may come before and after it.
std::optional<StopReason> Interpreter::careful_step() {
  const uint64_t linear = (state.rip + code_base_) & code_mask_;
  if (!skip_breakpoint_ && std::find(breakpoints_.begin(), breakpoints_.end(), linear) != breakpoints_.end()) {
    skip_breakpoint_ = true;
    return StopReason::kBreakpoint;
  }
  const bool was_careful = std::exchange(careful_, true);  // REP: one iteration, also when a debugger steps
  insn_start_ = state.rip;
  if (!(state.rflags & flags::kRf) && !state.mov_ss_shadow && code_breakpoint(linear)) {
    deliver_exception({kDebug, 0, 0, 0});
    return std::nullopt;
  }
  skip_breakpoint_ = false;
  const bool trap = state.rflags & flags::kTf;
  step_trap_ = true;
  const Insn* insn = fetch();
  if (!insn) {
    state.sti_shadow = state.mov_ss_shadow = false;
    finish(Flow::kFault);
    return std::nullopt;
  }
  record(*insn);
  // Shadows and RF last for this one instruction; the handler may set them anew.
  const bool resume = state.rflags & flags::kRf;
  state.sti_shadow = state.mov_ss_shadow = false;
  state.rflags &= ~flags::kRf;
  state.rip += insn->length;
  const Flow flow = insn->handler(*this, *insn);
  if ((flow == Flow::kFault || flow == Flow::kRepeat) && resume) state.rflags |= flags::kRf;
  if (flow == Flow::kFault) pending_debug_ = 0;
  if (flow != Flow::kFault && trap && step_trap_ && !state.mov_ss_shadow) trap_debug(kDr6Bs);
  careful_ = was_careful;
  finish(flow);
  mode_changed();
  return std::nullopt;
}

// Fetching ---------------------------------------------------------------------------------------------------------

const Insn* Interpreter::fetch() {
  const uint64_t linear = (state.rip + code_base_) & code_mask_;
  const unsigned offset = linear & memory::kPageMask;
  if (offset > memory::kPageSize - 16) [[unlikely]] return fetch_slow(linear);
  if ((linear ^ offset) != fetch_page_ && !enter_page(linear)) [[unlikely]] return fetch_slow(linear);
  const Insn& memo = memo_.data()[memo_index(linear)];
  const __m128i now = _mm_loadu_si128(reinterpret_cast<const __m128i*>(fetch_host_ + offset));
  const __m128i then = _mm_load_si128(reinterpret_cast<const __m128i*>(memo.bytes.data()));
  const unsigned same = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(now, then)));
  if ((same & memo.match) != memo.match || memo.code_size != static_cast<uint8_t>(code_size_)) [[unlikely]]
    return fetch_slow(linear);
  if (fetch_limit_ - state.rip < memo.length - 1u || state.rip > fetch_limit_) [[unlikely]] {
    raise(kGeneralProtection, 0);
    return nullptr;
  }
  // The instruction that follows is on its way while this one executes.
  __builtin_prefetch(&memo_.data()[memo_index(linear + memo.length)]);
  return &memo;
}

// Whether the page that is fetched from now on is one whose place is known.
bool Interpreter::enter_page(uint64_t linear) {
  const TlbEntry& entry = code_tlb().at(linear);
  const uint64_t page = linear & ~memory::kPageMask;
  if (entry.fetch_tag != page) return false;
  fetch_page_ = page;
  fetch_host_ = reinterpret_cast<const uint8_t*>(entry.host_page);
  return true;
}

// By the second TLB, if there is one: not the kernel's, of which it matters whether it is global.
bool Interpreter::find_code(uint64_t linear) {
  return second_ && cpl_ == 3 && second_[kUserTlb].find_code(linear, tlbs_[kUserTlb]);
}

// Code bytes at `linear`, inside one page.
bool Interpreter::fetch_bytes(uint64_t linear, uint8_t* to, unsigned size) {
  uint64_t gpa = 0;
  std::byte* translated = nullptr;
  const std::byte* host = known_code(linear);
  if (host) {
    host += linear & memory::kPageMask;
  } else {
    PageAccess access;
    access.fetch = true;
    access.user = cpl_ == 3;
    if (!translate(linear, access, code_tlb(), gpa, translated)) return false;
    host = translated;
  }
  if (!host) {
    for (unsigned i = 0; i < size; ++i) to[i] = static_cast<uint8_t>(env.mmio_read(gpa + i, 1));
    return true;
  }
  std::memcpy(to, host, size);
  fetch_page_ = linear & ~memory::kPageMask;
  fetch_host_ = reinterpret_cast<const uint8_t*>(host) - (linear & memory::kPageMask);
  return true;
}

const Insn* Interpreter::fetch_slow(uint64_t linear) {
  if (state.rip > fetch_limit_ || (code64_ && !canonical(state.rip))) {
    raise(kGeneralProtection, 0);
    return nullptr;
  }
  std::array<uint8_t, 16> bytes{};
  const unsigned here = std::min<unsigned>(kLongestInsn, memory::kPageSize - (linear & memory::kPageMask));
  unsigned have = here;
  if (!fetch_bytes(linear, bytes.data(), here)) return nullptr;
  const uint64_t page = fetch_page_;
  const uint8_t* page_host = fetch_host_;

  Insn& memo = memo_[memo_index(linear)];
  const auto same = [&] {
    return memo.code_size == static_cast<uint8_t>(code_size_) &&
           (memo.match >> have) == 0 && std::memcmp(memo.bytes.data(), bytes.data(), memo.length) == 0 &&
           memo.match == (1u << memo.length) - 1;
  };
  const bool was_split = memo.length > here && std::memcmp(memo.bytes.data(), bytes.data(), here) == 0;
  if (!same()) {
    Decoded decoded;
    DecodeStatus status = was_split ? DecodeStatus::kNeedMoreBytes : decode({bytes.data(), have}, code_size_, decoded);
    if (status == DecodeStatus::kNeedMoreBytes && have < kLongestInsn) {
      const uint64_t next = (linear + here) & code_mask_;
      // Bytes of the next page are fetched only where the instruction really has them.
      if (fetch_limit_ - state.rip < here || (code64_ && !canonical(next))) {
        raise(kGeneralProtection, 0);
        return nullptr;
      }
      if (!fetch_bytes(next, bytes.data() + here, kLongestInsn - here)) return nullptr;
      fetch_page_ = page;
      fetch_host_ = page_host;
      have = kLongestInsn;
      if (!same()) status = decode({bytes.data(), have}, code_size_, decoded);
    }
    if (!same()) {
      lower({bytes.data(), have}, status, decoded, memo);
    }
  }
  if (fetch_limit_ - state.rip < memo.length - 1u) {
    raise(kGeneralProtection, 0);
    return nullptr;
  }
  return &memo;
}

// Debugging --------------------------------------------------------------------------------------------------------

void Interpreter::set_debug(std::vector<uint64_t> breakpoints, std::vector<WatchRange> watchpoints) {
  breakpoints_ = std::move(breakpoints);
  watchpoints_ = std::move(watchpoints);
  mode_changed();
}

std::vector<std::string> Interpreter::recent_instructions() const {
  std::vector<std::string> lines;
  const uint64_t count = std::min<uint64_t>(executed_, kRecentCount);
  for (uint64_t n = executed_ - count; n < executed_; ++n) {
    const Recent& recent = recent_[n % kRecentCount];
    const std::span<const uint8_t> code(recent.bytes.data(), std::max<unsigned>(recent.length, 1));
    lines.push_back(fmt::format("{:016x}  {:<30}  {}", recent.rip, fmt::format("{:02x}", fmt::join(code, "")),
                                disassemble(code, static_cast<CodeSize>(recent.code_size), recent.rip)));
  }
  return lines;
}

}  // namespace skerry::x86
