#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "machine/firmware_files.hpp"
#include "machine/firmware_image.hpp"
#include "machine/memory_layout.hpp"

namespace skerry::machine {
namespace {

using testing::HasSubstr;

class FirmwareImageTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/skerry-firmware-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(size_t size) {
    const auto path = folder_ / "bios.bin";
    std::string content(size, '\0');
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i >> 10);
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  std::filesystem::path folder_;
};

TEST_F(FirmwareImageTest, EndsAtFourGibibytesAndItsEndAtOneMebibyte) {
  const auto image = FirmwareImage::load(file(256 * KiB));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->base(), 0xfffc0000u);
  EXPECT_EQ(image->content().size(), 256 * KiB);
  EXPECT_EQ(image->low_base(), 0xe0000u);
  EXPECT_EQ(image->low_content().front(), 128);
  EXPECT_EQ(image->low_content().back(), image->content().back());
  const auto small = FirmwareImage::load(file(64 * KiB));
  ASSERT_TRUE(small);
  EXPECT_EQ(small->low_base(), 0xf0000u);
}

TEST_F(FirmwareImageTest, OfAnImpossibleSizeIsRefused) {
  for (const uint64_t size : {32 * KiB, 64 * KiB + 1, 16 * MiB}) {
    const auto image = FirmwareImage::load(file(size));
    ASSERT_FALSE(image) << size;
    EXPECT_THAT(image.error().message(), HasSubstr("bios.bin"));
    EXPECT_THAT(image.error().message(), HasSubstr("has 64 KiB to 8 MiB, in whole pages"));
  }
}

TEST_F(FirmwareImageTest, AMissingOneIsNamed) {
  const auto given = FirmwareImage::load((folder_ / "given.bin").string());
  ASSERT_FALSE(given);
  EXPECT_THAT(given.error().message(), HasSubstr("given.bin"));
  EXPECT_THAT(given.error().message(), HasSubstr("package seabios"));
}

TEST_F(FirmwareImageTest, UefiHasVariables) {
  for (const KnownFirmware& known : FirmwareImage::known()) {
    EXPECT_EQ(known.name.starts_with(FirmwareImage::kUefi), !known.variables.empty()) << known.path;
    EXPECT_FALSE(known.package.empty()) << known.path;
  }
}

// Reads fw_cfg as firmware does, through its ports.
struct FirmwareRig {
  memory::GuestMemory memory;
  bus::AddressSpace pio{"port"};
  devices::FwCfg fw_cfg{memory};
  devices::VmGenId id{memory, {1, 2, 3}, [](unsigned) {}};
  FirmwareInputs inputs;

  FirmwareRig() {
    EXPECT_TRUE(memory.add_ram(0, 1 * MiB, "ram"));
    EXPECT_TRUE(fw_cfg.attach(pio));
    inputs.board = {.vcpus = 3, .pci = pci_root(5 * GiB)};
    inputs.machine.vcpus = 3;
    inputs.machine.low_memory = 0xb0000000;
    inputs.machine.high_memory = 5 * GiB - 0xb0000000;
    inputs.boot_order = {boot_path_of_disk(4), boot_path_of_disk(0x1d), boot_path_of_usb(3), boot_path_of_scsi(9, 1)};
    inputs.serial_console = 0x3f8;
  }
  std::string item(uint16_t key, size_t size) {
    pio.write(0x510, 2, key);
    std::string content;
    for (size_t i = 0; i < size; ++i) content += static_cast<char>(pio.read(0x511, 1));
    return content;
  }
  uint64_t number(uint16_t key, size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, item(key, size).data(), size);
    return value;
  }
  static uint32_t big_endian(const std::string& text, size_t at, size_t size) {
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) value = value << 8 | static_cast<uint8_t>(text[at + i]);
    return value;
  }
  // The key and size of a file; key 0 if there is none.
  std::pair<uint16_t, size_t> find(const std::string& name) {
    const uint32_t count = big_endian(item(0x19, 4), 0, 4);
    const std::string directory = item(0x19, 4 + 64 * count);
    for (size_t i = 0; i < count; ++i)
      if (directory.c_str() + 4 + 64 * i + 8 == name)
        return {static_cast<uint16_t>(big_endian(directory, 4 + 64 * i + 4, 2)), big_endian(directory, 4 + 64 * i, 4)};
    return {0, 0};
  }
  std::string file(const std::string& name) {
    const auto [key, size] = find(name);
    EXPECT_NE(key, 0) << name;
    return item(key, size);
  }
};

