// The xHCI controller as its drivers see it: registers, commands, transfers, events.
#include "unit/devices/usb_xhci_driver.hpp"

namespace skerry::devices::usb::test {
namespace {

TEST(XhciRegisters, SayWhatThereIs) {
  XhciRig rig;
  EXPECT_EQ(rig.host.config_read(0, 5 << 3, bus::pci::kClass, 4) & 0xff'ffff, 0x0c0330u);
  EXPECT_EQ(rig.read(CAPLENGTH), 0x0110'0040u);
  EXPECT_EQ(rig.mmio.read(XhciRig::kBarAt, 1), 0x40u);
  EXPECT_EQ(rig.read(HCSPARAMS1), 12u << 24 | 4u << 8 | 16u);
  EXPECT_EQ(rig.read(DBOFF), 0x2000u);
  EXPECT_EQ(rig.read(RTSOFF), 0x1000u);
  EXPECT_EQ(rig.operational(USBSTS), usbsts::HCH);
  EXPECT_EQ(rig.operational(PAGESIZE), 1u);
}

// The two lists that HCCPARAMS1 leads to: SuperSpeed ports 1 to 8, USB 2 ports 9 to 12 (7.2).
TEST(XhciRegisters, NamesTheProtocolsOfPorts) {
  XhciRig rig;
  uint64_t at = rig.read(HCCPARAMS1) >> 16 << 2;
  EXPECT_EQ(rig.read(at), 0x0300'0402u);
  EXPECT_EQ(rig.read(at + 4), 0x2042'5355u);
  EXPECT_EQ(rig.read(at + 8), 8u << 8 | 1u);
  at += (rig.read(at) >> 8 & 0xff) * 4;
  EXPECT_EQ(rig.read(at), 0x0200'0002u);
  EXPECT_EQ(rig.read(at + 8), 4u << 8 | 9u);
}

TEST(XhciRegisters, TakeOnlyDwords) {
  XhciRig rig;
  rig.mmio.write(XhciRig::kBarAt + kOperationalAt + CONFIG, 1, 7);
  EXPECT_EQ(rig.operational(CONFIG), 0u);
  rig.set_operational(CONFIG, 7);
  EXPECT_EQ(rig.operational(CONFIG), 7u);
}

TEST(XhciPorts, ShowDevicesAndTheirSpeeds) {
  XhciRig rig;
  EXPECT_EQ(rig.port(1), portsc::CCS | portsc::PED | portsc::PP | 4u << 10 | portsc::CSC);  // U0
  EXPECT_EQ(rig.port(2), portsc::PP | 5u << 5);                                              // RxDetect
  EXPECT_EQ(rig.port(9), portsc::CCS | portsc::PP | 7u << 5 | portsc::CSC);                  // polling: it waits for a reset
}

TEST(XhciPorts, TellOfWhatTheyFind) {
  XhciRig rig;
  rig.start();
  std::vector<uint64_t> ports;
  while (const auto event = rig.next_event()) {
    EXPECT_EQ(event->type(), Type::kPortStatusChange);
    EXPECT_EQ(XhciRig::code_of(*event), Code::kSuccess);
    ports.push_back(event->parameter >> 24);
  }
  EXPECT_EQ(ports, (std::vector<uint64_t>{1, 9, 10}));
  EXPECT_TRUE(rig.operational(USBSTS) & usbsts::PCD);
}

TEST(XhciPorts, AreEnabledByAReset) {
  XhciRig rig;
  rig.start();
  while (rig.next_event()) {
  }
  rig.set_port(9, portsc::PP | portsc::CSC);
  EXPECT_FALSE(rig.port(9) & portsc::CSC);
  rig.set_port(9, portsc::PP | portsc::PR);
  EXPECT_EQ(rig.port(9), portsc::CCS | portsc::PED | portsc::PP | 1u << 10 | portsc::PRC);
  const auto event = rig.next_event();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->parameter >> 24, 9u);
  rig.set_port(9, portsc::PP | portsc::PED | portsc::PRC);  // writing 1 disables
  EXPECT_FALSE(rig.port(9) & portsc::PED);
}

TEST(XhciPorts, AWarmResetSaysSo) {
  XhciRig rig;
  rig.start();
  rig.set_port(1, portsc::PP | portsc::WPR | portsc::CSC);
  EXPECT_EQ(rig.port(1) & portsc::kChanges, portsc::WRC | portsc::PRC);
}

TEST(XhciCommands, AreAnswered) {
  XhciRig rig;
  rig.start();
  EXPECT_EQ(rig.code(Type::kNoOpCommand), Code::kSuccess);
  EXPECT_EQ(rig.code(Type::kNormal), Code::kTrbError);  // none of a command ring
  EXPECT_EQ(rig.code(Type::kDisableSlot, XhciRig::slot_bits(3)), Code::kSlotNotEnabled);
  EXPECT_EQ(rig.code(Type::kDisableSlot, XhciRig::slot_bits(200)), Code::kSlotNotEnabled);
  EXPECT_TRUE(rig.operational(CRCR) & crcr::CRR);
}

TEST(XhciCommands, GoOnAcrossTheRingsEnd) {
  XhciRig rig;
  rig.start();
  for (unsigned i = 0; i < 3 * XhciRig::kRingSize; ++i) ASSERT_EQ(rig.code(Type::kNoOpCommand), Code::kSuccess) << i;
}

TEST(XhciCommands, SlotsAreAsManyAsTheDriverEnables) {
  XhciRig rig;
  rig.start();
  rig.set_operational(CONFIG, 2);
  EXPECT_EQ(rig.command(Type::kEnableSlot)->slot, 1u);
  EXPECT_EQ(rig.command(Type::kEnableSlot)->slot, 2u);
  EXPECT_EQ(rig.code(Type::kEnableSlot), Code::kNoSlots);
  EXPECT_EQ(rig.code(Type::kDisableSlot, XhciRig::slot_bits(1)), Code::kSuccess);
  EXPECT_EQ(rig.command(Type::kEnableSlot)->slot, 1u);
}

TEST(XhciCommands, ADeviceIsAddressed) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.address(1);
  EXPECT_EQ(rig.get32(XhciRig::context(slot) + 12), static_cast<uint32_t>(SlotState::kAddressed) << 27 | slot);
  EXPECT_EQ(rig.state_of(slot, kControl), EndpointState::kRunning);
  // Again it is none that has no address.
  EXPECT_EQ(rig.code(Type::kAddressDevice, XhciRig::slot_bits(slot), XhciRig::kInput), Code::kContextState);
}

TEST(XhciCommands, FirstWithoutAnAddressIfTheDriverWants) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.command(Type::kEnableSlot)->slot;
  rig.put64(XhciRig::kContextArray + slot * 8, XhciRig::context(slot));
  rig.put_input(0, 3, 1, 1);
  rig.put_endpoint(slot, kControl, EndpointType::kControl);
  EXPECT_EQ(rig.code(Type::kAddressDevice, XhciRig::slot_bits(slot) | trb::BSR, XhciRig::kInput), Code::kSuccess);
  EXPECT_EQ(rig.get32(XhciRig::context(slot) + 12), static_cast<uint32_t>(SlotState::kDefault) << 27);
  EXPECT_TRUE(rig.control(slot, {.type = 0x80, .request = GET_DESCRIPTOR, .value = 0x0100, .length = 8}));
  rig.put64(XhciRig::input(kControl) + 8, XhciRig::ring_at(slot, kControl) + rig.rings[{slot, kControl}].index * kTrbSize + 1);
  EXPECT_EQ(rig.code(Type::kAddressDevice, XhciRig::slot_bits(slot), XhciRig::kInput), Code::kSuccess);
  EXPECT_EQ(rig.get32(XhciRig::context(slot) + 12), static_cast<uint32_t>(SlotState::kAddressed) << 27 | slot);
}

TEST(XhciCommands, NobodyIsAddressedWhereNobodyIs) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.command(Type::kEnableSlot)->slot;
  rig.put64(XhciRig::kContextArray + slot * 8, XhciRig::context(slot));
  rig.put_input(0, 3, 2, 1);
  rig.put_endpoint(slot, kControl, EndpointType::kControl);
  const auto again = [&] { return rig.code(Type::kAddressDevice, XhciRig::slot_bits(slot), XhciRig::kInput); };
  EXPECT_EQ(again(), Code::kTransactionError);
  rig.put32(XhciRig::input(0) + 4, 9u << 16);
  EXPECT_EQ(again(), Code::kTransactionError) << "its port is not enabled";
  rig.put32(XhciRig::input(0) + 4, 200u << 16);
  EXPECT_EQ(again(), Code::kParameterError);
  rig.put32(XhciRig::input(0) + 4, 1u << 16);
  rig.put32(XhciRig::input(0), 5);
  EXPECT_EQ(again(), Code::kTransactionError) << "behind a hub that is none";
}

TEST(XhciCommands, ADeviceHasOneSlot) {
  XhciRig rig;
  rig.start();
  rig.address(1);
  const unsigned other = rig.command(Type::kEnableSlot)->slot;
  rig.put64(XhciRig::kContextArray + other * 8, XhciRig::context(other));
  EXPECT_EQ(rig.code(Type::kAddressDevice, XhciRig::slot_bits(other), XhciRig::kInput), Code::kParameterError);
}

TEST(XhciCommands, EndpointsAreConfiguredStoppedAndDropped) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  const uint32_t out = XhciRig::endpoint_bits(slot, kOut);
  EXPECT_EQ(rig.get32(XhciRig::context(slot) + 12) >> 27, static_cast<uint32_t>(SlotState::kConfigured));
  EXPECT_EQ(rig.state_of(slot, kOut), EndpointState::kRunning);
  EXPECT_EQ(rig.code(Type::kSetDequeue, out, XhciRig::ring_at(slot, kOut) | 1), Code::kContextState);
  EXPECT_EQ(rig.code(Type::kResetEndpoint, out), Code::kContextState);
  EXPECT_EQ(rig.code(Type::kStopEndpoint, out), Code::kSuccess);
  EXPECT_EQ(rig.state_of(slot, kOut), EndpointState::kStopped);
  EXPECT_EQ(rig.code(Type::kStopEndpoint, out), Code::kContextState);
  EXPECT_EQ(rig.code(Type::kSetDequeue, out, (XhciRig::ring_at(slot, kOut) + 32) | 1), Code::kSuccess);
  EXPECT_EQ(rig.get32(XhciRig::context(slot, kOut) + 8), static_cast<uint32_t>(XhciRig::ring_at(slot, kOut) + 32) | 1);
  EXPECT_EQ(rig.code(Type::kConfigureEndpoint, XhciRig::slot_bits(slot) | trb::DC), Code::kSuccess);
  EXPECT_EQ(rig.state_of(slot, kOut), EndpointState::kDisabled);
  EXPECT_EQ(rig.get32(XhciRig::context(slot) + 12) >> 27, static_cast<uint32_t>(SlotState::kAddressed));
}

TEST(XhciCommands, WhatCannotBeIsRefusedWhole) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.address(1);
  EXPECT_EQ(rig.configure(slot, {{kOut, EndpointType::kBulkOut}, {5, EndpointType::kBulkOut}}), Code::kParameterError)
      << "5 is to the host";
  EXPECT_EQ(rig.state_of(slot, kOut), EndpointState::kDisabled);
  EXPECT_EQ(rig.code(Type::kConfigureEndpoint, XhciRig::slot_bits(slot), 0x4000'0000), Code::kTrbError) << "no memory";
}

TEST(XhciCommands, TheRingIsStoppedByTheDriver) {
  XhciRig rig;
  rig.start();
  EXPECT_EQ(rig.code(Type::kNoOpCommand), Code::kSuccess);
  rig.set_operational(CRCR, crcr::CA);
  const auto event = rig.next_event_of(Type::kCommandCompletion);
  ASSERT_TRUE(event);
  EXPECT_EQ(XhciRig::code_of(*event), Code::kCommandRingStopped);
  EXPECT_EQ(event->parameter, XhciRig::kCommandRing + kTrbSize);
  EXPECT_FALSE(rig.operational(CRCR) & crcr::CRR);
  EXPECT_EQ(rig.code(Type::kNoOpCommand), Code::kSuccess) << "the doorbell starts it again";
}

TEST(XhciCommands, WaitForTheTransferThatIsUnderWay) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  rig.scsi_in(slot, kTestUnitReady, 0);
  rig.node.hold = true;
  rig.send_command(slot, read_10(0, 1), 512, true);
  EXPECT_FALSE(rig.transfer(slot, kInEndpoint, XhciRig::kBlocks, 512));
  EXPECT_FALSE(rig.command(Type::kStopEndpoint, XhciRig::endpoint_bits(slot, kInEndpoint)));
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  const auto moved = rig.next_event();
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->type(), Type::kTransferEvent);
  const auto stopped = rig.next_event();
  ASSERT_TRUE(stopped);
  EXPECT_EQ(XhciRig::code_of(*stopped), Code::kSuccess);
  EXPECT_EQ(rig.state_of(slot, kInEndpoint), EndpointState::kStopped);
}

TEST(XhciCommands, ADeviceIsResetToItsDefaultState) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  EXPECT_EQ(rig.code(Type::kResetDevice, XhciRig::slot_bits(slot)), Code::kSuccess);
  EXPECT_EQ(rig.get32(XhciRig::context(slot) + 12), static_cast<uint32_t>(SlotState::kDefault) << 27);
  EXPECT_EQ(rig.state_of(slot, kOut), EndpointState::kDisabled);
}

