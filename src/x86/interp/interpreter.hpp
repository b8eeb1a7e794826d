// The interpreter: the reference for what each instruction means. One per vCPU, used by one thread at a time.
//
// Handlers (the other files of this folder) use the members below "For handlers". The rule for them: do every access
// that can fault first, then change state.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory/guest_memory.hpp"
#include "x86/cpu_model.hpp"
#include "x86/cpu_state.hpp"
#include "x86/environment.hpp"
#include "x86/exception.hpp"
#include "x86/interp/insn.hpp"
#include "x86/interp/tlb.hpp"

namespace skerry::x86 {

class HostThunks;

// Requests from other threads, looked at between instructions.
namespace request {
constexpr uint32_t kKick = 1, kInterrupt = 2, kNmi = 4, kSmi = 16;
constexpr uint32_t kEngine = 8;  // of the engine around the interpreter: run_some() comes back (to a translator: blocks are gone)
}

enum class StopReason : uint8_t { kKicked, kHalted, kTripleFault, kBreakpoint, kWatchpoint, kStepped };

struct WatchRange {
  uint64_t address, length;
  bool on_read, on_write;
};

// Told of each store to RAM before it is made, on the vCPU's thread.
class StoreListener {
 public:
  virtual ~StoreListener() = default;
  // [host, host + size) is in one page.
  virtual void before_store(std::byte* host, unsigned size) = 0;
};

// Instructions executed to be taken back: the pages that they write to, as they were before. See Interpreter::begin_trial.
struct Trial final : StoreListener {
  struct Page {
    std::byte* host;
    std::array<std::byte, memory::kPageSize> content;
  };
  std::vector<Page> pages;
  bool impossible = false;  // an instruction goes where nothing can be taken back: devices, watched pages

  void before_store(std::byte* host, unsigned size) override;
};

// Told when the guest changes what linear addresses mean, so that what was derived from them goes. On the vCPU's thread.
class MappingListener {
 public:
  virtual ~MappingListener() = default;
  virtual void all_changed() = 0;
  // All but global pages: `space` is the number of the address space now. If it is not `fresh`, what was known of it when
  // it was left holds again, for user pages.
  virtual void address_space_changed(unsigned space, bool fresh) = 0;
  virtual void page_changed(uint64_t linear) = 0;
};

class Interpreter {
 public:
  Interpreter(unsigned index, memory::GuestMemory& memory, Environment& environment, const CpuModel& model);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  StopReason run();   // until something stops it
  StopReason step();  // one instruction or event, for debuggers

  // Any thread.
  void set_request(uint32_t bits) { requests_.fetch_or(bits, std::memory_order_seq_cst); }
  void clear_request(uint32_t bits) { requests_.fetch_and(~bits, std::memory_order_seq_cst); }
  uint32_t requests() const { return requests_.load(std::memory_order_seq_cst); }

  // To be called after `state` was changed from outside: drops everything derived from it.
  void state_changed();

  // A debugger's breakpoints (linear addresses) and watchpoints; invisible to the guest.
  void set_debug(std::vector<uint64_t> breakpoints, std::vector<WatchRange> watchpoints);
  uint64_t watch_hit() const { return watch_hit_; }

  std::vector<std::string> recent_instructions() const;
  uint64_t instructions_executed() const { return executed_; }

  // For handlers ------------------------------------------------------------------------------------------------------

  CpuState state;  // rip is already that of the next instruction while a handler runs
  memory::GuestMemory& memory;
  Environment& env;
  const CpuModel& model;
  const unsigned index;  // of the vCPU; the initial APIC ID

  uint64_t insn_start() const { return insn_start_; }  // RIP of the instruction that is being executed

