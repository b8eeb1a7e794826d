#include "accel/kvm/runner.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "accel/interpreted_vcpu.hpp"
#include "accel/kvm/cpuid.hpp"
#include "accel/kvm/vcpu_calls.hpp"
#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/units.hpp"
#include "irqchip/lapic.hpp"

namespace skerry::accel::kvm {

namespace request = x86::request;

namespace {

constexpr int kInterruptSignal = SIGUSR1;
constexpr uint32_t kApicBase = 0x1b;

// The guest's rate, where it is not the host's: of a VM that was saved elsewhere.
Result<void> set_tsc_rate(int vcpu, uint64_t khz) {
  constexpr uint64_t kTolerance = 250;  // parts per million; the guest makes up for them
  const int host = call(vcpu, KVM_GET_TSC_KHZ, 0);
  if (host <= 0) return ok();
  const uint64_t have = static_cast<uint64_t>(host), apart = have > khz ? have - khz : khz - have;
  if (apart * 1'000'000 <= have * kTolerance || call(vcpu, KVM_SET_TSC_KHZ, static_cast<unsigned long>(khz)) >= 0) return ok();
  return error("the VM's time-stamp counter runs at {} kHz, this host's at {}, and this host's KVM cannot make one of the other; "
               "use --accel bt", khz, have);
}

}  // namespace

void prepare_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(kInterruptSignal, &action, nullptr);
}

void Runner::RunDeleter::operator()(kvm_run* run) const { ::munmap(run, size); }

Result<std::unique_ptr<Runner>> Runner::create(unsigned index, x86::Environment& environment, Vm& vm, const x86::CpuModel& model,
                                               const DebugOptions& options) {
  auto fd = vm.create_vcpu(index);
  if (!fd) return std::move(fd).error();
  const size_t size = vm.system().run_size();
  void* const shared = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
  if (shared == MAP_FAILED) return errno_error(errno, "cannot map what KVM shares of a vCPU");
  Run run(static_cast<kvm_run*>(shared), RunDeleter{size});

  if (auto set = set_cpuid(fd->get(), cpuid_of(model, index)); !set) return std::move(set).error();
  if (auto set = set_tsc_rate(fd->get(), model.tsc_hz() / 1000); !set) return std::move(set).error();
  return std::unique_ptr<Runner>(new Runner(index, environment, vm, model, std::move(*fd), std::move(run), options));
}

Runner::Runner(unsigned index, x86::Environment& environment, Vm& vm, const x86::CpuModel& model, UniqueFd fd, Run run,
               const DebugOptions& options)
    : vm_(vm),
      fd_(std::move(fd)),
      run_(std::move(run)),
      apic_(vm.local_apics() ? std::optional<KernelApic>(std::in_place, environment, fd_.get(), vm.local_apics()->wide_ids(), beside_,
                                                         [this](uint32_t offset, uint32_t value) { return store_to_apic(offset, value); })
                             : std::nullopt),
      environment_(apic_ ? static_cast<x86::Environment&>(*apic_) : environment),
      interpreter_(index, vm.memory(), environment_, model),
      registers_(fd_.get(), vm.system(), model, has_apic()),
      rescue_(index),
      alone_(model.vcpus() == 1),
      short_rescues_(options.short_rescues),
      never_(!vm.trial().runs_programs && !short_rescues_ && !apic_) {
  // What the interpreter stores may be an entry of a page table that KVM has made something of.
  if (vm.has_shadow() && !never_) interpreter_.set_store_listener(this);
}

Runner::~Runner() {
  if (const std::string summary = rescue_.summary(); !summary.empty())
    log::info("kvm: vCPU {}: {}", interpreter_.index, summary);
}

// The request comes first, then immediate_exit, then the signal. The vCPU clears immediate_exit before it looks at the
// requests: so it finds the request, or KVM finds immediate_exit, or the signal interrupts the guest.
void Runner::interrupt() {
  __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST);
  if (!inside_.load(std::memory_order_seq_cst)) return;
  if (const int thread = thread_.load(std::memory_order_acquire)) ::syscall(SYS_tgkill, ::getpid(), thread, kInterruptSignal);
}

