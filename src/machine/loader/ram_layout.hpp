// Where in the guest's RAM things are put while a kernel is loaded: no two of them overlap, none lies outside RAM.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace skerry::machine {

// Address range types of the ACPI specification 6.4, table 15.1 (INT 15h, E820h). Multiboot and PVH use the same.
enum class E820Type : uint32_t { kMemory = 1, kReserved = 2, kAcpi = 3, kNvs = 4 };

struct E820Entry {
  uint64_t address, size;
  E820Type type;
  bool operator==(const E820Entry&) const = default;
};

class RamLayout {
 public:
  // Ranges of type kMemory are free.
  explicit RamLayout(std::span<const E820Entry> memory_map);

  // Takes exactly this range. The error says what is in the way, or how much memory would be enough.
  Result<void> reserve(uint64_t base, uint64_t size, std::string_view what);
  // Takes `size` bytes at a multiple of `alignment`, wholly in [min, limit): the lowest place, or the highest one.
  std::optional<uint64_t> place_low(uint64_t size, uint64_t alignment, uint64_t min, uint64_t limit,
                                    std::string_view what);
  std::optional<uint64_t> place_high(uint64_t size, uint64_t alignment, uint64_t min, uint64_t limit,
                                     std::string_view what);
  // The largest size that place_*() could have in [min, limit).
  uint64_t largest_free(uint64_t min, uint64_t limit) const;
  // The first address after the highest free or taken RAM below `limit`.
  uint64_t ram_end(uint64_t limit) const;

 private:
  struct Taken {
    uint64_t base, end;
    std::string what;
  };
  struct Range {
    uint64_t base, end;
  };
  void take(uint64_t base, uint64_t end, std::string_view what);
  std::vector<Range> free_in(uint64_t min, uint64_t limit) const;

  std::vector<Range> ram_;    // sorted, adjacent ones joined
  std::vector<Taken> taken_;  // sorted
};

// "80 MiB": enough for RAM to reach up to `end`, with what the board keeps at the top of RAM.
std::string memory_for(uint64_t end);

}  // namespace skerry::machine
