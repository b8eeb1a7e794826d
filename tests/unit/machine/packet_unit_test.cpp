// A CD-ROM drive as a SCSI unit.
#include "machine/packet_unit.hpp"

#include <gtest/gtest.h>

#include "devices/ata/cdrom.hpp"
#include "state/stream.hpp"
#include "unit/virtio/memory_node.hpp"

namespace skerry::machine {
namespace {

using devices::scsi::Cdb;
using devices::scsi::Command;

struct Rig {
  Rig() { std::fill(disc.content.begin() + 2048, disc.content.end(), uint8_t{0x5a}); }
  // Does a command; its data, or nothing where it has failed.
  std::optional<std::vector<uint8_t>> run(const Cdb& cdb) {
    Command command = unit.begin(cdb);
    std::vector<uint8_t> data(command.to_host() ? command.size : 0);
    spawn(move(command, data));
    return command.failed ? std::nullopt : std::optional(data);
  }
  Task<void> move(Command& command, std::vector<uint8_t>& data) {
    const iovec where{data.data(), data.size()};
    if (command.to_host()) co_await unit.move(command, 0, std::span(&where, 1));
    if (!command.failed) co_await unit.finish(command);
  }
  virtio::test::MemoryNode disc{16 * 2048, true};
  PacketUnit unit{std::make_unique<devices::ata::Cdrom>("cd", &disc, devices::ata::Cdrom::Options{.serial = "s"})};
};

TEST(PacketUnit, ReadsADisc) {
  Rig rig;
  EXPECT_FALSE(rig.run({0x00})) << "the unit attention of a reset";
  EXPECT_EQ(rig.run({0x03, 0, 0, 0, 18})->size(), 18u);
  EXPECT_TRUE(rig.run({0x00}));
  EXPECT_EQ(rig.run({0x12, 0, 0, 0, 36})->at(0), 0x05) << "a CD-ROM";
  EXPECT_EQ(*rig.run({0x25}), (std::vector<uint8_t>{0, 0, 0, 15, 0, 0, 8, 0}));
  EXPECT_EQ(*rig.run({0x28, 0, 0, 0, 0, 1, 0, 0, 2}), std::vector<uint8_t>(4096, 0x5a));
}

TEST(PacketUnit, SaysWhatItCannot) {
  Rig rig;
  rig.run({0x00});
  EXPECT_FALSE(rig.run({0x2a, 0, 0, 0, 0, 1, 0, 0, 1})) << "it is not written to";
  EXPECT_EQ(rig.run({0x03, 0, 0, 0, 18})->at(2), 5);
  EXPECT_FALSE(rig.run({0x28, 0, 0, 0, 0, 15, 0, 0, 2})) << "out of range";
  rig.disc.error = EIO;
  EXPECT_FALSE(rig.run({0x28, 0, 0, 0, 0, 1, 0, 0, 1}));
  EXPECT_EQ(rig.run({0x03, 0, 0, 0, 18})->at(2), 3);
}

TEST(PacketUnit, IsOneUnitAndTellsSenseOnce) {
  Rig rig;
  EXPECT_EQ(*rig.run({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64}), (std::vector<uint8_t>{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(rig.run({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 4})->size(), 4u);
  EXPECT_FALSE(rig.run({0x00}));
  EXPECT_EQ(rig.unit.take_sense(), devices::scsi::kReset);
  EXPECT_EQ(rig.unit.take_sense(), devices::scsi::kNoSense);
  EXPECT_FALSE(rig.run({0xa0, 0, 9, 0, 0, 0, 0, 0, 0, 64}));
  EXPECT_EQ(rig.unit.take_sense(), devices::scsi::kInvalidCommand);
}

// Such a command is only in a state that somebody has made.
TEST(PacketUnit, WritesNothingWhateverAStateSays) {
  Rig rig;
  for (const Command::Work work : {Command::Work::kWrite, Command::Work::kTake, Command::Work::kNone}) {
    Command command{.work = work, .size = 1 << 20};
    std::vector<uint8_t> data(4096);
    const iovec where{data.data(), data.size()};
    spawn(rig.unit.move(command, 0, std::span(&where, 1)));
    EXPECT_TRUE(command.failed);
  }
}

}  // namespace
}  // namespace skerry::machine
