// The commands of the monitor: a table of small functions.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "vm/qmp_descriptors.hpp"
#include "vm/vm_control.hpp"

namespace skerry::vm {

// What a command works on.
struct QmpCall {
  VmControl& vm;
  QmpDescriptors& descriptors;  // of this client
  const std::string& argument;  // the value of the command's parameter
};
// Gives the value of "return". An error is a GenericError with its text.
using QmpFunction = Result<nlohmann::json> (*)(const QmpCall& call);

struct QmpCommand {
  std::string_view name;
  QmpFunction run;
  std::string parameter = {};  // a required string, the most that today's commands take; empty: none
};

std::span<const QmpCommand> qmp_commands();
nlohmann::json qmp_version();

}  // namespace skerry::vm
