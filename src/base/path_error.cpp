#include "base/path_error.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace skerry {

namespace {

std::string user_name(uid_t uid) {
  std::array<char, 4096> buffer;
  passwd entry;
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found)
    return fmt::format("'{}'", found->pw_name);
  return fmt::format("{}", uid);
}

std::string closed_to_us(const std::string& path, std::string_view what, std::string_view verb) {
  std::string why = fmt::format("{} may not be {} by user {}", what, verb, user_name(::geteuid()));
  struct stat about;
  if (::stat(path.c_str(), &about) == 0)
    why += fmt::format(" (mode {:04o}, owner {})", about.st_mode & 07777, user_name(about.st_uid));
  return why;
}

bool allowed(const std::string& path, int mode) { return ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0; }

// The first folder on the way to `path` that is missing, is none, or may not be entered.
std::string explain_folders(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1)) {
    const std::string folder = path.substr(0, slash);
    struct stat about;
    if (::stat(folder.c_str(), &about) != 0) {
      if (errno == ENOENT) return fmt::format("there is no folder '{}'", folder);
      return fmt::format("folder '{}': {}", folder, ::strerror(errno));
    }
    if (!S_ISDIR(about.st_mode)) return fmt::format("'{}' is a file, not a folder", folder);
    if (!allowed(folder, X_OK)) return closed_to_us(folder, fmt::format("folder '{}'", folder), "entered");
  }
  return "";
}

}  // namespace

std::string explain_path(int saved_errno, const std::string& path, int mode) {
  if (saved_errno != ENOENT && saved_errno != ENOTDIR && saved_errno != EACCES) return ::strerror(saved_errno);
  if (std::string why = explain_folders(path); !why.empty()) return why;
  struct stat about;
  if (saved_errno == ENOENT) {
    if (::lstat(path.c_str(), &about) == 0 && S_ISLNK(about.st_mode)) return "is a link to a file that does not exist";
    return "there is no such file";
  }
  if ((mode & R_OK) && !allowed(path, R_OK)) return closed_to_us(path, "it", "read");
  if ((mode & W_OK) && !allowed(path, W_OK)) return closed_to_us(path, "it", "written");
  return ::strerror(saved_errno);
}

}  // namespace skerry
