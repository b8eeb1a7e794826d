// ELF kernels by the PVH boot protocol: Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
#include <cstring>

#include "base/units.hpp"
#include "machine/loader/elf_image.hpp"
#include "machine/loader/kernel.hpp"

namespace skerry::machine {

namespace {

constexpr uint32_t kXenElfNotePhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY
constexpr uint32_t kXenHvmStartMagicValue = 0x336ec578;
constexpr uint64_t kFourGiB = 4 * GiB;

// struct hvm_start_info
struct HvmStartInfo {
  uint32_t magic, version, flags, nr_modules;
  uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
  uint64_t memmap_paddr;  // version 1
  uint32_t memmap_entries, reserved;
};
static_assert(sizeof(HvmStartInfo) == 56);

struct HvmModlistEntry {
  uint64_t paddr, size, cmdline_paddr, reserved;
};

struct HvmMemmapTableEntry {
  uint64_t addr, size;
  uint32_t type, reserved;
};
static_assert(sizeof(HvmMemmapTableEntry) == 24);

// The entry point that the kernel's note gives, in either width.
Result<uint64_t> entry_point(const ElfImage& elf, const InputFile& file) {
  const auto note = elf.find_note("Xen", kXenElfNotePhys32Entry);
  if (!note)
    return error(
        "{}: is an ELF file with neither a PVH note nor a Multiboot header; give a bzImage (vmlinuz), or build "
        "Linux with CONFIG_PVH",
        file.label());
  uint64_t entry = 0;
  if (note->size() != 4 && note->size() != 8)
    return error("{}: is a broken ELF file: its PVH note has {} bytes, not 4 or 8", file.label(), note->size());
  std::memcpy(&entry, note->data(), note->size());
  if (!elf.loads(entry))
    return error("{}: is a broken ELF file: its PVH entry point {:#x} is in no segment", file.label(), entry);
  return entry;
}

Result<uint64_t> place_modules(LoadContext& context, uint64_t kernel_end) {
  std::vector<HvmModlistEntry> list;
  for (const Module& module : context.files.modules) {
    const auto at = context.layout.place_high(module.file.size(), 4 * KiB, kernel_end, kFourGiB, module.file.label());
    if (!at)
      return error("{}: has {}, but beside the kernel {} of memory are free; give the VM at least {} (--memory)",
                   module.file.label(), format_size(module.file.size()),
                   format_size(context.layout.largest_free(kernel_end, kFourGiB)),
                   memory_for(kernel_end + align_up(module.file.size(), 4 * KiB)));
    if (auto good = context.copy(module.file, 0, module.file.size(), *at); !good) return std::move(good).error();
    uint64_t arguments = 0;
    if (!module.arguments.empty()) {
      auto text = context.place_string(module.arguments, "the arguments of a module");
      if (!text) return text;
      arguments = *text;
    }
    list.push_back({*at, module.file.size(), arguments, 0});
  }
  if (list.empty()) return uint64_t{0};
  auto at = context.place_structure(list.size() * sizeof list[0], "the list of modules");
  if (at) context.memory.write(*at, std::as_bytes(std::span(list)));
  return at;
}

Result<uint64_t> place_memory_map(LoadContext& context) {
  std::vector<HvmMemmapTableEntry> map;
  for (const E820Entry& entry : context.memory_map)
    map.push_back({entry.address, entry.size, static_cast<uint32_t>(entry.type), 0});
  auto at = context.place_structure(map.size() * sizeof map[0], "the memory map");
  if (at) context.memory.write(*at, std::as_bytes(std::span(map)));
  return at;
}

}  // namespace

Result<LoadedKernel> load_pvh(LoadContext& context) {
  const InputFile& file = context.files.kernel;
  auto elf = ElfImage::parse(file);
  if (!elf) return std::move(elf).error();
  auto entry = entry_point(*elf, file);
  if (!entry) return std::move(entry).error();
  auto kernel_end = elf->load(context);
  if (!kernel_end) return std::move(kernel_end).error();

  auto modules = place_modules(context, *kernel_end);
  if (!modules) return std::move(modules).error();
  auto memory_map = place_memory_map(context);
  if (!memory_map) return std::move(memory_map).error();
  auto command_line = context.place_string(context.command_line, "the command line");
  if (!command_line) return std::move(command_line).error();
  auto info = context.place_structure(sizeof(HvmStartInfo), "the start info");
  if (!info) return std::move(info).error();
  context.put(*info, HvmStartInfo{kXenHvmStartMagicValue, 1, 0, static_cast<uint32_t>(context.files.modules.size()),
                                  *modules, *command_line, context.rsdp, *memory_map,
                                  static_cast<uint32_t>(context.memory_map.size()), 0});

  LoadedKernel loaded{fmt::format("{}-bit ELF kernel, PVH", elf->is_64() ? 64 : 32), {}};
  loaded.entry.rip = *entry;
  loaded.entry.rbx = *info;
  if (auto good = place_entry_tables(context.memory, context.layout, loaded.entry); !good)
    return std::move(good).error().in(file.label());
  return loaded;
}

}  // namespace skerry::machine
