// The interpreter's software TLB: linear page to host address, per kind of access.
#pragma once

#include <array>
#include <cstdint>

#include "memory/guest_memory.hpp"
#include "x86/paging.hpp"

namespace skerry::x86 {

// A tag is the page's linear address where that kind of access may go straight to host memory, else kNoPage. An access
// compares its last byte's page with the tag, so that one that crosses into the next page misses.
struct TlbEntry {
  static constexpr uint64_t kNoPage = 1;
  uint64_t read_tag = kNoPage;
  uint64_t write_tag = kNoPage;  // set only when the page is marked dirty, in the page table and for the host
  uint64_t fetch_tag = kNoPage;
  uintptr_t host_bias = 0;  // host address - linear address
};

class Tlb {
 public:
  static constexpr unsigned kSize = 512;
  TlbEntry& at(uint64_t linear) { return entries_[(linear >> 12) % kSize]; }
  void clear() { entries_.fill({}); }
  void drop(uint64_t linear) { at(linear) = {}; }

 private:
  std::array<TlbEntry, kSize> entries_;
};

}  // namespace skerry::x86
