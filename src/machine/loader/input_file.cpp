#include "machine/loader/input_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/units.hpp"

namespace skerry::machine {

namespace {

// Of what comes through a pipe: it is kept in host memory.
constexpr uint64_t kMaxStream = 2 * GiB;
constexpr size_t kMaxModules = 64;

Result<UniqueFd> spool(const std::string& label, int from) {
  UniqueFd kept(::memfd_create("skerry-input", MFD_CLOEXEC));
  if (!kept) return errno_error(errno, fmt::format("{}: cannot get memory for it", label));
  std::vector<char> buffer(256 * KiB);
  uint64_t total = 0;
  for (;;) {
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, fmt::format("{}: cannot read", label));
    if (got == 0) return kept;
    total += static_cast<uint64_t>(got);
    if (total > kMaxStream)
      return error("{}: the pipe gives more than {}; use a regular file", label, format_size(kMaxStream));
    for (ssize_t done = 0; done < got;) {
      const ssize_t written = ::write(kept.get(), buffer.data() + done, static_cast<size_t>(got - done));
      if (written < 0) return errno_error(errno, fmt::format("{}: cannot keep it in memory", label));
      done += written;
    }
  }
}

bool is_file(const std::string& path) {
  struct stat about;
  return ::stat(path.c_str(), &about) == 0;
}

}  // namespace

Result<InputFile> InputFile::open(std::string_view role, std::string path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return errno_error(errno, fmt::format("{} '{}': cannot open", role, path));
  return adopt(role, std::move(path), std::move(fd));
}

Result<InputFile> InputFile::adopt(std::string_view role, std::string path, UniqueFd fd) {
  InputFile file;
  file.label_ = fmt::format("{} '{}'", role, path);
  file.path_ = std::move(path);
  file.fd_ = std::move(fd);
  struct stat about;
  if (::fstat(file.fd_.get(), &about) != 0) return errno_error(errno, fmt::format("{}: cannot read", file.label_));
  if (S_ISDIR(about.st_mode)) return error("{}: is a directory; give a file", file.label_);
  if (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode)) {
    auto kept = spool(file.label_, file.fd_.get());
    if (!kept) return std::move(kept).error();
    file.fd_ = std::move(*kept);
    if (::fstat(file.fd_.get(), &about) != 0) return errno_error(errno, fmt::format("{}: cannot read", file.label_));
  } else if (!S_ISREG(about.st_mode)) {
    return error("{}: is a device; give a regular file or a pipe", file.label_);
  }
  if (about.st_size <= 0) return error("{}: is empty", file.label_);
  file.size_ = static_cast<uint64_t>(about.st_size);
  return file;
}

Result<void> InputFile::read(uint64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t got = ::pread(fd_.get(), to.data(), to.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, fmt::format("{}: cannot read", label_));
    if (got == 0) return error("{}: ends at byte {}; it has become shorter since it was opened", label_, offset);
    to = to.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return ok();
}

Result<std::vector<uint8_t>> InputFile::head(size_t max) const {
  std::vector<uint8_t> bytes(std::min<uint64_t>(max, size_));
  if (auto good = read(0, std::as_writable_bytes(std::span(bytes))); !good) return std::move(good).error();
  return bytes;
}

Result<BootFiles> open_boot_files(const config::Kernel& kernel) {
  auto image = InputFile::open("kernel", kernel.path);
  if (!image) return std::move(image).error();
  BootFiles files{std::move(*image), {}};
  const bool one = is_file(kernel.initrd);
  std::string_view rest = kernel.initrd;
  while (!rest.empty()) {
    const size_t end = one ? rest.npos : rest.find(',');
    const std::string_view item = rest.substr(0, end);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    if (item.empty()) continue;
    if (files.modules.size() == kMaxModules) return error("initrd: more than {} modules", kMaxModules);
    const size_t space = one ? item.npos : item.find(' ');
    auto file = InputFile::open("initrd", std::string(item.substr(0, space)));
    if (!file) return std::move(file).error();
    files.modules.push_back({std::move(*file), std::string(space == item.npos ? "" : item.substr(space + 1))});
  }
  return files;
}

}  // namespace skerry::machine
