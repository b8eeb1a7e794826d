// USB devices as their drivers see them: standard requests, the bulk-only transport with a SCSI disk, keyboard and tablet.
#include <set>

#include "unit/devices/usb_xhci_driver.hpp"

namespace skerry::devices::usb::test {
namespace {

Setup get_descriptor(uint8_t kind, uint8_t index, uint16_t length) {
  return {.type = 0x80, .request = GET_DESCRIPTOR, .value = static_cast<uint16_t>(kind << 8 | index), .length = length};
}

TEST(UsbDevice, ItsDescriptorsAgreeWithOneAnother) {
  XhciRig rig;
  rig.start();
  for (const unsigned port : {XhciRig::kDiskPort, XhciRig::kKeyboardPort, XhciRig::kTabletPort}) {
    SCOPED_TRACE(port);
    const unsigned slot = rig.address(port);
    const auto configuration = rig.control(slot, get_descriptor(CONFIGURATION, 0, 255));
    ASSERT_TRUE(configuration);
    EXPECT_EQ((*configuration)[2], configuration->size());
    unsigned endpoints = 0;
    size_t at = 0;
    for (; at < configuration->size(); at += (*configuration)[at]) {
      ASSERT_GT((*configuration)[at], 0);
      endpoints += (*configuration)[at + 1] == ENDPOINT;
      if ((*configuration)[at + 1] != HID) continue;
      const auto report = rig.control(slot, {.type = 0x81, .request = GET_DESCRIPTOR, .value = REPORT << 8, .length = 255});
      ASSERT_TRUE(report);
      EXPECT_EQ(report->size(), (*configuration)[at + 7]);
    }
    EXPECT_EQ(at, configuration->size());
    EXPECT_EQ(endpoints, (*configuration)[9 + 4]);
    for (const uint8_t index : {1, 2, 3}) {
      const auto text = rig.control(slot, get_descriptor(STRING, index, 255));
      ASSERT_TRUE(text);
      EXPECT_EQ((*text)[0], text->size());
    }
    EXPECT_FALSE(rig.control(slot, get_descriptor(STRING, 4, 255)));
  }
}

TEST(UsbDevice, ASuperSpeedDeviceSaysWhatItCan) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.address(XhciRig::kDiskPort);
  const auto bos = rig.control(slot, get_descriptor(BOS, 0, 255));
  ASSERT_TRUE(bos);
  EXPECT_EQ((*bos)[2], bos->size());
  const unsigned keyboard = rig.address(XhciRig::kKeyboardPort);
  EXPECT_FALSE(rig.control(keyboard, get_descriptor(BOS, 0, 255)));
}

TEST(UsbDevice, IsConfigured) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.address(XhciRig::kKeyboardPort);
  const usb::Setup get{.type = 0x80, .request = GET_CONFIGURATION, .length = 1};
  EXPECT_EQ(rig.control(slot, get), Bytes{0});
  EXPECT_FALSE(rig.keyboard->in_use());
  EXPECT_FALSE(rig.control(slot, {.type = 0, .request = SET_CONFIGURATION, .value = 2}));
  EXPECT_TRUE(rig.control(slot, {.type = 0, .request = SET_CONFIGURATION, .value = 1}));
  EXPECT_EQ(rig.control(slot, get), Bytes{1});
  EXPECT_TRUE(rig.keyboard->in_use());
  rig.set_port(XhciRig::kKeyboardPort, portsc::PP | portsc::PR);
  EXPECT_FALSE(rig.keyboard->in_use());
}

TEST(UsbDevice, AnEndpointIsHaltedAndGoesOn) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  const usb::Setup status{.type = 0x82, .request = GET_STATUS, .index = 0x81, .length = 2};
  EXPECT_EQ(rig.control(slot, status), (Bytes{0, 0}));
  EXPECT_TRUE(rig.control(slot, {.type = 2, .request = SET_FEATURE, .value = ENDPOINT_HALT, .index = 0x81}));
  EXPECT_EQ(rig.control(slot, status), (Bytes{1, 0}));
  EXPECT_EQ(rig.transfer(slot, kInEndpoint, XhciRig::kData, 13)->code, Code::kStall);
  rig.recover(slot, kInEndpoint);
  EXPECT_TRUE(rig.control(slot, {.type = 2, .request = CLEAR_FEATURE, .value = ENDPOINT_HALT, .index = 0x81}));
  EXPECT_EQ(rig.scsi_in(slot, kTestUnitReady, 0), 1);
  EXPECT_FALSE(rig.control(slot, {.type = 0x82, .request = GET_STATUS, .index = 0x85, .length = 2})) << "there is none";
}