void Runner::request_interrupt(bool level) {
  if (apic_) level ? pins_.fetch_or(request::kInterrupt) : pins_.fetch_and(~request::kInterrupt);
  else level ? interpreter_.set_request(request::kInterrupt) : interpreter_.clear_request(request::kInterrupt);
  if (level) interrupt();
}

void Runner::request_nmi() {
  if (apic_) pins_.fetch_or(request::kNmi);
  else interpreter_.set_request(request::kNmi);
  interrupt();
}

void Runner::clear_requests() {
  pins_.store(0);
  beside_.nmi_waits = false;
  beside_.nmi_is_new = true;
  interpreter_.clear_request(request::kInterrupt | request::kNmi);
}

// With the kernel's local APIC one waits in the kernel, or at the pin that has not been told to it yet.
bool Runner::nmi_waits() {
  take();
  if (!apic_) return interpreter_.requests() & request::kNmi;
  return beside_.nmi_waits || ((pins_.load() & request::kNmi) && apic_->lint1_is_nmi());
}

void Runner::set_nmi_waits(bool waits) {
  take();
  pins_.fetch_and(~request::kNmi);
  interpreter_.clear_request(request::kNmi);
  beside_.nmi_waits = apic_ && waits;
  beside_.nmi_is_new = true;
  if (!apic_ && waits) interpreter_.set_request(request::kNmi);
}

Exit Runner::fail(std::string_view what) {
  log::failure("kvm: vCPU {}: {}", interpreter_.index, what);
  return Exit::kFailed;
}

// Changing hands ---------------------------------------------------------------------------------------------------------

// KVM finishes an instruction that it came back in the midst of when it is entered again. Then the state is whole.
int Runner::complete() {
  __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_SEQ_CST);
  const int result = ::ioctl(fd_.get(), KVM_RUN, 0);
  return result < 0 ? -errno : 0;
}

void Runner::take() {
  if (!in_kvm_) return;
  // An instruction may come back several times: an access that crosses a page, a string.
  while (std::exchange(completes_, false)) {
    if (complete() == 0 && answer()) break;
  }
  in_kvm_ = false;
  if (auto got = registers_.get(interpreter_.state, beside_); !got) (void)fail(got.error().message());
  if (!apic_) {
    if (std::exchange(beside_.nmi_waits, false)) interpreter_.set_request(request::kNmi);
    interpreter_.state.activity = std::exchange(halted_, false) ? x86::Activity::kHalted : x86::Activity::kRunning;
  }
  // Else KVM would say anew that the vCPU is preempted, whenever its thread is while KVM is asked for something.
  if (apic_ && (interpreter_.state.kvm_steal_time & x86::kParavirtualEnabled)) (void)set_msr(fd_.get(), VcpuState::kStealTime, 0);
  interpreter_.state_changed();
  mapping_epoch_ = interpreter_.mapping_epoch();
}

void Runner::changed() {
  in_kvm_ = false;
  interpreter_.state_changed();
}

bool Runner::give() {
  if (!apic_) {
    (void)environment_.read_msr(kApicBase, beside_.apic_base);
    beside_.cr8 = environment_.read_tpr();
  } else if (new_apic_) {
    beside_.apic_base = new_apic_->apic_base;
  }
  if (shadow_is_stale_ || mapping_epoch_ != interpreter_.mapping_epoch()) vm_.shadow_is_stale();
  shadow_is_stale_ = false;
  if (auto set = registers_.set(interpreter_.state, beside_); !set) {
    (void)fail(set.error().message());
    return false;
  }
  if (!give_apic()) return false;
  in_kvm_ = true;
  may_inject_ = false;
  rescue_.ended(VmClock::host_now());
  return true;
}

