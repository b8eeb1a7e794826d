#include "machine/accelerators.hpp"

#include "accel/bt/bt_accelerator.hpp"
#include "accel/interpreter/interpreter_accelerator.hpp"
#include "base/log.hpp"

namespace skerry::machine {

Result<std::unique_ptr<accel::Accelerator>> make_accelerator(std::string_view name, accel::AcceleratorParts parts) {
  if (name == "interpreter") return accel::make_interpreter_accelerator(parts);
  if (name == "auto") {
    log::debug(log::Category::kVm, "accelerator auto: interpreter, the only one in this version");
    return accel::make_interpreter_accelerator(parts);
  }
  if (name == "bt") return accel::make_bt_accelerator(parts);
  if (name == "kvm") return error("accelerator 'kvm' is not in this version of Skerry; use --accel bt");
  return error("unknown accelerator '{}'; there are: auto, bt, interpreter", name);
}

}  // namespace skerry::machine
