#include "share/slots.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

namespace skerry::share {

namespace {
constexpr size_t kMemoryBytes = kSlots * kSlotBytes;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
}  // namespace

Result<Slots> Slots::create() {
  UniqueFd fd(::memfd_create("skerry-share", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ::ftruncate(fd.get(), kMemoryBytes) != 0 || ::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0)
    return errno_error(errno, "cannot make the memory for requests");
  return map(std::move(fd));
}

Result<Slots> Slots::map(UniqueFd fd) {
  struct stat about{};
  if (::fstat(fd.get(), &about) != 0 || about.st_size != static_cast<off_t>(kMemoryBytes) ||
      (::fcntl(fd.get(), F_GET_SEALS) & kSeals) != kSeals)
    return error("descriptor {} is no memory for requests", fd.get());
  void* base = ::mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return errno_error(errno, "cannot map the memory for requests");
  return Slots(std::move(fd), static_cast<uint8_t*>(base));
}

Slots::~Slots() {
  if (base_) ::munmap(base_, kMemoryBytes);
}

}  // namespace skerry::share