bool Runner::give_apic() {
  if (!new_apic_) return true;
  const irqchip::LapicRegisters registers = *std::exchange(new_apic_, std::nullopt);
  if (!set_tsc()) return false;
  if (auto set = apic_->set(registers); !set) {
    (void)fail(set.error().message());
    return false;
  }
  return true;
}

irqchip::LapicRegisters Runner::get_apic() {
  if (new_apic_) return *new_apic_;
  auto registers = apic_->get();
  if (registers) return *registers;
  (void)fail(registers.error().message());
  return {};
}

// KVM gets it with the state, of which it needs a part before.
void Runner::set_apic(const irqchip::LapicRegisters& registers) {
  take();
  new_apic_ = registers;
}

// Every entry of a page table that the processor may have cached is present and accessed (Intel SDM vol. 3, 4.8), and KVM
// makes nothing of others. Whether a store changes one cannot be known; what it would overwrite tells most that it does not.
void Runner::before_store(std::byte* host, unsigned size) {
  constexpr uint64_t kPresent = 1, kAccessed = 1 << 5, kEntrySize = 8;
  if (shadow_is_stale_ || !(interpreter_.state.cr0 & x86::cr0::kPg)) return;
  const uintptr_t begin = align_down(reinterpret_cast<uintptr_t>(host), kEntrySize), end = reinterpret_cast<uintptr_t>(host) + size;
  for (uintptr_t at = begin; at < end; at += kEntrySize / 2) {
    const uint32_t low = __atomic_load_n(reinterpret_cast<const uint32_t*>(at), __ATOMIC_RELAXED);
    if ((low & (kPresent | kAccessed)) == (kPresent | kAccessed)) shadow_is_stale_ = true;
  }
  if (shadow_is_stale_ && !alone_) interpreter_.set_request(request::kEngine);  // KVM hears of it after this instruction
}

bool Runner::set_tsc() {
  const x86::Environment::TscRate rate = environment_.tsc_rate();
  const uint64_t own = interpreter_.state.tsc_offset;
  if (tsc_rate_ == rate && tsc_offset_ == own) return true;
  uint64_t offset = rate.offset + own;
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<uintptr_t>(&offset);
  if (const int result = call(fd_.get(), KVM_SET_DEVICE_ATTR, &attribute); result < 0) {
    (void)fail(errno_error(-result, "cannot set the time-stamp counter").message());
    return false;
  }
  tsc_rate_ = rate;
  tsc_offset_ = own;
  if (apic_) apic_->restart_deadline();
  return true;
}

// Running ----------------------------------------------------------------------------------------------------------------

Exit Runner::run() {
  if (thread_.load(std::memory_order_relaxed) == 0) thread_.store(static_cast<int>(::syscall(SYS_gettid)), std::memory_order_release);
  for (;;) {
    if (!in_kvm_) {
      // Who has the local APIC waits in HLT and for start-up messages too.
      if (!apic_ || interpreter_has_work())
        if (const auto stop = interpreter_.boundary()) return exit_of(*stop);
      if (interpreter_has_work()) {
        if (const auto exit = interpret()) return *exit;
        continue;
      }
      if (!give()) return Exit::kFailed;
    }
    const uint32_t requests = this->requests();
    if (requests & request::kKick) {
      interpreter_.clear_request(request::kKick);
      return Exit::kKicked;
    }
    if (halted_) {
      // KVM would go on after the HLT if it were entered, so that must not be for nothing.
      const bool interrupt = (requests & request::kInterrupt) && run_->if_flag, nmi = requests & request::kNmi;
      if (!interrupt && !nmi) return Exit::kHalted;
      if (nmi || !may_inject_ || !run_->ready_for_interrupt_injection) {
        take();  // what is blocked only the state tells
        continue;
      }
      if (!inject()) return Exit::kHalted;
      halted_ = false;
    }
    if (const auto exit = enter()) return *exit;
  }
}

