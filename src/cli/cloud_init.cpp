#include "cli/cloud_init.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.hpp"
#include "base/path_error.hpp"
#include "base/units.hpp"
#include "cli/option_text.hpp"
#include "cli/ssh_key.hpp"
#include "cli/yaml_check.hpp"

namespace skerry::cli {

namespace {

using Root = YamlOutline::Root;

constexpr size_t kMaxKeyFile = 64 * KiB;
constexpr size_t kMaxHostname = 64, kMaxLabel = 63;  // hostname(7); RFC 1123, 2.1 and RFC 1035, 2.3.4

// The whole of a file that people write, or of a pipe.
Result<std::string> read_text(const std::string& path, size_t max_size) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return error("cannot be opened: {}", explain_path(errno, path, R_OK));
  struct stat about;
  if (::fstat(fd.get(), &about) == 0 && S_ISDIR(about.st_mode)) return error("is a folder; give a file");
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "cannot be read");
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > max_size) return error("is larger than {}; this is not what it should be", format_size(max_size));
  }
  if (text.empty()) return error("is empty");
  if (text.find('\0') != text.npos) return error("is not text: it has a NUL character in it");
  return text;
}

// The beginnings of user-data that cloud-init knows ("User-Data Formats"), and whether YAML follows.
struct Beginning {
  std::string_view text;
  Root yaml;
};
constexpr Beginning kBeginnings[] = {
    {"#cloud-config-archive", Root::kSequence}, {"#cloud-config", Root::kMapping},  {"#!", Root::kNothing},
    {"Content-Type:", Root::kNothing},          {"MIME-Version:", Root::kNothing},  {"#include", Root::kNothing},
    {"#cloud-boothook", Root::kNothing},        {"#part-handler", Root::kNothing},  {"## template: jinja", Root::kNothing},
};

// YAML in double quotes: what YAML and JSON have in common. Control characters become question marks: no key and no name
// that is taken has one, and in a message they could do harm.
std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    const bool control = (c >= 0 && c < ' ' && c != '\t') || c == 0x7f;
    result += control ? '?' : c;
  }
  return result + '"';
}

Result<void> check_hostname(std::string_view name) {
  constexpr std::string_view kRule = "use letters, digits, '-' and '.', such as web-1 or web-1.example.org";
  if (name.size() > kMaxHostname)
    return error("'{}' has {} characters; a host's name has at most {}", name, name.size(), kMaxHostname);
  for (std::string_view rest = name;;) {
    const std::string_view label = rest.substr(0, rest.find('.'));
    const auto allowed = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    };
    if (label.empty() || label.size() > kMaxLabel || label.front() == '-' || label.back() == '-' ||
        !std::all_of(label.begin(), label.end(), allowed))
      return error("{} is not a host's name; {}", in_quotes(name), kRule);
    if (label.size() == rest.size()) return ok();
    rest.remove_prefix(label.size() + 1);
  }
}

Result<void> check_meta_data(std::string_view text) {
  const auto outline = check_yaml(text);
  if (!outline) return outline.error();
  if (outline->root != Root::kMapping) return error("is not a YAML mapping; write lines such as 'local-hostname: web-1'");
  const auto& keys = outline->keys;
  if (std::find(keys.begin(), keys.end(), "instance-id") == keys.end() && !outline->can_be_prepended)
    return error("has no instance-id, and none can be put before it; add one, or write it as lines of KEY: VALUE");
  return ok();
}

Result<void> check_network_config(std::string_view text) {
  const auto outline = check_yaml(text);
  if (!outline) return outline.error();
  return outline->root == Root::kMapping ? ok() : error("is not a YAML mapping; it begins with 'version: 2'");
}

struct Part {
  std::string_view key;
  size_t max_size;
  std::string config::CloudInit::*content;
  Result<void> (*check)(std::string_view text);
};
constexpr Part kParts[] = {
    {"user-data", config::kMaxUserData, &config::CloudInit::user_data, check_user_data},
    {"meta-data", config::kMaxMetaData, &config::CloudInit::meta_data, check_meta_data},
    {"network-config", config::kMaxMetaData, &config::CloudInit::network_config, check_network_config},
};

