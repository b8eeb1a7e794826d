// The JSON form of VmConfig. The only file that knows the JSON library, whose exceptions do not leave it.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "config/vm_config.hpp"

namespace skerry::config {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kMaxDepth = 8;  // deeper than any description goes

constexpr std::pair<std::string_view, Console::Type> kConsoleTypes[] = {
    {"stdio", Console::Type::kStdio}, {"pty", Console::Type::kPty},   {"file", Console::Type::kFile},
    {"unix", Console::Type::kUnix},   {"none", Console::Type::kNone},
};
constexpr std::pair<std::string_view, GdbAddress::Type> kGdbTypes[] = {
    {"tcp", GdbAddress::Type::kTcp},
    {"unix", GdbAddress::Type::kUnix},
};

template <typename T, size_t N>
std::string_view name_of(const std::pair<std::string_view, T> (&names)[N], T value) {
  for (const auto& [name, type] : names)
    if (type == value) return name;
  return names[0].first;
}

std::string what_is(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return "a string";
    case json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case json::value_t::number_float:
      return "a number with a fraction";
    default:
      return "the number " + value.dump();
  }
}

// A name out of a description, for a message: a hostile one must not fill or garble the terminal.
std::string in_quotes(const std::string& name) {
  std::string shown = json(name.substr(0, 40)).dump(-1, ' ', true, json::error_handler_t::replace);
  return shown;
}

// Takes the members of one JSON object, each by its key. The first thing that is wrong is kept in `failure`; after it
// nothing more is taken.
class ObjectReader {
 public:
  ObjectReader(const json& object, std::string path, std::string& failure)
      : object_(object), path_(std::move(path)), failure_(failure) {
    if (!object_.is_object()) fail("", fmt::format("is {}; it must be an object", what_is(object_)));
  }

  void read(const char* key, std::string& value) {
    if (const json* member = take(key)) {
      if (member->is_string())
        value = member->get<std::string>();
      else
        fail(key, fmt::format("is {}; it must be a string", what_is(*member)));
    }
  }
  void read(const char* key, bool& value) {
    if (const json* member = take(key)) {
      if (member->is_boolean())
        value = member->get<bool>();
      else
        fail(key, fmt::format("is {}; it must be true or false", what_is(*member)));
    }
  }
  template <typename T>
  requires std::unsigned_integral<T> &&
      (!std::same_as<T, bool>)void read(const char* key, T& value, uint64_t max = std::numeric_limits<T>::max()) {
    const json* member = take(key);
    if (!member) return;
    if (member->is_number_unsigned() && member->get<uint64_t>() <= max)
      value = static_cast<T>(member->get<uint64_t>());
    else
      fail(key, fmt::format("is {}; it must be a whole number from 0 to {}", what_is(*member), max));
  }
  template <typename T, size_t N>
  void read(const char* key, T& value, const std::pair<std::string_view, T> (&names)[N]) {
    std::string text(name_of(names, value));
    read(key, text);
    std::string all;
    for (const auto& [name, type] : names) {
      if (name == text) {
        value = type;
        return;
      }
      all += (all.empty() ? "" : ", ") + std::string(name);
    }
    fail(key, fmt::format("{} is not known; use {}", in_quotes(text), all));
  }
  void read(const char* key, std::vector<std::string>& values) {
    const json* member = take(key);
    if (!member) return;
    const auto is_string = [](const json& element) { return element.is_string(); };
    if (member->is_array() && std::all_of(member->begin(), member->end(), is_string))
      values = member->get<std::vector<std::string>>();
    else
      fail(key, fmt::format("is {}; it must be an array of strings",
                            member->is_array() ? "another array" : what_is(*member)));
  }
  // Reads the object at `key`, if there is one; null is none. `describe` gets a reader of it.
  template <typename Describe>
  void object(const char* key, Describe describe) {
    const json* member = take(key);
    if (!member || member->is_null()) return;
    ObjectReader reader(*member, path_of(key), failure_);
    describe(reader);
    reader.refuse_others();
  }
  const json* optional(const char* key) {
    const json* member = take(key);
    return member && !member->is_null() ? member : nullptr;
  }
  void require(const char* key) {
    if (failure_.empty() && !object_.contains(key)) fail(key, "is missing");
  }
  void refuse_others() {
    if (!failure_.empty()) return;
    for (const auto& [key, value] : object_.items())
      if (!taken_.contains(key))
        return fail("", fmt::format("key {} is not known; the keys are {}", in_quotes(key), fmt::join(taken_, ", ")));
  }
  void fail(const char* key, std::string_view why) {
    if (!failure_.empty()) return;
    const std::string path = path_of(key);
    failure_ = path.empty() ? std::string(why) : fmt::format("{}: {}", path, why);
  }

