#include "vm/qmp.hpp"

#include <time.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.hpp"
#include "vm/qmp_commands.hpp"

namespace skerry::vm {

namespace {

using nlohmann::json;

json failure(std::string_view error_class, std::string description) {
  return {{"error", {{"class", error_class}, {"desc", std::move(description)}}}};
}
json generic(std::string description) { return failure("GenericError", std::move(description)); }

json timestamp() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {{"seconds", now.tv_sec}, {"microseconds", now.tv_nsec / 1000}};
}

// What the client wrote, in an answer: short.
std::string quoted(const std::string& text) {
  constexpr size_t kMost = 64;
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

// An error if the members of a request are not those of the protocol; null if they are.
json check_members(const json& request) {
  if (!request.is_object()) return generic("QMP input must be a JSON object");
  for (const auto& [key, value] : request.items())
    if (key != "execute" && key != "arguments" && key != "id")
      return generic(fmt::format("QMP input member '{}' is unexpected", quoted(key)));
  if (!request.contains("execute")) return generic("QMP input lacks member 'execute'");
  if (!request["execute"].is_string()) return generic("QMP input member 'execute' must be a string");
  if (request.contains("arguments") && !request["arguments"].is_object())
    return generic("QMP input member 'arguments' must be an object");
  return nullptr;
}

json unexpected(const std::string& parameter) {
  return generic(fmt::format("Parameter '{}' is unexpected", quoted(parameter)));
}

// No capability is offered, so none can be enabled.
json check_capabilities(const json& arguments) {
  for (const auto& [key, value] : arguments.items()) {
    if (key != "enable") return unexpected(key);
    if (!value.is_array() || !value.empty()) return generic("There are no capabilities to enable");
  }
  return nullptr;
}

// What it is called if it is something else.
std::string_view wrong_type(const json& value, QmpParameter::Type type) {
  switch (type) {
    case QmpParameter::Type::kString: return value.is_string() ? "" : "string";
    case QmpParameter::Type::kArray: return value.is_array() ? "" : "array";
    case QmpParameter::Type::kInteger: return value.is_number_integer() ? "" : "integer";
  }
  return "";
}

json check_arguments(const json& arguments, const QmpCommand& command) {
  for (const auto& [key, value] : arguments.items()) {
    const auto known = std::ranges::find(command.parameters, key, &QmpParameter::name);
    if (known == command.parameters.end()) return unexpected(key);
    if (const std::string_view wanted = wrong_type(value, known->type); !wanted.empty())
      return generic(fmt::format("Invalid parameter type for '{}', expected: {}", key, wanted));
  }
  for (const QmpParameter& parameter : command.parameters)
    if (parameter.required && !arguments.contains(parameter.name)) return generic(fmt::format("Parameter '{}' is missing", parameter.name));
  return nullptr;
}

}  // namespace

void QmpSession::send_json(const json& message) {
  // Text from the client may come back in an answer; what of it is not UTF-8 is replaced.
  std::string line = message.dump(-1, ' ', false, json::error_handler_t::replace);
  log::debug(log::Category::kQmp, "send {}", line);
  line += "\r\n";
  send_(line);
}

void QmpSession::connected() {
  splitter_ = {};
  connected_ = true;
  negotiated_ = false;
  send_json({{"QMP", {{"version", qmp_version()}, {"capabilities", json::array()}}}});
}

void QmpSession::disconnected() {
  connected_ = negotiated_ = false;
  descriptors_.clear();
}

void QmpSession::received(std::string_view bytes) {
  while (connected_) {
    const auto item = splitter_.next(bytes);
    if (!item) return;
    handle(*item);
  }
}

void QmpSession::handle(const JsonSplitter::Item& item) {
  if (!item.problem.empty()) return send_json(generic(item.problem));
  log::debug(log::Category::kQmp, "got {}", item.text);
  const json request = json::parse(item.text, nullptr, false);
  if (request.is_discarded()) return send_json(generic("Invalid JSON syntax"));
  json reply = answer(request);
  if (request.is_object() && request.contains("id")) reply["id"] = request["id"];
  send_json(reply);
}

json QmpSession::answer(const json& request) {
  if (json wrong = check_members(request); !wrong.is_null()) return wrong;
  const std::string command = request["execute"];
  const bool capabilities = command == "qmp_capabilities";
  if (!negotiated_ && !capabilities)
    return failure("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
  if (negotiated_ && capabilities)
    return failure("CommandNotFound", "Capabilities negotiation is already complete, command ignored");
  const auto commands = qmp_commands();
  const auto found = std::find_if(commands.begin(), commands.end(), [&](const auto& c) { return c.name == command; });
  if (!capabilities && found == commands.end())
    return failure("CommandNotFound", fmt::format("The command {} has not been found", quoted(command)));
  const json arguments = request.value("arguments", json::object());
  json wrong = capabilities ? check_capabilities(arguments) : check_arguments(arguments, *found);
  if (!wrong.is_null()) return wrong;
  if (capabilities) {
    negotiated_ = true;
    return {{"return", json::object()}};
  }
  auto result = found->run({vm_, descriptors_, arguments});
  if (!result) return generic(result.error().message());
  return {{"return", std::move(*result)}};
}

void QmpSession::vm_event(const VmEvent& event) {
  if (!negotiated_) return;
  json message{{"timestamp", timestamp()}};
  switch (event.kind) {
    case VmEvent::Kind::kStop: message["event"] = "STOP"; break;
    case VmEvent::Kind::kResume: message["event"] = "RESUME"; break;
    case VmEvent::Kind::kPowerdown: message["event"] = "POWERDOWN"; break;
    case VmEvent::Kind::kReset: message["event"] = "RESET"; break;
    case VmEvent::Kind::kShutdown: message["event"] = "SHUTDOWN"; break;
    case VmEvent::Kind::kPanicked:
      message["event"] = "GUEST_PANICKED";
      message["data"] = {{"action", "run"}};
      break;
    case VmEvent::Kind::kWatchdog:
      message["event"] = "WATCHDOG";
      message["data"] = {{"action", event.action}};
      break;
    case VmEvent::Kind::kMigration:
      message["event"] = "MIGRATION";
      message["data"] = {{"status", name(event.save)}};
      break;
  }
  if (event.kind == VmEvent::Kind::kReset || event.kind == VmEvent::Kind::kShutdown)
    message["data"] = {{"guest", by_guest(event.cause)}, {"reason", name(event.cause)}};
  send_json(message);
}

}  // namespace skerry::vm