TEST(XhciCommands, EvaluateTakesThePacketSize) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.address(9);
  rig.put_input(0, 2, 0, 0);
  rig.put32(XhciRig::input(kControl) + 4, 64u << 16);
  EXPECT_EQ(rig.code(Type::kEvaluateContext, XhciRig::slot_bits(slot), XhciRig::kInput), Code::kSuccess);
  EXPECT_EQ(rig.get32(XhciRig::context(slot, kControl) + 4) >> 16, 64u);
  EXPECT_EQ(rig.get32(XhciRig::context(slot, kControl) + 4) >> 3 & 7, 4u) << "the rest of the dword stays";
}

TEST(XhciTransfers, ShortPacketsTellWhatIsLeft) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.address(1);
  const auto all = rig.control(slot, {.type = 0x80, .request = GET_DESCRIPTOR, .value = 0x0100, .length = 64});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 18u);
  EXPECT_EQ((*all)[1], DEVICE);
  EXPECT_EQ((*all)[3], 3) << "USB 3";
}

TEST(XhciTransfers, AStallHaltsUntilTheDriverActs) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.address(1);
  EXPECT_FALSE(rig.control(slot, {.type = 0x80, .request = GET_DESCRIPTOR, .value = 0x7700, .length = 64}));
  EXPECT_TRUE(rig.control(slot, {.type = 0x80, .request = GET_DESCRIPTOR, .value = 0x0100, .length = 18}));
}

