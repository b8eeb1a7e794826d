// The packets of a CD-ROM drive, without a controller; and through the AHCI controller.
#include "devices/ata/cdrom.hpp"

#include <cerrno>

#include "unit/devices/ata_ahci_driver.hpp"

namespace skerry::devices::ata::test {
namespace {

using mmc::Sense;
constexpr size_t kBlocks = 400;

class CdromTest : public testing::Test {
 protected:
  void SetUp() override {
    fill_sectors(disc);
    make(&disc);
  }
  void make(block::Node* medium) {
    drive = std::make_unique<Cdrom>("cd", medium, Cdrom::Options{.serial = "cd-1"});
    EXPECT_EQ(fails({0x00}), mmc::kReset) << "the first command after power-on is told of it";
  }
  TaskFile run(const Packet& packet, uint16_t feature = 1) {
    TaskFile task{.command = 0xa0, .feature = feature};
    bool ended = false;
    data.clear();
    spawn(do_command(*drive, task, data, [&] { ended = true; }, &packet));
    EXPECT_TRUE(ended);
    return task;
  }
  bool succeeds(const Packet& packet) {
    const TaskFile task = run(packet);
    EXPECT_EQ(task.count & 3, reason::CD | reason::IO);
    return !task.failed();
  }
  Sense fails(const Packet& packet) {
    const TaskFile task = run(packet);
    EXPECT_TRUE(task.status & status::CHK);
    const uint8_t key = task.error >> 4;
    EXPECT_TRUE(succeeds({0x03, 0, 0, 0, 18}));
    EXPECT_EQ(data[0], 0x70);
    EXPECT_EQ(data[2], key);
    return {data[2], data[12], data[13]};
  }
  static Packet read10(uint32_t first, uint16_t count) {
    return {0x28, 0, uint8_t(first >> 24), uint8_t(first >> 16), uint8_t(first >> 8), uint8_t(first), 0, uint8_t(count >> 8), uint8_t(count)};
  }
  uint32_t be32(size_t at) { return uint32_t{data[at]} << 24 | uint32_t{data[at + 1]} << 16 | uint32_t{data[at + 2]} << 8 | data[at + 3]; }

