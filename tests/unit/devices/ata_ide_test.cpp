#include "unit/devices/ata_ide_driver.hpp"

#include <cerrno>

namespace skerry::devices::ata::test {
namespace {

using Asked = std::vector<std::string>;
constexpr uint8_t kQuiet = status::DRDY | status::DSC, kReady = kQuiet | status::DRQ;

TaskFile lba28(uint8_t command, uint32_t lba, uint8_t count) {
  return {.command = command, .device = static_cast<uint8_t>(0xe0 | lba >> 24), .count = count, .lba = lba & 0xff'ffff};
}

class IdeTest : public testing::Test {
 protected:
  void packet(const Packet& packet, uint16_t limit = 0xfffe, uint8_t feature = 0) {
    rig.give({.command = 0xa0, .device = 0xb0, .feature = feature, .lba = uint64_t{limit} << 8}, 1);
    EXPECT_EQ(rig.alternate(1), status::DRDY | status::DSC | status::DRQ);
    EXPECT_EQ(rig.in(0x172), reason::CD) << "a command is to come";
    rig.hand(Bytes(packet.begin(), packet.end()), 1);
  }
  IdeRig rig;
};

TEST_F(IdeTest, TheFunctionIsThatOfThePiix3) {
  EXPECT_EQ(rig.host.config_read(0, 1 << 3, 0, 4), 0x7010'8086u);
  EXPECT_EQ(rig.host.config_read(0, 1 << 3, 8, 4) >> 8, 0x010180u);
}

TEST_F(IdeTest, PortsAreDecodedWhereTheChannelIsEnabled) {
  rig.host.config_write(0, 1 << 3, 0x42, 2, 0);
  EXPECT_EQ(rig.in(0x177), 0xffu);
  EXPECT_EQ(rig.in(0x1f7), kQuiet);
  rig.host.config_write(0, 1 << 3, bus::pci::kCommand, 2, 0);
  EXPECT_EQ(rig.in(0x1f7), 0xffu);
}

TEST_F(IdeTest, DevicesAreFoundBySignature) {
  EXPECT_EQ(rig.in(0x1f2) | rig.in(0x1f3) << 8 | rig.in(0x1f4) << 16, 0x0101u);
  rig.out(0x1f6, 0xb0);
  EXPECT_EQ(rig.status(), 0) << "there is no slave";
  rig.out(0x176, 0xa0);
  EXPECT_EQ(rig.status(1), 0) << "there is no master";
  rig.out(0x176, 0xb0);
  EXPECT_EQ(rig.in(0x174) | rig.in(0x175) << 8, 0xeb14u);
}

TEST_F(IdeTest, AnEmptyChannelFloats) {
  AtaBoard board;
  PiixIde ide("ide", *board.loop, board.memory, {}, {});
  ASSERT_TRUE(ide.attach(board.pio));
  ASSERT_TRUE(board.host.root().add(ide, 1));
  ide.set_up();
  board.pio.write(0x1f2, 1, 0x55);
  EXPECT_EQ(board.pio.read(0x1f2, 1), 0xffu);
  EXPECT_EQ(board.pio.read(0x1f7, 1), 0xffu);
  EXPECT_EQ(board.pio.read(0x3f6, 1), 0xffu);
}

TEST_F(IdeTest, RegistersKeepWhatIsWrittenBefore) {
  rig.out(0x1f3, 0x12);
  rig.out(0x1f3, 0x34);
  EXPECT_EQ(rig.in(0x1f3), 0x34u);
  rig.out(0x3f6, 0x80);
  EXPECT_EQ(rig.in(0x1f3), 0x12u) << "HOB";
  rig.out(0x1f2, 0);
  EXPECT_EQ(rig.in(0x1f3), 0x34u) << "a write clears it";
}

TEST_F(IdeTest, IdentifyByPio) {
  rig.give({.command = 0xec, .device = 0xa0});
  EXPECT_TRUE(rig.interrupted());
  EXPECT_EQ(rig.alternate(), kReady);
  EXPECT_TRUE(rig.interrupted()) << "the alternate status acknowledges nothing";
  EXPECT_EQ(rig.status(), kReady);
  EXPECT_FALSE(rig.interrupted());
  const Bytes data = rig.take(512);
  EXPECT_EQ(data[0], 0x40);
  EXPECT_EQ(data[120] | data[121] << 8, 2048);
  EXPECT_EQ(rig.status(), kQuiet);
  EXPECT_FALSE(rig.interrupted());
}

TEST_F(IdeTest, SectorsByPioInterruptForEach) {
  rig.give(lba28(0x20, 5, 3));
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_TRUE(rig.interrupted()) << i;
    EXPECT_EQ(rig.status(), kReady);
    EXPECT_EQ(rig.take(512, 0, i == 1 ? 4 : 2), Bytes(512, sector_byte(5 + i)));
  }
  EXPECT_FALSE(rig.interrupted());
  EXPECT_EQ(rig.status(), kQuiet);
  rig.give({.command = 0xc6, .device = 0xa0, .count = 4});
  rig.status();
  rig.give(lba28(0xc4, 5, 6));
  rig.status();
  rig.take(2048);
  EXPECT_TRUE(rig.interrupted()) << "after four sectors";
  rig.status();
  EXPECT_EQ(rig.take(1024), [] {
    Bytes rest(512, sector_byte(9));
    rest.resize(1024, sector_byte(10));
    return rest;
  }());
  EXPECT_EQ(rig.status(), kQuiet);
}

TEST_F(IdeTest, LongReadsByPioGoThroughTheBufferInPieces) {
  rig.give({.command = 0x24, .device = 0xe0, .count = 300, .lba = 100}, 0, true);
  for (unsigned i = 0; i < 300; ++i) {
    ASSERT_EQ(rig.status(), kReady) << i;
    ASSERT_EQ(rig.take(512, 0, 4)[511], sector_byte(100 + i)) << i;
  }
  EXPECT_EQ(rig.status(), kQuiet);
}

TEST_F(IdeTest, SectorsAreWrittenByPio) {
  rig.give(lba28(0x30, 7, 2));
  EXPECT_FALSE(rig.interrupted()) << "not for the first";
  EXPECT_EQ(rig.status(), kReady);
  rig.hand(Bytes(512, 0xab));
  EXPECT_TRUE(rig.interrupted());
  EXPECT_EQ(rig.status(), kReady);
  rig.hand(Bytes(512, 0xcd), 0, 4);
  EXPECT_TRUE(rig.interrupted());
  EXPECT_EQ(rig.status(), kQuiet);
  EXPECT_EQ(rig.node.content[7 * 512], 0xab);
  EXPECT_EQ(rig.node.content[8 * 512], 0xcd);
  EXPECT_EQ(rig.node.content[9 * 512], sector_byte(9));
}

TEST_F(IdeTest, DataByBusMaster) {
  rig.put_table({{IdeRig::kData, 700}, {IdeRig::kData + 0x1000, 836}});
  rig.memory.clear_dirty();
  rig.give(lba28(0xc8, 3, 3));
  EXPECT_TRUE(rig.node.asked.empty()) << "not before the bus master starts";
  rig.start_master(true);
  EXPECT_TRUE(rig.interrupted());
  EXPECT_EQ(rig.stop_master() & 7, 4) << "all of the table has been used";
  EXPECT_EQ(rig.status(), kQuiet);
  EXPECT_EQ(rig.bytes(IdeRig::kData + 699, 1), Bytes{sector_byte(4)});
  EXPECT_EQ(rig.bytes(IdeRig::kData + 0x1000 + 835, 1), Bytes{sector_byte(5)});
  EXPECT_TRUE(rig.memory.dirty(IdeRig::kData));
  EXPECT_EQ(rig.node.asked, Asked{"read 1536+1536"});

  rig.put(IdeRig::kData, Bytes(0x10000, 0x77));
  rig.put_table({{IdeRig::kData, 0}});  // 64 KiB, of which the command takes less
  rig.start_master(false);
  rig.give({.command = 0x35, .device = 0xe0, .count = 2, .lba = 20}, 0, true);
  EXPECT_EQ(rig.stop_master() & 7, 5) << "the table is larger";
  EXPECT_EQ(rig.node.content[21 * 512], 0x77);
  EXPECT_EQ(rig.node.content[22 * 512], sector_byte(22));
}

TEST_F(IdeTest, ATableThatIsTooShortIsFollowedByAnother) {
  rig.put_table({{IdeRig::kData, 700}});
  rig.give(lba28(0xc8, 3, 2));
  rig.start_master(true);
  EXPECT_FALSE(rig.interrupted());
  EXPECT_EQ(rig.stop_master() & 7, 0);
  EXPECT_EQ(rig.alternate(), kReady);
  rig.put_table({{IdeRig::kData + 700, 324}});
  rig.start_master(true);
  EXPECT_EQ(rig.stop_master() & 7, 4);
  EXPECT_EQ(rig.bytes(IdeRig::kData + 511, 2), (Bytes{sector_byte(3), sector_byte(4)}));
}

TEST_F(IdeTest, WhatIsNotMemoryIsABusMasterError) {
  const auto expect_error = [&] {
    EXPECT_TRUE(rig.interrupted());
    EXPECT_EQ(rig.stop_master() & 3, 2);
    EXPECT_EQ(rig.status(), kQuiet | status::ERR);
    EXPECT_EQ(rig.in(0x1f1), error::ABRT);
  };
  rig.put_table({{IdeRig::kData, 512}, {0x8000'0000, 512}});
  rig.give(lba28(0xc8, 3, 2));
  rig.start_master(true);
  expect_error();
  rig.put_table({{IdeRig::kData, 1024}});
  rig.give(lba28(0xc8, 3, 2));
  rig.start_master(false);  // the wrong way
  expect_error();
  rig.give(lba28(0xc8, 3, 2));
  rig.out(rig.master(4), 0xffff'fff0, 4);
  rig.out(rig.master(0), 9);
  expect_error();
  // No end, and two bytes each: bounded by the table's 64 KiB.
  for (unsigned i = 0; i < 8192; ++i) {
    rig.put32(IdeRig::kTable + 8 * i, IdeRig::kData);
    rig.put32(IdeRig::kTable + 8 * i + 4, 2);
  }
  rig.give(lba28(0xc8, 0, 0));
  rig.start_master(true);
  EXPECT_EQ(rig.alternate(), kReady) << "16 KiB of 128 have moved";
  EXPECT_EQ(rig.node.asked, Asked{"read 0+16384"});
}

TEST_F(IdeTest, ErrorsAreTold) {
  rig.node.error = EIO;
  rig.give(lba28(0x20, 5, 1));
  EXPECT_TRUE(rig.interrupted());
  EXPECT_EQ(rig.status(), kQuiet | status::ERR);
  EXPECT_EQ(rig.in(0x1f1), error::UNC);
  EXPECT_EQ(rig.in(0x1f3), 5u);
  rig.give(lba28(0x30, 5, 1));
  rig.hand(Bytes(512));
  EXPECT_EQ(rig.status(), kQuiet | status::ERR);
  rig.node.error = 0;
  rig.give(lba28(0x20, 2048, 1));
  EXPECT_EQ(rig.status(), kQuiet | status::ERR);
  EXPECT_EQ(rig.in(0x1f1), error::IDNF);
}

TEST_F(IdeTest, NoInterruptWhereItIsDisabled) {
  rig.out(0x3f6, 2);
  rig.give({.command = 0xe7, .device = 0xa0});
  EXPECT_FALSE(rig.interrupted());
  rig.out(0x3f6, 0);
  EXPECT_TRUE(rig.interrupted()) << "it has been pending";
}

TEST_F(IdeTest, ASoftResetEndsWhatIsUnderWayUnseen) {
  rig.node.hold = true;
  rig.give(lba28(0x20, 5, 1));
  EXPECT_EQ(rig.status(), status::BSY);
  rig.out(0x3f6, 4);
  EXPECT_EQ(rig.status(), status::BSY);
  rig.out(0x3f6, 0);
  EXPECT_EQ(rig.status(), status::BSY) << "the disk is still being read";
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  EXPECT_EQ(rig.status(), kQuiet);
  EXPECT_FALSE(rig.interrupted());
  EXPECT_EQ(rig.in(0x1f3), 1u);
  rig.give(lba28(0x20, 5, 1));
  EXPECT_EQ(rig.status(), kReady);
  EXPECT_EQ(rig.take(512)[0], sector_byte(5));
}

TEST_F(IdeTest, TheDiagnosticIsOfBothDevices) {
  rig.give({.command = 0x90, .device = 0xa0});
  EXPECT_TRUE(rig.interrupted());
  EXPECT_EQ(rig.status(), kQuiet);
  EXPECT_EQ(rig.in(0x1f1), 1u);
}

TEST_F(IdeTest, CommandsWhileOneIsUnderWayAreDropped) {
  rig.give(lba28(0x20, 5, 1));
  rig.out(0x1f7, 0xec);
  rig.out(0x1f3, 99);
  EXPECT_EQ(rig.take(512)[0], sector_byte(5));
}

TEST_F(IdeTest, APacketWithItsDataByPio) {
  rig.status(1);
  packet({0x03, 0, 0, 0, 18});
  EXPECT_TRUE(rig.interrupted(1));
  EXPECT_EQ(rig.status(1) & (status::DRQ | status::CHK), status::DRQ);
  EXPECT_EQ(rig.in(0x172), reason::IO) << "data to the host";
  EXPECT_EQ(rig.in(0x174) | rig.in(0x175) << 8, 18u);
  EXPECT_EQ(rig.take(18, 1)[12], 0x29) << "power on";
  EXPECT_TRUE(rig.interrupted(1)) << "the command's end";
  EXPECT_EQ(rig.status(1), kQuiet);
  EXPECT_EQ(rig.in(0x172), reason::IO | reason::CD);

  packet({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 1500);
  Bytes all;
  for (const unsigned size : {1500, 1500, 1096}) {
    EXPECT_TRUE(rig.status(1) & status::DRQ);
    EXPECT_EQ(rig.in(0x174) | rig.in(0x175) << 8, size);
    const Bytes part = rig.take(size, 1);
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(rig.status(1), kQuiet);
  EXPECT_EQ(all[2048], sector_byte(16));
}

TEST_F(IdeTest, APacketWithItsDataByBusMaster) {
  packet({0x03, 0, 0, 0, 18});
  rig.take(18, 1);
  rig.status(1);
  rig.put_table({{IdeRig::kData, 2048}});
  packet({0x28, 0, 0, 0, 0, 3, 0, 0, 1}, 0, 1);
  rig.start_master(true, 1);
  EXPECT_TRUE(rig.interrupted(1));
  EXPECT_EQ(rig.stop_master(1) & 7, 4);
  EXPECT_EQ(rig.status(1), kQuiet);
  EXPECT_EQ(rig.bytes(IdeRig::kData, 1), Bytes{sector_byte(12)});
}

TEST_F(IdeTest, APacketThatFails) {
  packet({0x00});
  EXPECT_TRUE(rig.interrupted(1));
  EXPECT_EQ(rig.status(1), status::DRDY | status::CHK);
  EXPECT_EQ(rig.in(0x171) >> 4, 6u) << "unit attention";
  rig.out(0x177, 0x08);  // DEVICE RESET
  EXPECT_EQ(rig.in(0x174) | rig.in(0x175) << 8, 0xeb14u);
}

TEST_F(IdeTest, RestLeavesAHalfReadBlock) {
  rig.give(lba28(0x20, 5, 2));
  rig.take(100);
  bool at_rest = false;
  rig.ide.quiesce([&] { at_rest = true; });
  rig.run_loop();
  EXPECT_TRUE(at_rest);
  const auto saved = skerry::test::save(rig.ide);
  IdeRig copy;
  copy.follow(rig);
  ASSERT_TRUE(skerry::test::load(copy.ide, saved));
  copy.ide.resume();
  copy.run_loop();
  EXPECT_EQ(copy.take(412), Bytes(412, sector_byte(5)));
  EXPECT_EQ(copy.status(), kReady);
  EXPECT_EQ(copy.take(512), Bytes(512, sector_byte(6)));
  EXPECT_EQ(copy.status(), kQuiet);
}

// Random accesses of a driver, of which the trace is what it sees.
skerry::test::Trace drive(IdeRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.map();
  rig.ide.resume();
  rig.run_loop();
  constexpr uint8_t kCommands[] = {0x20, 0x30, 0xc8, 0xca, 0xec, 0xc4, 0xc6, 0xa0, 0xa1, 0xe7, 0x90, 0x08, 0x24, 0x06};
  for (int i = 0; i < 60; ++i) {
    const unsigned channel = random() % 2;
    switch (random() % 7) {
      case 0: rig.out(IdeRig::control(channel), random() % 8 ? 0 : 4); break;
      case 1:
        rig.give({.command = kCommands[random() % std::size(kCommands)], .device = static_cast<uint8_t>(random() % 2 ? 0xe0 : 0xf0),
                  .feature = static_cast<uint16_t>(random() % 2), .count = static_cast<uint16_t>(random() % 4), .lba = random() % 2100},
                 channel);
        break;
      case 2:
        for (const uint8_t byte : rig.take(256, channel, random() % 2 ? 2 : 4)) trace.push_back(byte);
        break;
      case 3: {
        Bytes data(random() % 2 ? 12 : 512);
        for (auto& byte : data) byte = static_cast<uint8_t>(random() % 3 ? 0 : random());
        rig.hand(data, channel);
        break;
      }
      case 4:
        rig.put_table({{IdeRig::kData, 512}, {IdeRig::kData + 512, 1024}});
        rig.start_master(random() % 2, channel);
        break;
      case 5: trace.push_back(rig.stop_master(channel)); break;
      default: rig.out(static_cast<uint16_t>(IdeRig::block(channel) + 1 + random() % 6), static_cast<uint8_t>(random()));
    }
    for (unsigned c = 0; c < 2; ++c) {
      for (unsigned at = 1; at < 8; ++at) trace.push_back(rig.in(static_cast<uint16_t>(IdeRig::block(c) + at)));
      trace.push_back(rig.interrupted(c));
    }
  }
  bool at_rest = false;
  rig.ide.quiesce([&] { at_rest = true; });
  rig.run_loop();
  EXPECT_TRUE(at_rest);
  for (const uint8_t byte : rig.bytes(IdeRig::kData, 512)) trace.push_back(byte);
  return trace;
}

TEST(IdeState, Survives) { skerry::test::run_state_test<IdeRig>(12, drive); }

}  // namespace
}  // namespace skerry::devices::ata::test
