#include "machine/accelerators.hpp"

#include "accel/bt/bt_accelerator.hpp"
#include "accel/interpreter/interpreter_accelerator.hpp"
#include "base/log.hpp"

namespace skerry::machine {

Result<std::unique_ptr<accel::Accelerator>> make_accelerator(std::string_view name, accel::AcceleratorParts parts) {
  if (name == "interpreter") return accel::make_interpreter_accelerator(parts);
  if (name == "auto") {
    auto made = accel::make_bt_accelerator(parts);
    if (made) return made;
    log::warn("{}; the guest is interpreted, which is slow", made.error().message());
    return accel::make_interpreter_accelerator(parts);
  }
  if (name == "bt") return accel::make_bt_accelerator(parts);
  if (name == "kvm") return error("accelerator 'kvm' is not in this version of Skerry; use --accel bt");
  return error("unknown accelerator '{}'; there are: auto, bt, interpreter", name);
}

}  // namespace skerry::machine