// A transfer in pieces, the last of them behind a link that does not turn the cycle.
TEST(XhciTransfers, ChainsGoThroughLinks) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  rig.scsi_in(slot, kTestUnitReady, 0);
  rig.send_command(slot, read_10(3, 2), 1024, true);
  const memory::Gpa elsewhere = 0x20'0000;
  rig.queue(slot, kInEndpoint, {.parameter = XhciRig::kBlocks, .status = 300, .control = type(Type::kNormal) | trb::CH});
  rig.queue(slot, kInEndpoint, {.parameter = elsewhere, .control = type(Type::kLink) | trb::CH});
  rig.put_trb(elsewhere, {.parameter = XhciRig::kBlocks + 300, .status = 700, .control = type(Type::kNormal) | trb::CH | trb::C});
  rig.put_trb(elsewhere + 16, {.parameter = XhciRig::kBlocks + 1000, .status = 24, .control = type(Type::kNormal) | trb::IOC | trb::C});
  const memory::Gpa back = XhciRig::ring_at(slot, kInEndpoint) + rig.rings[{slot, kInEndpoint}].index * kTrbSize;
  rig.put_trb(elsewhere + 32, {.parameter = back, .control = type(Type::kLink) | trb::C});
  rig.ring_doorbell(slot, kInEndpoint);
  const auto event = rig.next_event_of(Type::kTransferEvent);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->parameter, elsewhere + 16);
  EXPECT_EQ(event->status, 1u << 24);
  EXPECT_EQ(rig.bytes(XhciRig::kBlocks + 511, 2), (Bytes{sector_byte(3), sector_byte(4)}));
  EXPECT_EQ(rig.get_status(slot), 0);
}

