#include "machine/uefi_variables.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.hpp"
#include "base/units.hpp"
#include "devices/cfi_flash.hpp"

namespace skerry::machine {

namespace {

constexpr std::string_view kRole = "UEFI variables";

bool write_all(int fd, uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return true;
}

// Under another name first: who finds the file finds all of it.
Result<void> create(const std::string& path, std::span<const uint8_t> content) {
  const auto failed = [&path](int why) { return errno_error(why, fmt::format("UEFI variables '{}': cannot be made", path)); };
  const std::string temporary = path + ".new";
  ::unlink(temporary.c_str());
  const UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return failed(errno);
  if (!write_all(file.get(), 0, std::as_bytes(content)) || ::fsync(file.get()) != 0 || ::link(temporary.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(temporary.c_str());
    if (why == EEXIST) return ok();  // another has been quicker
    return failed(why);
  }
  ::unlink(temporary.c_str());
  return ok();
}

}  // namespace

Result<UefiVariables> UefiVariables::open(const std::string& path, const std::string& first) {
  UefiVariables variables;
  if (!first.empty()) {
    const auto file = InputFile::open(kRole, first);
    if (!file) return file.error();
    if (auto good = variables.load(*file); !good) return std::move(good).error();
  }
  if (path.empty()) return variables;
  const size_t usual = variables.content_.size();
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    if (first.empty())
      return error("UEFI variables '{}': are not there, and what they are at first is known only of --firmware uefi and uefi-secure; copy the file that came with the firmware", path);
    if (auto made = create(path, variables.content_); !made) return std::move(made).error();
  }
  variables.path_ = path;
  variables.file_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!variables.file_) return errno_error(errno, fmt::format("UEFI variables '{}': cannot open for writing", path));
  struct stat about;
  if (::fstat(variables.file_.get(), &about) != 0 || !S_ISREG(about.st_mode))
    return error("UEFI variables '{}': is not a regular file; they are written to it as well as read", path);
  auto lock = block::ImageLock::take(variables.file_.get(), true);
  if (!lock) return std::move(lock).error().in(fmt::format("UEFI variables '{}'", path));
  variables.lock_ = std::move(*lock);
  // What is read is what is locked, whatever becomes of the name.
  const auto file = InputFile::adopt(kRole, path, UniqueFd(::fcntl(variables.file_.get(), F_DUPFD_CLOEXEC, 0)));
  if (!file) return file.error();
  if (auto good = variables.load(*file); !good) return std::move(good).error();
  if (usual != 0 && variables.content_.size() != usual)
    return error("UEFI variables '{}': have {}, and those of this firmware have {}: they are another firmware's", path,
                 format_size(variables.content_.size()), format_size(usual));
  return variables;
}

Result<void> UefiVariables::load(const InputFile& file) {
  if (file.size() % devices::CfiFlash::kBlock != 0 || file.size() > kMaxSize)
    return error("{}: have {}, which is not a multiple of {} up to {}: the file is something else", file.label(), format_size(file.size()),
                 format_size(devices::CfiFlash::kBlock), format_size(kMaxSize));
  content_.resize(file.size());
  return file.read(0, std::as_writable_bytes(std::span(content_)));
}

bool UefiVariables::store(uint64_t offset, std::span<const std::byte> bytes) {
  if (!file_) return true;
  if (write_all(file_.get(), offset, bytes) && ::fdatasync(file_.get()) == 0) return true;
  if (!std::exchange(failed_, true))
    log::failure("UEFI variables '{}': cannot be written: {}; what the guest sets is lost when the VM ends", path_, std::strerror(errno));
  return false;
}

}  // namespace skerry::machine
