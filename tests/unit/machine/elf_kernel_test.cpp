#include <gmock/gmock.h>

#include "unit/machine/kernel_images.hpp"

namespace skerry::machine::test {
namespace {

using testing::HasSubstr;

struct StartInfo {
  uint32_t magic, version, flags, nr_modules;
  uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
  uint32_t memmap_entries, reserved;
};

TEST(PvhKernel, OfEitherWidthIsStartedInProtectedModeWithItsStartInfoInEbx) {
  for (const Bytes& kernel : {elf64(), elf32()}) {
    Ram ram(16 * MiB);
    ram.memory.fill(1 * MiB, 1 * MiB, 0xff);
    BootFiles files = boot_files(kernel);
    files.modules.push_back({file_of(Bytes(5000, 7), "initrd", "ird"), ""});
    auto loaded = ram.load(files, "a b");
    ASSERT_TRUE(loaded) << why(loaded);
    EXPECT_EQ(loaded->entry.mode, Entry::Mode::kProtected32);
    EXPECT_EQ(loaded->entry.rip, 0x100010u);
    EXPECT_EQ(ram.at<uint8_t>(0x100000), 0xee);
    EXPECT_EQ(ram.at<uint8_t>(0x1000ff), 0xee);
    EXPECT_EQ(ram.at<uint8_t>(0x100100), 0) << "what is not in the file is zero";
    EXPECT_EQ(ram.at<uint8_t>(0x101fff), 0);
    EXPECT_EQ(ram.at<uint8_t>(0x102000), 0xff) << "nothing else is touched";

    const auto info = ram.at<StartInfo>(loaded->entry.rbx);
    EXPECT_EQ(info.magic, 0x336ec578u);
    EXPECT_EQ(info.version, 1u);
    EXPECT_EQ(ram.text(info.cmdline_paddr), "a b");
    EXPECT_EQ(info.rsdp_paddr, 0xe0000u);
    ASSERT_EQ(info.nr_modules, 1u);
    EXPECT_EQ(ram.at<uint64_t>(info.modlist_paddr + 8), 5000u);
    EXPECT_EQ(ram.at<uint8_t>(ram.at<uint64_t>(info.modlist_paddr) + 4999), 7);
    ASSERT_EQ(info.memmap_entries, ram.map.size());
    EXPECT_EQ(ram.at<uint64_t>(info.memmap_paddr + 3 * 24), 1 * MiB);
    EXPECT_EQ(ram.at<uint64_t>(info.memmap_paddr + 3 * 24 + 8), 15 * MiB);
    EXPECT_EQ(ram.at<uint32_t>(info.memmap_paddr + 3 * 24 + 16), 1u);
  }
}

TEST(ElfKernel, WithoutPvhNoteOrMultibootHeaderIsRefusedWithAdvice) {
  Ram ram(16 * MiB);
  ElfOptions options;
  options.pvh_entry = 0;
  const BootFiles files = boot_files(elf64(options));
  EXPECT_EQ(
      why(ram.load(files)),
      "kernel 'test.img': is an ELF file with neither a PVH note nor a Multiboot header; give a bzImage (vmlinuz), "
      "or build Linux with CONFIG_PVH");
}

TEST(ElfKernel, ThatDoesNotFitIsRefusedWithTheReason) {
  const auto refusal = [](auto change) {
    Ram ram(16 * MiB);
    ElfOptions options;
    change(options);
    const BootFiles files = boot_files(elf64(options));
    return why(ram.load(files));
  };
  EXPECT_EQ(
      refusal([](auto& o) { o.memsz = 32 * MiB; }),
      "kernel 'test.img': segment 0 needs memory at 0x100000-0x20fffff, but RAM ends at 0x1000000; give the VM at "
      "least 34 MiB (--memory)");
  EXPECT_THAT(refusal([](auto& o) {
                o.paddr = 0x9f000;
                o.pvh_entry = 0x9f000;
              }),
              HasSubstr("segment 0 needs memory at 0x9f000-0xa0fff, where this board has something else; link it for"));
  EXPECT_THAT(refusal([](auto& o) { o.memsz = 4 * GiB; }),
              HasSubstr("segment 0 at 0x100000-0x1000fffff reaches above 4 GiB"));
  EXPECT_THAT(refusal([](auto& o) { o.pvh_entry = 0x102000; }), HasSubstr("its PVH entry point 0x102000 is in no"));
  EXPECT_THAT(refusal([](auto& o) { o.memsz = 0x10; }), HasSubstr("segment 0 has 16 bytes at 0x100000 but 256 in the"));
  EXPECT_THAT(refusal([](auto& o) { o.paddr = ~uint64_t{0} - 0x100; }), HasSubstr("is a broken ELF file"));
}

TEST(ElfKernel, WithOverlappingSegmentsIsRefused) {
  Ram ram(16 * MiB);
  Bytes bytes = elf64();
  Elf64_Phdr second;
  std::memcpy(&second, &bytes[sizeof(Elf64_Ehdr)], sizeof second);
  second.p_paddr += 0x1fff;
  put_at(bytes, sizeof(Elf64_Ehdr) + sizeof second, second);
  EXPECT_THAT(why(ram.load(boot_files(bytes))), HasSubstr("PVH note"));
  put_at(bytes, offsetof(Elf64_Ehdr, e_phnum), uint16_t{3});
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  note.p_offset = 0x180;
  note.p_filesz = 20;
  put_at(bytes, sizeof(Elf64_Ehdr) + 2 * sizeof second, note);
  EXPECT_THAT(why(ram.load(boot_files(bytes))),
              HasSubstr("segment 1 at 0x101fff-0x103ffe overlaps segment 0 at 0x100000-0x101fff"));
}

TEST(ElfKernel, OfAnotherKindIsRefused) {
  Ram ram(16 * MiB);
  const auto refusal = [&](size_t offset, auto value) {
    Bytes bytes = elf64();
    put_at(bytes, offset, value);
    return why(ram.load(boot_files(bytes)));
  };
  EXPECT_THAT(refusal(offsetof(Elf64_Ehdr, e_machine), uint16_t{183}), HasSubstr("is an ELF file for machine 183"));
  EXPECT_THAT(refusal(EI_DATA, uint8_t{2}), HasSubstr("of another architecture"));
  EXPECT_THAT(refusal(offsetof(Elf64_Ehdr, e_type), uint16_t{ET_REL}), HasSubstr("not an executable"));
  EXPECT_THAT(refusal(offsetof(Elf64_Ehdr, e_phnum), uint16_t{0}), HasSubstr("0 program headers"));
  EXPECT_THAT(refusal(offsetof(Elf64_Ehdr, e_phoff), ~uint64_t{0}), HasSubstr("program header 0 is missing"));
}

TEST(ElfKernel, CutOffAnywhereIsRefused) {
  Ram ram(16 * MiB);
  for (const Bytes& whole : {elf64(), elf32()})
    for (size_t size = 1; size < whole.size(); ++size) {
      const BootFiles files = boot_files(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
      auto loaded = ram.load(files);
      ASSERT_FALSE(loaded) << size;
      EXPECT_THAT(why(loaded), HasSubstr(size < 16 ? "is not a kernel" : "is a truncated ELF file")) << size;
    }
}

struct MultibootInfo {
  uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
  uint32_t syms[4];
  uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name;
};

TEST(MultibootKernel, FindsMagicInEaxAndItsInformationInEbx) {
  ElfOptions options;
  options.multiboot_flags = 3;
  for (const Bytes& kernel : {elf32(options), elf64(options), flat()}) {
    Ram ram(16 * MiB);
    BootFiles files = boot_files(kernel);
    files.modules.push_back({file_of(Bytes(5000, 7), "initrd", "mod.bin"), "x y"});
    files.modules.push_back({file_of(Bytes(1, 8), "initrd", "two"), ""});
    auto loaded = ram.load(files, "a b");
    ASSERT_TRUE(loaded) << why(loaded);
    EXPECT_THAT(loaded->description, HasSubstr("Multiboot"));
    EXPECT_EQ(loaded->entry.mode, Entry::Mode::kProtected32);
    EXPECT_EQ(loaded->entry.rax, 0x2badb002u);
    const auto info = ram.at<MultibootInfo>(loaded->entry.rbx);
    EXPECT_EQ(info.flags, 0x24du);
    EXPECT_EQ(info.mem_lower, 639u);
    EXPECT_EQ(info.mem_upper, 15u * 1024);
    EXPECT_EQ(ram.text(info.cmdline), "test.img a b");
    EXPECT_EQ(ram.text(info.boot_loader_name), "skerry");
    ASSERT_EQ(info.mods_count, 2u);
    const auto module = ram.at<std::array<uint32_t, 4>>(info.mods_addr);
    EXPECT_EQ(module[0] % 4096, 0u);
    EXPECT_GE(module[0], 0x102000u);
    EXPECT_EQ(module[1], module[0] + 5000);
    EXPECT_EQ(ram.text(module[2]), "mod.bin x y");
    EXPECT_EQ(ram.at<uint8_t>(module[1] - 1), 7);
    EXPECT_EQ(ram.text(ram.at<std::array<uint32_t, 4>>(info.mods_addr + 16)[2]), "two");
    EXPECT_EQ(info.mmap_length, ram.map.size() * 24);
    EXPECT_EQ(ram.at<uint32_t>(info.mmap_addr), 20u);
    EXPECT_EQ(ram.at<uint64_t>(info.mmap_addr + 3 * 24 + 4), 1 * MiB);
  }
}

TEST(MultibootKernel, GoesWhereItsHeaderSays) {
  Ram ram(16 * MiB);
  ram.memory.fill(1 * MiB, 1 * MiB, 0xff);
  auto loaded = ram.load(boot_files(flat()));
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(loaded->entry.rip, 0x100080u);
  EXPECT_EQ(ram.at<uint8_t>(0x100000), 0xdd);
  EXPECT_EQ(ram.at<uint32_t>(0x100040), 0x1badb002u);
  EXPECT_EQ(ram.at<uint8_t>(0x100fff), 0xdd);
  EXPECT_EQ(ram.at<uint8_t>(0x101000), 0);
  EXPECT_EQ(ram.at<uint8_t>(0x101fff), 0);
  EXPECT_EQ(ram.at<uint8_t>(0x102000), 0xff);
}

TEST(MultibootKernel, ThatIsLoadedWholeWhenItNamesNoEnd) {
  Ram ram(16 * MiB);
  FlatHeader header;
  header.load_end_addr = header.bss_end_addr = 0;
  auto loaded = ram.load(boot_files(flat(header)));
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(ram.at<uint8_t>(0x100fff), 0xdd);
}

TEST(MultibootKernel, WithAVirtualEntryPointIsEnteredAtThePhysicalOne) {
  Ram ram(16 * MiB);
  ElfOptions options;
  options.multiboot_flags = 0;
  options.vaddr = 0xc0100000;
  options.entry = 0xc0100020;
  auto loaded = ram.load(boot_files(elf32(options)));
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(loaded->entry.rip, 0x100020u);
}

TEST(MultibootKernel, ThatIsWrongIsRefusedWithTheReason) {
  Ram ram(16 * MiB);
  const auto refusal = [&](auto change) {
    FlatHeader header;
    change(header);
    return why(ram.load(boot_files(flat(header))));
  };
  EXPECT_THAT(refusal([](auto& h) { h.flags |= 8; }), HasSubstr("requirements that are not known: flags 0x8"));
  EXPECT_THAT(refusal([](auto& h) { h.flags = 3; }), HasSubstr("neither an ELF file nor with load addresses"));
  EXPECT_THAT(refusal([](auto& h) { h.load_addr = 0x100044; }),
              HasSubstr("its header is linked at 0x100040 and loaded"));
  EXPECT_THAT(refusal([](auto& h) { h.load_addr = 0xff000; }),
              HasSubstr("its header is linked at 0x100040 and loaded"));
  EXPECT_THAT(refusal([](auto& h) { h.load_end_addr = 0x1000; }), HasSubstr("it ends at 0x1000, before its start"));
  EXPECT_THAT(refusal([](auto& h) { h.load_end_addr = 0x103000; }), HasSubstr("is a truncated Multiboot kernel"));
  EXPECT_THAT(refusal([](auto& h) { h.entry_addr = 0x102000; }), HasSubstr("its entry point 0x102000 is not in it"));
  EXPECT_THAT(refusal([](auto& h) { h.bss_end_addr = 0x3000000; }), HasSubstr("give the VM at least 49 MiB"));
  EXPECT_TRUE(ram.load(boot_files(flat(FlatHeader{.flags = 0x10007})))) << "a wish for a video mode is no reason";
}

TEST(Kernel, ThatIsNoneIsRefusedWithWhatItSeemsToBe) {
  Ram ram(16 * MiB);
  const auto refusal = [&](std::string_view start) {
    Bytes bytes(9000, 0);
    std::copy(start.begin(), start.end(), bytes.begin());
    return why(ram.load(boot_files(bytes)));
  };
  EXPECT_EQ(refusal("hello"),
            "kernel 'test.img': is not a kernel: it is neither a Linux bzImage, nor an ELF file with a "
            "PVH note, nor a Multiboot kernel");
  EXPECT_THAT(refusal("\x1f\x8b"), HasSubstr("compressed by gzip"));
  EXPECT_THAT(refusal("070701"), HasSubstr("meant for --initrd"));
  EXPECT_THAT(refusal("QFI\xfb"), HasSubstr("disk image"));
}

TEST(EntryState, IsFlatAndWithInterruptsOff) {
  for (const auto mode : {Entry::Mode::kProtected32, Entry::Mode::kLong64}) {
    x86::CpuState state;
    state.gpr[x86::kRdi] = 5;
    apply(Entry{.mode = mode, .rip = 0x1234, .rax = 1, .rbx = 2, .rsi = 3, .rsp = 4, .gdt = 0x1000, .pml4 = 0x2000},
          state);
    const bool long64 = mode == Entry::Mode::kLong64;
    EXPECT_EQ(state.rip, 0x1234u);
    EXPECT_EQ(state.rflags, 2u);
    EXPECT_EQ(state.gpr[x86::kRdi], 0u);
    EXPECT_EQ(state.seg[x86::kCs].selector, 0x10);
    EXPECT_EQ(state.seg[x86::kSs].selector, 0x18);
    EXPECT_EQ(state.seg[x86::kCs].long_mode, long64);
    EXPECT_EQ(state.code64(), long64);
    EXPECT_EQ(state.cr0, long64 ? 0x80000011u : 0x11u);
    EXPECT_EQ(state.cr4, long64 ? 0x20u : 0u);
    EXPECT_EQ(state.cr3, long64 ? 0x2000u : 0u);
    EXPECT_EQ(state.efer, long64 ? 0x500u : 0u);
  }
}

}  // namespace
}  // namespace skerry::machine::test
