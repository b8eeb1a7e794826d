#include "machine/loader/ram_layout.hpp"

#include <algorithm>

#include "base/units.hpp"

namespace skerry::machine {

RamLayout::RamLayout(std::span<const E820Entry> memory_map) {
  for (const E820Entry& entry : memory_map)
    if (entry.type == E820Type::kMemory) ram_.push_back({entry.address, entry.address + entry.size});
  std::sort(ram_.begin(), ram_.end(), [](const Range& a, const Range& b) { return a.base < b.base; });
  for (size_t i = 1; i < ram_.size();) {
    if (ram_[i - 1].end < ram_[i].base) {
      ++i;
      continue;
    }
    ram_[i - 1].end = std::max(ram_[i - 1].end, ram_[i].end);
    ram_.erase(ram_.begin() + static_cast<ptrdiff_t>(i));
  }
}

Result<void> RamLayout::reserve(uint64_t base, uint64_t size, std::string_view what) {
  if (size == 0) return ok();
  const uint64_t end = base + size;
  if (end < base)
    return error("{} at {:#x} with {:#x} bytes reaches past the end of the address space", what, base, size);
  const bool in_ram =
      std::any_of(ram_.begin(), ram_.end(), [&](const Range& range) { return range.base <= base && end <= range.end; });
  if (!in_ram) {
    if (end > ram_end(~uint64_t{0}) && base >= 1 * MiB)
      return error("{} needs memory at {:#x}-{:#x}, but RAM ends at {:#x}; give the VM at least {} (--memory)", what,
                   base, end - 1, ram_end(~uint64_t{0}), memory_for(end));
    return error("{} needs memory at {:#x}-{:#x}, where this board has something else; link it for another address",
                 what, base, end - 1);
  }
  for (const Taken& other : taken_)
    if (base < other.end && other.base < end)
      return error("{} at {:#x}-{:#x} overlaps {} at {:#x}-{:#x}", what, base, end - 1, other.what, other.base,
                   other.end - 1);
  take(base, end, what);
  return ok();
}

void RamLayout::take(uint64_t base, uint64_t end, std::string_view what) {
  const auto after = std::upper_bound(taken_.begin(), taken_.end(), base,
                                      [](uint64_t at, const Taken& other) { return at < other.base; });
  taken_.insert(after, Taken{base, end, std::string(what)});
}

std::vector<RamLayout::Range> RamLayout::free_in(uint64_t min, uint64_t limit) const {
  std::vector<Range> free;
  for (const Range& range : ram_) {
    uint64_t at = std::max(range.base, min);
    const uint64_t end = std::min(range.end, limit);
    for (const Taken& taken : taken_) {
      if (taken.end <= at || taken.base >= end) continue;
      if (at < taken.base) free.push_back({at, taken.base});
      at = taken.end;
    }
    if (at < end) free.push_back({at, end});
  }
  return free;
}

std::optional<uint64_t> RamLayout::place_low(uint64_t size, uint64_t alignment, uint64_t min, uint64_t limit,
                                             std::string_view what) {
  for (const Range& range : free_in(min, limit)) {
    const uint64_t base = align_up(range.base, alignment);
    if (base < range.base || base > range.end || range.end - base < size) continue;
    take(base, base + size, what);
    return base;
  }
  return std::nullopt;
}

std::optional<uint64_t> RamLayout::place_high(uint64_t size, uint64_t alignment, uint64_t min, uint64_t limit,
                                              std::string_view what) {
  const std::vector<Range> free = free_in(min, limit);
  for (auto range = free.rbegin(); range != free.rend(); ++range) {
    if (range->end - range->base < size) continue;
    const uint64_t base = align_down(range->end - size, alignment);
    if (base < range->base) continue;
    take(base, base + size, what);
    return base;
  }
  return std::nullopt;
}

uint64_t RamLayout::largest_free(uint64_t min, uint64_t limit) const {
  uint64_t largest = 0;
  for (const Range& range : free_in(min, limit)) largest = std::max(largest, range.end - range.base);
  return largest;
}

uint64_t RamLayout::ram_end(uint64_t limit) const {
  uint64_t end = 0;
  for (const Range& range : ram_)
    if (range.base < limit) end = std::max(end, std::min(range.end, limit));
  return end;
}

std::string memory_for(uint64_t end) {
  // The board keeps less than 1 MiB for its tables at the top.
  return end > ~uint64_t{0} - 2 * MiB ? "more than any host has" : format_size(align_up(end + 1 * MiB, MiB));
}

}  // namespace skerry::machine
