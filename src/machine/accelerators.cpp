#include "machine/accelerators.hpp"

#include "accel/bt/bt_accelerator.hpp"
#include "accel/interpreter/interpreter_accelerator.hpp"
#include "accel/kvm/system.hpp"
#include "base/log.hpp"
#include "x86/cpu_model.hpp"

namespace skerry::machine {

namespace {

using accel::AcceleratorParts;

// Whether Skerry's own engines have all that the processor is to have.
Result<void> check_own_engine(const AcceleratorParts& parts) {
  if (!parts.model.for_processors()) return ok();
  return error("CPU model '{}' has AVX-512, which only the processor itself executes: use --accel kvm, or --cpu x86-64-v3",
               parts.model.name());
}

Result<ChosenAccelerator> with(Result<std::unique_ptr<accel::Accelerator>> made, AcceleratorReason reason) {
  if (!made) return std::move(made).error();
  return ChosenAccelerator{std::move(*made), std::move(reason)};
}

// A /dev/kvm without a processor that virtualizes executes guests in software, many times slower than the translator.
Result<ChosenAccelerator> make_best(AcceleratorParts parts, accel::KvmOptions options, bool smm) {
  AcceleratorReason reason;
  if (smm) {
    reason = {"the machine has System Management Mode, which is not there under KVM", ""};
  } else if (accel::kvm::hardware_assisted()) {
    auto kvm = accel::make_kvm_accelerator(parts, std::move(options));
    if (kvm) return with(std::move(kvm), {"the processor has VT-x or AMD-V, and /dev/kvm can be used", ""});
    reason = {"KVM cannot be used", kvm.error().message()};
  } else {
    reason = {"the processor offers neither VT-x nor AMD-V",
              "switch virtualization on in the firmware's setup; in a VM, nested virtualization in its host"};
  }
  if (auto good = check_own_engine(parts); !good) return std::move(good).error();
  auto bt = accel::make_bt_accelerator(parts);
  if (bt) return with(std::move(bt), std::move(reason));
  log::warn("{}; the guest is interpreted, which is slow", bt.error().message());
  return with(accel::make_interpreter_accelerator(parts), {"neither KVM nor the translator can be used", bt.error().message()});
}

}  // namespace

Result<ChosenAccelerator> make_accelerator(std::string_view name, AcceleratorParts parts, accel::KvmOptions kvm, bool smm) {
  const AcceleratorReason asked{"it was asked for", ""};
  if (name == "bt" || name == "interpreter")
    if (auto good = check_own_engine(parts); !good) return std::move(good).error();
  if (name == "auto") return make_best(parts, std::move(kvm), smm);
  if (name == "bt") return with(accel::make_bt_accelerator(parts), asked);
  if (name == "interpreter") return with(accel::make_interpreter_accelerator(parts), asked);
  if (name == "kvm") return with(accel::make_kvm_accelerator(parts, std::move(kvm)), asked);
  return error("unknown accelerator '{}'; there are: auto, bt, interpreter, kvm", name);
}

}  // namespace skerry::machine
