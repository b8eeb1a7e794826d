// Multiboot kernels. Multiboot Specification version 0.6.96.
#include <cstring>

#include "base/log.hpp"
#include "base/units.hpp"
#include "machine/loader/elf_image.hpp"
#include "machine/loader/kernel.hpp"

namespace skerry::machine {

namespace {

constexpr uint32_t kMultibootHeaderMagic = 0x1badb002, kMultibootBootloaderMagic = 0x2badb002;
constexpr uint64_t kFourGiB = 4 * GiB;

// Flags of the header. The lower half is what the loader must be able to do.
constexpr uint32_t kMultibootPageAlign = 1 << 0, kMultibootMemoryInfo = 1 << 1, kMultibootVideoMode = 1 << 2;
constexpr uint32_t kMultibootAoutKludge = 1 << 16;
constexpr uint32_t kRequirements = 0xffff;

struct MultibootHeader {
  uint32_t magic, flags, checksum;
  uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;  // if flags has kMultibootAoutKludge
};

// Flags of the information structure: which of its fields are valid.
constexpr uint32_t kMultibootInfoMemory = 1 << 0, kMultibootInfoCmdline = 1 << 2, kMultibootInfoMods = 1 << 3;
constexpr uint32_t kMultibootInfoMemMap = 1 << 6, kMultibootInfoBootLoaderName = 1 << 9;

struct MultibootInfo {
  uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
  uint32_t syms[4];
  uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table;
  uint32_t vbe_control_info, vbe_mode_info;
  uint16_t vbe_mode, vbe_interface_seg, vbe_interface_off, vbe_interface_len;
};
static_assert(sizeof(MultibootInfo) == 88);

struct ModuleEntry {
  uint32_t mod_start, mod_end, cmdline, pad;
};

#pragma pack(push, 1)
struct MmapEntry {
  uint32_t size;  // of what follows
  uint64_t addr, len;
  uint32_t type;
};
#pragma pack(pop)

struct FoundHeader {
  MultibootHeader header{};
  uint64_t offset = 0;
  bool complete = false;  // the address fields are there too
};

// "The Multiboot header must be contained completely within the first 8192 bytes of the OS image, and must be longword
// aligned" (3.1).
std::optional<FoundHeader> find_header(std::span<const uint8_t> head) {
  constexpr size_t kRequired = 12;
  for (size_t at = 0; at + kRequired <= head.size(); at += 4) {
    FoundHeader found;
    found.offset = at;
    found.complete = at + sizeof found.header <= head.size();
    std::memcpy(&found.header, &head[at], found.complete ? sizeof found.header : kRequired);
    const MultibootHeader& header = found.header;
    if (header.magic == kMultibootHeaderMagic && header.magic + header.flags + header.checksum == 0) return found;
  }
  return std::nullopt;
}

struct Image {
  uint64_t entry = 0, end = 0;
};

// A kernel that says in its header where its bytes go (3.1.3).
Result<Image> load_flat(LoadContext& context, const FoundHeader& found) {
  const InputFile& file = context.files.kernel;
  const MultibootHeader& header = found.header;
  const uint64_t before = uint64_t{header.header_addr} - header.load_addr;  // bytes in front of the header
  if (!found.complete || header.load_addr > header.header_addr || before > found.offset)
    return error("{}: is a broken Multiboot kernel: its header is linked at {:#x} and loaded at {:#x}", file.label(),
                 header.header_addr, header.load_addr);
  const uint64_t start = found.offset - before;
  const uint64_t in_file = file.size() - start;
  if (header.load_end_addr != 0 && header.load_end_addr < header.load_addr)
    return error("{}: is a broken Multiboot kernel: it ends at {:#x}, before its start", file.label(),
                 header.load_end_addr);
  const uint64_t size = header.load_end_addr ? header.load_end_addr - header.load_addr : in_file;
  if (size > in_file)
    return error("{}: is a truncated Multiboot kernel: {} bytes of {}; fetch it again", file.label(), file.size(),
                 start + size);
  const uint64_t load_end = header.load_addr + size;
  const uint64_t end = std::max<uint64_t>(load_end, header.bss_end_addr);
  if (end > kFourGiB) return error("{}: is a broken Multiboot kernel: it reaches above 4 GiB", file.label());
  if (auto good = context.layout.reserve(header.load_addr, end - header.load_addr, "the kernel"); !good)
    return std::move(good).error().in(file.label());
  if (header.entry_addr < header.load_addr || header.entry_addr >= end)
    return error("{}: is a broken Multiboot kernel: its entry point {:#x} is not in it", file.label(),
                 header.entry_addr);
  if (auto good = context.copy(file, start, size, header.load_addr); !good) return std::move(good).error();
  context.memory.fill(load_end, end - load_end, 0);
  return Image{header.entry_addr, end};
}

Result<Image> load_elf(LoadContext& context) {
  const InputFile& file = context.files.kernel;
  auto elf = ElfImage::parse(file);
  if (!elf) return std::move(elf).error();
  auto end = elf->load(context);
  if (!end) return std::move(end).error();
  Image image{elf->entry(), *end};
  // The entry point is a physical address by the specification; kernels that are linked high give a virtual one.
  if (!elf->loads(image.entry)) {
    const auto physical = elf->to_physical(image.entry);
    if (!physical)
      return error("{}: is a broken ELF file: its entry point {:#x} is in no segment", file.label(), image.entry);
    image.entry = *physical;
  }
  return image;
}

// Other loaders give the file's name first, and kernels skip or show it.
std::string with_name(const std::string& path, std::string_view arguments) {
  return arguments.empty() ? path : fmt::format("{} {}", path, arguments);
}

// Modules follow the kernel, page-aligned whether or not the kernel asks for it.
Result<void> place_modules(LoadContext& context, uint64_t kernel_end, MultibootInfo& info) {
  std::vector<ModuleEntry> list;
  for (const Module& module : context.files.modules) {
    const auto at = context.layout.place_low(module.file.size(), 4 * KiB, kernel_end, kFourGiB, module.file.label());
    if (!at)
      return error("{}: has {}, but beside the kernel {} of memory are free; give the VM at least {} (--memory)",
                   module.file.label(), format_size(module.file.size()),
                   format_size(context.layout.largest_free(kernel_end, kFourGiB)),
                   memory_for(kernel_end + align_up(module.file.size(), 4 * KiB)));
    if (auto good = context.copy(module.file, 0, module.file.size(), *at); !good) return good;
    auto text = context.place_string(with_name(module.file.path(), module.arguments), "the name of a module");
    if (!text) return std::move(text).error();
    list.push_back(
        {static_cast<uint32_t>(*at), static_cast<uint32_t>(*at + module.file.size()), static_cast<uint32_t>(*text), 0});
  }
  info.flags |= kMultibootInfoMods;
  info.mods_count = static_cast<uint32_t>(list.size());
  if (list.empty()) return ok();
  auto at = context.place_structure(list.size() * sizeof list[0], "the list of modules");
  if (!at) return std::move(at).error();
  context.memory.write(*at, std::as_bytes(std::span(list)));
  info.mods_addr = static_cast<uint32_t>(*at);
  return ok();
}

Result<void> place_memory_map(LoadContext& context, MultibootInfo& info) {
  std::vector<MmapEntry> map;
  for (const E820Entry& entry : context.memory_map) {
    map.push_back({sizeof(MmapEntry) - 4, entry.address, entry.size, static_cast<uint32_t>(entry.type)});
    // "Lower memory starts at address 0", "the upper memory starts at address 1 megabyte", in KiB (3.3).
    if (entry.type == E820Type::kMemory && entry.address == 0) info.mem_lower = static_cast<uint32_t>(entry.size / KiB);
    if (entry.type == E820Type::kMemory && entry.address == 1 * MiB)
      info.mem_upper = static_cast<uint32_t>(entry.size / KiB);
  }
  auto at = context.place_structure(map.size() * sizeof map[0], "the memory map");
  if (!at) return std::move(at).error();
  context.memory.write(*at, std::as_bytes(std::span(map)));
  info.flags |= kMultibootInfoMemory | kMultibootInfoMemMap;
  info.mmap_addr = static_cast<uint32_t>(*at);
  info.mmap_length = static_cast<uint32_t>(map.size() * sizeof map[0]);
  return ok();
}

Result<uint64_t> place_info(LoadContext& context, uint64_t kernel_end) {
  MultibootInfo info{};
  if (auto good = place_modules(context, kernel_end, info); !good) return std::move(good).error();
  if (auto good = place_memory_map(context, info); !good) return std::move(good).error();
  auto command_line =
      context.place_string(with_name(context.files.kernel.path(), context.command_line), "the command line");
  if (!command_line) return command_line;
  auto loader_name = context.place_string("skerry", "the name of the loader");
  if (!loader_name) return loader_name;
  info.flags |= kMultibootInfoCmdline | kMultibootInfoBootLoaderName;
  info.cmdline = static_cast<uint32_t>(*command_line);
  info.boot_loader_name = static_cast<uint32_t>(*loader_name);
  auto at = context.place_structure(sizeof info, "the Multiboot information");
  if (at) context.put(*at, info);
  return at;
}

}  // namespace

bool is_multiboot(std::span<const uint8_t> head) { return find_header(head).has_value(); }

Result<LoadedKernel> load_multiboot(LoadContext& context, std::span<const uint8_t> head) {
  const InputFile& file = context.files.kernel;
  const auto found = find_header(head);
  if (!found) return error("{}: has no Multiboot header", file.label());
  const uint32_t unknown =
      found->header.flags & kRequirements & ~(kMultibootPageAlign | kMultibootMemoryInfo | kMultibootVideoMode);
  if (unknown)
    return error("{}: is a Multiboot kernel with requirements that are not known: flags {:#x}", file.label(), unknown);
  if (found->header.flags & kMultibootVideoMode)
    log::debug(log::Category::kLoad, "{}: asks for a video mode; this board has no screen", file.label());

  const bool flat = found->header.flags & kMultibootAoutKludge;
  if (!flat && !is_elf(head))
    return error("{}: is a broken Multiboot kernel: neither an ELF file nor with load addresses in its header",
                 file.label());
  auto image = flat ? load_flat(context, *found) : load_elf(context);
  if (!image) return std::move(image).error();
  auto info = place_info(context, image->end);
  if (!info) return std::move(info).error();

  LoadedKernel loaded{flat ? "flat kernel, Multiboot" : "ELF kernel, Multiboot", {}};
  loaded.entry.rip = image->entry;
  loaded.entry.rax = kMultibootBootloaderMagic;
  loaded.entry.rbx = *info;
  if (auto good = place_entry_tables(context.memory, context.layout, loaded.entry); !good)
    return std::move(good).error().in(file.label());
  return loaded;
}

}  // namespace skerry::machine