  // Registers by Insn::reg (byte offset). Writing 32 bits clears the upper half, as in 64-bit mode; outside of it the
  // upper half means nothing.
  template <typename T>
  T gpr(uint8_t offset) const {
    T value;
    __builtin_memcpy(&value, reinterpret_cast<const uint8_t*>(&state.gpr) + offset, sizeof(T));
    return value;
  }
  template <typename T>
  void set_gpr(uint8_t offset, T value) {
    if constexpr (sizeof(T) == 4) {
      state.gpr[offset / 8] = value;
    } else {
      __builtin_memcpy(reinterpret_cast<uint8_t*>(&state.gpr) + offset, &value, sizeof(T));
    }
  }
  // The low `size` bytes of a register; a write of 4 clears the upper half, of 1 and 2 keeps the rest.
  uint64_t gpr_sized(unsigned number, unsigned size) const;
  void set_gpr_sized(unsigned number, unsigned size, uint64_t value);

  // The offset of the instruction's memory operand in its segment.
  uint64_t ea(const Insn& insn) const {
    const uint64_t* slots = state.gpr;
    const uint64_t sum = slots[insn.base] + (slots[insn.index] << insn.scale) + static_cast<int64_t>(insn.disp);
    return insn.addr_size == 8 ? sum : insn.addr_size == 4 ? static_cast<uint32_t>(sum) : static_cast<uint16_t>(sum);
  }

  // Guest memory by segment and offset with all checks. On false an exception has been raised: return Flow::kFault.
  // Accesses of up to 8 bytes are single-copy atomic where they are on a processor. T is an unsigned integer.
  template <typename T>
  [[nodiscard]] bool load(unsigned segment, uint64_t offset, T& value) {
    uint64_t linear;
    if (!linear_address(segment, offset, sizeof(T), false, linear)) [[unlikely]] return false;
    return load_linear(linear, value);
  }
  template <typename T>
  [[nodiscard]] bool store(unsigned segment, uint64_t offset, T value) {
    uint64_t linear;
    if (!linear_address(segment, offset, sizeof(T), true, linear)) [[unlikely]] return false;
    return store_linear(linear, value);
  }
  // Any number of bytes up to 4096; for a store, faults are raised before the first byte is written.
  [[nodiscard]] bool load_bytes(unsigned segment, uint64_t offset, void* to, unsigned size);
  [[nodiscard]] bool store_bytes(unsigned segment, uint64_t offset, const void* from, unsigned size);
  // Raises what a store there would raise, without storing.
  [[nodiscard]] bool probe_store(unsigned segment, uint64_t offset, unsigned size);

  // The host address of an operand that is to be changed in place, after the checks of a store; null when it is on two
  // pages or in no RAM.
  [[nodiscard]] bool writable_host(unsigned segment, uint64_t offset, unsigned size, std::byte*& host) {
    uint64_t linear;
    return linear_address(segment, offset, size, true, linear) && writable_target(linear, size, host);
  }

  // Read, change, write: `change(old)` gives the new value; it must have no other effect, because a locked access calls
  // it again when another vCPU was faster. With `locked`, atomic between vCPUs and devices. `old` is what was read.
  // Write permission is checked before the read.
  template <typename T, typename Change>
  [[nodiscard]] bool modify(unsigned segment, uint64_t offset, bool locked, Change change, T& old);

  // By linear address with the current privilege. The linear address must be canonical and inside the segment.
  template <typename T>
  [[nodiscard]] bool load_linear(uint64_t linear, T& value) {
    const TlbEntry& entry = tlb_->at(linear);
    if (entry.read_tag == ((linear + (sizeof(T) - 1)) & ~memory::kPageMask)) [[likely]] {
      value = __atomic_load_n(reinterpret_cast<const T*>(entry.host(linear)), __ATOMIC_RELAXED);
      return true;
    }
    uint64_t wide = 0;
    if (!load_slow(linear, sizeof(T), wide)) return false;
    value = static_cast<T>(wide);
    return true;
  }
  template <typename T>
  [[nodiscard]] bool store_linear(uint64_t linear, T value) {
    const TlbEntry& entry = tlb_->at(linear);
    if (entry.write_tag == ((linear + (sizeof(T) - 1)) & ~memory::kPageMask)) [[likely]] {
      __atomic_store_n(reinterpret_cast<T*>(entry.host(linear)), value, __ATOMIC_RELAXED);
      return true;
    }
    return store_slow(linear, sizeof(T), value);
  }
  // The host address of a byte whose page may be read (written) right now without any check, or null: for string
  // instructions, which then work up to the end of the page.
  const std::byte* ready_to_read(uint64_t linear) const {
    const TlbEntry& entry = tlb_->at(linear);
    return entry.read_tag == (linear & ~memory::kPageMask) ? entry.host(linear) : nullptr;
  }
  std::byte* ready_to_write(uint64_t linear) const {
    const TlbEntry& entry = tlb_->at(linear);
    return entry.write_tag == (linear & ~memory::kPageMask) ? entry.host(linear) : nullptr;
  }

