#include "accel/bt/context.hpp"

#include <sys/mman.h>

#include <new>

#include "base/units.hpp"

namespace skerry::accel::bt {

namespace {

// What is zeroes from the host in the beginning is so again, but for what shares a page with something else.
void give_back(void* start, size_t size) {
  const auto from = align_up(reinterpret_cast<uintptr_t>(start), memory::kPageSize);
  const auto to = (reinterpret_cast<uintptr_t>(start) + size) & ~memory::kPageMask;
  if (from < to) ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}

}  // namespace

void* Context::operator new(size_t size) {
  void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  return at;
}

void Context::operator delete(void* at) { ::munmap(at, sizeof(Context)); }

void Context::give_back_jumps() {
  static_assert(sizeof jumps % memory::kPageSize == 0 && sizeof sites % memory::kPageSize == 0);
  give_back(jumps, sizeof jumps);
  give_back(sites, sizeof sites);
}

// One entry at each end may be in two pages, and lose a half: none may hold any more.
void Context::give_back_second_tlbs() {
  for (x86::SecondTlb& tlb : second_tlbs) {
    tlb.forget();
    give_back(tlb.entries, sizeof tlb.entries);
  }
}

Offsets::Offsets(const Context& context) {
  const auto from_start = [&](const void* member) {
    return static_cast<int>(static_cast<const char*>(member) - reinterpret_cast<const char*>(&context));
  };
  self = from_start(&context.self);
  page_base = from_start(&context.page_base);
  flags = from_start(&context.flags);
  kept = from_start(&context.kept);
  for (unsigned n = 0; n < 2; ++n) flag_value[n] = from_start(&context.flag_value[n]);
  value = from_start(&context.value);
  argument = from_start(&context.argument);
  host_stack = from_start(&context.host_stack);
  return_limit = from_start(&context.return_limit);
  return_lookup = from_start(&context.return_lookup);
  jump_key = from_start(&context.jump_key);
  insn = from_start(&context.insn);
  vector_loaded = from_start(&context.vector_loaded);
  host_mxcsr = from_start(&context.host_mxcsr);
  fill = from_start(&context.fill);
  interpret = from_start(&context.interpret);
  note_site = from_start(&context.note_site);
  jumps = from_start(&context.jumps);
  site = from_start(&context.site);
  sites = from_start(&context.sites);
  tsc_offset = from_start(&context.tsc_offset);
  tsc_direct = from_start(&context.tsc_direct);
  window = from_start(&context.window);
  to_kernel = from_start(&context.to_kernel);
  to_user = from_start(&context.to_user);
  to_open = from_start(&context.to_open);
  mode = from_start(&context.mode);
  crossed = from_start(&context.crossed);
  const x86::CpuState& state = context.interpreter.state;
  gpr = from_start(&state.gpr);
  rflags = from_start(&state.rflags);
  lstar = from_start(&state.lstar);
  gdt_base = from_start(&state.gdtr.base);
  gdt_limit = from_start(&state.gdtr.limit);
  fmask = from_start(&state.fmask);
  tsc_aux = from_start(&state.tsc_aux);
  kernel_gs_base = from_start(&state.kernel_gs_base);
  vector = from_start(&state.vector);
  mxcsr = from_start(&state.mxcsr);
  for (unsigned n = 0; n < x86::kSegmentCount; ++n) {
    segment_base[n] = from_start(&state.seg[n].base);
    selector[n] = from_start(&state.seg[n].selector);
  }
  const x86::Interpreter::Layout layout = context.interpreter.layout();
  const int interpreter = from_start(&context.interpreter);
  requests = interpreter + static_cast<int>(layout.requests);
  interest = interpreter + static_cast<int>(layout.interest);
  for (unsigned n = 0; n < 3; ++n) second_tlb[n] = from_start(&context.second_tlbs[n]);
  const auto in_recent = [&](size_t offset) {
    return from_start(&context.second_tlbs[x86::Interpreter::kUserTlb].recent) + static_cast<int>(offset);
  };
  constexpr x86::RecentPages::Layout kRecent = x86::RecentPages::layout();
  for (unsigned n = 0; n < 2; ++n) recent[n] = in_recent(kRecent.slots[n]);
  recent_filled = in_recent(kRecent.filled);
  recent_list = in_recent(kRecent.list);
  recent_pages = in_recent(kRecent.pages);
  recent_misses = in_recent(kRecent.misses);
  for (unsigned n = 0; n < 3; ++n) tlb[n] = interpreter + static_cast<int>(layout.tlbs + n * sizeof(x86::Tlb));
}

namespace {
constexpr uint64_t kInAh = x86::flags::kStatus & ~x86::flags::kOf;
}

uint64_t pack_flags(uint64_t rflags) {
  return (rflags & kInAh) << 8 | (rflags & x86::flags::kOf ? 1 : 0);
}

uint64_t unpack_flags(uint64_t rflags, uint64_t packed) {
  return (rflags & ~x86::flags::kStatus) | (packed >> 8 & kInAh) | (packed & 1 ? x86::flags::kOf : 0);
}

}  // namespace skerry::accel::bt