TEST(FirmwareFiles, TellTheMachine) {
  FirmwareRig rig;
  ASSERT_TRUE(add_firmware_files(rig.fw_cfg, rig.inputs, &rig.id));
  EXPECT_EQ(rig.number(0x03, 8), 5 * GiB);
  EXPECT_EQ(rig.number(0x05, 2), 3u);
  EXPECT_EQ(rig.number(0x0f, 2), 3u);
  const std::string map = rig.file("etc/e820");
  ASSERT_EQ(map.size(), 40u);
  const auto field = [&](size_t at) {
    uint64_t value;
    std::memcpy(&value, map.data() + at, 8);
    return value;
  };
  EXPECT_EQ(field(0), 0u);
  EXPECT_EQ(field(8), 0xb0000000u);
  EXPECT_EQ(field(20), 4 * GiB);
  EXPECT_EQ(field(28), 5 * GiB - 0xb0000000);
  EXPECT_EQ(map[16], 1);
  EXPECT_EQ(rig.file("etc/reserved-memory-end"), std::string("\0\0\0\xc0\1\0\0\0", 8)) << "the window above RAM";
  EXPECT_EQ(rig.file("etc/smbios/smbios-anchor").substr(0, 4), "_SM_");
  EXPECT_THAT(rig.file("etc/smbios/smbios-tables"), HasSubstr("q35-1"));
}

TEST(FirmwareFiles, SayWhatToBootAndOnWhichConsole) {
  FirmwareRig rig;
  ASSERT_TRUE(add_firmware_files(rig.fw_cfg, rig.inputs, nullptr));
  EXPECT_EQ(rig.file("bootorder"), std::string("/pci@i0cf8/scsi@4/disk@0,0\n/pci@i0cf8/scsi@1d/disk@0,0\n/pci@i0cf8/usb@1e/storage@3/channel@0/disk@0,0\n/pci@i0cf8/scsi@9/channel@0/disk@1,0\0", 139));
  EXPECT_EQ(rig.file("etc/sercon-port"), "\xf8\x03");
  EXPECT_EQ(rig.file("etc/boot-fail-wait"), "\xff\xff\xff\xff");
  EXPECT_EQ(rig.find("etc/vmgenid_guid").first, 0) << "there is none";
  FirmwareRig plain;
  plain.inputs.boot_order.clear();
  plain.inputs.serial_console.reset();
  ASSERT_TRUE(add_firmware_files(plain.fw_cfg, plain.inputs, nullptr));
  EXPECT_EQ(plain.find("bootorder").first, 0);
  EXPECT_EQ(plain.find("etc/sercon-port").first, 0);
}

TEST(FirmwareFiles, TheGenerationIdIsAtTheAddressThatTheFirmwareWrites) {
  FirmwareRig rig;
  ASSERT_TRUE(add_firmware_files(rig.fw_cfg, rig.inputs, &rig.id));
  EXPECT_EQ(rig.file("etc/vmgenid_guid").substr(40, 3), "\1\2\3");
  EXPECT_THAT(rig.file("etc/table-loader"), HasSubstr("etc/vmgenid_addr"));
  // FWCfgDmaAccess: select and write 8 bytes from 0x2000.
  const uint64_t address = 0x3028;
  ASSERT_TRUE(rig.memory.store<uint64_t>(0x2000, address));
  const uint32_t access[] = {__builtin_bswap32(uint32_t{rig.find("etc/vmgenid_addr").first} << 16 | 8 | 16),
                             __builtin_bswap32(8), 0, __builtin_bswap32(0x2000)};
  ASSERT_TRUE(rig.memory.write(0x1000, std::as_bytes(std::span(access))));
  rig.pio.write(0x518, 4, __builtin_bswap32(0x1000));
  EXPECT_EQ(rig.memory.load<uint32_t>(0x1000), 0u) << "done";
  rig.id.renew({7, 8, 9});
  EXPECT_EQ(rig.memory.load<uint16_t>(address), 0x0807);
}

TEST(FirmwareFiles, AddedTwiceAreRefused) {
  FirmwareRig rig;
  ASSERT_TRUE(add_firmware_files(rig.fw_cfg, rig.inputs, &rig.id));
  EXPECT_FALSE(add_firmware_files(rig.fw_cfg, rig.inputs, &rig.id));
}

}  // namespace
}  // namespace skerry::machine