  MemoryNode disc{kBlocks * 2048, true};
  std::unique_ptr<Cdrom> drive;
  Bytes data;
};

TEST_F(CdromTest, CommandsOfDisksAreAnsweredByTheSignature) {
  for (const uint8_t command : {0xec, 0x20, 0xe7}) {
    TaskFile task{.command = command};
    EXPECT_EQ(drive->begin(task).work, Command::Work::kNone);
    EXPECT_EQ(task.error, error::ABRT);
    EXPECT_EQ(task.lba, 0xeb1401u);
  }
  TaskFile task{.command = 0xa1};
  const Command command = drive->begin(task);
  EXPECT_EQ(command.data[1] << 8 | command.data[0], 0x85c0);
}

TEST_F(CdromTest, Inquiry) {
  ASSERT_TRUE(succeeds({0x12, 0, 0, 0, 96}));
  ASSERT_EQ(data.size(), 36u);
  EXPECT_EQ(data[0], 0x05);
  EXPECT_EQ(data[1], 0x80);
  EXPECT_EQ(std::string(data.begin() + 8, data.begin() + 22), "Skerry  CD-ROM");
  ASSERT_TRUE(succeeds({0x12, 0, 0, 0, 5}));
  EXPECT_EQ(data.size(), 5u);
  ASSERT_TRUE(succeeds({0x12, 1, 0x80, 0, 96}));
  EXPECT_EQ(std::string(data.begin() + 4, data.end()), "cd-1");
  EXPECT_EQ(fails({0x12, 1, 0x83, 0, 96}), mmc::kInvalidField);
}

TEST_F(CdromTest, BlocksAreRead) {
  ASSERT_TRUE(succeeds({0x25}));
  EXPECT_EQ(be32(0), kBlocks - 1);
  EXPECT_EQ(be32(4), 2048u);
  ASSERT_TRUE(succeeds(read10(3, 2)));
  ASSERT_EQ(data.size(), 4096u);
  EXPECT_EQ(data[0], sector_byte(12));
  EXPECT_EQ(data[4095], sector_byte(19));
  ASSERT_TRUE(succeeds({0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 1}));
  EXPECT_EQ(data[0], sector_byte(20));
  ASSERT_TRUE(succeeds({0xbe, 0, 0, 0, 0, 5, 0, 0, 1, 0x10}));
  EXPECT_EQ(data.size(), 2048u);
  EXPECT_TRUE(succeeds(read10(kBlocks, 0)));
  EXPECT_TRUE(data.empty());
}

TEST_F(CdromTest, WhatIsNotOnTheDiscIsRefused) {
  EXPECT_EQ(fails(read10(kBlocks, 1)), mmc::kOutOfRange);
  EXPECT_EQ(fails(read10(kBlocks - 1, 2)), mmc::kOutOfRange);
  EXPECT_EQ(fails(read10(0xffff'ffff, 2)), mmc::kOutOfRange);
  EXPECT_EQ(fails({0xa8, 0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff}), mmc::kOutOfRange);
  EXPECT_EQ(fails({0xbe, 1 << 2, 0, 0, 0, 5, 0, 0, 1, 0x10}), mmc::kWrongMode) << "audio";
  EXPECT_EQ(fails({0xbe, 0, 0, 0, 0, 5, 0, 0, 1, 0xf8}), mmc::kInvalidField) << "raw sectors";
  EXPECT_EQ(fails({0x2a}), mmc::kInvalidCommand) << "WRITE(10)";
  EXPECT_EQ(fails({0xff}), mmc::kInvalidCommand);
}

TEST_F(CdromTest, TheTableOfContents) {
  ASSERT_TRUE(succeeds({0x43, 0, 0, 0, 0, 0, 0, 0, 100}));
  EXPECT_EQ(data, (Bytes{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 1, 0x90}));
  ASSERT_TRUE(succeeds({0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100}));
  EXPECT_EQ(data, (Bytes{0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 7, 25})) << "400 + 150 frames";
  ASSERT_TRUE(succeeds({0x43, 0, 1, 0, 0, 0, 0, 0, 100}));
  EXPECT_EQ(data, (Bytes{0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0}));
  ASSERT_TRUE(succeeds({0x43, 0, 2, 0, 0, 0, 0, 0, 200}));
  EXPECT_EQ(data.size(), 4u + 4 * 11);
  EXPECT_EQ(fails({0x43, 0, 0, 0, 0, 0, 2, 0, 100}), mmc::kInvalidField);
  EXPECT_EQ(fails({0x43, 0, 5, 0, 0, 0, 0, 0, 100}), mmc::kInvalidField) << "CD-TEXT";
}

TEST_F(CdromTest, FeaturesAndModes) {
  ASSERT_TRUE(succeeds({0x46, 0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(data[7], 0x08) << "a CD-ROM";
  EXPECT_EQ(be32(0), data.size() - 4);
  ASSERT_TRUE(succeeds({0x46, 2, 0, 0x10, 0, 0, 0, 1, 0}));
  EXPECT_EQ(data.size(), 8u + 12);
  ASSERT_TRUE(succeeds({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 100}));
  EXPECT_EQ(data[8], 0x2a);
  EXPECT_EQ(data[1], data.size() - 2);
  ASSERT_TRUE(succeeds({0x1a, 0, 0x3f, 0, 100}));
  EXPECT_EQ(data[0], data.size() - 1);
  EXPECT_EQ(fails({0x5a, 0, 0x0e, 0, 0, 0, 0, 0, 100}), mmc::kInvalidField) << "audio";
  EXPECT_EQ(fails({0x5a, 0, 0xea, 0, 0, 0, 0, 0, 100}), mmc::kSavingNotSupported);
  ASSERT_TRUE(succeeds({0x51, 0, 0, 0, 0, 0, 0, 0, 100}));
  EXPECT_EQ(data.size(), 34u);
  ASSERT_TRUE(succeeds({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8}));
  EXPECT_EQ(data, Bytes(8));
}

TEST_F(CdromTest, AnEmptyDrive) {
  make(nullptr);
  EXPECT_EQ(fails({0x00}), mmc::kTrayClosedNoMedium);
  EXPECT_EQ(fails(read10(0, 1)), mmc::kTrayClosedNoMedium);
  EXPECT_EQ(fails({0x43, 0, 0, 0, 0, 0, 0, 0, 100}), mmc::kTrayClosedNoMedium);
  ASSERT_TRUE(succeeds({0x46, 0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(data[7], 0) << "no profile is current";
  EXPECT_TRUE(succeeds({0x12, 0, 0, 0, 96}));
}

TEST_F(CdromTest, TheTrayOpensUnlessItIsLocked) {
  EXPECT_TRUE(succeeds({0x1e, 0, 0, 0, 1}));
  EXPECT_EQ(fails({0x1b, 0, 0, 0, 2}), mmc::kRemovalPrevented);
  EXPECT_TRUE(succeeds({0x1e, 0, 0, 0, 0}));
  EXPECT_TRUE(succeeds({0x1b, 0, 0, 0, 2}));
  EXPECT_EQ(fails({0x00}), mmc::kTrayOpen);
  ASSERT_TRUE(succeeds({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}));
  EXPECT_EQ(data, (Bytes{0, 6, 4, 0x10, mmc::kMediaRemoval, 1, 0, 0}));
  EXPECT_TRUE(succeeds({0x1b, 0, 0, 0, 3}));
  EXPECT_EQ(fails({0x00}), mmc::kMediumMayHaveChanged);
  EXPECT_TRUE(succeeds({0x00}));
  ASSERT_TRUE(succeeds({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}));
  EXPECT_EQ(data, (Bytes{0, 6, 4, 0x10, mmc::kNewMedia, 2, 0, 0}));
  ASSERT_TRUE(succeeds({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}));
  EXPECT_EQ(data[4], mmc::kNoEvent) << "an event is told once";
  EXPECT_EQ(fails({0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8}), mmc::kInvalidField);
}

TEST_F(CdromTest, AnotherDiscIsPutIn) {
  MemoryNode other{10 * 2048, true};
  disc.hold = true;
  TaskFile task{.command = 0xa0};
  Bytes content;
  bool ended = false, free = false;
  const Packet packet = read10(0, 1);
  spawn(do_command(*drive, task, content, [&] { ended = true; }, &packet));
  drive->change_medium(&other, [&] { free = true; });
  EXPECT_FALSE(free) << "the old one is still being read";
  EXPECT_EQ(fails({0x25}), mmc::kMediumMayHaveChanged);
  ASSERT_TRUE(succeeds({0x25}));
  EXPECT_EQ(be32(0), 9u);
  disc.release();
  EXPECT_TRUE(ended);
  EXPECT_TRUE(free);
  drive->change_medium(nullptr, [] {});
  EXPECT_EQ(fails({0x00}), mmc::kMediumMayHaveChanged);
  EXPECT_EQ(fails({0x00}), mmc::kTrayClosedNoMedium);
}

TEST_F(CdromTest, ErrorsOfTheImageAreTold) {
  disc.error = EIO;
  EXPECT_EQ(fails(read10(0, 1)), mmc::kReadError);
}

TEST(CdromOnAhci, PacketsGoThroughTheCommandTable) {
  AhciRig rig;
  MemoryNode disc{kBlocks * 2048, true};
  fill_sectors(disc);
  rig.ahci.plug_in(2, std::make_unique<Cdrom>("cd", &disc, Cdrom::Options{}));
  rig.start(2);
  EXPECT_EQ(rig.port(ahci::PxSIG, 2), 0xeb14'0101u);
  const auto packet = [&](const Packet& what, const std::vector<AhciRig::Piece>& pieces, uint16_t feature) {
    return rig.command({.command = 0xa0, .feature = feature, .lba = 0xfffe00}, pieces, false, 2, &what);
  };
  EXPECT_FALSE(packet({0x00}, {}, 0));
  EXPECT_EQ(rig.port(ahci::PxTFD, 2), 0x6000u | status::DRDY | status::CHK);
  rig.recover(2);
  EXPECT_TRUE(packet({0x00}, {}, 0));
  ASSERT_TRUE(packet({0x28, 0, 0, 0, 0, 7, 0, 0, 1}, {{AhciRig::kData, 2048}}, 1));
  EXPECT_EQ(rig.bytes(AhciRig::kData, 1), Bytes{sector_byte(28)});
  EXPECT_EQ(rig.bytes(AhciRig::kReceived + ahci::kRegisterAt + 12, 1), Bytes{3}) << "the interrupt reason";
  ASSERT_TRUE(packet({0x12, 0, 0, 0, 36}, {{AhciRig::kData, 64}}, 0)) << "by PIO";
  EXPECT_EQ(rig.get32(AhciRig::kList + 4), 36u);
  EXPECT_EQ(rig.port(ahci::PxIS, 2) & ahci::interrupt::kCleared, ahci::interrupt::PSS | ahci::interrupt::DHRS);
  EXPECT_FALSE(rig.command({.command = 0xa0}, {}, false, 2)) << "the header says nothing of a packet";
}

}  // namespace
}  // namespace skerry::devices::ata::test
