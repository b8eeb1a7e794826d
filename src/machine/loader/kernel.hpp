// Loading a kernel into guest memory: finds out by its content how it wants to be loaded and started.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "machine/loader/entry.hpp"
#include "machine/loader/input_file.hpp"
#include "machine/loader/ram_layout.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

// What a loader works on. The files are hostile: every offset and size in them is checked.
struct LoadContext {
  memory::GuestMemory& memory;
  const BootFiles& files;
  std::string_view command_line;
  std::span<const E820Entry> memory_map;
  uint64_t rsdp;  // guest-physical address of the ACPI tables' root
  RamLayout layout{memory_map};

  // Copies a part of a file into guest RAM that has been taken in `layout`.
  Result<void> copy(const InputFile& file, uint64_t offset, uint64_t size, uint64_t gpa);
  template <typename T>
  void put(uint64_t gpa, const T& structure) {
    memory.write(gpa, std::as_bytes(std::span(&structure, 1)));
  }
  // A NUL-terminated string in low memory.
  Result<uint64_t> place_string(std::string_view text, std::string_view what);
  // Room for a structure in low memory.
  Result<uint64_t> place_structure(uint64_t size, std::string_view what);
};

struct LoadedKernel {
  std::string description;  // "Linux 6.1.0, 64-bit boot protocol 2.15"
  Entry entry;
};

// Loads the kernel and its modules. Memory outside of what is loaded keeps its content.
Result<LoadedKernel> load_kernel(LoadContext context);

// The protocols. Each takes a kernel of its kind; `head` is the start of the file.
constexpr size_t kHeadSize = 8192;
bool is_bzimage(std::span<const uint8_t> head);
Result<LoadedKernel> load_bzimage(LoadContext& context);
bool is_multiboot(std::span<const uint8_t> head);
Result<LoadedKernel> load_multiboot(LoadContext& context, std::span<const uint8_t> head);
bool is_elf(std::span<const uint8_t> head);
Result<LoadedKernel> load_pvh(LoadContext& context);

}  // namespace skerry::machine
