#include "unit/devices/ata_ahci_driver.hpp"

#include <cerrno>

namespace skerry::devices::ata::test {
namespace {

using namespace ahci;
using Asked = std::vector<std::string>;

class AhciTest : public testing::Test {
 protected:
  AhciRig rig;
};

TEST_F(AhciTest, TheFunctionIsThatOfTheIch9) {
  EXPECT_EQ(rig.host.config_read(0, 5 << 3, 0, 4), 0x2922'8086u);
  EXPECT_EQ(rig.host.config_read(0, 5 << 3, 8, 4) >> 8, 0x010601u);
  EXPECT_EQ(rig.read(CAP) & 0x1f, 5u);
  EXPECT_EQ(rig.read(CAP) >> 8 & 0x1f, 31u);
  EXPECT_EQ(rig.read(PI), 0x3fu);
  EXPECT_EQ(rig.read(VS), 0x10301u);
  EXPECT_TRUE(rig.read(GHC) & ghc::AE);
}

TEST_F(AhciTest, TheSignatureComesWhenFisesAreReceived) {
  EXPECT_EQ(rig.port(PxSSTS), 0x133u);
  EXPECT_EQ(rig.port(PxSIG), 0xffff'ffffu);
  EXPECT_TRUE(rig.port(PxTFD) & status::BSY);
  rig.start();
  EXPECT_EQ(rig.port(PxSIG), 0x0000'0101u);
  EXPECT_EQ(rig.port(PxTFD), 0x150u);
  EXPECT_EQ(rig.bytes(AhciRig::kReceived + kRegisterAt, 3), (Bytes{0x34, 0, 0x50}));
  EXPECT_EQ(rig.port(PxSSTS, 1), 0u);
  EXPECT_EQ(rig.port(PxTFD, 1), 0x7fu);
}

TEST_F(AhciTest, DataGoesStraightToItsRegions) {
  rig.start();
  rig.memory.clear_dirty();
  ASSERT_TRUE(rig.command(dma(kReadDmaExt, 3, 3), {{AhciRig::kData, 700}, {AhciRig::kData + 0x4000, 836}}));
  EXPECT_EQ(rig.bytes(AhciRig::kData + 511, 2), (Bytes{sector_byte(3), sector_byte(4)}));
  EXPECT_EQ(rig.bytes(AhciRig::kData + 0x4000 + 835, 1), (Bytes{sector_byte(5)}));
  EXPECT_TRUE(rig.memory.dirty(AhciRig::kData + 0x4000));
  EXPECT_EQ(rig.node.asked, Asked{"read 1536+1536"});
  EXPECT_EQ(rig.get32(AhciRig::kList + 4), 1536u) << "PRDBC";
  EXPECT_TRUE(rig.port(PxIS) & interrupt::DHRS);
  EXPECT_TRUE(rig.lines.high);
  rig.set_port(PxIS, ~0u);
  rig.write(IS, 1);
  EXPECT_FALSE(rig.lines.high);
}

TEST_F(AhciTest, WritesReachTheDisk) {
  rig.start();
  rig.put(AhciRig::kData, Bytes(1024, 0xab));
  ASSERT_TRUE(rig.command(dma(kWriteDmaExt, 5, 2), {{AhciRig::kData, 1024}}, true));
  ASSERT_TRUE(rig.command(dma(kFlushCacheExt, 0, 0), {}));
  EXPECT_EQ(rig.node.content[5 * 512], 0xab);
  EXPECT_EQ(rig.node.content[7 * 512], sector_byte(7));
  EXPECT_EQ(rig.node.asked, (Asked{"write 2560+1024", "flush 0+0"}));
}

TEST_F(AhciTest, DataByPioEndsWithAPioSetupFis) {
  rig.start();
  ASSERT_TRUE(rig.command({.command = kIdentify}, {{AhciRig::kData, 512}}));
  EXPECT_EQ(rig.port(PxIS) & interrupt::kCleared, interrupt::PSS);
  EXPECT_EQ(rig.bytes(AhciRig::kReceived + kPioSetupAt, 2), (Bytes{0x5f, kFisInterrupt | kFisToHost}));
  EXPECT_EQ(rig.bytes(AhciRig::kReceived + kPioSetupAt + 15, 3), (Bytes{0x50, 0x00, 0x02}));
  EXPECT_EQ(rig.bytes(AhciRig::kData, 2), (Bytes{0x40, 0x00}));
  rig.set_port(PxIS, ~0u);
  ASSERT_TRUE(rig.command(dma(kReadSectors, 9, 2), {{AhciRig::kData, 1024}}));
  EXPECT_EQ(rig.bytes(AhciRig::kData + 512, 1), (Bytes{sector_byte(10)}));
  rig.put(AhciRig::kData, Bytes(512, 0x11));
  ASSERT_TRUE(rig.command(dma(kWriteSectors, 9, 1), {{AhciRig::kData, 512}}, true));
  EXPECT_EQ(rig.node.content[9 * 512], 0x11);
}

TEST_F(AhciTest, QueuedCommandsEndInAnyOrderWithOneInterrupt) {
  rig.start();
  rig.set_port(PxIE, interrupt::SDBS);
  rig.node.hold = true;
  for (unsigned tag = 0; tag < 32; ++tag) rig.queue(tag, false, tag, 1, AhciRig::kData + tag * 512);
  rig.run_loop();
  EXPECT_EQ(rig.node.waiting(), 32u);
  EXPECT_EQ(rig.port(PxCI), 0u) << "all are with the device";
  EXPECT_EQ(rig.port(PxSACT), ~0u);
  rig.node.release(true);
  EXPECT_FALSE(rig.lines.high) << "not before the turn of the loop ends";
  rig.run_loop();
  EXPECT_EQ(rig.port(PxSACT), 0u);
  EXPECT_TRUE(rig.lines.high);
  EXPECT_EQ(rig.bytes(AhciRig::kReceived + kSetBitsAt, 8), (Bytes{0xa1, 0x40, 0x50, 0, 0xff, 0xff, 0xff, 0xff}));
  for (unsigned tag = 0; tag < 32; ++tag) EXPECT_EQ(rig.bytes(AhciRig::kData + tag * 512, 1), (Bytes{sector_byte(tag)}));
}

TEST_F(AhciTest, QueuedWritesAndForcedUnitAccess) {
  rig.start();
  rig.put(AhciRig::kData, Bytes(512, 0x22));
  rig.queue(3, true, 8, 1, AhciRig::kData);
  rig.run_loop();
  rig.put_command(4, {.command = 0x61, .device = device::FUA | device::LBA, .feature = 1, .count = 4 << 3, .lba = 9}, {{AhciRig::kData, 512}}, true);
  rig.set_port(PxSACT, 1 << 4);
  rig.set_port(PxCI, 1 << 4);
  EXPECT_EQ(rig.node.asked, (Asked{"write 4096+512", "write fua 4608+512"}));
  EXPECT_EQ(rig.port(PxSACT), 0u);
}

TEST_F(AhciTest, AnErrorOfACommandHoldsThePortUntilItIsStopped) {
  rig.start();
  rig.node.error = EIO;
  EXPECT_FALSE(rig.command(dma(kReadDmaExt, 3, 1), {{AhciRig::kData, 512}}));
  EXPECT_EQ(rig.port(PxTFD), uint32_t{error::UNC} << 8 | status::DRDY | status::DSC | status::ERR);
  EXPECT_TRUE(rig.port(PxIS) & interrupt::TFES);
  EXPECT_EQ(rig.port(PxCI), 1u) << "it says which command it was";
  EXPECT_EQ(rig.bytes(AhciRig::kReceived + kRegisterAt + 4, 1), (Bytes{3}));
  rig.node.error = 0;
  rig.put_command(1, dma(kReadDmaExt, 3, 1), {{AhciRig::kData, 512}});
  rig.set_port(PxCI, 2);
  EXPECT_EQ(rig.port(PxCI), 3u);
  EXPECT_EQ(rig.node.asked.size(), 1u);
  rig.recover();
  EXPECT_EQ(rig.port(PxCI), 0u);
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 3, 1), {{AhciRig::kData, 512}}));
}

TEST_F(AhciTest, TheLogTellsWhichQueuedCommandFailed) {
  rig.start();
  rig.node.hold = true;
  rig.queue(5, false, 100, 1, AhciRig::kData);
  rig.queue(7, false, 200, 1, AhciRig::kData);
  rig.run_loop();
  rig.node.error = EIO;
  rig.node.hold = false;
  rig.node.release(true);  // 7 first
  rig.run_loop();
  rig.node.error = 0;
  EXPECT_TRUE(rig.port(PxIS) & interrupt::TFES);
  EXPECT_EQ(rig.port(PxSACT), 1u << 5 | 1u << 7) << "neither has ended";
  rig.recover();
  EXPECT_FALSE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}})) << "the log comes first";
  rig.recover();
  ASSERT_TRUE(rig.command({.command = kReadLog, .count = 1, .lba = 0x10}, {{AhciRig::kData, 512}}));
  const Bytes log = rig.bytes(AhciRig::kData, 512);
  EXPECT_EQ(log[0], 7);
  EXPECT_EQ(log[2], status::DRDY | status::DSC | status::ERR);
  EXPECT_EQ(log[3], error::UNC);
  EXPECT_EQ(log[4], 200);
  uint8_t sum = 0;
  for (const uint8_t byte : log) sum = static_cast<uint8_t>(sum + byte);
  EXPECT_EQ(sum, 0);
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
}

