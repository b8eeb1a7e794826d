#include "accel/kvm/kvm_accelerator.hpp"

#include "accel/interpreted_vcpu.hpp"
#include "accel/kvm/cpuid.hpp"
#include "accel/kvm/runner.hpp"
#include "accel/kvm/vm.hpp"
#include "base/log.hpp"

namespace skerry::accel {

namespace {

class WithRunner {
 protected:
  explicit WithRunner(std::unique_ptr<kvm::Runner> runner) : runner_(std::move(runner)) {}
  std::unique_ptr<kvm::Runner> runner_;
};

class KvmVcpu final : private WithRunner, public InterpretedVcpu {
 public:
  explicit KvmVcpu(std::unique_ptr<kvm::Runner> runner) : WithRunner(std::move(runner)), InterpretedVcpu(runner_->interpreter()) {}

  Exit run() override { return runner_->run(); }
  Exit step() override {
    runner_->take();
    return InterpretedVcpu::step();
  }
  void kick() override {
    InterpretedVcpu::kick();
    runner_->interrupt();
  }
  void request_interrupt(bool level) override { runner_->request_interrupt(level); }
  void request_nmi() override { runner_->request_nmi(); }
  void clear_requests() override { runner_->clear_requests(); }
  bool nmi_waits() override { return runner_->nmi_waits(); }
  void set_nmi_waits(bool waits) override { runner_->set_nmi_waits(waits); }
  irqchip::ForeignApic* local_apic() override { return runner_->has_apic() ? runner_.get() : nullptr; }

  const x86::CpuState& state() override {
    runner_->take();
    return InterpretedVcpu::state();
  }
  x86::CpuState& mutable_state() override {
    runner_->take();
    return InterpretedVcpu::mutable_state();
  }
  void state_changed() override { runner_->changed(); }

  std::optional<uint64_t> translate(uint64_t linear) override {
    runner_->take();
    return InterpretedVcpu::translate(linear);
  }
  void set_debug(const DebugControls& controls) override {
    InterpretedVcpu::set_debug(controls);
    runner_->interpret_all(!controls.breakpoints.empty() || !controls.watchpoints.empty());
  }
};

class KvmAccelerator final : public Accelerator {
 public:
  KvmAccelerator(AcceleratorParts parts, std::unique_ptr<kvm::Vm> vm, std::vector<const x86::Feature*> features)
      : parts_(parts), vm_(std::move(vm)), features_(std::move(features)) {}
  std::string_view name() const override { return "kvm"; }
  Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned index, x86::Environment& environment) override {
    auto runner = kvm::Runner::create(index, environment, *vm_, parts_.model, parts_.options);
    if (!runner) return std::move(runner).error();
    return std::unique_ptr<Vcpu>(std::make_unique<KvmVcpu>(std::move(*runner)));
  }
  std::vector<const x86::Feature*> paravirtual_features() const override { return features_; }
  bool sets_tsc() const override { return vm_->trial().sets_tsc; }
  irqchip::ForeignApics* local_apics() override { return vm_->local_apics(); }
  bus::DoorbellListener* doorbell_listener() override { return vm_.get(); }

 private:
  AcceleratorParts parts_;
  std::unique_ptr<kvm::Vm> vm_;
  const std::vector<const x86::Feature*> features_;
};

bool kernel_has_apics(const kvm::System& system, KvmOptions::LocalApics wanted) {
  if (wanted != KvmOptions::LocalApics::kBest) return wanted == KvmOptions::LocalApics::kKernels;
  return kvm::hardware_assisted() && kvm::KernelApics::missing(system).empty();
}

// The interpreter executes such a host's guests; those of tests KVM does, as far as it can.
Result<void> check_without_programs(const AcceleratorParts& parts, bool kernel_apics) {
  constexpr std::string_view kWhy = "this host's KVM does not execute guests' programs (a SYSCALL does not enter their kernel)";
  if (parts.model.for_processors()) return error("{}, and the interpreter has no AVX-512; use --cpu host", kWhy);
  if (parts.options.short_rescues) return ok();
  if (kernel_apics) return error("{}, and the interpreter cannot do without local APICs; use irqchip=user", kWhy);
  log::warn("kvm: {}; the interpreter executes the guest, and --accel bt would be many times faster", kWhy);
  return ok();
}

// Of a VM that was saved. KVM answers that hypercall by itself, and finds no local APIC if it has none.
Result<void> check_messages(const AcceleratorParts& parts, bool kvm_executes, bool kernel_apics) {
  if (kernel_apics || !kvm_executes || !parts.model.has_named("kvm_pv_send_ipi")) return ok();
  return error("the guest has its messages between processors sent by KVM, which needs the kernel's local APICs for that; "
               "use irqchip=split, or --accel bt");
}

}  // namespace

Result<std::unique_ptr<Accelerator>> make_kvm_accelerator(AcceleratorParts parts, KvmOptions options) {
  if (parts.options.slow_clock != 1)
    return error("accelerator kvm: slow-clock is not for it: the guest reads this processor's own time-stamp counter");
  auto system = kvm::System::open(std::move(options.device));
  if (!system) return std::move(system).error().in("accelerator kvm");
  const auto supported = system->supported_cpuid();
  const memory::Gpa first_free = uint64_t{1} << parts.model.physical_address_bits();
  const bool kernel_apics = kernel_has_apics(*system, options.local_apics);
  auto vm = kvm::Vm::create(std::move(*system), parts.memory, first_free, kernel_apics);
  if (!vm) return std::move(vm).error().in("accelerator kvm");
  const bool runs_programs = (*vm)->trial().runs_programs;
  if (auto good = check_messages(parts, runs_programs || parts.options.short_rescues, kernel_apics); !good)
    return std::move(good).error().in("accelerator kvm");
  std::vector<const x86::Feature*> features;
  if (runs_programs) {
    if (kernel_apics) features = kvm::paravirtual_features(supported);
    // Last: if there is no such accelerator, another one is given the model as it was.
    if (auto whole = kvm::cut(parts.model, supported, kernel_apics); !whole) return std::move(whole).error().in("accelerator kvm");
  } else if (auto good = check_without_programs(parts, kernel_apics); !good) {
    return std::move(good).error().in("accelerator kvm");
  }
  kvm::prepare_interrupts();
  return std::unique_ptr<Accelerator>(std::make_unique<KvmAccelerator>(parts, std::move(*vm), std::move(features)));
}

}  // namespace skerry::accel
