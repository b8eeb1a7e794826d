// What a loader needs of an ELF executable. System V ABI, "Object Files"; elf(5).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.hpp"
#include "machine/loader/input_file.hpp"

namespace skerry::machine {

struct LoadContext;

// Bounds are checked: every segment's bytes are in the file, and no size or address wraps around.
class ElfImage {
 public:
  // For 32-bit and 64-bit x86.
  static Result<ElfImage> parse(const InputFile& file);

  bool is_64() const { return is_64_; }
  uint64_t entry() const { return entry_; }

  // The bytes of the first note of this name and type, if there is one.
  std::optional<std::vector<uint8_t>> find_note(std::string_view name, uint32_t type) const;

  // Puts the loadable segments at their physical addresses, below 4 GiB; gives the first address after them.
  Result<uint64_t> load(LoadContext& context) const;
  bool loads(uint64_t physical) const;
  // The physical address of what is linked at `virtual_address`.
  std::optional<uint64_t> to_physical(uint64_t virtual_address) const;

 private:
  struct Segment {
    uint64_t offset, vaddr, paddr, filesz, memsz;
  };
  template <typename Ehdr, typename Phdr>
  Result<void> parse_class();
  const InputFile* file_ = nullptr;
  bool is_64_ = false;
  uint64_t entry_ = 0;
  std::vector<Segment> loads_, notes_;
};

}  // namespace skerry::machine