TEST_F(AhciTest, OtherCommandsAreAbortedWhileQueuedOnesAreUnderWay) {
  rig.start();
  rig.node.hold = true;
  rig.queue(5, false, 100, 1, AhciRig::kData);
  rig.run_loop();
  EXPECT_FALSE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
  EXPECT_TRUE(rig.port(PxIS) & interrupt::TFES);
  rig.node.hold = false;
  rig.node.release();
  rig.recover();
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
}

TEST_F(AhciTest, WhatIsNotOnTheDiskIsNotFound) {
  rig.start();
  for (const uint64_t lba : {uint64_t{2048}, uint64_t{2047}, (uint64_t{1} << 48) - 1}) {
    EXPECT_FALSE(rig.command(dma(kReadDmaExt, lba, 2), {{AhciRig::kData, 1024}}));
    EXPECT_EQ(rig.port(PxTFD) >> 8, error::IDNF);
    rig.recover();
  }
  EXPECT_TRUE(rig.node.asked.empty());
}

TEST_F(AhciTest, ARunThatIsStoppedEndsUnseen) {
  rig.start();
  rig.node.hold = true;
  EXPECT_FALSE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
  rig.set_port(PxCMD, cmd::FRE);
  EXPECT_TRUE(rig.port(PxCMD) & cmd::CR) << "the disk may still write into guest memory";
  EXPECT_EQ(rig.port(PxCI), 0u);
  rig.set_port(PxCMD, cmd::FRE | cmd::ST);
  rig.put_command(2, dma(kReadDmaExt, 1, 1), {{AhciRig::kData + 512, 512}});
  rig.set_port(PxCI, 4);
  EXPECT_EQ(rig.node.waiting(), 1u) << "nothing new before the old has ended";
  const uint32_t before = rig.port(PxIS);
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  EXPECT_EQ(rig.port(PxCI), 0u);
  EXPECT_EQ(rig.port(PxIS) & ~before, interrupt::DHRS);
  EXPECT_EQ(rig.node.asked, (Asked{"read 0+512", "read 512+512"}));
}