// --- the bulk-only transport -----------------------------------------------------------------------------------------

struct DiskRig : XhciRig {
  DiskRig() {
    start();
    slot = disk();
    EXPECT_EQ(scsi_in(slot, kTestUnitReady, 0), 1) << "the unit attention of a reset";
  }
  Bytes sense() {
    EXPECT_EQ(scsi_in(slot, {3, 0, 0, 0, 18, 0}, 18), 0);
    const Bytes all = bytes(kBlocks, 18);
    return {static_cast<uint8_t>(all[2] & 15), all[12], all[13]};
  }
  unsigned slot = 0;
};

TEST(UsbStorage, TellsTheDisk) {
  DiskRig rig;
  uint32_t residue = 0;
  EXPECT_EQ(rig.scsi_in(rig.slot, {0x12, 0, 0, 0, 96, 0}, 96, &residue), 0);
  EXPECT_EQ(residue, 60u);
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks + 8, 12), (Bytes{'S', 'k', 'e', 'r', 'r', 'y', ' ', ' ', 'd', 'i', 's', 'k'}));
  EXPECT_EQ(rig.scsi_in(rig.slot, {0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8), 0);
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks, 8), (Bytes{0, 0, 7, 255, 0, 0, 2, 0}));
  EXPECT_EQ(rig.scsi_in(rig.slot, {0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, 32), 0);
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks + 6, 6), (Bytes{7, 255, 0, 0, 2, 0}));
  EXPECT_EQ(rig.scsi_in(rig.slot, {0x12, 1, 0x80, 0, 255, 0}, 255), 0);
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks, 12), (Bytes{0, 0x80, 0, 8, 's', 'e', 'r', 'i', 'a', 'l', '-', '0'}));
  EXPECT_EQ(rig.control(rig.slot, {.type = 0xa1, .request = 0xfe, .length = 1}), Bytes{0}) << "one unit";
}

TEST(UsbStorage, ReadsAndWrites) {
  DiskRig rig;
  rig.put(XhciRig::kBlocks, Bytes(1024, 0xab));
  EXPECT_EQ(rig.scsi_out(rig.slot, write_10(5, 2), 1024), 0);
  EXPECT_EQ(rig.node.content[5 * 512], 0xab);
  EXPECT_EQ(rig.node.content[7 * 512], sector_byte(7));
  EXPECT_EQ(rig.scsi_in(rig.slot, read_10(4, 2), 1024), 0);
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks + 511, 2), (Bytes{sector_byte(4), 0xab}));
}

TEST(UsbStorage, SaysWhatIsWrong) {
  DiskRig rig;
  uint32_t residue = 0;
  EXPECT_EQ(rig.scsi_in(rig.slot, read_10(2047, 2), 1024, &residue), 1);
  EXPECT_EQ(residue, 1024u);
  EXPECT_EQ(rig.sense(), (Bytes{5, 0x21, 0}));
  EXPECT_EQ(rig.sense(), (Bytes{0, 0, 0})) << "told once";
  EXPECT_EQ(rig.scsi_in(rig.slot, {0xc7, 0, 0, 0, 0, 0}, 0), 1);
  EXPECT_EQ(rig.sense(), (Bytes{5, 0x20, 0}));
  rig.node.error = EIO;
  EXPECT_EQ(rig.scsi_in(rig.slot, read_10(0, 2), 1024, &residue), 1);
  EXPECT_EQ(rig.sense(), (Bytes{3, 0x11, 0}));
  EXPECT_EQ(rig.scsi_out(rig.slot, write_10(0, 2), 1024), 1);
  EXPECT_EQ(rig.sense(), (Bytes{3, 0x03, 0}));
}