  // Implicit supervisor accesses: descriptor tables, TSS, interrupt stacks (SDM vol. 3, 4.6.1).
  [[nodiscard]] bool load_system(uint64_t linear, void* to, unsigned size);
  [[nodiscard]] bool store_system(uint64_t linear, const void* from, unsigned size);
  // Explicit user accesses by linear address, made while CPL is still another one.
  [[nodiscard]] bool store_user(uint64_t linear, const void* from, unsigned size);
  // Sets bits of a byte in a descriptor atomically (accessed and busy bits).
  [[nodiscard]] bool or_system_byte(uint64_t linear, uint8_t set);
  [[nodiscard]] bool and_system_byte(uint64_t linear, uint8_t keep);

  // Checks segment (limit, type, canonical) and gives the linear address. Raises #GP or #SS.
  [[nodiscard]] bool linear_address(unsigned segment, uint64_t offset, unsigned size, bool write, uint64_t& linear) {
    if (code64_) [[likely]] {
      linear = offset + (segment >= kFs ? state.seg[segment].base : 0);
      if (canonical(linear) && canonical(linear + size - 1)) [[likely]] return true;
    } else if (const Segment& s = state.seg[segment]; s.base == 0 && s.limit == 0xffffffff && (s.type & 0xe) == 2 &&
                                                      s.present && !s.unusable && offset + size - 1 <= 0xffffffff) {
      linear = offset;  // flat writable data, as every 32-bit system has it
      return true;
    }
    return linear_address_slow(segment, offset, size, write, linear);
  }

  // The stack, by SS and its size; `size` is 2, 4 or 8. pop() leaves RSP alone: the caller moves it.
  [[nodiscard]] bool push(unsigned size, uint64_t value);
  [[nodiscard]] bool pop(unsigned size, uint64_t& value);
  // Stack pointer arithmetic by the stack's address size (8 in 64-bit mode, else SS.B).
  uint64_t stack_mask() const { return code64_ ? ~uint64_t{0} : state.seg[kSs].big ? 0xffffffff : 0xffff; }
  void set_stack_pointer(uint64_t value) {
    const uint64_t mask = stack_mask();
    // A 32-bit stack clears the upper half, a 16-bit one keeps it.
    state.gpr[kRsp] = mask == 0xffff ? (state.gpr[kRsp] & ~mask) | (value & mask) : value & mask;
  }

  // Raises an exception: `return in.raise(kGeneralProtection, 0);`
  Flow raise(uint8_t vector, uint32_t error_code = 0);
  Flow raise_page_fault(uint64_t address, uint32_t error_code);
  const Exception& raised() const { return fault_; }
  Flow gp(uint32_t error_code = 0) { return raise(kGeneralProtection, error_code); }
  Flow ud() { return raise(kInvalidOpcode); }
  // A trap that is delivered after this instruction: bits for DR6 (SDM vol. 3, 17.2.3).
  void trap_debug(uint64_t dr6_bits) { pending_debug_ |= dr6_bits; }

  // The exception that was raised is to be delivered at state.rip as it is now (after the commit of a task switch).
  void fault_in_new_task() { insn_start_ = state.rip; }

  // No single-step trap after this instruction although TF was set before it (INT n, SYSCALL).
  void no_step_trap() { step_trap_ = false; }

  // A near branch to `target` in the current code segment: masks it by operand size, checks limit or canonicality.
  [[nodiscard]] bool near_jump(unsigned op_size, uint64_t target) {
    if (code64_) {
      if (!canonical(target)) [[unlikely]] return (raise(kGeneralProtection, 0), false);
    } else {
      target &= op_size == 2 ? 0xffff : 0xffffffff;
      if (target > state.seg[kCs].limit) [[unlikely]] return (raise(kGeneralProtection, 0), false);
    }
    state.rip = target;
    return true;
  }

