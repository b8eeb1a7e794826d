#include "machine/accelerators.hpp"

#include "accel/bt/bt_accelerator.hpp"
#include "accel/interpreter/interpreter_accelerator.hpp"
#include "accel/kvm/kvm_accelerator.hpp"
#include "accel/kvm/system.hpp"
#include "base/log.hpp"

namespace skerry::machine {

namespace {

using accel::AcceleratorParts;

Result<ChosenAccelerator> with(Result<std::unique_ptr<accel::Accelerator>> made, AcceleratorReason reason) {
  if (!made) return std::move(made).error();
  return ChosenAccelerator{std::move(*made), std::move(reason)};
}

// A /dev/kvm without a processor that virtualizes executes guests in software, many times slower than the translator.
Result<ChosenAccelerator> make_best(AcceleratorParts parts) {
  AcceleratorReason reason;
  if (accel::kvm::hardware_assisted()) {
    auto kvm = accel::make_kvm_accelerator(parts);
    if (kvm) return with(std::move(kvm), {"the processor has VT-x or AMD-V, and /dev/kvm can be used", ""});
    reason = {"KVM cannot be used", kvm.error().message()};
  } else {
    reason = {"the processor offers neither VT-x nor AMD-V",
              "switch virtualization on in the firmware's setup; in a VM, nested virtualization in its host"};
  }
  auto bt = accel::make_bt_accelerator(parts);
  if (bt) return with(std::move(bt), std::move(reason));
  log::warn("{}; the guest is interpreted, which is slow", bt.error().message());
  return with(accel::make_interpreter_accelerator(parts), {"neither KVM nor the translator can be used", bt.error().message()});
}

}  // namespace

Result<ChosenAccelerator> make_accelerator(std::string_view name, AcceleratorParts parts, UniqueFd kvm_device) {
  const AcceleratorReason asked{"it was asked for", ""};
  if (name == "auto") return make_best(parts);
  if (name == "bt") return with(accel::make_bt_accelerator(parts), asked);
  if (name == "interpreter") return with(accel::make_interpreter_accelerator(parts), asked);
  if (name == "kvm") return with(accel::make_kvm_accelerator(parts, std::move(kvm_device)), asked);
  return error("unknown accelerator '{}'; there are: auto, bt, interpreter, kvm", name);
}

}  // namespace skerry::machine
