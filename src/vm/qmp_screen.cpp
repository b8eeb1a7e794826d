#include "vm/qmp_screen.hpp"

#include <unistd.h>

#include <cerrno>

#include "display/key_code.hpp"
#include "display/png.hpp"

namespace skerry::vm {

namespace {

using nlohmann::json;

Result<void> write_all(int fd, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return errno_error(errno, "the picture cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return ok();
}

// KeyValue: {"type": "qcode", "data": "ret"} or {"type": "number", "data": 28}.
Result<display::KeyCode> key_of(const json& value) {
  const bool whole = value.is_object() && value.size() == 2 && value.contains("type") && value.contains("data");
  if (!whole || !value["type"].is_string()) return error("Parameter 'keys' takes objects with 'type' and 'data'");
  const std::string type = value["type"];
  const json& data = value["data"];
  display::KeyCode key = display::KeyCode::kUnmapped;
  if (type == "qcode" && data.is_string())
    key = display::key_by_name(data.get<std::string>());
  else if (type == "number" && data.is_number_unsigned())
    key = display::key_by_qnum(static_cast<uint32_t>(std::min<uint64_t>(data.get<uint64_t>(), UINT32_MAX)));
  else
    return error("Parameter 'keys' takes a 'qcode' with a name, or a 'number' with a number");
  if (key == display::KeyCode::kUnmapped) return error("There is no key {:.64}", data.dump(-1, ' ', true, json::error_handler_t::replace));
  return key;
}

// "127.0.0.1:5900", "[::1]:5900", "unix:/path", "unix 3": what QEMU tells in three fields.
json address(const std::string& text) {
  constexpr std::string_view kUnix = "unix";
  if (text.starts_with(kUnix)) {
    const std::string path = text.size() > kUnix.size() ? text.substr(kUnix.size() + 1) : "";
    return {{"host", ""}, {"service", path}, {"family", "unix"}};
  }
  const size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon);
  const bool six = host.starts_with('[');
  if (six) host = host.substr(1, host.size() - 2);
  return {{"host", host}, {"service", text.substr(colon + 1)}, {"family", six ? "ipv6" : "ipv4"}};
}

}  // namespace

Result<json> screendump(const QmpCall& call) {
  const std::string format = call.text("format"), filename = call.text("filename");
  if (!format.empty() && format != "png") return error("Pictures are written as png; leave 'format' out");
  if (!filename.starts_with(kDescriptor))
    return error("The process of a VM opens no files: pass a descriptor by getfd and give 'fd:NAME' as filename, or use 'skerry screenshot'");
  display::Screen* const screen = call.vm.screen();
  if (!screen) return error("The VM has no screen");
  const auto file = call.descriptors.take(filename.substr(kDescriptor.size()));
  if (!file) return error("File descriptor named '{:.64}' has not been found", filename.substr(kDescriptor.size()));
  screen->refresh();
  const auto picture = display::png_of(*screen);
  if (!picture) return picture.error();
  if (auto written = write_all(file->get(), *picture); !written) return std::move(written).error();
  return json::object();
}

Result<json> send_key(const QmpCall& call) {
  constexpr int64_t kUsualHold = 100, kMaxHold = 60'000;  // ms
  std::vector<display::KeyCode> keys;
  for (const json& value : call.arguments["keys"]) {
    const auto key = key_of(value);
    if (!key) return key.error();
    keys.push_back(*key);
  }
  const auto given = call.arguments.find("hold-time");
  const int64_t hold = given == call.arguments.end() ? kUsualHold : given->get<int64_t>();
  if (hold < 0 || hold > kMaxHold) return error("Parameter 'hold-time' expects 0 to {} milliseconds", kMaxHold);
  if (auto sent = call.vm.send_keys(std::move(keys), hold); !sent) return std::move(sent).error();
  return json::object();
}

// VncInfo.
Result<json> query_vnc(const QmpCall& call) {
  const auto viewing = call.vm.viewing();
  if (!viewing) return json{{"enabled", false}};
  json info = address(viewing->address);
  info["enabled"] = true;
  info["auth"] = viewing->authentication;
  info["clients"] = json::array();
  for (const std::string& viewer : viewing->viewers) {
    json client = address(viewer);
    client["websocket"] = false;
    info["clients"].push_back(std::move(client));
  }
  return info;
}

Result<json> set_password(const QmpCall& call) {
  if (call.text("protocol") != "vnc") return error("Parameter 'protocol' expects 'vnc', the one that there is");
  if (auto set = call.vm.set_viewers_password(call.text("password")); !set) return std::move(set).error();
  return json::object();
}

}  // namespace skerry::vm
