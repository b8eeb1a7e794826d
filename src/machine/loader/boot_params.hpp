// The structures of the Linux boot protocol, named as in Documentation/arch/x86/boot.rst and zero-page.rst.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skerry::machine {

#pragma pack(push, 1)

// At 0x1f1 of a bzImage and of the zero page.
struct SetupHeader {
  uint8_t setup_sects;
  uint16_t root_flags;
  uint32_t syssize;  // in 16-byte paragraphs
  uint16_t ram_size, vid_mode, root_dev;
  uint16_t boot_flag;  // kBootFlag
  uint16_t jump;       // the second byte: how far the header reaches past 0x202
  uint32_t header;     // kHdrS
  uint16_t version;    // 0x020f is 2.15
  uint32_t realmode_swtch;
  uint16_t start_sys_seg;
  uint16_t kernel_version;  // of a text, less 0x200
  uint8_t type_of_loader, loadflags;
  uint16_t setup_move_size;
  uint32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
  uint16_t heap_end_ptr;
  uint8_t ext_loader_ver, ext_loader_type;
  uint32_t cmd_line_ptr;
  uint32_t initrd_addr_max;                 // 2.03+: the highest address an initrd may have
  uint32_t kernel_alignment;                // 2.05+
  uint8_t relocatable_kernel;               // 2.05+
  uint8_t min_alignment;                    // 2.10+
  uint16_t xloadflags;                      // 2.12+
  uint32_t cmdline_size;                    // 2.06+
  uint32_t hardware_subarch;                // 2.07+
  uint64_t hardware_subarch_data;           // 2.07+
  uint32_t payload_offset, payload_length;  // 2.08+
  uint64_t setup_data;                      // 2.09+
  uint64_t pref_address;                    // 2.10+
  uint32_t init_size;                       // 2.10+
  uint32_t handover_offset;                 // 2.11+
  uint32_t kernel_info_offset;              // 2.15+
};

// struct boot_e820_entry
struct BootE820Entry {
  uint64_t addr, size;
  uint32_t type;
};
constexpr size_t kE820MaxEntriesZeropage = 128;

// The zero page, as far as a loader without screen and firmware fills it.
struct BootParams {
  uint8_t screen_info[0x40];
  uint8_t before_rsdp[0x30];
  uint64_t acpi_rsdp_addr;  // 0x070
  uint8_t before_ext[0x48];
  uint32_t ext_ramdisk_image, ext_ramdisk_size, ext_cmd_line_ptr;  // 0x0c0: bits 63:32
  uint8_t before_alt_mem[0x114];
  uint32_t alt_mem_k;  // 0x1e0: memory above 1 MiB in KiB
  uint8_t before_e820[4];
  uint8_t e820_entries;  // 0x1e8
  uint8_t before_header[8];
  SetupHeader hdr;  // 0x1f1
  uint8_t after_header[0x2d0 - 0x1f1 - sizeof(SetupHeader)];
  BootE820Entry e820_table[kE820MaxEntriesZeropage];  // 0x2d0
  uint8_t rest[0x1000 - 0x2d0 - sizeof(BootE820Entry) * kE820MaxEntriesZeropage];
};

#pragma pack(pop)

static_assert(offsetof(SetupHeader, header) == 0x202 - 0x1f1 && offsetof(SetupHeader, cmd_line_ptr) == 0x228 - 0x1f1);
static_assert(offsetof(SetupHeader, init_size) == 0x260 - 0x1f1 && sizeof(SetupHeader) == 0x26c - 0x1f1);
static_assert(offsetof(BootParams, acpi_rsdp_addr) == 0x70 && offsetof(BootParams, ext_ramdisk_image) == 0xc0);
static_assert(offsetof(BootParams, alt_mem_k) == 0x1e0 && offsetof(BootParams, e820_entries) == 0x1e8);
static_assert(offsetof(BootParams, hdr) == 0x1f1 && offsetof(BootParams, e820_table) == 0x2d0);
static_assert(sizeof(BootParams) == 4096);

constexpr size_t kSetupHeaderOffset = 0x1f1;
constexpr uint16_t kBootFlag = 0xaa55;
constexpr uint32_t kHdrS = 0x53726448;  // "HdrS"

// loadflags
constexpr uint8_t kLoadedHigh = 1 << 0;
// xloadflags
constexpr uint16_t kXlfKernel64 = 1 << 0, kXlfCanBeLoadedAbove4G = 1 << 1;
// type_of_loader: one without a number of its own
constexpr uint8_t kUndefinedLoader = 0xff;
constexpr uint16_t kVidModeNormal = 0xffff;

}  // namespace skerry::machine
