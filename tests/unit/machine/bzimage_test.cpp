#include <gmock/gmock.h>

#include "unit/machine/kernel_images.hpp"

namespace skerry::machine::test {
namespace {

using testing::HasSubstr;

BootParams zero_page(const Ram& ram, const LoadedKernel& loaded) { return ram.at<BootParams>(loaded.entry.rsi); }

TEST(BzImage, With64BitEntryIsStartedInLongModeAt0x200OfItsCode) {
  Ram ram(64 * MiB);
  const BootFiles files = boot_files(bzimage());
  auto loaded = ram.load(files, "console=ttyS0");
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(loaded->description, "Linux 6.1.0-test, 64-bit boot protocol 2.15");
  EXPECT_EQ(loaded->entry.mode, Entry::Mode::kLong64);
  EXPECT_EQ(loaded->entry.rip, 16 * MiB + 0x200);
  EXPECT_EQ(ram.at<uint8_t>(16 * MiB), 0xc0);
  EXPECT_EQ(ram.at<uint8_t>(16 * MiB + 0xfff), 0xc0);
  EXPECT_EQ(ram.at<uint8_t>(16 * MiB + 0x1000), 0);
}

TEST(BzImage, FindsWhatItNeedsInTheZeroPage) {
  Ram ram(64 * MiB);
  const BootFiles files = boot_files(bzimage());
  auto loaded = ram.load(files, "console=ttyS0");
  ASSERT_TRUE(loaded) << why(loaded);
  const BootParams params = zero_page(ram, *loaded);
  EXPECT_EQ(+params.hdr.header, kHdrS);
  EXPECT_EQ(+params.hdr.type_of_loader, 0xff);
  EXPECT_EQ(+params.hdr.code32_start, 16 * MiB);
  EXPECT_EQ(ram.text(params.hdr.cmd_line_ptr), "console=ttyS0");
  EXPECT_EQ(+params.acpi_rsdp_addr, 0xe0000u);
  EXPECT_EQ(+params.hdr.ramdisk_size, 0u);
  ASSERT_EQ(+params.e820_entries, ram.map.size());
  for (size_t i = 0; i < ram.map.size(); ++i) {
    EXPECT_EQ(+params.e820_table[i].addr, ram.map[i].address);
    EXPECT_EQ(+params.e820_table[i].size, ram.map[i].size);
    EXPECT_EQ(+params.e820_table[i].type, static_cast<uint32_t>(ram.map[i].type));
  }
}

TEST(BzImage, IsEnteredWithTheFirst4GiBIdentityMapped) {
  Ram ram(64 * MiB);
  const BootFiles files = boot_files(bzimage());
  auto loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  for (const uint64_t address : {uint64_t{0}, 16 * MiB + 0x200, 3 * GiB + 5 * MiB, 4 * GiB - 1}) {
    const auto pml4e = ram.at<uint64_t>(loaded->entry.pml4 + bits(address, 47, 39) * 8);
    const auto pdpte = ram.at<uint64_t>(align_down(pml4e, 4096) + bits(address, 38, 30) * 8);
    const auto pde = ram.at<uint64_t>(align_down(pdpte, 4096) + bits(address, 29, 21) * 8);
    EXPECT_EQ(pde, align_down(address, 2 * MiB) | 0x83) << address;
  }
  // The selectors that the protocol asks for.
  EXPECT_EQ(ram.at<uint64_t>(loaded->entry.gdt + 0x10), 0x00af9b000000ffffu);
  EXPECT_EQ(ram.at<uint64_t>(loaded->entry.gdt + 0x18), 0x00cf93000000ffffu);
}

TEST(BzImage, Without64BitEntryIsStartedInProtectedModeAtItsFirstByte) {
  Ram ram(64 * MiB);
  SetupHeader header = linux_header();
  header.xloadflags = 0;
  const BootFiles files = boot_files(bzimage(header));
  auto loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(loaded->entry.mode, Entry::Mode::kProtected32);
  EXPECT_EQ(loaded->entry.rip, 16 * MiB);
  EXPECT_EQ(ram.at<uint64_t>(loaded->entry.gdt + 0x10), 0x00cf9b000000ffffu);
}

TEST(BzImage, OfAnOldProtocolGoesTo1MiBAndFieldsItDoesNotHaveAreIgnored) {
  Ram ram(64 * MiB);
  SetupHeader header = linux_header();
  header.version = 0x0202;
  header.jump = 0x2aeb;  // the header ends at 0x22c; behind it is code that looks like anything
  const BootFiles files = boot_files(bzimage(header));
  auto loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(loaded->entry.rip, 1 * MiB);
  EXPECT_EQ(+zero_page(ram, *loaded).hdr.kernel_alignment, 0u);
  EXPECT_THAT(why(ram.load(files, std::string(256, 'a'))), HasSubstr("takes a command line of at most 255 bytes"));
}

TEST(BzImage, HasNoFieldsThatAreYoungerThanItsProtocol) {
  Ram ram(64 * MiB);
  SetupHeader header = linux_header();  // its jump reaches past them all, as that of iPXE does, which has a text there
  header.version = 0x0207;
  header.payload_offset = header.payload_length = 0x2e302e31;
  header.setup_data = header.pref_address = 0x63346136332e3532;
  header.init_size = header.handover_offset = header.kernel_info_offset = 0x352d3538;
  BootFiles files = boot_files(bzimage(header));
  auto loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(loaded->entry.mode, Entry::Mode::kProtected32);  // xloadflags came with 2.12
  EXPECT_EQ(loaded->entry.rip, 1 * MiB);
  const SetupHeader seen = zero_page(ram, *loaded).hdr;
  EXPECT_EQ(+seen.payload_offset, 0u);
  EXPECT_EQ(+seen.init_size, 0u);
  EXPECT_EQ(+seen.kernel_info_offset, 0u);
  EXPECT_EQ(+seen.kernel_alignment, 2 * MiB);

  header.version = 0x0204;
  files = boot_files(bzimage(header));
  loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(+zero_page(ram, *loaded).hdr.initrd_addr_max, 0x7fffffffu);
  EXPECT_EQ(+zero_page(ram, *loaded).hdr.kernel_alignment, 0u);
}

TEST(BzImage, WithoutAnEntryInProtectedModeIsRefused) {
  Ram ram(64 * MiB);
  SetupHeader header = linux_header();
  header.code32_start = 0;
  const BootFiles files = boot_files(bzimage(header));
  EXPECT_THAT(why(ram.load(files)), HasSubstr("kernel 'test.img': starts in real mode only"));
}

TEST(BzImage, IsRelocatedWhenThereIsNoRamWhereItWantsToBe) {
  Ram ram(8 * MiB);
  SetupHeader header = linux_header();
  BootFiles files = boot_files(bzimage(header));
  auto loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  EXPECT_EQ(loaded->entry.rip, 2 * MiB + 0x200);
  EXPECT_EQ(+zero_page(ram, *loaded).hdr.code32_start, 2 * MiB);

  header.relocatable_kernel = 0;
  files = boot_files(bzimage(header));
  EXPECT_EQ(why(ram.load(files)),
            "kernel 'test.img': the kernel needs memory at 0x1000000-0x10fffff, but RAM ends at 0x800000; give the VM "
            "at least 18 MiB (--memory)");
  header.relocatable_kernel = 1;
  header.init_size = 40 * MiB;
  files = boot_files(bzimage(header));
  EXPECT_EQ(why(ram.load(files)),
            "kernel 'test.img': needs 40 MiB of memory to start, but RAM ends at 0x800000; give the VM at least 43 MiB "
            "(--memory)");
}

TEST(BzImage, FindsItsInitrdBelowInitrdAddrMax) {
  Ram ram(64 * MiB);
  SetupHeader header = linux_header();
  header.xloadflags = kXlfKernel64;
  header.initrd_addr_max = 32 * MiB - 1;
  BootFiles files = boot_files(bzimage(header));
  files.modules.push_back({file_of(Bytes(10000, 0xab), "initrd", "ird"), ""});
  auto loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  const BootParams params = zero_page(ram, *loaded);
  EXPECT_EQ(+params.hdr.ramdisk_image, 32 * MiB - 12 * KiB);
  EXPECT_EQ(+params.hdr.ramdisk_size, 10000u);
  EXPECT_EQ(ram.at<uint8_t>(params.hdr.ramdisk_image), 0xab);
  EXPECT_EQ(ram.at<uint8_t>(params.hdr.ramdisk_image + 9999), 0xab);
  EXPECT_EQ(ram.at<uint8_t>(params.hdr.ramdisk_image + 10000), 0);
}

TEST(BzImage, JoinsSeveralInitrdsAtMultiplesOf4) {
  Ram ram(64 * MiB);
  BootFiles files = boot_files(bzimage());
  files.modules.push_back({file_of(Bytes(5, 1), "initrd", "a"), ""});
  files.modules.push_back({file_of(Bytes(6, 2), "initrd", "b"), ""});
  auto loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  const BootParams params = zero_page(ram, *loaded);
  EXPECT_EQ(+params.hdr.ramdisk_size, 14u);
  const auto bytes = ram.at<std::array<uint8_t, 14>>(params.hdr.ramdisk_image);
  EXPECT_THAT(bytes, testing::ElementsAre(1, 1, 1, 1, 1, 0, 0, 0, 2, 2, 2, 2, 2, 2));
}

TEST(BzImage, TakesAnInitrdAbove4GiBWhenItSaysSoAndThereIsNoRoomBelow) {
  Ram ram(20 * MiB, 64 * MiB);
  BootFiles files = boot_files(bzimage());
  files.modules.push_back({file_of(Bytes(32 * MiB, 0xcd), "initrd", "big"), ""});
  auto loaded = ram.load(files);
  ASSERT_TRUE(loaded) << why(loaded);
  const BootParams params = zero_page(ram, *loaded);
  EXPECT_EQ(+params.ext_ramdisk_image, 1u);
  EXPECT_EQ(+params.hdr.ramdisk_image, 32 * MiB);
  EXPECT_EQ(ram.at<uint8_t>(4 * GiB + 64 * MiB - 1), 0xcd);
}

TEST(BzImage, SaysHowMuchMemoryALargeInitrdNeeds) {
  Ram ram(24 * MiB);
  BootFiles files = boot_files(bzimage());
  files.modules.push_back({file_of(Bytes(16 * MiB, 0), "initrd", "big"), ""});
  EXPECT_EQ(why(ram.load(files)),
            "initrd 'big': has 16 MiB, but beside the kernel 7 MiB of memory are free; give the VM at least 34 MiB "
            "(--memory)");
  Ram enough(34 * MiB);
  EXPECT_TRUE(enough.load(files)) << why(enough.load(files));

  SetupHeader header = linux_header();
  header.xloadflags = kXlfKernel64;
  header.initrd_addr_max = 20 * MiB - 1;
  files.kernel = file_of(bzimage(header));
  EXPECT_EQ(why(enough.load(files)),
            "initrd 'big': has 16 MiB, and the kernel takes an initrd only below 0x1400000; use a smaller one");
}

TEST(BzImage, RefusesArgumentsForAnInitrd) {
  Ram ram(64 * MiB);
  BootFiles files = boot_files(bzimage());
  files.modules.push_back({file_of(Bytes(5, 1), "initrd", "a"), "b c"});
  EXPECT_THAT(why(ram.load(files)), HasSubstr("initrd 'a': 'b c' follows its name, but only Multiboot kernels"));
}

TEST(BzImage, OfA1990sProtocolIsRefused) {
  Ram ram(64 * MiB);
  SetupHeader header = linux_header();
  header.version = 0x0201;
  BootFiles files = boot_files(bzimage(header));
  EXPECT_THAT(why(ram.load(files)), HasSubstr("is a Linux kernel of boot protocol 2.01; needs 2.02"));
  header = linux_header();
  header.loadflags = 0;
  files = boot_files(bzimage(header));
  EXPECT_THAT(why(ram.load(files)), HasSubstr("a zImage"));
}

TEST(BzImage, CutOffAnywhereIsRefusedAsTruncated) {
  Ram ram(64 * MiB);
  const Bytes whole = bzimage();
  for (size_t size = 1; size < whole.size() - 15; size += size < 0x400 ? 1 : 97) {
    const BootFiles files = boot_files(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
    auto loaded = ram.load(files);
    ASSERT_FALSE(loaded) << size;
    EXPECT_THAT(why(loaded), HasSubstr(size < 0x206 ? "is not a kernel" : "is a truncated bzImage")) << size;
  }
}

TEST(BzImage, LoadedAgainAfterAResetIsTheSame) {
  Ram ram(64 * MiB);
  const BootFiles files = boot_files(bzimage());
  auto first = ram.load(files);
  ASSERT_TRUE(first);
  const BootParams before = zero_page(ram, *first);
  ram.memory.fill(0, 0x9fc00, 0xff);
  ram.memory.fill(16 * MiB, 1 * MiB, 0xff);
  auto second = ram.load(files);
  ASSERT_TRUE(second);
  EXPECT_EQ(first->entry.rip, second->entry.rip);
  const BootParams after = zero_page(ram, *second);
  EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0);
}

}  // namespace
}  // namespace skerry::machine::test