std::optional<Exit> Runner::interpret() {
  if (instructions_left_ > 0) --instructions_left_;
  if (interpreter_.careful()) {
    if (const auto stop = interpreter_.careful_step()) return exit_of(*stop);
  } else if (never_) {
    interpreter_.run_some();
  } else {
    interpreter_.execute();
  }
  if (apic_ && apic_->store_failed()) return Exit::kFailed;
  // Before the next instruction: with it another vCPU may learn that the page table was changed.
  if (shadow_is_stale_ && !alone_) {
    vm_.shadow_is_stale();
    shadow_is_stale_ = false;
  }
  return std::nullopt;
}

// By KVM, which knows a MOV: it has no other way to set a register of its local APIC that does all that a store does, or that
// loses no interrupt which comes meanwhile. The vCPU's state in KVM is of no use to anybody until it gets the interpreter's. What
// comes to it waits: interrupts are off, and it is as in the handler of an NMI.
bool Runner::store_to_apic(uint32_t offset, uint32_t value) {
  constexpr std::string_view kWhat = "what an instruction that KVM does not know stores to the local APIC";
  const auto failed = [&](std::string_view why) {
    (void)fail(fmt::format("{} cannot be carried out: {}; use --accel kvm,irqchip=user", kWhat, why));
    return false;
  };
  const auto code = vm_.store_code();
  if (!code) return failed(code.error().message());
  x86::CpuState state = interpreter_.state;
  prepare_store(state, *code);
  state.gpr[x86::kRax] = value;
  state.gpr[x86::kRdi] = irqchip::Lapic::kBaseAddress + offset;
  if (auto set = registers_.set(state, beside_); !set) return failed(set.error().message());
  const bool executed = execute_store();
  if (auto got = registers_.get(state, beside_); !got) return failed(got.error().message());
  return (executed && state.rip == *code + Vm::kStoreCodeSize) || failed("the vCPU was sent an INIT, or KVM does not execute a MOV");
}

// At the beginning of `code`: flat 32-bit mode, without paging and with nothing that waits.
void Runner::prepare_store(x86::CpuState& state, memory::Gpa code) {
  state.cr0 = x86::cr0::kPe | x86::cr0::kEt | x86::cr0::kNe;
  state.cr3 = state.cr4 = state.efer = 0;
  constexpr uint8_t kData = 3, kCode = 11;  // types: accessed, and may be written (read)
  for (x86::Segment& segment : state.seg)
    segment = {.selector = 0x10, .limit = 0xffffffff, .type = kData, .code_or_data = true, .present = true,
               .big = true, .granular = true, .unusable = false};
  state.seg[x86::kCs].selector = 0x08;
  state.seg[x86::kCs].type = kCode;
  state.dr7 = 0x400;
  state.rip = code;
  state.rflags = x86::flags::kFixed1;
  state.kvm_steal_time = state.kvm_pv_eoi = 0;
  state.sti_shadow = state.mov_ss_shadow = false;
  state.nmi_blocked = true;
  state.pending = {};
  state.activity = x86::Activity::kRunning;
}

// Until it writes to the port, whatever it comes out for before. Who is sent an INIT then waits in the kernel for a start-up
// message: a kick brings it out of there.
bool Runner::execute_store() {
  constexpr unsigned kMostTurns = 1000;
  for (unsigned turn = 0; turn < kMostTurns; ++turn) {
    kvm_mp_state activity{};
    if (call(fd_.get(), KVM_GET_MP_STATE, &activity) < 0 || activity.mp_state != KVM_MP_STATE_RUNNABLE) return false;
    inside_.store(true, std::memory_order_seq_cst);
    __atomic_store_n(&run_->immediate_exit, 0, __ATOMIC_SEQ_CST);
    run_->request_interrupt_window = 0;
    vm_.entering();
    const int result = ::ioctl(fd_.get(), KVM_RUN, 0);
    const int number = errno;
    vm_.left();
    inside_.store(false);
    if (result < 0 && number != EINTR && number != EAGAIN) return false;
    if (result < 0) continue;
    switch (run_->exit_reason) {
      case KVM_EXIT_IO: return run_->io.port == Vm::kStorePort && complete() == -EINTR;
      case KVM_EXIT_INTR: break;
      case KVM_EXIT_IOAPIC_EOI:
      case KVM_EXIT_DIRTY_RING_FULL:
        if (answer()) return false;
        break;
      default: return false;
    }
  }
  return false;
}