// BOT, 6.7: what host and device do not agree on.
TEST(UsbStorage, HostAndUnitMayDisagree) {
  DiskRig rig;
  uint32_t residue = 0;
  EXPECT_EQ(rig.scsi_in(rig.slot, kTestUnitReady, 64, &residue), 0) << "case 4: the host wants more than there is";
  EXPECT_EQ(residue, 64u);
  EXPECT_EQ(rig.scsi_in(rig.slot, read_10(3, 2), 512), 2) << "case 7: less";
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks, 1), Bytes{sector_byte(3)});
  EXPECT_EQ(rig.scsi_in(rig.slot, read_10(3, 2), 0), 2) << "case 2: nothing";
  EXPECT_EQ(rig.scsi_in(rig.slot, write_10(3, 1), 512), 2) << "case 8: the other way";
  EXPECT_EQ(rig.scsi_out(rig.slot, read_10(3, 1), 512), 2) << "case 10";
  EXPECT_EQ(rig.scsi_out(rig.slot, kTestUnitReady, 512, &residue), 0) << "case 9";
  EXPECT_EQ(residue, 512u);
  EXPECT_EQ(rig.scsi_out(rig.slot, write_10(3, 2), 512), 2) << "case 13";
  EXPECT_EQ(rig.node.content[3 * 512], sector_byte(3)) << "nothing is written of what is not understood";
}

TEST(UsbStorage, WhatIsNoCommandStallsUntilItIsReset) {
  DiskRig rig;
  rig.put(XhciRig::kWrapper, Bytes(31, 0x11));
  EXPECT_EQ(rig.transfer(rig.slot, kOut, XhciRig::kWrapper, 31)->code, Code::kStall);
  rig.recover(rig.slot, kOut);
  const usb::Setup clear_out{.type = 2, .request = CLEAR_FEATURE, .value = ENDPOINT_HALT, .index = 2};
  const usb::Setup clear_in{.type = 2, .request = CLEAR_FEATURE, .value = ENDPOINT_HALT, .index = 0x81};
  EXPECT_TRUE(rig.control(rig.slot, clear_out));
  EXPECT_EQ(rig.transfer(rig.slot, kOut, XhciRig::kWrapper, 31)->code, Code::kStall) << "clearing the halt is not enough (6.6.1)";
  rig.recover(rig.slot, kOut);
  EXPECT_TRUE(rig.control(rig.slot, {.type = 0x21, .request = 0xff}));
  EXPECT_TRUE(rig.control(rig.slot, clear_in));
  EXPECT_TRUE(rig.control(rig.slot, clear_out));
  EXPECT_EQ(rig.scsi_in(rig.slot, kTestUnitReady, 0), 0);
}

TEST(UsbStorage, AResetEndsWhatIsUnderWayUnseen) {
  DiskRig rig;
  rig.node.hold = true;
  rig.send_command(rig.slot, read_10(0, 1), 512, true);
  EXPECT_FALSE(rig.transfer(rig.slot, kInEndpoint, XhciRig::kBlocks, 512));
  EXPECT_TRUE(rig.control(rig.slot, {.type = 0x21, .request = 0xff}));
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  EXPECT_EQ(rig.transfer_event()->code, Code::kStall);
  rig.recover(rig.slot, kInEndpoint);
  EXPECT_EQ(rig.scsi_in(rig.slot, read_10(7, 1), 512), 0);
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks, 1), Bytes{sector_byte(7)});
}

