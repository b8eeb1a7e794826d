#include "block/image_file.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <string_view>

#include "base/log.hpp"
#include "block/open_failure.hpp"

namespace skerry::block {

namespace {

constexpr uint32_t kSector = 512;  // virtio 1.2, 5.2.4: the unit of a disk's capacity
constexpr uint32_t kMostAlignment = 64 * KiB;

Result<UniqueFd> open_file(const std::string& path, bool read_only) {
  struct stat about;
  const bool device = ::stat(path.c_str(), &about) == 0 && S_ISBLK(about.st_mode);
  // O_EXCL: not a device that the host has mounted. O_NONBLOCK: a named pipe does not keep us.
  const int flags = read_only ? O_RDONLY : O_RDWR | (device ? O_EXCL : 0);
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return open_failure(path, !read_only, errno);
  return fd;
}

Result<void> check_type(const struct stat& about) {
  switch (about.st_mode & S_IFMT) {
    case S_IFREG:
    case S_IFBLK:
      return ok();
    case S_IFDIR:
      return error("is a folder; give the image file in it");
    case S_IFCHR:
      return error("is a character device; an image is a file or a block device");
    default:
      return error("is a pipe or a socket; an image is a file or a block device");
  }
}

Result<uint64_t> size_of(int fd, const struct stat& about) {
  auto size = static_cast<uint64_t>(about.st_size);
  if (S_ISBLK(about.st_mode) && ::ioctl(fd, BLKGETSIZE64, &size) != 0)
    return errno_error(errno, "cannot learn the size of the device");
  if (size == 0 && S_ISBLK(about.st_mode)) return error("the device has no size; is there a medium in the drive?");
  if (size == 0) return error("is empty; give it a size first: truncate -s 10G FILE");
  if (size % kSector != 0)
    return error(
        "is {} bytes long, which is not a multiple of {}: it is no disk image, or not all of it; if it is, round it "
        "up: truncate -s %{} FILE",
        size, kSector, kSector);
  return size;
}

struct Magic {
  std::string_view bytes, format;
};
constexpr Magic kOtherFormats[] = {{"QFI\xfb", "qcow2"}, {"KDMV", "vmdk"}, {"vhdxfile", "vhdx"}, {"conectix", "vpc"}};

// Only a warning: a guest may write to its disk what it likes, and the disk is to start again afterwards.
void warn_of_other_format(int fd, const std::string& path) {
  std::array<char, 8> start{};
  if (::pread(fd, start.data(), start.size(), 0) != static_cast<ssize_t>(start.size())) return;
  const std::string_view text(start.data(), start.size());
  for (const Magic& magic : kOtherFormats)
    if (text.starts_with(magic.bytes))
      log::warn(
          "disk '{}': begins as a {} image does, but is used as a raw one; to convert it: qemu-img convert -O raw '{}' "
          "NEW",
          path, magic.format, path);
}

Result<void> set_flags(int fd, bool direct) {
  const int flags = ::fcntl(fd, F_GETFL);
  const int wanted = (flags & ~O_NONBLOCK) | (direct ? O_DIRECT : 0);  // O_NONBLOCK means something to io_uring
  if (flags >= 0 && ::fcntl(fd, F_SETFL, wanted) == 0) return ok();
  if (direct && errno == EINVAL)
    return error("its file system has no O_DIRECT, which cache=none and cache=directsync need; use cache=writeback");
  return errno_error(errno, "cannot set the flags of its descriptor");
}

// For kernels that do not tell: the smallest read that works.
DirectIo::Alignment try_alignments(int fd) {
  AlignedBuffer buffer(4096, 4096);
  for (uint32_t alignment = kSector; alignment < 4096; alignment *= 2)
    if (::pread(fd, buffer.bytes().data(), alignment, 0) >= 0) return {alignment, alignment};
  return {4096, 4096};
}

Result<DirectIo::Alignment> learn_alignment(int fd) {
  struct statx about {};
  const int result = ::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &about);  // Linux 6.1
  if (result != 0 || !(about.stx_mask & STATX_DIOALIGN)) return try_alignments(fd);
  const DirectIo::Alignment told{std::max(about.stx_dio_offset_align, kSector), std::max(about.stx_dio_mem_align, 1U)};
  const bool usable = about.stx_dio_offset_align != 0 && std::has_single_bit(told.request) &&
                      std::has_single_bit(told.memory) && std::max(told.request, told.memory) <= kMostAlignment;
  if (!usable)
    return error("its file system has no O_DIRECT for it; use cache=writeback instead of none or directsync");
  return told;
}

Result<void> make_direct(ImageFile& image) {
  auto alignment = learn_alignment(image.fd.get());
  if (!alignment) return std::move(alignment).error();
  image.alignment = *alignment;
  if (image.size % alignment->request == 0) return ok();
  return error(
      "is {} bytes long, which is not a multiple of {}, as cache=none and cache=directsync need it here; use "
      "cache=writeback",
      image.size, alignment->request);
}

}  // namespace

Result<ImageFile> open_image(const std::string& path, bool read_only, bool direct) {
  auto fd = open_file(path, read_only);
  if (!fd) return std::move(fd).error();
  struct stat about;
  if (::fstat(fd->get(), &about) != 0) return errno_error(errno, "cannot be looked at");
  if (auto checked = check_type(about); !checked) return std::move(checked).error();
  auto lock = ImageLock::take(fd->get(), !read_only);
  if (!lock) return std::move(lock).error();
  if (::fstat(fd->get(), &about) != 0) return errno_error(errno, "cannot be looked at");  // the size, now that it stays
  auto size = size_of(fd->get(), about);
  if (!size) return std::move(size).error();
  warn_of_other_format(fd->get(), path);
  if (auto set = set_flags(fd->get(), direct); !set) return std::move(set).error();

  ImageFile image{.fd = std::move(*fd), .lock = std::move(*lock), .size = *size, .device = S_ISBLK(about.st_mode)};
  int block = 0;
  if (image.device && ::ioctl(image.fd.get(), BLKSSZGET, &block) == 0 &&
      std::has_single_bit(static_cast<unsigned>(block)))
    image.logical_block = static_cast<uint32_t>(block);
  if (std::has_single_bit(static_cast<uint64_t>(about.st_blksize)))
    image.optimal_io = static_cast<uint32_t>(std::clamp<int64_t>(about.st_blksize, kSector, 1 << 20));
  if (!direct) return image;
  if (auto made = make_direct(image); !made) return std::move(made).error();
  return image;
}

}  // namespace skerry::block
