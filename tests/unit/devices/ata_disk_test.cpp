// The command layer of a disk, without a controller.
#include "devices/ata/disk.hpp"

#include <cerrno>

#include "unit/devices/ata_rig.hpp"

namespace skerry::devices::ata::test {
namespace {

using Asked = std::vector<std::string>;
constexpr size_t kSize = 1 << 20;
constexpr uint8_t kOk = status::DRDY | status::DSC, kFailed = kOk | status::ERR;

class AtaDiskTest : public testing::Test {
 protected:
  void SetUp() override { make({.serial = "serial-1"}); }
  void make(Disk::Options options) {
    fill_sectors(node);
    disk = std::make_unique<Disk>("disk", node, std::move(options));
  }
  // Does a command whole; gives its answer. `data` is what it takes, then what it gives.
  TaskFile run(TaskFile task) {
    bool ended = false;
    spawn(do_command(*disk, task, data, [&] { ended = true; }));
    EXPECT_TRUE(ended);
    return task;
  }
  TaskFile run28(uint8_t command, uint32_t lba, uint8_t count) {
    return run({.command = command, .device = static_cast<uint8_t>(device::LBA | lba >> 24), .count = count, .lba = lba & 0xff'ffff});
  }
  uint16_t word(unsigned index) {
    EXPECT_EQ(run({.command = 0xec}).status, kOk);
    return static_cast<uint16_t>(data[2 * index] | data[2 * index + 1] << 8);
  }
  std::string text(unsigned first, unsigned words) {
    word(0);
    std::string result;
    for (unsigned i = 0; i < 2 * words; ++i) result += static_cast<char>(data[2 * first + (i ^ 1)]);
    return result;
  }

  MemoryNode node{kSize};
  std::unique_ptr<Disk> disk;
  Bytes data;
};

TEST_F(AtaDiskTest, ItTellsWhatItIs) {
  EXPECT_EQ(word(0), 1 << 6);
  EXPECT_EQ(text(10, 10), "serial-1            ");
  EXPECT_EQ(text(27, 20).substr(0, 12), "Skerry disk ");
  EXPECT_EQ(word(47) & 0xff, 16);
  EXPECT_EQ(word(49) & 0x300, 0x300) << "LBA and DMA";
  EXPECT_EQ(word(60) | word(61) << 16, 2048);
  EXPECT_EQ(word(75), 31) << "a queue of 32";
  EXPECT_EQ(word(76) & 1 << 8, 1 << 8) << "NCQ";
  EXPECT_EQ(word(80) & 1 << 10, 1 << 10) << "ACS-3";
  EXPECT_EQ(word(83), 0x7400) << "48 bits, both kinds of flush";
  EXPECT_EQ(word(85) & 1 << 5, 1 << 5) << "the write cache is on";
  EXPECT_EQ(word(88), 0x203f);
  EXPECT_EQ(word(100), 2048);
  EXPECT_EQ(word(106), 0x6003) << "eight sectors are a physical one";
  EXPECT_EQ(word(169), 1) << "TRIM";
  EXPECT_EQ(word(255) & 0xff, 0xa5);
  uint8_t sum = 0;
  for (const uint8_t byte : data) sum = static_cast<uint8_t>(sum + byte);
  EXPECT_EQ(sum, 0);
}

TEST_F(AtaDiskTest, ADiskOfAParallelBusQueuesNothing) {
  make({.serial_ata = false});
  EXPECT_EQ(word(76), 0);
  EXPECT_EQ(word(75), 0);
  EXPECT_EQ(word(93) & 0xe000, 0x6000);
  EXPECT_EQ(run({.command = 0x60, .feature = 1}).error, error::ABRT);
  EXPECT_EQ(word(49) & 0x300, 0x300) << "the next command is taken";
}

TEST_F(AtaDiskTest, AddressesOf28And48Bits) {
  EXPECT_EQ(run28(0x20, 2047, 1).status, kOk);
  EXPECT_EQ(data, Bytes(512, sector_byte(2047)));
  EXPECT_EQ(run28(0x20, 0, 0).status, kOk);
  EXPECT_EQ(data.size(), 256u * 512);
  EXPECT_EQ(run({.command = 0x24, .device = device::LBA, .count = 2, .lba = 5}).status, kOk);
  EXPECT_EQ(data[512], sector_byte(6));
  const TaskFile far = run28(0x20, 0x0fff'ffff, 1);
  EXPECT_EQ(far.status, kFailed);
  EXPECT_EQ(far.error, error::IDNF);
  EXPECT_EQ(run({.command = 0x25, .device = device::LBA, .count = 0, .lba = 0}).error, error::IDNF) << "65536 sectors";
  EXPECT_EQ(node.asked, (Asked{"read 1048064+512", "read 0+131072", "read 2560+1024"}));
}

TEST_F(AtaDiskTest, AddressesByCylinderHeadAndSector) {
  EXPECT_EQ(run({.command = 0x20, .device = 1, .count = 1, .lba = 2}).status, kOk) << "head 1, sector 2";
  EXPECT_EQ(data[0], sector_byte(64));
  EXPECT_EQ(run({.command = 0x20, .device = 0, .count = 1, .lba = 1 << 8 | 63}).status, kOk);
  EXPECT_EQ(data[0], sector_byte(16 * 63 + 62));
  EXPECT_EQ(run({.command = 0x20, .device = 0, .count = 1, .lba = 0}).error, error::IDNF) << "sectors count from 1";
  EXPECT_EQ(run({.command = 0x91, .device = 3, .count = 10}).status, kOk) << "4 heads, 10 sectors";
  EXPECT_EQ(run({.command = 0x20, .device = 1, .count = 1, .lba = 1 << 8 | 1}).status, kOk);
  EXPECT_EQ(data[0], sector_byte(50));
  EXPECT_EQ(word(55), 4);
  EXPECT_EQ(run({.command = 0x91, .device = 3, .count = 0}).error, error::ABRT);
}

TEST_F(AtaDiskTest, MultipleNeedsItsNumber) {
  EXPECT_EQ(run28(0xc4, 0, 4).error, error::ABRT);
  EXPECT_EQ(run({.command = 0xc6, .count = 3}).error, error::ABRT);
  EXPECT_EQ(run({.command = 0xc6, .count = 32}).error, error::ABRT);
  EXPECT_EQ(run({.command = 0xc6, .count = 8}).status, kOk);
  EXPECT_EQ(word(59), 0x108);
  TaskFile task{.command = 0xc4, .device = device::LBA, .count = 20};
  EXPECT_EQ(disk->begin(task).block, 8 * 512u);
  disk->reset(Device::Reset::kSoftware);
  EXPECT_EQ(word(59), 0);
  EXPECT_EQ(run({.command = 0xc6, .count = 8}).status, kOk);
  EXPECT_EQ(run({.command = 0xef, .feature = 0x66}).status, kOk);
  disk->reset(Device::Reset::kSoftware);
  EXPECT_EQ(word(59), 0x108) << "nothing reverts";
}

TEST_F(AtaDiskTest, WithoutWriteCacheWritesAreStable) {
  data = Bytes(512, 1);
  EXPECT_EQ(run28(0x30, 0, 1).status, kOk);
  EXPECT_EQ(run({.command = 0xef, .feature = 0x82}).status, kOk);
  EXPECT_EQ(word(85) & 1 << 5, 0);
  data = Bytes(512, 1);
  EXPECT_EQ(run28(0xca, 1, 1).status, kOk);
  EXPECT_EQ(run({.command = 0xef, .feature = 0x02}).status, kOk);
  data = Bytes(512, 1);
  EXPECT_EQ(run({.command = 0x3d, .device = device::LBA, .count = 1, .lba = 2}).status, kOk);
  EXPECT_EQ(run({.command = 0xe7}).status, kOk);
  EXPECT_EQ(node.asked, (Asked{"write 0+512", "write fua 512+512", "write fua 1024+512", "flush 0+0"}));
}

TEST_F(AtaDiskTest, TrimDiscardsItsRanges) {
  data = Bytes(512);
  const auto range = [&](unsigned index, uint64_t first, uint16_t count) {
    for (unsigned i = 0; i < 6; ++i) data[8 * index + i] = static_cast<uint8_t>(first >> (8 * i));
    data[8 * index + 6] = static_cast<uint8_t>(count);
    data[8 * index + 7] = static_cast<uint8_t>(count >> 8);
  };
  range(0, 8, 8);
  range(5, 100, 300);
  EXPECT_EQ(run({.command = 6, .feature = 1, .count = 1}).status, kOk);
  EXPECT_EQ(node.asked, (Asked{"discard 4096+4096", "discard 51200+153600"}));
  range(1, 2000, 49);
  EXPECT_EQ(run({.command = 6, .feature = 1, .count = 1}).error, error::IDNF);
  range(1, (uint64_t{1} << 48) - 1, 0xffff);
  EXPECT_EQ(run({.command = 6, .feature = 1, .count = 1}).error, error::IDNF);
  EXPECT_EQ(run({.command = 6, .feature = 0, .count = 1}).error, error::ABRT);
  EXPECT_EQ(run({.command = 6, .feature = 1, .count = 9}).error, error::ABRT);
  EXPECT_EQ(run({.command = 6, .feature = 1, .count = 0}).error, error::ABRT);
}

TEST_F(AtaDiskTest, AReadOnlyDiskIsNotWritten) {
  make({.read_only = true});
  data = Bytes(512);
  EXPECT_EQ(run28(0x30, 0, 1).error, error::ABRT);
  EXPECT_EQ(run28(0xca, 0, 1).error, error::ABRT);
  EXPECT_EQ(run({.command = 6, .feature = 1, .count = 1}).error, error::ABRT);
  EXPECT_EQ(word(169), 0);
  EXPECT_TRUE(node.asked.empty());
  EXPECT_EQ(run28(0xc8, 0, 1).status, kOk);
}

TEST_F(AtaDiskTest, TransferModesArePartOfTheIdentity) {
  EXPECT_EQ(run({.command = 0xef, .feature = 3, .count = 0x42}).status, kOk);
  EXPECT_EQ(word(88), 0x043f);
  EXPECT_EQ(run({.command = 0xef, .feature = 3, .count = 0x22}).status, kOk);
  EXPECT_EQ(word(63), 0x0407);
  EXPECT_EQ(run({.command = 0xef, .feature = 3, .count = 0x0c}).status, kOk) << "PIO 4";
  EXPECT_EQ(run({.command = 0xef, .feature = 3, .count = 0x46}).error, error::ABRT);
  EXPECT_EQ(run({.command = 0xef, .feature = 3, .count = 0x23}).error, error::ABRT);
  EXPECT_EQ(run({.command = 0xef, .feature = 0x77}).error, error::ABRT);
}

TEST_F(AtaDiskTest, TheLastSectorIsToldInBothWays) {
  EXPECT_EQ(run({.command = 0xf8, .device = device::LBA}).lba, 2047u);
  EXPECT_EQ(run({.command = 0x27, .device = device::LBA}).lba, 2047u);
}

TEST_F(AtaDiskTest, PowerModes) {
  EXPECT_EQ(run({.command = 0xe5}).count, 0xff);
  EXPECT_EQ(run({.command = 0xe0}).status, kOk);
  EXPECT_EQ(run({.command = 0xe5}).count, 0x00);
  EXPECT_EQ(run28(0xc8, 0, 1).status, kOk);
  EXPECT_EQ(run({.command = 0xe5}).count, 0xff);
}

TEST_F(AtaDiskTest, TheDiagnosticLeavesTheSignature) {
  const TaskFile task = run({.command = 0x90, .device = 0x10, .count = 77, .lba = 99});
  EXPECT_EQ(task.error, 1);
  EXPECT_EQ(task.count, 1);
  EXPECT_EQ(task.lba, 1u);
}

TEST_F(AtaDiskTest, WhatIsNotKnownIsAborted) {
  // NOP, packets, SMART, security, the host protected area, streams.
  for (const uint8_t command : {0x00, 0x08, 0xa0, 0xa1, 0xb0, 0xf1, 0xf2, 0xf4, 0xf6, 0xf9, 0x37, 0x51, 0x2a, 0x47})
    EXPECT_EQ(run({.command = command}).error, error::ABRT) << int{command};
}

TEST_F(AtaDiskTest, LogsArePagesOfTheirOwn) {
  EXPECT_EQ(run({.command = 0x2f, .count = 1, .lba = 0}).status, kOk);
  EXPECT_EQ(data[0], 1);
  EXPECT_EQ(data[0x20], 1) << "log 10h has a page";
  EXPECT_EQ(run({.command = 0x2f, .count = 1, .lba = 0x10}).status, kOk);
  EXPECT_EQ(data[0], 0x80) << "no queued command has failed";
  EXPECT_EQ(run({.command = 0x2f, .count = 1, .lba = 0x30}).error, error::ABRT);
  EXPECT_EQ(run({.command = 0x2f, .count = 2, .lba = 0x10}).error, error::ABRT);
  EXPECT_EQ(run({.command = 0x2f, .count = 1, .lba = 0x110}).error, error::ABRT);
}

TEST_F(AtaDiskTest, ErrorsOfTheImageAreTold) {
  node.error = EIO;
  const TaskFile read = run28(0xc8, 7, 1);
  EXPECT_EQ(read.error, error::UNC);
  EXPECT_EQ(read.lba, 7u);
  data = Bytes(512);
  EXPECT_EQ(run28(0xca, 7, 1).error, error::ABRT);
  EXPECT_EQ(run({.command = 0xea}).error, error::ABRT);
}

}  // namespace
}  // namespace skerry::devices::ata::test