  // After changes of CR0, CR3, CR4, EFER, CS, SS, CPL, RFLAGS.AC/VM, PKRU or debug registers: recomputes what is
  // derived. The handler then returns Flow::kStop.
  void mode_changed();
  void flush_tlb();                 // everything, global pages too
  void flush_address_space();       // all but global pages, of the present address space
  void flush_address_spaces();      // of all
  void flush_pcid(uint16_t pcid);
  // After a write of CR3. `keep`: what is cached of the PCID stays.
  void switch_address_space(bool keep);
  void flush_page(uint64_t linear); // INVLPG; in all address spaces
  bool code64() const { return code64_; }
  unsigned cpl() const { return cpl_; }
  bool one_iteration() const { return careful_; }  // REP must come back after each iteration
  bool event_waiting() const { return requests_.load(std::memory_order_relaxed) & interest_; }
  HostThunks& thunks() { return *thunks_; }

  static bool canonical(uint64_t address) {
    return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
  }

  // System parts (system_*.cpp, interrupts.cpp). Each gives false when an exception was raised.
  // Delivers an exception, interrupt or trap through the IDT by the current mode (SDM vol. 3, chapter 6).
  [[nodiscard]] bool deliver(PendingEvent event, bool external);
  // RSM, in SMM (smm.cpp). What it goes back to may be nothing that a processor can be in: then it shuts down.
  void leave_smm();

  // For a translator, which runs guest code with this object's state and TLB, and leaves everything rare to it ----------

  // What comes before the next instruction: requests, events. A reason to stop, if there is one.
  std::optional<StopReason> boundary();
  // Whether instructions have to be taken one by one, with careful_step().
  bool careful() const { return careful_; }
  std::optional<StopReason> careful_step();
  // One instruction, with the delivery of what it raises. Flow::kNext: it did nothing to the mode.
  Flow execute();
  // Instructions until a request comes or the mode changes.
  void run_some() { run_fast(); }
  // Whether an access of a byte there can go straight to host memory; its TLB entry is made then. Raises nothing.
  bool fill(uint64_t linear, bool write);
  // The host page that code at `linear` comes from; null if it is no memory. False: an exception has been raised.
  bool fetch_page(uint64_t linear, const std::byte*& page);
  // The same if it is known without a look at the page tables; else null.
  const std::byte* known_code(uint64_t linear);
  void set_mapping_listener(MappingListener* listener) { mapping_listener_ = listener; }
  // Of a page that fetch_page() has just given: whether it is the same in every address space.
  bool fetched_global(uint64_t linear) const;
  // Changes with every change of the mapping from linear to physical addresses that the guest has told of.
  uint64_t mapping_epoch() const { return mapping_epoch_; }
  static constexpr unsigned kUserTlb = 0, kSupervisorTlb = 1, kSmapTlb = 2;  // the last one: supervisor under SMAP
  unsigned tlb_index() const { return static_cast<unsigned>(&data_tlb() - tlbs_.data()); }
  CodeSize code_size() const { return code_size_; }
  void revoke_writes(const std::byte* page) {
    for (Tlb& tlb : tlbs_) tlb.revoke_writes(page);
    forget_second();
    for (Space& space : spaces_)
      if (space.kept) space.user.revoke_writes(page);
  }
  static constexpr unsigned kSpaces = 8;
  // Null: nobody. While there is one all stores are slow. Page walks, which set accessed and dirty bits, are not told of.
  void set_store_listener(StoreListener* listener) {
    store_listener_ = listener;
    mode_changed();
  }
  // Whether nothing that is not in `state` is still to be delivered for the last instruction.
  bool settled() const { return pending_debug_ == 0 && !watch_stop_; }

  // CS and SS as SYSCALL and SYSRET load them (`wide`: for 64-bit code). mode_changed() is left to the caller.
  void load_syscall_segments();
  void load_sysret_segments(bool wide);

