#include "share/view.hpp"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "base/path_error.hpp"

namespace skerry::share {

namespace {

constexpr const char* kOwnDescriptors = "/proc/self/fd";
constexpr int kFolder = O_PATH | O_DIRECTORY | O_CLOEXEC;

bool write_text(const char* path, std::string_view text) {
  const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// A user namespace, so that an ordinary user may have mounts of its own. The user is 0 in it, all others are nobody.
bool enter_user_namespace() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  return write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", fmt::format("0 {} 1", user)) &&
         write_text("/proc/self/gid_map", fmt::format("0 {} 1", group));
}

// A copy of the mount at `path`, which is nowhere: ".." of its root is its root.
UniqueFd detached(const char* path, unsigned flags) {
  return UniqueFd(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags)));
}

// False: this process may not.
bool open_detached(const std::string& path, bool read_only, View& view) {
  if (!(::geteuid() == 0 ? ::unshare(CLONE_NEWNS) == 0 : enter_user_namespace())) return false;
  view.root = detached(path.c_str(), AT_RECURSIVE);
  view.own_descriptors = detached(kOwnDescriptors, 0);
  if (!view.root || !view.own_descriptors) return false;
  if (read_only) {
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    constexpr unsigned kAll = AT_EMPTY_PATH | AT_RECURSIVE;
    if (::syscall(SYS_mount_setattr, view.root.get(), "", kAll, &attributes, sizeof attributes) != 0) return false;
  }
  return ::fchdir(view.root.get()) == 0 && ::chroot(".") == 0;
}

bool has_root_elsewhere(const View& view) {
  struct stat root{}, folder{};
  return ::stat("/", &root) != 0 || ::fstatat(view.root.get(), "", &folder, AT_EMPTY_PATH) != 0 || root.st_dev != folder.st_dev ||
         root.st_ino != folder.st_ino;
}

// Landlock's second version is the first that lets files be moved between folders.
constexpr long kLeastLandlock = 2;
// Of LANDLOCK_ACCESS_FS_*: all but EXECUTE and MAKE_CHAR and MAKE_BLOCK, which nobody has here.
constexpr uint64_t kAllowed = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                              LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                              LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                              LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
constexpr uint64_t kReading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kDenied = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;

}  // namespace

Result<View> open_view(const std::string& path, bool read_only) {
  // First as the person who asks for it would, for the reason if it cannot be.
  if (const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); !folder)
    return Error(explain_path(errno, path, R_OK));
  View view;
  view.read_only = read_only;
  if (open_detached(path, read_only, view)) return view;
  view.root = UniqueFd(::open(path.c_str(), kFolder));
  view.own_descriptors = UniqueFd(::open(kOwnDescriptors, kFolder));
  if (!view.root) return Error(explain_path(errno, path, R_OK));
  if (!view.own_descriptors) return errno_error(errno, "skerry-fs needs /proc, which is not there; as root: mount -t proc proc /proc");
  return view;
}

Result<void> close_view(const View& view) {
  if (!has_root_elsewhere(view)) return ok();
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < kLeastLandlock) return ok();
  landlock_ruleset_attr handled{};
  handled.handled_access_fs = kAllowed | kDenied;
  const UniqueFd rules(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0)));
  landlock_path_beneath_attr folder{};
  folder.allowed_access = view.read_only ? kReading : kAllowed;
  folder.parent_fd = view.root.get();
  if (!rules || ::syscall(SYS_landlock_add_rule, rules.get(), LANDLOCK_RULE_PATH_BENEATH, &folder, 0) != 0 ||
      ::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0)
    return errno_error(errno, "skerry-fs cannot confine itself by Landlock");
  return ok();
}

}  // namespace skerry::share