Result<void> read_part(const Setting& setting, config::CloudInit& content) {
  const auto part = std::find_if(std::begin(kParts), std::end(kParts), [&](const Part& p) { return p.key == setting.key; });
  if (part == std::end(kParts)) return unknown_setting(setting.key, {"user-data", "meta-data", "network-config"});
  const std::string doing = fmt::format("{} '{}'", setting.key, setting.value);
  if (!(content.*part->content).empty()) return error("{}: {} is there twice; give one", doing, setting.key);
  auto text = read_text(std::string(setting.value), part->max_size);
  if (!text) return std::move(text).error().in(doing);
  if (auto good = part->check(*text); !good) return std::move(good).error().in(doing);
  content.*part->content = std::move(*text);
  return ok();
}

Result<config::CloudInit> read_files(std::string_view option) {
  const auto elements = split_settings(option);
  if (!elements) return elements.error();
  config::CloudInit content;
  for (const std::string& element : *elements) {
    const auto setting = parse_setting(element);
    if (!setting) return setting.error();
    if (auto good = read_part(*setting, content); !good) return std::move(good).error();
  }
  if (content.user_data.empty()) return error("there is no user-data; write user-data=FILE[,meta-data=FILE]");
  return content;
}

// The keys go to the default user of the image ("debian" in Debian's), who may use sudo; root stays closed, as
// cloud-init has it.
Result<std::string> document_of(const CloudInitOptions& options) {
  std::string document = "#cloud-config\n";
  if (!options.hostname.empty()) document += "manage_etc_hosts: localhost\n";  // or else sudo does not find its own host
  if (options.ssh_key.empty()) return document;
  const std::string doing = fmt::format("--ssh-key '{}'", options.ssh_key);
  const auto text = read_text(options.ssh_key, kMaxKeyFile);
  if (!text) return Error(text.error()).in(doing);
  const auto keys = parse_ssh_keys(*text);
  if (!keys) return Error(keys.error()).in(doing);
  document += "ssh_authorized_keys:\n";
  for (const std::string& key : *keys) document += fmt::format("  - {}\n", in_quotes(key));
  return document;
}

}  // namespace

Result<void> check_user_data(std::string_view text) {
  const auto begins = [&](const Beginning& beginning) { return text.starts_with(beginning.text); };
  const auto found = std::find_if(std::begin(kBeginnings), std::end(kBeginnings), begins);
  if (found == std::end(kBeginnings))
    return error("line 1: is not a beginning that cloud-init knows; it has to be #cloud-config, #! or a MIME header");
  if (found->yaml == Root::kNothing) return ok();
  const auto outline = check_yaml(text);
  if (!outline) return outline.error();
  if (outline->root == found->yaml || outline->root == Root::kNothing) return ok();
  return error("what follows {} is not a YAML {}; cloud-init would take no notice of it", found->text,
               found->yaml == Root::kMapping ? "mapping, lines of KEY: VALUE" : "list, lines of - ITEM");
}

Result<std::optional<config::CloudInit>> lower_cloud_init(const CloudInitOptions& options) {
  if (!options.hostname.empty())
    if (auto good = check_hostname(options.hostname); !good) return std::move(good).error().in("--hostname");
  config::CloudInit content;
  if (!options.cloud_init.empty()) {
    if (!options.ssh_key.empty())
      return error("--ssh-key: has no place beside --cloud-init; put the key into user-data, as ssh_authorized_keys");
    auto files = read_files(options.cloud_init);
    if (!files) return std::move(files).error().in("--cloud-init");
    content = std::move(*files);
    if (!options.hostname.empty() && !content.meta_data.empty())
      return error("--hostname: has no place beside --cloud-init meta-data=FILE; put it there, as local-hostname");
  } else if (!options.ssh_key.empty() || !options.hostname.empty()) {
    auto document = document_of(options);
    if (!document) return std::move(document).error();
    content.user_data = std::move(*document);
  } else {
    return std::optional<config::CloudInit>();
  }
  if (!options.hostname.empty()) content.meta_data = fmt::format("local-hostname: {}\n", in_quotes(options.hostname));
  return std::optional(std::move(content));
}

}  // namespace skerry::cli
