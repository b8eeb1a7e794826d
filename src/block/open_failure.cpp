#include "block/open_failure.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <vector>

namespace skerry::block {

namespace {

std::string user_name(uid_t user) {
  std::array<char, 4096> memory;
  passwd entry;
  passwd* found = nullptr;
  if (::getpwuid_r(user, &entry, memory.data(), memory.size(), &found) == 0 && found) return found->pw_name;
  return fmt::format("number {}", user);
}

std::string group_name(gid_t group) {
  std::array<char, 4096> memory;
  struct group entry;
  struct group* found = nullptr;
  if (::getgrgid_r(group, &entry, memory.data(), memory.size(), &found) == 0 && found) return found->gr_name;
  return fmt::format("number {}", group);
}

// The folders that lead to `path`, the nearest to the root first.
std::vector<std::string> folders_of(const std::string& path) {
  std::vector<std::string> folders;
  std::filesystem::path folder;
  for (const auto& element : std::filesystem::path(path).parent_path()) {
    folder /= element;
    folders.push_back(folder.string());
  }
  return folders;
}

std::string rights_of(const struct stat& about) {
  return fmt::format("owner {}, group {}, mode {:04o}", user_name(about.st_uid), group_name(about.st_gid),
                     about.st_mode & 07777U);
}

bool may(const std::string& path, int access) { return ::faccessat(AT_FDCWD, path.c_str(), access, AT_EACCESS) == 0; }

std::optional<Error> closed_folder(const std::string& path) {
  for (const std::string& folder : folders_of(path)) {
    struct stat about;
    if (may(folder, X_OK) || ::stat(folder.c_str(), &about) != 0) continue;
    return error(
        "user {} may not enter the folder '{}' ({}); move the image elsewhere, or let others in: chmod o+x '{}'",
        user_name(::geteuid()), folder, rights_of(about), folder);
  }
  return {};
}

Error not_permitted(const std::string& path, bool writes) {
  if (auto closed = closed_folder(path)) return std::move(*closed);
  struct stat about;
  if (::stat(path.c_str(), &about) != 0) return errno_error(errno, "cannot be opened");
  const std::string user = user_name(::geteuid());
  if (writes && may(path, R_OK))
    return error("is read-only for user {} ({}); use readonly=on, or: {}", user, rights_of(about),
                 about.st_uid == ::geteuid() ? "chmod u+w '" + path + "'" : "chown " + user + " '" + path + "'");
  return error("user {} may not {} it ({}); as its owner or root: chown {} '{}'", user,
               writes ? "read and write" : "read", rights_of(about), user, path);
}

Error not_found(const std::string& path) {
  for (const std::string& folder : folders_of(path))
    if (::access(folder.c_str(), F_OK) != 0) return error("not found: there is no folder '{}'", folder);
  std::error_code failure;
  const std::filesystem::path target = std::filesystem::read_symlink(path, failure);
  if (!failure) return error("is a symbolic link to '{}', which does not exist", target.string());
  if (path.starts_with('/')) return error("not found");
  return error("not found (looked in {})", std::filesystem::current_path(failure).string());
}

}  // namespace

Error open_failure(const std::string& path, bool writes, int number) {
  switch (number) {
    case ENOENT:
      return not_found(path);
    case EACCES:
      return not_permitted(path, writes);
    case EISDIR:
      return error("is a folder; give the image file in it");
    case ENOTDIR:
      return error("not found: something in its path is a file, not a folder");
    case EROFS:
      return error("is read-only, as its file system is; use readonly=on");
    case EPERM:
      return error(
          "is read-only: its file system says that it may not be changed (lsattr shows whether it is immutable or "
          "append-only); use readonly=on");
    case ETXTBSY:
      return error("is read-only: the host uses it as a program or as swap space; use readonly=on");
    case EBUSY:
      return error("is in use by the host (mounted, swap, or part of a RAID or LVM; see lsblk); unmount it first");
    case ENXIO:
      return error("there is no device behind this node, or nobody at the other end of it");
    case ENOMEDIUM:
      return error("there is no medium in the drive");
    default:
      return errno_error(number, "cannot be opened");
  }
}

}  // namespace skerry::block