TEST(XhciTransfers, AShortPacketIsToldOnce) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  rig.scsi_in(slot, kTestUnitReady, 0);
  rig.send_command(slot, {0x12, 0, 0, 0, 36, 0}, 36, true);
  const memory::Gpa at =
      rig.queue(slot, kInEndpoint, {.parameter = XhciRig::kBlocks, .status = 64, .control = type(Type::kNormal) | trb::CH | trb::ISP});
  rig.queue(slot, kInEndpoint, {.parameter = XhciRig::kBlocks + 64, .status = 64, .control = type(Type::kNormal) | trb::IOC | trb::ISP});
  rig.ring_doorbell(slot, kInEndpoint);
  const auto event = rig.next_event();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->parameter, at);
  EXPECT_EQ(event->status, 13u << 24 | 28u);
  EXPECT_FALSE(rig.next_event());
}

TEST(XhciTransfers, EventDataTellsWhatHasMoved) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  rig.scsi_in(slot, kTestUnitReady, 0);
  rig.send_command(slot, {0x12, 0, 0, 0, 36, 0}, 36, true);
  rig.queue(slot, kInEndpoint, {.parameter = XhciRig::kBlocks, .status = 20, .control = type(Type::kNormal) | trb::CH});
  rig.queue(slot, kInEndpoint, {.parameter = XhciRig::kBlocks + 20, .status = 100, .control = type(Type::kNormal) | trb::CH});
  rig.queue(slot, kInEndpoint, {.parameter = 0x1122'3344'5566'7788, .control = type(Type::kEventData) | trb::IOC});
  rig.ring_doorbell(slot, kInEndpoint);
  const auto event = rig.next_event_of(Type::kTransferEvent);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->parameter, 0x1122'3344'5566'7788u);
  EXPECT_TRUE(event->has(trb::ED));
  EXPECT_EQ(event->status, 13u << 24 | 36u);  // a short packet
}

TEST(XhciTransfers, ImmediateDataIsInTheTrb) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.hid(XhciRig::kKeyboardPort);
  rig.queue_setup(slot, {.type = 0x21, .request = 9, .value = 0x0200, .length = 1});
  rig.queue(slot, kControl, {.parameter = 0x06, .status = 1, .control = type(Type::kData) | trb::IDT});
  rig.queue(slot, kControl, {.control = type(Type::kStatus) | trb::IOC | trb::DIR});
  rig.ring_doorbell(slot, kControl);
  EXPECT_EQ(rig.transfer_event()->code, Code::kSuccess);
  EXPECT_EQ(rig.keyboard->leds(), (display::Leds{.scroll = true, .num = false, .caps = true}));
}

