// Kernels made by hand, small enough to be cut and changed at every byte.
#pragma once

#include <elf.h>
#include <sys/mman.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/units.hpp"
#include "machine/loader/boot_params.hpp"
#include "machine/loader/kernel.hpp"

namespace skerry::machine::test {

using Bytes = std::vector<uint8_t>;

template <typename T>
void put_at(Bytes& bytes, size_t offset, const T& value) {
  if (bytes.size() < offset + sizeof value) bytes.resize(offset + sizeof value);
  std::memcpy(&bytes[offset], &value, sizeof value);
}

inline InputFile file_of(const Bytes& bytes, std::string_view role = "kernel", std::string name = "test.img") {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  if (::write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  return InputFile::adopt(role, std::move(name), std::move(fd)).value();
}

inline BootFiles boot_files(const Bytes& kernel) { return BootFiles{file_of(kernel), {}}; }

// The 64-bit kind of Linux 6.1, with the text of its release and a code of 0xc0 bytes.
inline SetupHeader linux_header() {
  SetupHeader header{};
  header.setup_sects = 1;
  header.syssize = 0x1000 / 16;
  header.boot_flag = kBootFlag;
  header.jump = 0x6aeb;  // jmp 0x26c
  header.header = kHdrS;
  header.version = 0x020f;
  header.kernel_version = 0x80;
  header.loadflags = kLoadedHigh;
  header.code32_start = 0x100000;
  header.initrd_addr_max = 0x7fffffff;
  header.kernel_alignment = 2 * MiB;
  header.relocatable_kernel = 1;
  header.xloadflags = kXlfKernel64 | kXlfCanBeLoadedAbove4G;
  header.cmdline_size = 2047;
  header.pref_address = 16 * MiB;
  header.init_size = 1 * MiB;
  return header;
}

inline Bytes bzimage(const SetupHeader& header = linux_header()) {
  const size_t code = (header.setup_sects + 1u) * 512;
  Bytes bytes(code + size_t{header.syssize} * 16, 0xc0);
  std::fill_n(bytes.begin(), code, uint8_t{0});
  put_at(bytes, kSetupHeaderOffset, header);
  const char release[] = "6.1.0-test (somebody) #1";
  if (header.setup_sects > 0) std::memcpy(&bytes[0x280], release, sizeof release);
  return bytes;
}

struct ElfOptions {
  uint64_t paddr = 1 * MiB, vaddr = 0xffffffff80100000;
  uint64_t filesz = 0x100, memsz = 0x2000;
  uint64_t entry = 0x100010;       // e_entry
  uint64_t pvh_entry = 0x100010;   // 0: no note
  uint32_t multiboot_flags = ~0u;  // ~0: no header
};

// One PT_LOAD full of 0xee, one PT_NOTE, and in between a Multiboot header.
template <typename Ehdr, typename Phdr>
Bytes elf(const ElfOptions& options) {
  constexpr bool is_64 = sizeof(Ehdr) == sizeof(Elf64_Ehdr);
  Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = is_64 ? ELFCLASS64 : ELFCLASS32;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = is_64 ? EM_X86_64 : EM_386;
  header.e_version = EV_CURRENT;
  header.e_entry = static_cast<decltype(header.e_entry)>(options.entry);
  header.e_phoff = sizeof(Ehdr);
  header.e_ehsize = sizeof(Ehdr);
  header.e_phentsize = sizeof(Phdr);
  header.e_phnum = 2;
  Bytes bytes;
  put_at(bytes, 0, header);
  Phdr load{}, note{};
  load.p_type = PT_LOAD;
  load.p_offset = 0x200;
  load.p_vaddr = static_cast<decltype(load.p_vaddr)>(options.vaddr);
  load.p_paddr = static_cast<decltype(load.p_paddr)>(options.paddr);
  load.p_filesz = static_cast<decltype(load.p_filesz)>(options.filesz);
  load.p_memsz = static_cast<decltype(load.p_memsz)>(options.memsz);
  note.p_type = PT_NOTE;
  note.p_offset = 0x180;
  note.p_filesz = note.p_memsz = options.pvh_entry ? 12 + 4 + 4 : 0;
  put_at(bytes, sizeof header, load);
  put_at(bytes, sizeof header + sizeof load, note);
  if (options.multiboot_flags != ~0u) {
    put_at(bytes, 0x140, uint32_t{0x1badb002});
    put_at(bytes, 0x144, options.multiboot_flags);
    put_at(bytes, 0x148, uint32_t{0} - 0x1badb002 - options.multiboot_flags);
  }
  if (options.pvh_entry) {
    put_at(bytes, 0x180, Elf32_Nhdr{4, 4, 18});
    put_at(bytes, 0x18c, std::array<char, 4>{'X', 'e', 'n', 0});
    put_at(bytes, 0x190, static_cast<uint32_t>(options.pvh_entry));
  }
  bytes.resize(0x200);
  bytes.resize(0x200 + options.filesz, 0xee);
  return bytes;
}
inline Bytes elf64(const ElfOptions& options = {}) { return elf<Elf64_Ehdr, Elf64_Phdr>(options); }
inline Bytes elf32(const ElfOptions& options = {}) { return elf<Elf32_Ehdr, Elf32_Phdr>(options); }

// A Multiboot kernel of 0x1000 bytes that says itself where it goes: the header at 0x40 of it, all at 1 MiB, with
// 0x1000 bytes of zeroes behind.
struct FlatHeader {
  uint32_t magic = 0x1badb002, flags = 0x10003, checksum = 0;
  uint32_t header_addr = 0x100040, load_addr = 0x100000, load_end_addr = 0x101000, bss_end_addr = 0x102000;
  uint32_t entry_addr = 0x100080;
};
inline Bytes flat(FlatHeader header = {}) {
  Bytes bytes(0x1000, 0xdd);
  header.checksum = uint32_t{0} - header.magic - header.flags;
  put_at(bytes, 0x40, header);
  return bytes;
}

// Guest memory as a board has it, without tables.
struct Ram {
  explicit Ram(uint64_t below_4g, uint64_t above_4g = 0) {
    map = {{0, 0x9fc00, E820Type::kMemory},
           {0x9fc00, 0x400, E820Type::kReserved},
           {0xe0000, 0x20000, E820Type::kReserved},
           {1 * MiB, below_4g - 1 * MiB, E820Type::kMemory}};
    if (!memory.add_ram(0, 0xa0000, "low") || !memory.add_ram(0xc0000, below_4g - 0xc0000, "ram")) std::abort();
    if (above_4g == 0) return;
    map.push_back({4 * GiB, above_4g, E820Type::kMemory});
    if (!memory.add_ram(4 * GiB, above_4g, "high")) std::abort();
  }
  Result<LoadedKernel> load(const BootFiles& files, std::string_view command_line = "quiet") {
    return load_kernel(LoadContext{memory, files, command_line, map, 0xe0000});
  }
  template <typename T>
  T at(uint64_t gpa) const {
    T value{};
    if (!memory.read(gpa, std::as_writable_bytes(std::span(&value, 1)))) std::abort();
    return value;
  }
  std::string text(uint64_t gpa) const {
    std::string result;
    while (const char c = at<char>(gpa++)) result += c;
    return result;
  }
  memory::GuestMemory memory;
  std::vector<E820Entry> map;
};

inline std::string why(const Result<LoadedKernel>& loaded) { return loaded ? "loaded" : loaded.error().message(); }

}  // namespace skerry::machine::test
