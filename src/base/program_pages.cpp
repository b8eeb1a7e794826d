#include "base/program_pages.hpp"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace skerry {

namespace {

// Called for the program and each library. What can be written may have been, and stays.
int give_back_segments(dl_phdr_info* loaded, size_t, void*) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (unsigned i = 0; i < loaded->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = loaded->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const uintptr_t start = loaded->dlpi_addr + segment.p_vaddr, end = start + segment.p_filesz;
    const uintptr_t first = start / page * page;
    (void)::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);  // the end is rounded up
  }
  return 0;
}

}  // namespace

void give_back_program_pages() { ::dl_iterate_phdr(give_back_segments, nullptr); }

}  // namespace skerry
