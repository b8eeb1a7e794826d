// The commands of the monitor: a table of small functions.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "vm/qmp_descriptors.hpp"
#include "vm/vm_control.hpp"

namespace skerry::vm {

// What a command works on.
struct QmpCall {
  VmControl& vm;
  QmpDescriptors& descriptors;      // of this client
  const nlohmann::json& arguments;  // an object with the command's parameters, of their types; the required ones are there
  // The value of a parameter that is a string; empty if it is not there.
  std::string text(std::string_view name) const {
    const auto found = arguments.find(name);
    return found == arguments.end() ? std::string() : found->get<std::string>();
  }
};
// Gives the value of "return". An error is a GenericError with its text.
using QmpFunction = Result<nlohmann::json> (*)(const QmpCall& call);

struct QmpParameter {
  enum class Type : uint8_t { kString, kArray, kInteger };
  std::string_view name;
  Type type = Type::kString;
  bool required = true;
};

struct QmpCommand {
  std::string_view name;
  QmpFunction run;
  std::vector<QmpParameter> parameters = {};
};

std::span<const QmpCommand> qmp_commands();
nlohmann::json qmp_version();

}  // namespace skerry::vm