  // RDMSR and WRMSR by their effects, whatever the privilege; false: they raise #GP(0).
  [[nodiscard]] bool read_msr(uint32_t msr, uint64_t& value);
  [[nodiscard]] bool write_msr(uint32_t msr, uint64_t value);

  // From begin_trial() to end_trial() try_one() executes instructions whose effect on memory is noted in `trial`, so that
  // it can be taken back. It delivers no exceptions: Flow::kFault is all that tells of one.
  void begin_trial(Trial& trial) {
    trial_ = &trial;
    set_store_listener(&trial);
  }
  Flow try_one();
  void end_trial() {
    trial_ = nullptr;
    set_store_listener(nullptr);
  }
  // Drops every instruction as it was decoded; its memory goes back to the host. Between two instructions, or for fetch().
  void forget_lowered();
  // Where translated code finds what it uses, in bytes from this object.
  struct Layout {
    size_t state, requests, interest, tlbs;
  };
  // Beside each of the TLBs; they outlive this object.
  void set_second_tlbs(std::span<SecondTlb, 3> tlbs) {
    second_ = tlbs.data();
    for (SecondTlb& tlb : tlbs) tlb.key = 1;
  }
  Layout layout() const;

 private:
  friend class InterpreterTest;

  bool write_steal_time(uint64_t value);  // MSR_KVM_STEAL_TIME (paravirt.cpp)
  void tell_that_it_runs();               // likewise: before TLBs are flushed

  void forget_second() {
    for (unsigned n = 0; second_ && n < tlbs_.size(); ++n) second_[n].forget();
  }
  void run_fast();
  void finish(Flow flow);
  void deliver_exception(Exception exception);
  void deliver_event(PendingEvent event);
  void enter_smm();  // smm.cpp
  bool code_breakpoint(uint64_t linear);
  void record(const Insn& insn);

  // Fetching. Null: an exception was raised.
  const Insn* fetch();
  const Insn* fetch_slow(uint64_t linear);
  bool enter_page(uint64_t linear);
  Tlb& code_tlb() { return tlbs_[cpl_ == 3 ? kUserTlb : kSupervisorTlb]; }
  const Tlb& code_tlb() const { return tlbs_[cpl_ == 3 ? kUserTlb : kSupervisorTlb]; }
  bool fetch_bytes(uint64_t linear, uint8_t* to, unsigned size);
  bool find_code(uint64_t linear);
  static constexpr unsigned kMemoCount = 1 << 16;
  static unsigned memo_index(uint64_t linear) { return (linear ^ linear >> 16) % kMemoCount; }
  static std::span<Insn> map_memo();
  void use_huge_pages();
  static constexpr unsigned kManyLowered = 1 << 12;  // as a program has that is worth huge pages
  unsigned lowered_ = 0;
  void lower(std::span<const uint8_t> bytes, DecodeStatus status, const Decoded& decoded, Insn& insn);

  // Slow ways of memory accesses (memory_access.cpp).
  bool linear_address_slow(unsigned segment, uint64_t offset, unsigned size, bool write, uint64_t& linear);
  bool load_slow(uint64_t linear, unsigned size, uint64_t& value);
  bool store_slow(uint64_t linear, unsigned size, uint64_t value);
  bool writable_target(uint64_t linear, unsigned size, std::byte*& host);
  bool translate(uint64_t linear, PageAccess access, Tlb& tlb, uint64_t& gpa, std::byte*& host, bool* quiet = nullptr);
  bool load_range(uint64_t linear, void* to, unsigned size, PageAccess access, Tlb& tlb);
  bool store_range(uint64_t linear, const void* from, unsigned size, PageAccess access, Tlb& tlb);
  bool misaligned(uint64_t linear, unsigned size);
  void watch_data(uint64_t linear, unsigned size, bool write);
  PageAccess data_access(bool write) const;
  PageAccess system_access(bool write) const;
  Tlb& data_tlb();
  const Tlb& data_tlb() const { return const_cast<Interpreter*>(this)->data_tlb(); }
  Tlb& system_tlb();