TEST_F(AhciTest, AComresetBringsTheSignatureBack) {
  rig.start();
  rig.node.hold = true;
  EXPECT_FALSE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
  rig.set_port(PxCMD, cmd::FRE);
  rig.set_port(PxSCTL, 0x301);
  EXPECT_EQ(rig.port(PxSSTS), 0u);
  rig.set_port(PxSCTL, 0x300);
  EXPECT_EQ(rig.port(PxSSTS), 0x133u);
  EXPECT_TRUE(rig.port(PxTFD) & status::BSY) << "until what was under way has ended";
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  EXPECT_EQ(rig.port(PxTFD), 0x150u);
  EXPECT_EQ(rig.port(PxSERR), serr::N | serr::X);
  EXPECT_TRUE(rig.port(PxIS) & interrupt::PCS);
  rig.recover();
  EXPECT_FALSE(rig.port(PxIS) & interrupt::PCS);
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
}

TEST_F(AhciTest, ASoftResetIsTwoFises) {
  rig.start();
  Bytes fis(20);
  fis[0] = kHostToDevice;
  fis[15] = kControlReset;
  rig.put_command(0, {}, {});
  rig.put(rig.table(0), fis);
  rig.set_port(PxCI, 1);
  EXPECT_EQ(rig.port(PxCI), 0u);
  rig.set_port(PxSIG, 0);
  fis[15] = 0;
  rig.put(rig.table(0), fis);
  rig.set_port(PxCI, 1);
  EXPECT_EQ(rig.port(PxCI), 0u);
  EXPECT_EQ(rig.port(PxTFD), 0x150u);
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
}