bool Runner::inject() {
  const int vector = environment_.acknowledge_interrupt();
  if (vector < 0) return false;
  kvm_interrupt interrupt{static_cast<uint32_t>(vector)};
  if (const int result = call(fd_.get(), KVM_INTERRUPT, &interrupt); result < 0)
    log::failure("kvm: vCPU {}: {}", interpreter_.index, errno_error(-result, "KVM_INTERRUPT").message());
  may_inject_ = false;
  return true;
}

std::optional<Exit> Runner::enter() {
  if (!set_tsc()) return Exit::kFailed;
  // A vCPU in HLT waits in the kernel, which opens no window there for an interrupt that it is not given at once.
  if (apic_ && !may_inject_ && (requests() & request::kInterrupt)) {
    (void)complete();
    may_inject_ = true;
  }
  inside_.store(true, std::memory_order_seq_cst);
  __atomic_store_n(&run_->immediate_exit, 0, __ATOMIC_SEQ_CST);
  const uint32_t requests = this->requests();
  if (requests & request::kKick) {
    inside_.store(false);
    return std::nullopt;
  }
  run_->request_interrupt_window = 0;
  if (requests & request::kNmi) {
    interpreter_.clear_request(request::kNmi);
    pins_.fetch_and(~request::kNmi);
    if (!apic_ || apic_->lint1_is_nmi()) call(fd_.get(), KVM_NMI, 0);
  }
  if (requests & request::kInterrupt) {
    if (may_inject_ && run_->ready_for_interrupt_injection) inject();
    if (this->requests() & request::kInterrupt) run_->request_interrupt_window = 1;
  }
  if (!apic_) run_->cr8 = environment_.read_tpr();
  vm_.entering();
  const int result = ::ioctl(fd_.get(), KVM_RUN, 0);
  const int number = errno;
  vm_.left();
  inside_.store(false);
  completes_ = false;
  may_inject_ = true;
  if (const auto tpr = static_cast<uint8_t>(run_->cr8); !apic_ && tpr != environment_.read_tpr()) environment_.write_tpr(tpr);
  if (result == 0) return answer();
  if (number == EINTR || number == EAGAIN) return std::nullopt;
  return fail(errno_error(number, "KVM_RUN").message());
}

std::optional<Exit> Runner::answer() {
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      completes_ = true;
      answer_io();
      return std::nullopt;
    case KVM_EXIT_MMIO:
      completes_ = true;
      answer_mmio();
      return std::nullopt;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
      completes_ = true;
      answer_msr(run_->exit_reason == KVM_EXIT_X86_WRMSR);
      return std::nullopt;
    case KVM_EXIT_HLT: halted_ = true; return std::nullopt;
    case KVM_EXIT_IOAPIC_EOI: vm_.local_apics()->ended(run_->eoi.vector); return std::nullopt;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR: return std::nullopt;
    case KVM_EXIT_SHUTDOWN:
      take();
      interpreter_.state.activity = x86::Activity::kShutdown;
      return Exit::kTripleFault;
    case KVM_EXIT_DIRTY_RING_FULL:
      if (auto good = vm_.collect_dirty(); !good) return fail(good.error().message());
      return std::nullopt;
    case KVM_EXIT_INTERNAL_ERROR: return answer_internal_error();
    case KVM_EXIT_FAIL_ENTRY:
      return fail(fmt::format("the processor refuses to enter the guest, for reason {:#x}", uint64_t{run_->fail_entry.hardware_entry_failure_reason}));
    default: return fail(fmt::format("KVM came back with reason {}, of which Skerry knows nothing", run_->exit_reason));
  }
}

