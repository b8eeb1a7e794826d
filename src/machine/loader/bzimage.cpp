// Linux kernels as bzImage, by the 64-bit boot protocol, or the 32-bit one for kernels that have no 64-bit entry.
// Documentation/arch/x86/boot.rst
#include <algorithm>
#include <cstring>

#include "base/units.hpp"
#include "machine/loader/boot_params.hpp"
#include "machine/loader/kernel.hpp"

namespace skerry::machine {

namespace {

constexpr uint64_t kFourGiB = 4 * GiB;
constexpr uint64_t kEntry64Offset = 0x200;  // "64-bit Boot Protocol"
constexpr uint64_t kDefaultLoadAddress = 1 * MiB;
constexpr uint32_t kDefaultInitrdAddrMax = 0x37ffffff;  // of protocols before 2.03
constexpr uint32_t kDefaultCmdlineSize = 255;           // of protocols before 2.06
constexpr unsigned kDefaultSetupSects = 4;              // "if this field contains 0, the real value is 4"
constexpr uint64_t kMaxKernelAlignment = 1 * GiB;

// A bzImage, taken apart and found sound.
struct BzImage {
  const InputFile& file;
  SetupHeader header;                       // fields that are younger than its version are zero
  uint64_t code_offset = 0, code_size = 0;  // of the protected-mode part in the file
  bool at_least(uint16_t version) const { return header.version >= version; }
  bool kernel64() const { return header.xloadflags & kXlfKernel64; }
  // Bytes that the kernel uses from its load address on until it has read its memory map.
  uint64_t init_size() const {
    // Before 2.10 a kernel does not say; it unpacks itself to about three times its size.
    return header.init_size ? std::max<uint64_t>(header.init_size, code_size) : 3 * code_size;
  }
};

// Where the header of a protocol's version ends: how far into it the fields reach that this version knows ("2.03+" and
// the like).
size_t length_of(uint16_t version) {
  if (version >= 0x020f) return sizeof(SetupHeader);
  if (version >= 0x020b) return offsetof(SetupHeader, kernel_info_offset);
  if (version >= 0x020a) return offsetof(SetupHeader, handover_offset);
  if (version >= 0x0209) return offsetof(SetupHeader, pref_address);
  if (version >= 0x0208) return offsetof(SetupHeader, setup_data);
  if (version >= 0x0207) return offsetof(SetupHeader, payload_offset);
  if (version >= 0x0206) return offsetof(SetupHeader, hardware_subarch);
  if (version >= 0x0205) return offsetof(SetupHeader, min_alignment);
  if (version >= 0x0203) return offsetof(SetupHeader, kernel_alignment);
  return offsetof(SetupHeader, initrd_addr_max);
}

// The header ends where its jump instruction lands, and has no fields that are younger than its version: what follows
// is code, or what a program that is not Linux keeps there.
void clear_what_is_no_field(SetupHeader& header) {
  const size_t length = std::min<size_t>(0x202 + (header.jump >> 8) - kSetupHeaderOffset, length_of(header.version));
  if (header.version < 0x020a) header.min_alignment = 0;
  if (header.version < 0x020c) header.xloadflags = 0;
  std::memset(reinterpret_cast<uint8_t*>(&header) + length, 0, sizeof header - length);
}

Result<BzImage> parse(const InputFile& file) {
  BzImage image{file, {}};
  auto raw = file.read_struct<std::array<uint8_t, sizeof(SetupHeader)>>(kSetupHeaderOffset);
  if (!raw) return error("{}: is a truncated bzImage of {} bytes; fetch it again", file.label(), file.size());
  std::memcpy(&image.header, raw->data(), sizeof image.header);
  SetupHeader& header = image.header;
  if (header.version < 0x0202 || !(header.loadflags & kLoadedHigh))
    return error("{}: is a Linux kernel of boot protocol {}.{:02}{}; needs 2.02 (Linux 2.4) or later, as a bzImage",
                 file.label(), header.version >> 8, header.version & 0xff,
                 header.loadflags & kLoadedHigh ? "" : ", a zImage");
  clear_what_is_no_field(header);
  if (header.code32_start == 0)
    return error(
        "{}: starts in real mode only, with a BIOS that this start does without; put it on a disc with a boot "
        "loader, and start that (--cdrom)",
        file.label());
  const unsigned sectors = header.setup_sects ? header.setup_sects : kDefaultSetupSects;
  image.code_offset = (sectors + 1) * 512;
  image.code_size = uint64_t{header.syssize} * 16;
  // The last paragraph may be there in part: syssize is rounded up.
  const uint64_t expected = image.code_offset + image.code_size;
  if (image.code_size == 0 || file.size() + 15 < expected || file.size() <= image.code_offset)
    return error("{}: is a truncated bzImage: {} bytes of {}; fetch it again", file.label(), file.size(), expected);
  image.code_size = std::min(image.code_size, file.size() - image.code_offset);
  if (image.kernel64() && image.code_size <= kEntry64Offset)
    return error("{}: is a broken bzImage: its code of {} bytes has no 64-bit entry", file.label(), image.code_size);
  return image;
}

// Where the kernel goes: where it prefers to be; else, if it is relocatable, as low as there is room.
Result<uint64_t> place_kernel(const BzImage& image, RamLayout& layout) {
  const SetupHeader& header = image.header;
  const uint64_t preferred = header.pref_address ? header.pref_address : kDefaultLoadAddress;
  auto reserved = layout.reserve(preferred, image.init_size(), "the kernel");
  if (reserved && preferred + image.init_size() <= kFourGiB) return preferred;
  const uint64_t alignment = header.kernel_alignment;
  if (header.relocatable_kernel && alignment && !(alignment & (alignment - 1)) && alignment <= kMaxKernelAlignment) {
    const uint64_t lowest = std::max(kDefaultLoadAddress, alignment);
    if (const auto at = layout.place_low(image.init_size(), alignment, lowest, kFourGiB, "the kernel")) return *at;
    return error("{}: needs {} of memory to start, but RAM ends at {:#x}; give the VM at least {} (--memory)",
                 image.file.label(), format_size(image.init_size()), layout.ram_end(kFourGiB),
                 memory_for(lowest + image.init_size()));
  }
  if (!reserved) return std::move(reserved).error().in(image.file.label());
  return error("{}: wants to be loaded above 4 GiB, at {:#x}", image.file.label(), preferred);
}

struct Initrd {
  uint64_t address = 0, size = 0;
};

// Several files are joined, as Linux wants it: an archive each, at multiples of 4 bytes
// (Documentation/driver-api/early-userspace/buffer-format.rst).
Result<Initrd> load_initrd(LoadContext& context, const BzImage& image, uint64_t kernel_end) {
  Initrd initrd;
  for (const Module& module : context.files.modules) {
    if (!module.arguments.empty())
      return error("{}: '{}' follows its name, but only Multiboot kernels take arguments for a module",
                   module.file.label(), module.arguments);
    initrd.size = align_up(initrd.size, 4) + module.file.size();
  }
  if (initrd.size == 0) return initrd;
  const uint64_t max = uint64_t{image.at_least(0x0203) && image.header.initrd_addr_max ? image.header.initrd_addr_max
                                                                                       : kDefaultInitrdAddrMax} +
                       1;
  const bool anywhere = image.kernel64() && (image.header.xloadflags & kXlfCanBeLoadedAbove4G);
  RamLayout& layout = context.layout;
  auto place = layout.place_high(initrd.size, 4 * KiB, kernel_end, anywhere ? kFourGiB : max, "the initrd");
  if (!place && anywhere) place = layout.place_high(initrd.size, 4 * KiB, kFourGiB, ~uint64_t{0}, "the initrd");
  const std::string& label = context.files.modules[0].file.label();
  if (!place && !anywhere && kernel_end + initrd.size > max)
    return error("{}: has {}, and the kernel takes an initrd only below {:#x}; use a smaller one", label,
                 format_size(initrd.size), max);
  if (!place)
    return error("{}: has {}, but beside the kernel {} of memory are free; give the VM at least {} (--memory)", label,
                 format_size(initrd.size), format_size(layout.largest_free(kernel_end, anywhere ? ~uint64_t{0} : max)),
                 memory_for(kernel_end + align_up(initrd.size, 4 * KiB)));
  initrd.address = *place;
  uint64_t at = initrd.address;
  for (const Module& module : context.files.modules) {
    const uint64_t start = align_up(at, 4);
    context.memory.fill(at, start - at, 0);
    if (auto good = context.copy(module.file, 0, module.file.size(), start); !good) return std::move(good).error();
    at = start + module.file.size();
  }
  return initrd;
}

void fill_memory_map(BootParams& params, const LoadContext& context) {
  const size_t count = std::min(context.memory_map.size(), kE820MaxEntriesZeropage);
  for (size_t i = 0; i < count; ++i) {
    const E820Entry& entry = context.memory_map[i];
    params.e820_table[i] = {entry.address, entry.size, static_cast<uint32_t>(entry.type)};
  }
  params.e820_entries = static_cast<uint8_t>(count);
  params.alt_mem_k = static_cast<uint32_t>((context.layout.ram_end(kFourGiB) - 1 * MiB) / KiB);
}

Result<uint64_t> place_boot_params(LoadContext& context, const BzImage& image, uint64_t load_address, Initrd initrd) {
  const uint32_t cmdline_size = image.header.cmdline_size ? image.header.cmdline_size : kDefaultCmdlineSize;
  if (context.command_line.size() > cmdline_size)
    return error("{}: takes a command line of at most {} bytes; this one has {}", image.file.label(), cmdline_size,
                 context.command_line.size());
  auto command_line = context.place_string(context.command_line, "the command line");
  if (!command_line) return command_line;
  auto at = context.layout.place_low(sizeof(BootParams), 4 * KiB, 4 * KiB, 640 * KiB, "the zero page");
  if (!at) return error("{}: there is no room below 640 KiB for the zero page", image.file.label());

  BootParams params{};
  params.hdr = image.header;
  params.hdr.type_of_loader = kUndefinedLoader;
  params.hdr.vid_mode = kVidModeNormal;
  params.hdr.code32_start = static_cast<uint32_t>(load_address);
  params.hdr.cmd_line_ptr = static_cast<uint32_t>(*command_line);
  params.hdr.ramdisk_image = static_cast<uint32_t>(initrd.address);
  params.hdr.ramdisk_size = static_cast<uint32_t>(initrd.size);
  params.hdr.setup_data = 0;
  params.ext_ramdisk_image = static_cast<uint32_t>(initrd.address >> 32);
  params.ext_ramdisk_size = static_cast<uint32_t>(initrd.size >> 32);
  params.acpi_rsdp_addr = context.rsdp;
  fill_memory_map(params, context);
  context.put(*at, params);
  return *at;
}

std::string describe(const BzImage& image) {
  std::string release = "of unknown release";
  // "kernel_version: If set to a nonzero value, contains a pointer to a NUL-terminated human-readable kernel version
  // number string, less 0x200." It begins with the release.
  if (const uint16_t pointer = image.header.kernel_version; pointer != 0)
    if (const auto text = image.file.read_struct<std::array<char, 64>>(pointer + 0x200u)) {
      release.clear();
      for (const char c : *text) {
        if (c <= ' ' || c > '~') break;
        release += c;
      }
    }
  return fmt::format("Linux {}, {}-bit boot protocol {}.{:02}", release, image.kernel64() ? 64 : 32,
                     image.header.version >> 8, image.header.version & 0xff);
}

}  // namespace

bool is_bzimage(std::span<const uint8_t> head) {
  uint16_t boot_flag = 0;
  uint32_t magic = 0;
  if (head.size() < 0x206) return false;
  std::memcpy(&boot_flag, &head[0x1fe], sizeof boot_flag);
  std::memcpy(&magic, &head[0x202], sizeof magic);
  return boot_flag == kBootFlag && magic == kHdrS;
}

Result<LoadedKernel> load_bzimage(LoadContext& context) {
  auto image = parse(context.files.kernel);
  if (!image) return std::move(image).error();
  auto load_address = place_kernel(*image, context.layout);
  if (!load_address) return std::move(load_address).error();
  if (auto good = context.copy(image->file, image->code_offset, image->code_size, *load_address); !good)
    return std::move(good).error();
  auto initrd = load_initrd(context, *image, *load_address + image->init_size());
  if (!initrd) return std::move(initrd).error();
  auto params = place_boot_params(context, *image, *load_address, *initrd);
  if (!params) return std::move(params).error();

  LoadedKernel loaded{describe(*image), {}};
  loaded.entry.mode = image->kernel64() ? Entry::Mode::kLong64 : Entry::Mode::kProtected32;
  loaded.entry.rip = *load_address + (image->kernel64() ? kEntry64Offset : 0);
  loaded.entry.rsi = *params;
  if (auto good = place_entry_tables(context.memory, context.layout, loaded.entry); !good)
    return std::move(good).error().in(image->file.label());
  return loaded;
}

}  // namespace skerry::machine