TEST(XhciTransfers, NoOpsAreTold) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  const memory::Gpa at = rig.queue(slot, kOut, {.control = type(Type::kNoOp) | trb::IOC});
  rig.ring_doorbell(slot, kOut);
  const auto event = rig.next_event_of(Type::kTransferEvent);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->parameter, at);
  EXPECT_EQ(XhciRig::code_of(*event), Code::kSuccess);
}

TEST(XhciTransfers, WaitForTheRestOfTheTransfer) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.address(1);
  rig.queue_setup(slot, {.type = 0x80, .request = GET_CONFIGURATION, .length = 1});
  rig.ring_doorbell(slot, kControl);
  EXPECT_FALSE(rig.next_event_of(Type::kTransferEvent));
  rig.queue(slot, kControl, {.parameter = XhciRig::kData, .status = 1, .control = type(Type::kData) | trb::DIR});
  rig.queue(slot, kControl, {.control = type(Type::kStatus) | trb::IOC});
  rig.ring_doorbell(slot, kControl);
  EXPECT_EQ(rig.transfer_event()->code, Code::kSuccess);
}

TEST(XhciTransfers, WhatIsNoMemoryIsAnError) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  EXPECT_EQ(rig.transfer(slot, kOut, 0x4000'0000, 31)->code, Code::kTrbError);
  EXPECT_EQ(rig.state_of(slot, kOut), EndpointState::kError);
  EXPECT_EQ(rig.code(Type::kSetDequeue, XhciRig::endpoint_bits(slot, kOut), (XhciRig::ring_at(slot, kOut) + 16) | 1), Code::kSuccess);
  EXPECT_EQ(rig.state_of(slot, kOut), EndpointState::kStopped);
  EXPECT_EQ(rig.scsi_in(slot, kTestUnitReady, 0), 1) << "unit attention";
}

TEST(XhciTransfers, ALoopOfLinksEnds) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  const memory::Gpa ring = XhciRig::ring_at(slot, kOut);
  rig.queue(slot, kOut, {.parameter = ring, .control = type(Type::kLink)});
  rig.ring_doorbell(slot, kOut);
  EXPECT_EQ(rig.transfer_event()->code, Code::kTrbError);
  EXPECT_EQ(rig.state_of(slot, kOut), EndpointState::kError);
}

TEST(XhciTransfers, AChainWithoutEndEnds) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  const memory::Gpa ring = XhciRig::ring_at(slot, kOut);
  rig.queue(slot, kOut, {.parameter = XhciRig::kData, .status = 16, .control = type(Type::kNormal) | trb::CH});
  rig.queue(slot, kOut, {.parameter = ring, .control = type(Type::kLink)});
  rig.ring_doorbell(slot, kOut);
  EXPECT_EQ(rig.transfer_event()->code, Code::kTrbError);
}

TEST(XhciTransfers, ADoorbellOfBeforeDoesNotStartAStoppedEndpoint) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.hid(XhciRig::kKeyboardPort);
  rig.queue(slot, kInEndpoint, {.parameter = XhciRig::kData, .status = 8, .control = type(Type::kNormal) | trb::IOC});
  rig.ring_doorbell(slot, kInEndpoint);
  EXPECT_EQ(rig.code(Type::kStopEndpoint, XhciRig::endpoint_bits(slot, kInEndpoint)), Code::kSuccess);
  rig.keyboard->key(display::KeyCode::kA, true);
  rig.run_loop();
  EXPECT_FALSE(rig.next_event());
  EXPECT_EQ(rig.state_of(slot, kInEndpoint), EndpointState::kStopped);
  rig.ring_doorbell(slot, kInEndpoint);
  EXPECT_EQ(rig.transfer_event()->code, Code::kSuccess);
}

// The doorbell is rung, and before the controller has looked, the command to stop.
TEST(XhciTransfers, WhatIsStoppedBeforeItBeganStaysStopped) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.hid(XhciRig::kKeyboardPort);
  rig.keyboard->key(display::KeyCode::kA, true);
  rig.queue(slot, kInEndpoint, {.parameter = XhciRig::kData, .status = 8, .control = type(Type::kNormal) | trb::IOC});
  rig.enqueue(XhciRig::kCommandRing, rig.commands,
              {.control = type(Type::kStopEndpoint) | XhciRig::endpoint_bits(slot, kInEndpoint)});
  rig.mmio.write(XhciRig::kBarAt + kDoorbellsAt + 4 * slot, 4, kInEndpoint);
  rig.mmio.write(XhciRig::kBarAt + kDoorbellsAt, 4, 0);
  rig.run_loop();
  const auto event = rig.next_event();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type(), Type::kCommandCompletion);
  EXPECT_FALSE(rig.next_event());
  EXPECT_EQ(rig.state_of(slot, kInEndpoint), EndpointState::kStopped);
}

