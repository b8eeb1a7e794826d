// What can be said about images before a VM is started: so that a wrong name is told at once and nothing is changed.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/fd.hpp"
#include "base/path_error.hpp"
#include "cli/device_options.hpp"

namespace skerry::cli {

namespace {

struct Magic {
  std::string_view bytes, format;
};
constexpr Magic kMagics[] = {{"QFI\xfb", "qcow2"}, {"KDMV", "vmdk"}, {"vhdxfile", "vhdx"}, {"conectix", "vhd"}};

// A guest would see such a header as its disk's first sector, and could later write one to be believed.
Result<void> check_header(int fd) {
  std::array<char, 8> start{};
  const ssize_t got = ::pread(fd, start.data(), start.size(), 0);
  if (got < 0) return errno_error(errno, "cannot read");
  const std::string_view head(start.data(), static_cast<size_t>(got));
  for (const Magic& magic : kMagics)
    if (head.starts_with(magic.bytes))
      return error("is a {0} image, which is not there yet; 'qemu-img convert -O raw OLD NEW' makes a raw one of it, and "
                   "format=raw says that these bytes are the disk's own",
                   magic.format);
  return ok();
}

}  // namespace

Result<void> check_image(const DiskOption& option) {
  const std::string& path = option.disk.path;
  const int mode = option.disk.read_only ? R_OK : R_OK | W_OK;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return error("cannot be opened: {}", explain_path(errno, path, mode));
  struct stat about;
  if (::fstat(fd.get(), &about) != 0) return errno_error(errno, "cannot be looked at");
  if (S_ISDIR(about.st_mode)) return error("is a folder; give an image file or a block device");
  if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode))
    return error("is neither a file nor a block device; give the image itself");
  if (S_ISREG(about.st_mode) && about.st_size == 0)
    return error("is empty; 'truncate -s 10G FILE' gives it a size, if it is to be a new disk");
  // Asked, not opened: closing a device that was open for writing makes the host look at it anew.
  if (!option.disk.read_only && ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) != 0)
    return error("cannot be written to: {}; readonly=on gives the guest a disk that it cannot write to",
                 explain_path(errno, path, mode));
  return option.format_given ? ok() : check_header(fd.get());
}

Result<void> check_images_differ(const std::vector<config::Disk>& disks) {
  std::vector<struct stat> seen(disks.size());
  for (size_t i = 0; i < disks.size(); ++i) {
    if (::stat(disks[i].path.c_str(), &seen[i]) != 0) return errno_error(errno, "cannot be looked at");
    for (size_t j = 0; j < i; ++j) {
      const bool devices = S_ISBLK(seen[i].st_mode) && S_ISBLK(seen[j].st_mode);
      const bool same = devices ? seen[i].st_rdev == seen[j].st_rdev
                                : seen[i].st_dev == seen[j].st_dev && seen[i].st_ino == seen[j].st_ino;
      if (same && !(disks[i].read_only && disks[j].read_only))
        return error("'{}' and '{}' are one and the same, and writes of one would destroy the other; give it once, or both "
                     "with readonly=on",
                     disks[j].path, disks[i].path);
    }
  }
  return ok();
}

Result<void> check_tap_descriptor(int fd) {
  if (::fcntl(fd, F_GETFD) < 0)
    return error("tap-fd={}: is not open in this process; whoever starts it has to open the tap first", fd);
  return ok();
}

}  // namespace skerry::cli
