// Hostile drivers of the USB controller and its devices: random registers, rings, contexts, wrappers and packets, images that
// fail and wait, states from attackers. Nothing may crash, hang, leave memory or the disk; after a reset the controller works
// for an honest driver. tests/fuzz/usb/run gives it more time.
//
// SKERRY_SEED chooses the sessions, SKERRY_FUZZ_MS how long they go on. The seed of a session that ends the program stays as
// a file in SKERRY_CORPUS, and those that are there come first.
#include "unit/devices/fuzz_sessions.hpp"
#include "unit/devices/usb_xhci_driver.hpp"

namespace skerry::devices::usb::test {
namespace {

using skerry::test::Random;
using skerry::test::sessions;

constexpr uint64_t kRam = 4 << 20;

uint64_t address(Random& random) {
  switch (random() % 8) {
    case 0: return kRam - random() % 8192;
    case 1: return random() % 0x10000;  // rings, tables and contexts themselves
    case 2: return random();
    case 3: return XhciRig::ring_at(1 + random() % 3, 1 + random() % 4) + random() % 64 * 16;
    default: return random() % kRam;
  }
}
uint32_t length(Random& random) {
  constexpr uint32_t kLengths[] = {0, 1, 7, 8, 9, 13, 31, 36, 511, 512, 513, 4096, 65536, 0x1'ffff};
  return kLengths[random() % std::size(kLengths)];
}
Trb any_trb(Random& random) {
  constexpr Type kTypes[] = {Type::kNormal, Type::kSetup, Type::kData, Type::kStatus, Type::kLink, Type::kEventData, Type::kNoOp};
  const Type what = random() % 8 ? kTypes[random() % std::size(kTypes)] : static_cast<Type>(random() % 64);
  uint32_t control = type(what) | static_cast<uint32_t>(random() & (trb::TC | trb::ISP | trb::CH | trb::IOC));
  if (random() % 4 == 0) control |= static_cast<uint32_t>(random() & (trb::IDT | trb::BEI));
  if (random() % 2) control &= ~trb::CH;
  const auto interrupter = static_cast<uint32_t>(random() % 8 ? 0 : random() % 1024) << trb::kInterrupterShift;
  return {.parameter = address(random), .status = length(random) | interrupter, .control = control};
}
usb::Setup any_setup(Random& random) {
  constexpr uint8_t kTypes[] = {0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x21, 0xa1};
  constexpr uint8_t kRequests[] = {0, 1, 2, 3, 6, 8, 9, 10, 11, 48, 0xfe, 0xff};
  return {.type = random() % 8 ? kTypes[random() % std::size(kTypes)] : static_cast<uint8_t>(random()),
          .request = random() % 8 ? kRequests[random() % std::size(kRequests)] : static_cast<uint8_t>(random()),
          .value = static_cast<uint16_t>(random() % 2 ? random() % 4 : random() % 4 << 8 | random() % 4),
          .index = static_cast<uint16_t>(random() % 2 ? 0 : random() % 2 ? 0x81 : random()),
          .length = static_cast<uint16_t>(random() % 4 ? random() % 64 : random())};
}
Bytes any_cdb(Random& random) {
  constexpr uint8_t kOperations[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x42, 0x5a,
                                     0x88, 0x8a, 0x8f, 0x91, 0x9e, 0xa0, 0xa8, 0xaa, 0x28, 0x2a, 0x28, 0x2a};
  Bytes cdb(random() % 8 ? (random() % 2 ? 10 : 16) : 1 + random() % 16);
  for (uint8_t& byte : cdb) byte = static_cast<uint8_t>(random() % 3 ? random() % 8 : random());
  cdb[0] = static_cast<uint8_t>(random() % 8 ? kOperations[random() % std::size(kOperations)] : random());
  if (random() % 4)
    for (const size_t i : {2, 3, 6, 7})
      if (i < cdb.size()) cdb[i] = 0;
  return cdb;
}
void disturb(MemoryNode& node, Random& random) {
  switch (random() % 6) {
    case 0: node.hold = true; break;
    case 1: node.error = random() % 2 ? EIO : 0; break;
    default:
      node.hold = false;
      node.release(random() % 2);
  }
}

// The driver's own idea of where its rings stand may be lost by what is written over them; it goes on all the same.
void step(XhciRig& rig, Random& random) {
  const unsigned slot = random() % 4 ? 1 : 1 + static_cast<unsigned>(random() % 3), endpoint = 1 + static_cast<unsigned>(random() % 4);
  const auto poke = [&](uint64_t at, uint32_t value) { rig.mmio.write(XhciRig::kBarAt + at, 4, value); };
  const auto give = [&](Type what, uint32_t control, uint64_t parameter) {
    rig.enqueue(XhciRig::kCommandRing, rig.commands, {.parameter = parameter, .control = type(what) | control});
    poke(kDoorbellsAt, 0);
  };
  // Most of it is a conversation, or else hardly any command would come as far as the disk.
  switch (random() % 4 ? 14 + random() % 8 : random() % 24) {
    case 0:
      if (random() % 4 == 0) poke(kOperationalAt + random() % 16 * 4, static_cast<uint32_t>(random() % 2 ? address(random) : random()));
      break;
    case 1: rig.mmio.write(XhciRig::kBarAt + random() % kBarSize, 1u << random() % 4, random()); break;
    case 2: rig.mmio.read(XhciRig::kBarAt + random() % kBarSize, 1u << random() % 4); break;
    case 3: poke(kPortsAt + random() % kPorts * kPortStride, static_cast<uint32_t>(random())); break;
    case 4:
      if (random() % 4 == 0)
        poke(kInterruptersAt + random() % 4 * kInterrupterStride + random() % 8 * 4,
             static_cast<uint32_t>(address(random)));
      break;
    case 5: disturb(rig.node, random); break;
    case 6: {  // bytes anywhere
      Bytes noise(1 + random() % 64);
      for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random());
      rig.put(random() % (0x2'0000 - noise.size()), noise);
      break;
    }
    case 7:
      give(static_cast<Type>(9 + random() % 16), XhciRig::endpoint_bits(slot, endpoint) | (random() % 4 ? 0 : 1u << 9),
           random() % 4 ? XhciRig::kInput : address(random));
      break;
    case 8: give(Type::kSetDequeue, XhciRig::endpoint_bits(slot, endpoint), address(random) | random() % 2); break;
    case 9:
      rig.put_input(static_cast<uint32_t>(random() % 2 ? 0 : random()),
                    static_cast<uint32_t>(random() % 2 ? 3 : random() % 32), 1 + random() % 12, random() % 32);
      for (unsigned i = 1; i < 5; ++i) rig.put_endpoint(slot, i, static_cast<EndpointType>(random() % 8));
      give(random() % 2 ? Type::kAddressDevice : Type::kConfigureEndpoint, XhciRig::slot_bits(slot), XhciRig::kInput);
      break;
    case 10: rig.keyboard->key(static_cast<display::KeyCode>(1 + random() % 100), random() % 2); break;
    case 11: rig.tablet->wheel(static_cast<int32_t>(random()), static_cast<int32_t>(random()), {.left = random() % 2 == 0}); break;
    case 12: {
      const usb::Setup setup = any_setup(random);
      rig.queue_setup(slot, setup);
      if (setup.length > 0)
        rig.queue(slot, kControl,
                  {.parameter = address(random), .status = setup.length, .control = type(Type::kData) | trb::ISP});
      rig.queue(slot, kControl, {.control = type(Type::kStatus) | trb::IOC});
      poke(kDoorbellsAt + 4 * slot, kControl);
      break;
    }
    case 13: poke(kInterruptersAt + ERDP, static_cast<uint32_t>(XhciRig::kEventRing + random() % 64 * 16) | kEventBusy); break;
    case 14: poke(kDoorbellsAt + 4 * (random() % 18), static_cast<uint32_t>(random() % 34)); break;
    case 15: case 16: case 18: case 19: {  // a command, and what may come after it
      const Bytes cdb = any_cdb(random);
      Bytes wrapper = {0x55, 0x53, 0x42, 0x43, 1, 2, 3, 4};
      const uint32_t said = random() % 2 ? cdb.size() > 8 ? cdb[8] * 512u : 0 : length(random);
      const bool in = random() % 4 ? cdb[0] != 0x2a && cdb[0] != 0x8a && cdb[0] != 0x42 : random() % 2;
      for (unsigned i = 0; i < 4; ++i) wrapper.push_back(static_cast<uint8_t>(said >> (8 * i)));
      wrapper.insert(wrapper.end(), {static_cast<uint8_t>(in ? 0x80 : 0), static_cast<uint8_t>(random() % 16 ? 0 : 1),
                                     static_cast<uint8_t>(cdb.size())});
      wrapper.insert(wrapper.end(), cdb.begin(), cdb.end());
      wrapper.resize(31);
      rig.put(XhciRig::kWrapper, wrapper);
      const auto queue = [&](unsigned on, memory::Gpa at, uint32_t size) {
        rig.queue(slot, on, {.parameter = at, .status = size, .control = type(Type::kNormal) | trb::IOC | trb::ISP});
        poke(kDoorbellsAt + 4 * slot, on);
      };
      queue(kOut, XhciRig::kWrapper, 31);
      if (said > 0) queue(in ? kInEndpoint : kOut, random() % 8 ? XhciRig::kBlocks : address(random), random() % 4 ? said : length(random));
      if (random() % 8) queue(kInEndpoint, XhciRig::kStatus, 13);
      break;
    }
    case 20: case 21: {  // what a driver would do about an endpoint that stands still
      const unsigned on = random() % 2 ? kOut : kInEndpoint;
      give(random() % 2 ? Type::kResetEndpoint : Type::kStopEndpoint, XhciRig::endpoint_bits(slot, on), 0);
      const XhciRig::Place place = rig.rings[{slot, on}];
      give(Type::kSetDequeue, XhciRig::endpoint_bits(slot, on), (XhciRig::ring_at(slot, on) + place.index * kTrbSize) | place.cycle);
      break;
    }
    case 17: give(random() % 2 ? Type::kResetEndpoint : Type::kStopEndpoint, XhciRig::endpoint_bits(slot, endpoint), 0); break;
    default:
      for (unsigned i = random() % 8; i > 0; --i) rig.queue(slot, endpoint, any_trb(random));
      poke(kDoorbellsAt + 4 * slot, endpoint);
  }
  if (random() % 2) rig.loop->poll(0);
  if (random() % 4 == 0)
    for (unsigned i = 0; i < 100 && rig.next_event(); ++i) {
    }
}

// From what a driver has destroyed only a reset leads out; without one the rest of the session would find nobody.
void revive(XhciRig& rig, Random& random) {
  const bool dead = (rig.operational(USBSTS) & usbsts::HCE) || !(rig.operational(USBCMD) & usbcmd::RS);
  if (random() % (dead ? 4 : 30)) return;
  rig.node.hold = false;
  rig.node.release();
  rig.turns = 4;
  rig.map();
  rig.run_loop();
  rig.start();
  rig.disk();
  if (random() % 2) rig.hid(random() % 2 ? XhciRig::kKeyboardPort : XhciRig::kTabletPort);
  rig.turns = 1;
}

void rest(XhciRig& rig) {
  rig.node.error = 0;
  rig.node.hold = false;
  rig.node.release();
  bool at_rest = false;
  rig.xhci.quiesce([&] { at_rest = true; });
  for (int i = 0; i < 200 && !at_rest; ++i) {
    rig.run_loop();
    rig.node.release();
  }
  ASSERT_TRUE(at_rest) << "it does not come to rest";
}
void bend(std::vector<uint8_t>& state, Random& random) {
  for (unsigned i = random() % 6; i > 0; --i) state[random() % state.size()] = static_cast<uint8_t>(random());
}

TEST(UsbFuzz, HostileDrivers) {
  uint64_t asked = 0;
  sessions("xhci", [&](Random& random) {
    XhciRig rig;
    rig.start();
    rig.disk();
    if (random() % 2) rig.hid(XhciRig::kKeyboardPort);
    if (random() % 2) rig.hid(XhciRig::kTabletPort);
    rig.turns = 1;
    for (int i = 0; i < 400; ++i) {
      step(rig, random);
      revive(rig, random);
    }
    ASSERT_NO_FATAL_FAILURE(rest(rig));
    asked += rig.node.asked.size();
    auto state = skerry::test::save(rig.xhci);
    rig.xhci.reset();
    if (random() % 2) {
      bend(state, random);
      if (!skerry::test::load(rig.xhci, state)) rig.xhci.reset();
      rig.map();
      rig.xhci.resume();
      for (int i = 0; i < 50; ++i) step(rig, random);
      ASSERT_NO_FATAL_FAILURE(rest(rig));
      rig.xhci.reset();
    }
    rig.turns = 4;
    rig.map();
    rig.xhci.resume();
    rig.run_loop();
    fill_sectors(rig.node);
    rig.start();
    const unsigned slot = rig.disk();
    rig.scsi_in(slot, kTestUnitReady, 0);
    ASSERT_EQ(rig.scsi_in(slot, read_10(77, 2), 1024), 0);
    ASSERT_EQ(rig.bytes(XhciRig::kBlocks + 1023, 1), Bytes{sector_byte(78)});
  });
  EXPECT_GT(asked, 0u) << "no session has come as far as the disk";
}

}  // namespace
}  // namespace skerry::devices::usb::test
