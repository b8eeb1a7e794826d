#include "accel/bt/code_cache.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::accel::bt {

Result<std::unique_ptr<CodeCache>> CodeCache::create(size_t size) {
  const UniqueFd file(::memfd_create("translated code", MFD_CLOEXEC));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
    return errno_error(errno, "cannot get memory for translated code");
  void* writable = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.get(), 0);
  if (writable == MAP_FAILED) return errno_error(errno, "cannot map memory for translated code");
  void* executable = ::mmap(nullptr, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, file.get(), 0);
  if (executable == MAP_FAILED) {
    const int reason = errno;
    ::munmap(writable, size);
    return errno_error(reason, "cannot map executable memory (is it forbidden here, by SELinux or noexec?)");
  }
  ::madvise(writable, size, MADV_DONTDUMP);
  return std::unique_ptr<CodeCache>(
      new CodeCache(static_cast<uint8_t*>(writable), static_cast<uint8_t*>(executable), size));
}

void CodeCache::give_back(size_t from, size_t to) {
  from = align_up(from, memory::kPageSize);
  to &= ~memory::kPageMask;
  if (from < to) ::madvise(writable_ + from, to - from, MADV_REMOVE);  // of both mappings
}

CodeCache::~CodeCache() {
  ::munmap(writable_, size_);
  ::munmap(executable_, size_);
}

}  // namespace skerry::accel::bt