void Runner::answer_io() {
  const auto& io = run_->io;
  auto* data = reinterpret_cast<std::byte*>(run_.get()) + io.data_offset;
  for (uint32_t n = 0; n < io.count; ++n, data += io.size) {
    uint64_t value = 0;
    if (io.direction == KVM_EXIT_IO_OUT) {
      std::memcpy(&value, data, io.size);
      environment_.pio_write(io.port, io.size, value);
    } else {
      value = environment_.pio_read(io.port, io.size);
      std::memcpy(data, &value, io.size);
    }
  }
}

// Also writes to ROM, and memory that was not there for a moment while its slot was changed.
void Runner::answer_mmio() {
  auto& mmio = run_->mmio;
  const bool memory = vm_.memory().page(mmio.phys_addr).host != nullptr;
  const unsigned length = std::min<uint32_t>(mmio.len, sizeof mmio.data);
  if (memory) {
    const std::span<std::byte> bytes(reinterpret_cast<std::byte*>(mmio.data), length);
    if (mmio.is_write) (void)vm_.memory().write(mmio.phys_addr, bytes);
    else (void)vm_.memory().read(mmio.phys_addr, bytes);
    return;
  }
  for (unsigned done = 0; done < length;) {
    unsigned size = 8;
    while (size > length - done) size /= 2;
    uint64_t value = 0;
    if (mmio.is_write) {
      std::memcpy(&value, mmio.data + done, size);
      environment_.mmio_write(mmio.phys_addr + done, size, value);
    } else {
      value = environment_.mmio_read(mmio.phys_addr + done, size);
      std::memcpy(mmio.data + done, &value, size);
    }
    done += size;
  }
}

// What Skerry's devices answer, and what KVM does not know. Of CpuState only the time-stamp counter's part is used: it is
// never KVM's.
void Runner::answer_msr(bool write) {
  uint64_t value = run_->msr.data;
  const bool done = write ? interpreter_.write_msr(run_->msr.index, value) : interpreter_.read_msr(run_->msr.index, value);
  run_->msr.error = !done;
  run_->msr.data = value;
}

std::optional<Exit> Runner::answer_internal_error() {
  const uint32_t kind = run_->internal.suberror;
  if (kind != KVM_INTERNAL_ERROR_EMULATION && kind != KVM_INTERNAL_ERROR_DELIVERY_EV && kind != KVM_INTERNAL_ERROR_SIMUL_EX)
    return fail(fmt::format("KVM cannot go on (internal error {})", kind));
  begin_rescue();
  return std::nullopt;
}

void Runner::begin_rescue() {
  const int64_t now = VmClock::host_now();
  take();
  // Kernels that cannot be asked not to have queued a #UD for what they do not know.
  x86::PendingEvent& pending = interpreter_.state.pending;
  if (pending.kind == x86::EventKind::kException && pending.vector == x86::kInvalidOpcode) pending = {};
  std::array<uint8_t, x86::kLongestInsn> bytes{};
  const x86::CpuState& state = interpreter_.state;
  const uint64_t linear = interpreter_.code64() ? state.rip : static_cast<uint32_t>(state.seg[x86::kCs].base + state.rip);
  size_t count = 0;
  for (; count < bytes.size(); ++count) {
    uint64_t gpa = 0;
    if (!x86::probe(interpreter_.memory, state, linear + count, gpa)) break;
    if (!interpreter_.memory.read(gpa, std::as_writable_bytes(std::span(bytes).subspan(count, 1)))) break;
  }
  rescue_.count(std::span(bytes).first(count), interpreter_.code_size(), state.rip);
  // What comes after it may be for the local APIC, which only KVM reaches.
  instructions_left_ = short_rescues_ || apic_ ? 1 : rescue_.begin(now);
}

void Runner::interpret_all(bool all) {
  if (all) take();
  interpret_all_ = all;
}

}  // namespace skerry::accel::kvm