TEST(XhciEvents, InterruptOnceUntilTheDriverHasLooked) {
  XhciRig rig;
  rig.start();
  while (rig.next_event()) {
  }
  rig.set_interrupter(IMAN, iman::IE | iman::IP);
  EXPECT_FALSE(rig.lines.high);
  rig.enqueue(XhciRig::kCommandRing, rig.commands, {.control = type(Type::kNoOpCommand)});
  rig.ring_doorbell(0, 0);
  EXPECT_TRUE(rig.lines.high);
  EXPECT_TRUE(rig.operational(USBSTS) & usbsts::EINT);
  rig.set_interrupter(IMAN, iman::IE | iman::IP);
  EXPECT_FALSE(rig.lines.high);
  rig.enqueue(XhciRig::kCommandRing, rig.commands, {.control = type(Type::kNoOpCommand)});
  rig.ring_doorbell(0, 0);
  EXPECT_FALSE(rig.lines.high) << "it is still busy";
  ASSERT_TRUE(rig.next_event()) << "of the first; that clears EHB, and the second is there";
  EXPECT_TRUE(rig.lines.high);
}

TEST(XhciEvents, InterruptByMessages) {
  XhciRig rig;
  rig.start();
  while (rig.next_event()) {
  }
  unsigned at = rig.host.config_read(0, 5 << 3, bus::pci::kCapabilities, 1);
  while (at != 0 && rig.host.config_read(0, 5 << 3, at, 1) != bus::pci::kCapMsix) at = rig.host.config_read(0, 5 << 3, at + 1, 1);
  ASSERT_NE(at, 0u);
  rig.mmio.write(XhciRig::kMsixAt, 4, 0xfee0'0000);
  rig.mmio.write(XhciRig::kMsixAt + 8, 4, 0x41);
  rig.mmio.write(XhciRig::kMsixAt + 12, 4, 0);
  rig.host.config_write(0, 5 << 3, at + 2, 2, 0x8000);
  rig.set_interrupter(IMAN, iman::IE | iman::IP);
  EXPECT_EQ(rig.code(Type::kNoOpCommand), Code::kSuccess);
  ASSERT_EQ(rig.messages.sent.size(), 1u);
  EXPECT_EQ(rig.messages.sent[0], (std::pair<uint64_t, uint32_t>{0xfee0'0000, 0x41}));
  EXPECT_FALSE(rig.interrupter(IMAN) & iman::IP) << "the message takes it away";
  EXPECT_FALSE(rig.lines.high);
}

TEST(XhciEvents, AreModerated) {
  XhciRig rig;
  rig.start(4000);  // 1 ms
  while (rig.next_event()) {
  }
  rig.set_interrupter(IMAN, iman::IE | iman::IP);
  EXPECT_EQ(rig.code(Type::kNoOpCommand), Code::kSuccess);
  EXPECT_FALSE(rig.interrupter(IMAN) & iman::IP) << "the clock stands still";
  rig.clock.restore(rig.clock.now() + 1'000'000);
  EXPECT_EQ(rig.code(Type::kNoOpCommand), Code::kSuccess);
  EXPECT_TRUE(rig.interrupter(IMAN) & iman::IP);
}

// 4.9.4: the last free place says that there is no other; nothing is lost.
TEST(XhciEvents, AFullRingHoldsUpWhatMakesThem) {
  XhciRig rig;
  rig.start();
  while (rig.next_event()) {
  }
  rig.begin_events(16);
  for (unsigned i = 0; i < 30; ++i) rig.enqueue(XhciRig::kCommandRing, rig.commands, {.control = type(Type::kNoOpCommand)});
  rig.ring_doorbell(0, 0);
  unsigned completions = 0, full = 0;
  for (unsigned rounds = 0; rounds < 10; ++rounds) {
    while (const auto event = rig.next_event(false)) {
      completions += event->type() == Type::kCommandCompletion;
      if (event->type() == Type::kHostController) {
        EXPECT_EQ(XhciRig::code_of(*event), Code::kEventRingFull);
        ++full;
      }
    }
    if (rounds == 0) {
      EXPECT_EQ(completions, 14u);
      EXPECT_EQ(full, 1u);
    }
    rig.set_interrupter(ERDP, static_cast<uint32_t>(XhciRig::kEventRing + rig.events.index * kTrbSize) | kEventBusy);
  }
  EXPECT_EQ(completions, 30u);
  EXPECT_GE(full, 2u);
}

TEST(XhciEvents, ARingInSegments) {
  XhciRig rig;
  rig.start();
  const memory::Gpa segments[] = {0x20'0000, 0x20'1000};
  for (unsigned i = 0; i < 2; ++i) {
    rig.put64(XhciRig::kEventTable + 16 * i, segments[i]);
    rig.put32(XhciRig::kEventTable + 16 * i + 8, 16);
  }
  rig.set_interrupter(ERSTSZ, 2);
  rig.set_interrupter(ERDP, static_cast<uint32_t>(segments[0]));
  rig.set_interrupter(ERSTBA, XhciRig::kEventTable);
  for (unsigned i = 0; i < 40; ++i) {
    const memory::Gpa command = rig.enqueue(XhciRig::kCommandRing, rig.commands, {.control = type(Type::kNoOpCommand)});
    rig.ring_doorbell(0, 0);
    const memory::Gpa at = segments[i / 16 % 2] + i % 16 * kTrbSize;
    ASSERT_EQ(rig.get_trb(at).parameter, command) << i;
    ASSERT_EQ(rig.get_trb(at).has(trb::C), i < 32) << i;
    const unsigned next = i + 1;
    rig.set_interrupter(ERDP, static_cast<uint32_t>(segments[next / 16 % 2] + next % 16 * kTrbSize) | kEventBusy);
  }
}

TEST(XhciEvents, ARingThatIsNoneStopsTheController) {
  XhciRig rig;
  rig.start();
  rig.put64(XhciRig::kEventTable, 0x4000'0000);
  rig.set_interrupter(ERSTBA, XhciRig::kEventTable);
  rig.ring_doorbell(0, 0);
  rig.enqueue(XhciRig::kCommandRing, rig.commands, {.control = type(Type::kNoOpCommand)});
  rig.ring_doorbell(0, 0);
  EXPECT_TRUE(rig.operational(USBSTS) & usbsts::HCE);
  rig.start();
  EXPECT_EQ(rig.code(Type::kNoOpCommand), Code::kSuccess) << "a reset leads out";
}

TEST(XhciLife, AResetWaitsForWhatIsUnderWay) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  rig.scsi_in(slot, kTestUnitReady, 0);
  rig.node.hold = true;
  rig.send_command(slot, read_10(0, 1), 512, true);
  EXPECT_FALSE(rig.transfer(slot, kInEndpoint, XhciRig::kBlocks, 512));
  rig.set_operational(USBCMD, 0);
  EXPECT_FALSE(rig.operational(USBSTS) & usbsts::HCH);
  rig.set_operational(USBCMD, usbcmd::HCRST);
  EXPECT_TRUE(rig.operational(USBCMD) & usbcmd::HCRST);
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  EXPECT_EQ(rig.operational(USBCMD), 0u);
  EXPECT_EQ(rig.operational(USBSTS), usbsts::HCH);
  rig.start();
  rig.disk();
}

TEST(XhciLife, ComesToRestAndGoesOn) {
  XhciRig rig;
  rig.start();
  const unsigned slot = rig.disk();
  rig.scsi_in(slot, kTestUnitReady, 0);
  rig.node.hold = true;
  rig.send_command(slot, read_10(9, 1), 512, true);
  EXPECT_FALSE(rig.transfer(slot, kInEndpoint, XhciRig::kBlocks, 512));
  bool at_rest = false;
  rig.xhci.quiesce([&] { at_rest = true; });
  rig.run_loop();
  EXPECT_FALSE(at_rest);
  rig.node.hold = false;
  rig.node.release();
  rig.run_loop();
  EXPECT_TRUE(at_rest);
  rig.enqueue(XhciRig::kCommandRing, rig.commands, {.control = type(Type::kNoOpCommand)});
  rig.ring_doorbell(0, 0);
  EXPECT_EQ(rig.transfer_event()->code, Code::kSuccess);
  EXPECT_FALSE(rig.next_event());
  rig.xhci.resume();
  rig.run_loop();
  EXPECT_TRUE(rig.next_event_of(Type::kCommandCompletion));
  EXPECT_EQ(rig.get_status(slot), 0);
}

// --- state -----------------------------------------------------------------------------------------------------------

skerry::test::Trace drive(XhciRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  const auto note = [&](uint64_t value) { trace.push_back(value); };
  rig.map();
  rig.xhci.resume();
  rig.run_loop();
  for (unsigned i = 0; i < 40; ++i) {
    const unsigned slot = 1 + static_cast<unsigned>(random() % 3);
    switch (random() % 10) {
      case 0: note(rig.port(1 + static_cast<unsigned>(random() % kPorts))); break;
      case 1: rig.set_port(random() % 2 ? 1 : 9, portsc::PP | static_cast<uint32_t>(random() & (portsc::PR | portsc::kChanges))); break;
      case 2: rig.keyboard->key(static_cast<display::KeyCode>(1 + random() % 60), random() % 2); break;
      case 3:
        rig.tablet->pointer_absolute(static_cast<uint16_t>(random()), static_cast<uint16_t>(random()),
                                     {.left = random() % 2 == 0});
        break;
      case 4: note(rig.interrupter(static_cast<uint32_t>(random() % 8) * 4, static_cast<unsigned>(random() % kInterrupters))); break;
      case 5: rig.ring_doorbell(slot, static_cast<unsigned>(random() % 5)); break;
      case 6: note(rig.operational(static_cast<uint32_t>(random() % 16) * 4)); break;
      case 7: rig.set_interrupter(ERDP, static_cast<uint32_t>(random()) & 0x3f'fff8); break;
      default: note(rig.lines.high); note(rig.messages.sent.size());
    }
    rig.run_loop();
  }
  rig.start();
  const unsigned slot = rig.disk();
  rig.scsi_in(slot, kTestUnitReady, 0);
  note(rig.scsi_in(slot, read_10(static_cast<uint32_t>(random() % 1000), 2), 1024));
  for (const uint8_t byte : rig.bytes(XhciRig::kBlocks, 4)) note(byte);
  const unsigned keyboard = rig.hid(XhciRig::kKeyboardPort);
  rig.queue(keyboard, kInEndpoint, {.parameter = XhciRig::kData, .status = 8, .control = type(Type::kNormal) | trb::IOC});
  rig.ring_doorbell(keyboard, kInEndpoint);
  return trace;
}

TEST(XhciState, Survives) { skerry::test::run_state_test<XhciRig>(5, drive); }

// At a random point of a conversation, each of whose steps has to go on in the copy.
TEST(XhciState, SurvivesAtAnyPoint) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    auto rig = std::make_unique<XhciRig>();
    const auto move_house = [&] {
      bool at_rest = false;
      rig->xhci.quiesce([&] { at_rest = true; });
      rig->run_loop();
      ASSERT_TRUE(at_rest);
      const auto state = skerry::test::save(rig->xhci);
      auto copy = std::make_unique<XhciRig>();
      copy->follow(*rig);
      const auto loaded = skerry::test::load(copy->xhci, state);
      ASSERT_TRUE(loaded) << loaded.error().message();
      copy->map();
      copy->xhci.resume();
      copy->run_loop();
      rig = std::move(copy);
    };
    const auto maybe = [&] {
      if (random() % 3 != 0) return;
      ASSERT_NO_FATAL_FAILURE(move_house());
    };
    rig->start();
    ASSERT_NO_FATAL_FAILURE(maybe());
    const unsigned slot = rig->disk(), keyboard = rig->hid(XhciRig::kKeyboardPort);
    rig->scsi_in(slot, kTestUnitReady, 0);
    for (unsigned round = 0; round < 24; ++round) {  // the rings go round
      const auto first = static_cast<uint32_t>(random() % 1000);
      rig->put(XhciRig::kBlocks, Bytes(1024, static_cast<uint8_t>(round)));
      ASSERT_TRUE(rig->send_command(slot, write_10(first, 2), 1024, false));
      ASSERT_NO_FATAL_FAILURE(maybe());
      ASSERT_TRUE(rig->transfer(slot, kOut, XhciRig::kBlocks, 512));
      ASSERT_NO_FATAL_FAILURE(maybe());
      ASSERT_TRUE(rig->transfer(slot, kOut, XhciRig::kBlocks + 512, 512));
      ASSERT_NO_FATAL_FAILURE(maybe());
      ASSERT_EQ(rig->get_status(slot), 0);
      ASSERT_TRUE(rig->send_command(slot, read_10(first, 2), 1024, true));
      ASSERT_NO_FATAL_FAILURE(maybe());
      ASSERT_EQ(rig->transfer(slot, kInEndpoint, XhciRig::kBlocks, 1024)->residue, 0u);
      ASSERT_NO_FATAL_FAILURE(maybe());
      ASSERT_EQ(rig->get_status(slot), 0);
      ASSERT_EQ(rig->bytes(XhciRig::kBlocks, 1024), Bytes(1024, static_cast<uint8_t>(round)));
      rig->queue(keyboard, kInEndpoint, {.parameter = XhciRig::kData, .status = 8, .control = type(Type::kNormal) | trb::IOC});
      rig->ring_doorbell(keyboard, kInEndpoint);
      rig->keyboard->key(display::KeyCode::kB, round % 2 == 0);
      rig->keyboard->key(display::KeyCode::kShift, round % 2 == 0);
      rig->run_loop();
      ASSERT_NO_FATAL_FAILURE(maybe());
      ASSERT_TRUE(rig->transfer_event());
      ASSERT_EQ(rig->bytes(XhciRig::kData, 8)[2], round % 2 == 0 ? 5 : 0);
      rig->queue(keyboard, kInEndpoint, {.parameter = XhciRig::kData, .status = 8, .control = type(Type::kNormal) | trb::IOC});
      rig->ring_doorbell(keyboard, kInEndpoint);
      ASSERT_TRUE(rig->transfer_event());
      ASSERT_EQ(rig->bytes(XhciRig::kData, 8)[0], round % 2 == 0 ? 2 : 0);
    }
  }
}

}  // namespace
}  // namespace skerry::devices::usb::test
