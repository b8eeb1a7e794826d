// The commands of the monitor: a table of small functions.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "vm/vm_control.hpp"

namespace skerry::vm {

// Gives the value of "return". An error is a GenericError with its text.
using QmpFunction = Result<nlohmann::json> (*)(VmControl& vm);

struct QmpCommand {
  std::string_view name;
  QmpFunction run;
};

// None of today's commands takes arguments.
std::span<const QmpCommand> qmp_commands();
nlohmann::json qmp_version();

}  // namespace skerry::vm