TEST_F(AhciTest, TheControllersResetWaitsForWhatIsUnderWay) {
  rig.start();
  rig.node.hold = true;
  rig.queue(1, false, 0, 1, AhciRig::kData);
  rig.run_loop();
  rig.write(GHC, ghc::HR);
  EXPECT_TRUE(rig.read(GHC) & ghc::HR);
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  EXPECT_EQ(rig.read(GHC), ghc::AE);
  EXPECT_EQ(rig.port(PxCMD), cmd::SUD | cmd::POD);
  EXPECT_EQ(rig.port(PxSACT), 0u);
  rig.start();
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
}

TEST_F(AhciTest, ATransferThatIsLargerThanItsRegions) {
  rig.start();
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 3, 2), {{AhciRig::kData, 512}}));
  EXPECT_TRUE(rig.port(PxIS) & interrupt::OFS);
  EXPECT_EQ(rig.get32(AhciRig::kList + 4), 512u);
  EXPECT_FALSE(rig.command(dma(kWriteDmaExt, 3, 2), {{AhciRig::kData, 512}}, true));
  EXPECT_EQ(rig.port(PxTFD) >> 8, error::ABRT);
  rig.recover();
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 3, 1), {{AhciRig::kData, 0x40'0000}})) << "a region is 4 MiB at the most";
  EXPECT_EQ(rig.node.asked.size(), 2u);
}

TEST_F(AhciTest, WhatIsNotMemoryIsAHostBusError) {
  rig.start();
  const auto expect_fatal = [&](uint32_t interrupt) {
    EXPECT_TRUE(rig.port(PxIS) & interrupt);
    EXPECT_EQ(rig.port(PxCI), 1u);
    rig.recover();
  };
  EXPECT_FALSE(rig.command(dma(kReadDmaExt, 3, 2), {{AhciRig::kData, 512}, {0x8000'0000, 512}}));
  expect_fatal(interrupt::HBFS);
  rig.put_command(0, dma(kReadDmaExt, 3, 2), {{AhciRig::kData, 1024}});
  rig.put32(AhciRig::kList + 12, 0xffff'ffff);  // CTBAU
  rig.set_port(PxCI, 1);
  expect_fatal(interrupt::HBFS);
  rig.put_command(0, dma(kReadDmaExt, 3, 2), {{AhciRig::kData, 1024}});
  rig.put(rig.table(0), Bytes{0x34});
  rig.set_port(PxCI, 1);
  expect_fatal(interrupt::IFS);
  rig.put_command(0, dma(kReadDmaExt, 3, 2), {{AhciRig::kData, 1024}});
  rig.put32(AhciRig::kList, 0);  // no FIS at all
  rig.set_port(PxCI, 1);
  expect_fatal(interrupt::IFS);
  rig.set_port(PxCMD, cmd::FRE);
  rig.set_port(PxCLBU, 0x7fff'ffff);
  rig.set_port(PxCMD, cmd::FRE | cmd::ST);
  rig.set_port(PxCI, 1);
  EXPECT_TRUE(rig.port(PxIS) & interrupt::HBFS);
  EXPECT_TRUE(rig.node.asked.empty());
}

TEST_F(AhciTest, AListThatIsItsOwnData) {
  rig.start();
  EXPECT_TRUE(rig.command(dma(kReadDmaExt, 0, 8), {{AhciRig::kList, 4096}}));
  EXPECT_EQ(rig.bytes(AhciRig::kList + 4095, 1), (Bytes{sector_byte(7)}));
}

TEST_F(AhciTest, MessagesReplaceTheLine) {
  rig.start();
  unsigned at = rig.host.config_read(0, 5 << 3, bus::pci::kCapabilities, 1);
  ASSERT_EQ(rig.host.config_read(0, 5 << 3, at, 1), bus::pci::kCapMsi);
  rig.host.config_write(0, 5 << 3, at + 4, 4, 0xfee0'0000);
  rig.host.config_write(0, 5 << 3, at + 12, 2, 0x4321);
  rig.host.config_write(0, 5 << 3, at + 2, 2, 1);
  ASSERT_TRUE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
  EXPECT_FALSE(rig.lines.high);
  EXPECT_EQ(rig.messages.sent, (std::vector<std::pair<uint64_t, uint32_t>>{{0xfee0'0000, 0x4321}}));
  ASSERT_TRUE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
  EXPECT_EQ(rig.messages.sent.size(), 1u) << "the bit in IS is still set";
  rig.set_port(PxIS, ~0u);
  rig.write(IS, 1);
  ASSERT_TRUE(rig.command(dma(kReadDmaExt, 0, 1), {{AhciRig::kData, 512}}));
  EXPECT_EQ(rig.messages.sent.size(), 2u);
}

TEST_F(AhciTest, RestComesWhenNothingIsUnderWay) {
  rig.start();
  rig.node.hold = true;
  rig.queue(1, false, 0, 1, AhciRig::kData);
  rig.run_loop();
  bool at_rest = false;
  rig.ahci.quiesce([&] { at_rest = true; });
  rig.run_loop();
  EXPECT_FALSE(at_rest);
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  EXPECT_TRUE(at_rest);
  EXPECT_EQ(rig.port(PxSACT), 0u);
  rig.queue(2, false, 0, 1, AhciRig::kData);
  rig.run_loop();
  EXPECT_EQ(rig.port(PxCI), 4u) << "stays for afterwards";
  rig.ahci.resume();
  rig.run_loop();
  EXPECT_EQ(rig.port(PxSACT), 0u);
}

// Random accesses and commands to both, of which the trace is what the guest sees.
skerry::test::Trace drive(AhciRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.map();
  rig.ahci.resume();
  rig.run_loop();
  for (int i = 0; i < 60; ++i) {
    switch (random() % 6) {
      case 0: rig.start(); break;
      case 1:
        trace.push_back(rig.command({.command = static_cast<uint8_t>(random() % 2 ? random() : kReadDmaExt), .device = device::LBA,
                                     .feature = static_cast<uint16_t>(random() % 4), .count = static_cast<uint16_t>(random() % 4),
                                     .lba = random() % 2100},
                                    {{AhciRig::kData, 2048}}));
        break;
      case 2: rig.queue(random() % 32, random() % 2, random() % 2048, 1, AhciRig::kData); break;
      case 3: rig.set_port(static_cast<uint32_t>(random() % 0x40) & ~3u, static_cast<uint32_t>(random()) & 0x7f'ffff, random() % 6); break;
      case 4: rig.recover_quietly(); break;
      default: rig.write(IS, static_cast<uint32_t>(random()));
    }
    rig.run_loop();
    for (unsigned at = 0; at < 0x40; at += 4) trace.push_back(rig.port(at));
    trace.push_back(rig.read(IS));
    trace.push_back(rig.lines.high);
  }
  if (random() % 2) rig.command(dma(kReadDmaExt, 4000, 1), {{AhciRig::kData, 512}});  // fails, and holds what comes behind it
  rig.queue(7, false, random() % 2048, 1, AhciRig::kData);
  rig.run_loop();
  bool at_rest = false;
  rig.ahci.quiesce([&] { at_rest = true; });
  rig.run_loop();
  EXPECT_TRUE(at_rest);
  for (const uint8_t byte : rig.bytes(AhciRig::kData, 512)) trace.push_back(byte);
  return trace;
}

TEST(AhciState, Survives) { skerry::test::run_state_test<AhciRig>(12, drive); }

}  // namespace
}  // namespace skerry::devices::ata::test
