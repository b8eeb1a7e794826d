#include "doctor/host.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/fd.hpp"
#include "base/units.hpp"

namespace skerry::doctor {

namespace {

constexpr std::string_view kSpaces = " \t\r\n";

Error unreadable(std::string_view path, int number) {
  if (number == ENOENT || number == ENOTDIR) return error("there is no '{}'", path);
  if (number == EACCES || number == EPERM) return error("'{}' may not be read by this user", path);
  return errno_error(number, fmt::format("'{}' cannot be read", path));
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  for (size_t from = 0; (from = text.find_first_not_of(separators, from)) != text.npos;) {
    const size_t to = std::min(text.find_first_of(separators, from), text.size());
    parts.push_back(text.substr(from, to - from));
    from = to;
  }
  return parts;
}

}  // namespace

std::optional<struct stat> Host::about(std::string_view path) const {
  struct stat about {};
  if (::stat(real_path(path).c_str(), &about) != 0) return std::nullopt;
  return about;
}

Presence Host::presence(std::string_view path) const {
  if (about(path)) return Presence::kThere;
  return errno == ENOENT || errno == ENOTDIR ? Presence::kAbsent : Presence::kUnknown;
}

bool Host::allows(std::string_view path, int mode) const {
  return ::faccessat(AT_FDCWD, real_path(path).c_str(), mode, AT_EACCESS) == 0;
}

Result<std::string> Host::text(std::string_view path) const {
  // Looked at before it is opened: opening a device or a pipe can do something, and take forever.
  const auto what = about(path);
  if (!what) return unreadable(path, errno);
  if (!S_ISREG(what->st_mode)) return error("'{}' is no file", path);
  const UniqueFd fd(::open(real_path(path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return unreadable(path, errno);
  std::string text(kMaxText, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(path, errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

Result<std::string> Host::line(std::string_view path) const {
  const auto content = text(path);
  if (!content) return content.error();
  return printable(trimmed(std::string_view(*content).substr(0, content->find('\n'))));
}

std::optional<uint64_t> Host::number(std::string_view path) const {
  const auto first = line(path);
  if (!first) return std::nullopt;
  const auto parsed = parse_number(*first);
  return parsed ? std::optional(*parsed) : std::nullopt;
}

std::vector<std::string> Host::names(std::string_view folder) const {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(real_path(folder).c_str()), ::closedir);
  std::vector<std::string> names;
  while (open && names.size() < kMaxNames) {
    const dirent* entry = ::readdir(open.get());
    if (!entry) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> Host::program(std::string_view name) const {
  for (const std::string_view folder : {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
    const std::string path = fmt::format("{}{}", folder, name);
    const auto what = about(path);
    if (what && S_ISREG(what->st_mode) && allows(path, X_OK)) return path;
  }
  return std::nullopt;
}

const KvmAnswer& Host::kvm() const {
  if (!kvm_) kvm_ = system_.ask_kvm();
  return *kvm_;
}

std::string printable(std::string_view text) {
  std::string shown(text.substr(0, Host::kMaxLine));
  for (char& c : shown)
    if (c < ' ' || c > '~') c = '?';
  if (text.size() > Host::kMaxLine) shown += "...";
  return shown;
}

std::vector<std::string_view> lines_of(std::string_view text) { return split(text, "\n"); }

std::vector<std::string_view> words_of(std::string_view text) { return split(text, kSpaces); }

std::string chosen_of(std::string_view text) {
  const size_t from = text.find('['), to = text.find(']', from == text.npos ? 0 : from);
  return from == text.npos || to == text.npos ? "" : std::string(text.substr(from + 1, to - from - 1));
}

}  // namespace skerry::doctor