  std::atomic<uint32_t> requests_{0};
  uint32_t interest_ = request::kKick;  // the requests that the current state lets through
  bool code64_ = false;
  bool careful_ = false;   // one instruction at a time, with all checks between
  bool alignment_check_ = false;
  bool data_breakpoints_ = false;
  unsigned cpl_ = 0;
  Tlb* tlb_;               // by privilege and SMAP, or never_ when each access must be looked at
  uint64_t insn_start_ = 0;
  // Code: linear = (rip + code_base_) & code_mask_.
  uint64_t code_base_ = 0, code_mask_ = 0, fetch_limit_ = 0;
  CodeSize code_size_ = CodeSize::k16;
  uint64_t fetch_page_ = kNoPage;  // linear page that code comes from
  const uint8_t* fetch_host_ = nullptr;
  Exception fault_;
  uint64_t pending_debug_ = 0;  // DR6 bits of traps to deliver
  bool step_trap_ = false;
  uint64_t executed_ = 0;
  uint64_t map_generation_ = 0;
  uint64_t mapping_epoch_ = 0;
  MappingListener* mapping_listener_ = nullptr;
  static constexpr uint64_t kNoPage = 1;

  std::array<Tlb, 3> tlbs_;
  SecondTlb* second_ = nullptr;  // of each, or null

  // The user's TLB of other PCIDs (SDM vol. 3, 4.10.1). It is copied, because translated code finds it at one place; what
  // supervisor code uses is mostly global.
  struct Space {
    uint16_t pcid = 0;
    bool kept = false;
    Tlb user;
  };
  std::array<Space, kSpaces> spaces_;
  unsigned space_ = 0;       // the present one, whose copy is of no use
  unsigned next_space_ = 0;  // the next to give up
  Tlb never_;
  std::span<Insn> memo_;  // mapped in huge pages where the host has them
  std::unique_ptr<HostThunks> thunks_;

  std::vector<uint64_t> breakpoints_;
  std::vector<WatchRange> watchpoints_;
  uint64_t watch_hit_ = 0;
  bool watch_stop_ = false;
  Trial* trial_ = nullptr;
  StoreListener* store_listener_ = nullptr;
  bool skip_breakpoint_ = false;  // the debugger's breakpoint here was reported already
  struct {
    uint64_t cr0 = 0, cr4 = 0, efer = 0;
  } tlb_made_under_;

  struct Recent {
    uint64_t rip;
    std::array<uint8_t, 16> bytes;
    uint8_t code_size;
    uint8_t length;
  };
  static constexpr unsigned kRecentCount = 64;
  std::array<Recent, kRecentCount> recent_{};
};

template <typename T, typename Change>
bool Interpreter::modify(unsigned segment, uint64_t offset, bool locked, Change change, T& old) {
  uint64_t linear;
  if (!linear_address(segment, offset, sizeof(T), true, linear)) [[unlikely]] return false;
  const TlbEntry& entry = tlb_->at(linear);
  std::byte* host = nullptr;
  if (entry.write_tag == ((linear + (sizeof(T) - 1)) & ~memory::kPageMask)) [[likely]] {
    host = entry.host(linear);
  } else if (!writable_target(linear, sizeof(T), host)) {
    return false;
  }
  if (host) [[likely]] {
    T* target = reinterpret_cast<T*>(host);
    old = __atomic_load_n(target, __ATOMIC_RELAXED);
    if (!locked) {
      __atomic_store_n(target, static_cast<T>(change(old)), __ATOMIC_RELAXED);
      return true;
    }
    while (!__atomic_compare_exchange_n(target, &old, static_cast<T>(change(old)), false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
    }
    return true;
  }
  // Two pages, a device, or ROM: no host instruction does it atomically.
  bool done = false;
  const auto work = [&] {
    uint64_t wide = 0;
    if (!load_slow(linear, sizeof(T), wide)) return;
    old = static_cast<T>(wide);
    done = store_slow(linear, sizeof(T), static_cast<T>(change(old)));
  };
  if (locked)
    env.exclusive(work);
  else
    work();
  return done;
}

}  // namespace skerry::x86