// Linux's usb-storage never asks for the cache, takes it for absent and does not flush.
TEST(UsbStorage, WritesAreDurableForWhoKnowsNoCache) {
  DiskRig rig;
  const auto last = [&] { return rig.node.asked.back(); };
  rig.scsi_out(rig.slot, write_10(0, 1), 512);
  EXPECT_TRUE(last().starts_with("write fua")) << last();
  EXPECT_EQ(rig.scsi_in(rig.slot, {0x1a, 0, 0x3f, 0, 192, 0}, 192), 0);
  rig.scsi_out(rig.slot, write_10(0, 1), 512);
  EXPECT_TRUE(last().starts_with("write fua")) << "asking for write protection by all pages is not asking for the cache";
  EXPECT_EQ(rig.scsi_in(rig.slot, {0x1a, 0, 0x08, 0, 192, 0}, 192), 0);
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks + 12, 3), (Bytes{8, 18, 4})) << "WCE";
  rig.scsi_out(rig.slot, write_10(0, 1), 512);
  EXPECT_FALSE(last().starts_with("write fua"));
  rig.scsi_out(rig.slot, write_10(0, 1, true), 512);
  EXPECT_TRUE(last().starts_with("write fua")) << last();
  EXPECT_EQ(rig.scsi_in(rig.slot, {0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0), 0);
  EXPECT_TRUE(last().starts_with("flush"));
}