 private:
  std::string path_of(std::string_view key) const {
    return path_.empty() || key.empty() ? path_ + std::string(key) : fmt::format("{}.{}", path_, key);
  }
  const json* take(const char* key) {
    taken_.insert(key);
    if (!failure_.empty()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  const json& object_;
  std::string path_;
  std::string& failure_;
  std::set<std::string> taken_;
};

// Refuses what the library would accept silently: a key that is there twice, and nesting without end.
class ParseGuard {
 public:
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) throw std::runtime_error(fmt::format("is nested more than {} levels deep", kMaxDepth));
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second)
        throw std::runtime_error(fmt::format("key {} is there twice", in_quotes(key)));
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;
};

Result<json> parse(std::string_view text) {
  if (text.size() > kMaxJsonSize)
    return error("is larger than {}; no description of a VM is", format_size(kMaxJsonSize));
  ParseGuard guard;
  try {
    return json::parse(text,
                       [&](int depth, json::parse_event_t event, json& parsed) { return guard(depth, event, parsed); });
  } catch (const json::parse_error& failure) {
    const size_t at = std::min<size_t>(failure.byte, text.size());
    const std::string_view before = text.substr(0, at);
    return error("is not JSON: error near line {}, byte {}", 1 + std::count(before.begin(), before.end(), '\n'), at);
  } catch (const std::exception& failure) {
    return error("{}", failure.what());
  }
}

void read_devices(ObjectReader& root, VmConfig& config) {
  root.object("console", [&](ObjectReader& console) {
    console.read("type", config.console.type, kConsoleTypes);
    console.read("path", config.console.path);
  });
  if (root.optional("isa_debug_exit")) root.read("isa_debug_exit", config.isa_debug_exit.emplace());
  if (root.optional("qmp")) root.read("qmp", config.qmp.emplace());
  root.object("gdb", [&](ObjectReader& gdb) {
    GdbAddress& address = config.gdb.emplace();
    gdb.read("type", address.type, kGdbTypes);
    if (address.type == GdbAddress::Type::kUnix) {
      gdb.read("path", address.path);
    } else {
      gdb.read("host", address.host);
      gdb.read("port", address.port);
    }
  });
}

void read_root(ObjectReader& root, VmConfig& config) {
  unsigned version = kVersion;
  root.require("version");
  root.read("version", version);
  if (version != kVersion)
    root.fail("version", fmt::format("{} is not known; this program reads version {}", version, kVersion));
  root.read("name", config.name);
  root.read("board", config.board);
  root.read("accelerator", config.accelerator);
  root.object("cpu", [&](ObjectReader& cpu) {
    cpu.read("model", config.cpu_model);
    cpu.read("count", config.vcpus);
    if (cpu.optional("tsc_hz")) cpu.read("tsc_hz", config.tsc_hz.emplace());
  });
  root.read("memory", config.memory);
  root.object("kernel", [&](ObjectReader& kernel) {
    kernel.read("path", config.kernel.path);
    kernel.read("initrd", config.kernel.initrd);
    kernel.read("command_line", config.kernel.command_line);
  });
  read_devices(root, config);
  root.read("no_reboot", config.no_reboot);
  root.read("debug", config.debug);
  root.refuse_others();
}

}  // namespace

Result<VmConfig> from_json(std::string_view text) {
  constexpr std::string_view doing = "VM description";
  auto root = parse(text);
  if (!root) return std::move(root).error().in(doing);
  VmConfig config;
  std::string failure;
  ObjectReader reader(*root, "", failure);
  read_root(reader, config);
  if (!failure.empty()) return error("{}: {}", doing, failure);
  if (auto good = validate(config); !good) return std::move(good).error().in(doing);
  return config;
}

std::string to_json(const VmConfig& config) {
  ordered_json root{{"version", kVersion},
                    {"name", config.name},
                    {"board", config.board},
                    {"accelerator", config.accelerator},
                    {"cpu", {{"model", config.cpu_model}, {"count", config.vcpus}}},
                    {"memory", config.memory}};
  if (config.tsc_hz) root["cpu"]["tsc_hz"] = *config.tsc_hz;
  root["kernel"] = {
      {"path", config.kernel.path}, {"initrd", config.kernel.initrd}, {"command_line", config.kernel.command_line}};
  root["console"] = {{"type", name_of(kConsoleTypes, config.console.type)}};
  if (!config.console.path.empty()) root["console"]["path"] = config.console.path;
  if (config.isa_debug_exit) root["isa_debug_exit"] = *config.isa_debug_exit;
  if (config.qmp) root["qmp"] = *config.qmp;
  if (config.gdb) {
    ordered_json& gdb = root["gdb"] = {{"type", name_of(kGdbTypes, config.gdb->type)}};
    if (config.gdb->type == GdbAddress::Type::kUnix) {
      gdb["path"] = config.gdb->path;
    } else {
      gdb["host"] = config.gdb->host;
      gdb["port"] = config.gdb->port;
    }
  }
  root["no_reboot"] = config.no_reboot;
  root["debug"] = config.debug;
  // A valid description is UTF-8 throughout; for one that is not, replacing is better than throwing.
  return root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<VmConfig> read_json(int fd) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, fmt::format("cannot read the VM description from descriptor {}", fd));
    if (got == 0) return from_json(text);
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMaxJsonSize) return from_json(text);  // refuses it, for its size
  }
}

}  // namespace skerry::config
