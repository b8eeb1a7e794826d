#include "block/image_lock.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.hpp"
#include "base/units.hpp"

namespace skerry::block {

namespace {

constexpr off_t RAW_LOCK_PERM_BASE = 100, RAW_LOCK_SHARED_BASE = 200;
// The bits of QEMU's permissions (include/block/block-common.h), as numbers.
constexpr off_t BLK_PERM_CONSISTENT_READ = 0, BLK_PERM_WRITE = 1, BLK_PERM_RESIZE = 3;
// Ours: a lock of the process (F_SETLK). The others do not tell who has them; of this one the kernel tells the process.
constexpr off_t kOwnerByte = 300;

// Who was killed a moment ago may still have its files.
constexpr std::chrono::milliseconds kPatience{1000}, kBetweenLooks{10};

struct flock one_byte(short type, off_t at) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = at;
  lock.l_len = 1;
  return lock;
}

enum class Outcome : uint8_t { kFree, kTaken, kNoLocks };

Outcome lock_byte(int fd, off_t at) {
  struct flock lock = one_byte(F_RDLCK, at);
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return Outcome::kFree;
  return errno == EAGAIN || errno == EACCES ? Outcome::kTaken : Outcome::kNoLocks;
}

// Whether somebody else has a lock on it. Ours do not count: they are of the same open file description.
Outcome look_at_byte(int fd, off_t at) {
  struct flock lock = one_byte(F_WRLCK, at);
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0) return Outcome::kNoLocks;
  return lock.l_type == F_UNLCK ? Outcome::kFree : Outcome::kTaken;
}

void unlock_bytes(int fd) {
  struct flock lock = one_byte(F_UNLCK, 0);
  lock.l_len = 0;  // all
  (void)::fcntl(fd, F_OFD_SETLK, &lock);
}

// First the locks, then the look at the others': of two that start together at least one sees the other.
Outcome try_bytes(int fd, bool writes) {
  std::vector<off_t> mine{RAW_LOCK_PERM_BASE + BLK_PERM_CONSISTENT_READ, RAW_LOCK_SHARED_BASE + BLK_PERM_WRITE,
                          RAW_LOCK_SHARED_BASE + BLK_PERM_RESIZE};
  std::vector<off_t> theirs{RAW_LOCK_SHARED_BASE + BLK_PERM_CONSISTENT_READ, RAW_LOCK_PERM_BASE + BLK_PERM_WRITE,
                            RAW_LOCK_PERM_BASE + BLK_PERM_RESIZE};
  if (writes) {
    mine.push_back(RAW_LOCK_PERM_BASE + BLK_PERM_WRITE);
    theirs.push_back(RAW_LOCK_SHARED_BASE + BLK_PERM_WRITE);
  }
  for (const off_t at : mine)
    if (const Outcome outcome = lock_byte(fd, at); outcome != Outcome::kFree) return outcome;
  for (const off_t at : theirs)
    if (const Outcome outcome = look_at_byte(fd, at); outcome != Outcome::kFree) return outcome;
  return Outcome::kFree;
}

// A process goes some time after it was killed, and the VM's a moment after the one that supervises it: whoever starts a VM
// again at once is not to be told that it is running.
Outcome take_bytes(int fd, bool writes) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const Outcome outcome = try_bytes(fd, writes);
    if (outcome != Outcome::kTaken || std::chrono::steady_clock::now() >= deadline) return outcome;
    unlock_bytes(fd);
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

std::string read_start(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text;
  const ssize_t length = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
  return length > 0 ? std::string(text.data(), static_cast<size_t>(length)) : std::string();
}

// The numbers that are names in a folder of /proc.
std::vector<int> numbers_in(const std::string& path) {
  std::vector<int> numbers;
  const Folder folder(::opendir(path.c_str()));
  while (const dirent* entry = folder ? ::readdir(folder.get()) : nullptr) {
    const auto number = parse_number(entry->d_name);
    if (number && *number <= INT32_MAX) numbers.push_back(static_cast<int>(*number));
  }
  return numbers;
}

// Whether process `pid` has a lock on the file that is `of`, but for our own descriptor.
bool has_lock(int pid, const struct stat& of, int our_fd) {
  const std::string process = fmt::format("/proc/{}", pid);
  for (const int fd : numbers_in(process + "/fd")) {
    struct stat about;
    if (pid == ::getpid() && fd == our_fd) continue;
    if (::stat(fmt::format("{}/fd/{}", process, fd).c_str(), &about) != 0) continue;
    if (about.st_dev != of.st_dev || about.st_ino != of.st_ino) continue;
    if (read_start(fmt::format("{}/fdinfo/{}", process, fd)).find("OFDLCK") != std::string::npos) return true;
  }
  return false;
}

// The process that has the file, if it can be seen from here.
std::optional<int> find_owner(int fd) {
  struct flock lock = one_byte(F_WRLCK, kOwnerByte);
  if (::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0) return lock.l_pid;
  struct stat about;
  if (::fstat(fd, &about) != 0) return {};
  for (const int pid : numbers_in("/proc"))
    if (has_lock(pid, about, fd)) return pid;
  return {};
}

std::string name_of(int pid) {
  const std::string arguments = read_start(fmt::format("/proc/{}/cmdline", pid));
  const std::string program(arguments.c_str());  // up to the first NUL
  std::string name = program.substr(program.rfind('/') + 1);
  if (!name.empty()) return name;
  name = read_start(fmt::format("/proc/{}/comm", pid));
  return name.substr(0, name.find('\n'));
}

Error taken_by_somebody(int fd, bool writes) {
  const std::optional<int> owner = find_owner(fd);
  if (owner == ::getpid())
    return error("is in use by this VM already; two disks of one VM may only share an image if both are read-only");
  const std::string who = owner ? fmt::format("process {} ({})", *owner, name_of(*owner)) : "another process";
  if (writes) return error("is in use by {}; end that first, or open the disk read-only in both", who);
  return error(
      "is being written by {}, so what is read would not fit together; end that first, or open the disk "
      "read-only there too",
      who);
}

}  // namespace

Result<ImageLock> ImageLock::take(int fd, bool writes) {
  UniqueFd own(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!own) return errno_error(errno, "cannot be opened a second time, for its lock");
  const Outcome outcome = take_bytes(own.get(), writes);
  if (outcome == Outcome::kTaken) return taken_by_somebody(own.get(), writes);
  if (outcome == Outcome::kNoLocks) {
    log::warn("the file system of a disk's image has no locks ({}); see to it that nobody else uses the image",
              errno_error(errno, "fcntl").message());
  } else {
    struct flock lock = one_byte(F_RDLCK, kOwnerByte);
    (void)::fcntl(own.get(), F_SETLK, &lock);  // only tells who we are
  }
  return ImageLock(std::move(own));
}

}  // namespace skerry::block
