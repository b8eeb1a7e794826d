// One vCPU under KVM: enters the guest, answers what it comes out for, and has the interpreter do what KVM cannot.
//
// The state is in one of two hands. While KVM has it, CpuState is stale; take() brings it over, and the next entry gives it
// back. The interpreter is also who waits in HLT and for start-up messages, and who works for a debugger.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <unordered_map>

#include "accel/accelerator.hpp"
#include "accel/kvm/kernel_apic.hpp"
#include "accel/kvm/rescue.hpp"
#include "accel/kvm/vcpu_state.hpp"
#include "accel/kvm/vm.hpp"
#include "x86/interp/interpreter.hpp"

namespace skerry::accel::kvm {

class Runner final : public irqchip::ForeignApic, private x86::StoreListener {
 public:
  static Result<std::unique_ptr<Runner>> create(unsigned index, x86::Environment& environment, Vm& vm, const x86::CpuModel& model,
                                                const DebugOptions& options);
  ~Runner() override;

  // Has the whole state after take().
  x86::Interpreter& interpreter() { return interpreter_; }

  // On the vCPU's thread.
  Exit run();
  // On the vCPU's thread, or while it rests: brings the state from KVM to the interpreter.
  void take();
  // Likewise: the interpreter's state is the right one, and was changed.
  void changed();
  // The interpreter executes everything from now on, or no longer: a debugger has breakpoints.
  void interpret_all(bool all);

  // Any thread: makes a run() that is in the guest look at the requests.
  void interrupt();
  // Any thread: the pins.
  void request_interrupt(bool level);
  void request_nmi();
  // At rest.
  void clear_requests();
  bool nmi_waits();
  void set_nmi_waits(bool waits);

  // irqchip::ForeignApic, where the kernel has the local APIC: at rest.
  bool has_apic() const { return apic_.has_value(); }
  irqchip::LapicRegisters get_apic() override;
  void set_apic(const irqchip::LapicRegisters& registers) override;

 private:
  struct RunDeleter {
    size_t size;
    void operator()(kvm_run* run) const;
  };
  using Run = std::unique_ptr<kvm_run, RunDeleter>;

  Runner(unsigned index, x86::Environment& environment, Vm& vm, const x86::CpuModel& model, UniqueFd fd, Run run,
         const DebugOptions& options);
  bool give();
  bool set_tsc();
  bool give_apic();
  bool inject();
  bool interpreter_has_work() const { return never_ || interpret_all_ || instructions_left_ > 0 || !interpreter_.settled(); }
  std::optional<Exit> enter();
  // Answers what KVM came back for. Something, if run() is to come back too.
  std::optional<Exit> answer();
  void answer_io();
  void answer_mmio();
  void answer_msr(bool write);
  std::optional<Exit> answer_internal_error();
  std::optional<Exit> interpret();
  bool store_to_apic(uint32_t offset, uint32_t value);
  static void prepare_store(x86::CpuState& state, memory::Gpa code);
  bool execute_store();
  void begin_rescue();
  void before_store(std::byte* host, unsigned size) override;
  uint32_t requests() const { return interpreter_.requests() | pins_.load(std::memory_order_seq_cst); }
  Exit fail(std::string_view what);
  int complete();

  Vm& vm_;
  const UniqueFd fd_;
  const Run run_;
  VcpuState::Beside beside_;
  // Where the kernel has the local APIC: it, what is to be set there before the guest goes on, and what the pins, of which
  // the interpreter hears nothing then, ask for.
  std::optional<KernelApic> apic_;
  std::optional<irqchip::LapicRegisters> new_apic_;
  std::atomic<uint32_t> pins_{0};
  x86::Environment& environment_;
  x86::Interpreter interpreter_;
  VcpuState registers_;
  Rescue rescue_;

  bool in_kvm_ = false;      // the state
  bool halted_ = false;      // in KVM's state: it has executed HLT
  bool completes_ = false;   // KVM has still to complete what was answered last
  bool may_inject_ = false;  // kvm_run's ready_for_interrupt_injection is of the state as it is
  bool interpret_all_ = false;
  const bool alone_;                // the VM has no other vCPU
  const bool short_rescues_;
  const bool never_;                // KVM gets the state never
  uint64_t instructions_left_ = 0;  // that the interpreter executes before KVM gets the state back
  bool shadow_is_stale_ = false;    // KVM has made something of page tables that the interpreter has changed
  uint64_t mapping_epoch_ = 0;      // of the interpreter, when it got the state
  std::optional<x86::Environment::TscRate> tsc_rate_;
  uint64_t tsc_offset_ = 0;
  std::atomic<int> thread_{0};
  std::atomic<bool> inside_{false};  // in KVM_RUN, or about to be
};

// A signal whose only use is to interrupt KVM_RUN. Called once before the first vCPU runs, and before the system call filter.
void prepare_interrupts();

}  // namespace skerry::accel::kvm