TEST(UsbStorage, Unmaps) {
  DiskRig rig;
  Bytes list(24);
  list[1] = 22;
  list[3] = 16;
  list[15] = 100;  // first block
  list[19] = 8;
  rig.put(XhciRig::kBlocks, list);
  EXPECT_EQ(rig.scsi_out(rig.slot, {0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 24), 0);
  EXPECT_TRUE(rig.node.asked.back().starts_with("discard")) << rig.node.asked.back();
  list[15] = 255;
  list[14] = 255;
  rig.put(XhciRig::kBlocks, list);
  EXPECT_EQ(rig.scsi_out(rig.slot, {0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 24), 1);
  EXPECT_EQ(rig.sense(), (Bytes{5, 0x21, 0}));
}

// --- keyboard and tablet ---------------------------------------------------------------------------------------------

struct HidRig : XhciRig {
  explicit HidRig(unsigned port_number) {
    start();
    slot = hid(port_number);
  }
  // What the device says; empty: nothing.
  Bytes report(uint32_t size = 8) {
    if (!waiting) queue(slot, kInEndpoint, {.parameter = kData, .status = size, .control = type(Type::kNormal) | trb::IOC | trb::ISP});
    waiting = true;
    ring_doorbell(slot, kInEndpoint);
    const auto moved = transfer_event();
    if (!moved) return {};
    waiting = false;
    return bytes(kData, size - moved->residue);
  }
  unsigned slot = 0;
  bool waiting = false;
};

TEST(UsbKeyboard, ReportsEachChange) {
  HidRig rig(XhciRig::kKeyboardPort);
  using display::KeyCode;
  EXPECT_EQ(rig.report(), Bytes{});
  rig.keyboard->key(KeyCode::kShift, true);
  rig.keyboard->key(KeyCode::kA, true);
  rig.keyboard->key(KeyCode::kA, true);  // it repeats
  rig.keyboard->key(KeyCode::kShift, false);
  rig.run_loop();
  EXPECT_EQ(rig.report(), (Bytes{2, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(rig.report(), (Bytes{2, 0, 4, 0, 0, 0, 0, 0}));
  EXPECT_EQ(rig.report(), (Bytes{0, 0, 4, 0, 0, 0, 0, 0}));
  EXPECT_EQ(rig.report(), Bytes{});
}

TEST(UsbKeyboard, SaysWhenTooManyKeysAreDown) {
  HidRig rig(XhciRig::kKeyboardPort);
  Bytes last;
  for (unsigned i = 0; i < 7; ++i) {
    rig.keyboard->key(static_cast<display::KeyCode>(static_cast<unsigned>(display::KeyCode::kQ) + i), true);
    last = rig.report();
  }
  EXPECT_EQ(last, (Bytes{0, 0, 1, 1, 1, 1, 1, 1}));
}

TEST(UsbKeyboard, NoKeyStaysDownForAnEventThatWasLost) {
  HidRig rig(XhciRig::kKeyboardPort);
  for (unsigned i = 0; i < 200; ++i) rig.keyboard->key(display::KeyCode::kA, i % 2 == 0 || i == 199);
  Bytes last;
  for (Bytes report = rig.report(); !report.empty(); report = rig.report()) last = report;
  EXPECT_EQ(last, Bytes(8));
}

TEST(UsbKeyboard, AnswersTheRequestsOfABootKeyboard) {
  HidRig rig(XhciRig::kKeyboardPort);
  EXPECT_EQ(rig.control(rig.slot, {.type = 0xa1, .request = 3, .length = 1}), Bytes{1});
  EXPECT_TRUE(rig.control(rig.slot, {.type = 0x21, .request = 11, .value = 0}));
  EXPECT_EQ(rig.control(rig.slot, {.type = 0xa1, .request = 3, .length = 1}), Bytes{0});
  EXPECT_EQ(rig.control(rig.slot, {.type = 0xa1, .request = 1, .value = 0x0100, .length = 8}), Bytes(8));
  EXPECT_TRUE(rig.control(rig.slot, {.type = 0x21, .request = 9, .value = 0x0200, .length = 1}, {1}));
  EXPECT_EQ(rig.keyboard->leds(), (display::Leds{.num = true}));
  EXPECT_FALSE(rig.control(rig.slot, {.type = 0x21, .request = 77}));
}

// HID, 7.2.4: with an idle rate a report is made again after its time.
TEST(UsbKeyboard, RepeatsItsReportIfAsked) {
  HidRig rig(XhciRig::kKeyboardPort);
  EXPECT_TRUE(rig.control(rig.slot, {.type = 0x21, .request = 10, .value = 25 << 8}));  // 100 ms
  EXPECT_EQ(rig.control(rig.slot, {.type = 0xa1, .request = 2, .length = 1}), Bytes{25});
  rig.keyboard->key(display::KeyCode::kB, true);
  EXPECT_EQ(rig.report(), (Bytes{0, 0, 5, 0, 0, 0, 0, 0}));
  EXPECT_EQ(rig.report(), Bytes{}) << "the clock stands still";
  rig.clock.restore(rig.clock.now() + 100'000'000);
  rig.clock.start();
  rig.loop->clock_changed();
  while (!(rig.get_trb(XhciRig::kEventRing + rig.events.index * kTrbSize).has(trb::C) == rig.events.cycle)) rig.loop->poll(-1);
  EXPECT_EQ(rig.report(), (Bytes{0, 0, 5, 0, 0, 0, 0, 0}));
}

TEST(UsbKeyboard, EveryUsageIsThereOnce) {
  std::map<uint8_t, std::set<uint16_t>> keys;
  for (unsigned i = 1; i < static_cast<unsigned>(display::KeyCode::kCount); ++i) {
    const auto key = static_cast<display::KeyCode>(i);
    if (const uint8_t usage = key_usage(key)) keys[usage].insert(display::evdev_code(key));
  }
  EXPECT_GT(keys.size(), 120u);
  for (const auto& [usage, codes] : keys) EXPECT_EQ(codes.size(), 1u) << "usage " << unsigned{usage};
}

TEST(UsbTablet, ReportsPositionsAndWheels) {
  HidRig rig(XhciRig::kTabletPort);
  EXPECT_EQ(rig.report(), Bytes{});
  rig.tablet->pointer_absolute(0x1234, 0x7fff, {.left = true});
  EXPECT_EQ(rig.report(), (Bytes{1, 0x34, 0x12, 0xff, 0x7f, 0, 0}));
  rig.tablet->wheel(2, -1, {.right = true});
  EXPECT_EQ(rig.report(), (Bytes{2, 0x34, 0x12, 0xff, 0x7f, 0xfe, 0xff}));
  rig.tablet->pointer_absolute(1, 2, {.middle = true});
  rig.tablet->pointer_absolute(3, 4, {.middle = true});
  EXPECT_EQ(rig.report(), (Bytes{4, 3, 0, 4, 0, 0, 0})) << "of movements that nobody has fetched, the last";
  rig.tablet->pointer_absolute(65535, 5, {});
  EXPECT_EQ(rig.report(), (Bytes{0, 0xff, 0x7f, 5, 0, 0, 0}));
  EXPECT_EQ(rig.report(), Bytes{});
}

TEST(UsbTablet, IsNotABootDevice) {
  HidRig rig(XhciRig::kTabletPort);
  EXPECT_FALSE(rig.control(rig.slot, {.type = 0xa1, .request = 3, .length = 1}));
}

}  // namespace
}  // namespace skerry::devices::usb::test
