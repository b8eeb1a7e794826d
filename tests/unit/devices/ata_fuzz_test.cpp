// Hostile drivers of both disk controllers: random registers, lists, regions and packets, images that fail and wait, states
// from attackers. Nothing may crash, hang, leave memory or the disk; after a reset the controller works for an honest driver.
// tests/fuzz/ata/run gives it more time.
#include <gtest/gtest.h>

#include "unit/devices/ata_ahci_driver.hpp"
#include "unit/devices/ata_ide_driver.hpp"
#include "unit/devices/fuzz_sessions.hpp"

namespace skerry::devices::ata::test {
namespace {

using skerry::test::Random;
using skerry::test::sessions;

constexpr uint64_t kRam = 1 << 20;

uint64_t address(Random& random) {
  switch (random() % 8) {
    case 0: return kRam - random() % 8192;
    case 1: return random() % 0x4000;  // lists and tables themselves
    case 2: return random();
    case 3: return 0xffff'ffff - random() % 4096;
    default: return random() % kRam;
  }
}
uint32_t length(Random& random) {
  constexpr uint32_t kLengths[] = {0, 1, 2, 3, 511, 512, 513, 2048, 4096, 65535, 65536, 0x3f'ffff, 0x40'0000, ~0u};
  return kLengths[random() % std::size(kLengths)];
}
TaskFile task(Random& random) {
  constexpr uint8_t kCommands[] = {0x06, 0x08, 0x20, 0x24, 0x25, 0x27, 0x29, 0x2f, 0x30, 0x34, 0x35, 0x39, 0x3d, 0x40, 0x42, 0x60,
                                   0x61, 0x90, 0x91, 0xa0, 0xa1, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xce, 0xe0, 0xe5, 0xe7, 0xea, 0xec,
                                   0xef, 0xf8, 0x60, 0x61, 0x25, 0x35, 0xa0, 0xa0, 0xa0, 0xc8, 0xca};
  const auto few = [&] { return static_cast<uint16_t>(random() % 4 ? random() % 20 : random()); };
  return {.command = static_cast<uint8_t>(random() % 8 ? kCommands[random() % std::size(kCommands)] : random()),
          .device = static_cast<uint8_t>(random() % 4 ? device::LBA : random()),
          .feature = few(),
          .count = static_cast<uint16_t>(random() % 2 ? few() : (random() % 32) << 3),
          .lba = random() % 4 ? random() % 2100 : random() & 0xffff'ffff'ffff};
}
Packet packet(Random& random) {
  constexpr uint8_t kOperations[] = {0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x43, 0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbd, 0xbe, 0x28, 0x28};
  Packet packet;
  for (uint8_t& byte : packet) byte = static_cast<uint8_t>(random() % 3 ? random() % 8 : random());
  packet[0] = static_cast<uint8_t>(random() % 8 ? kOperations[random() % std::size(kOperations)] : random());
  if (random() % 2) packet[2] = packet[3] = packet[4] = packet[7] = 0;
  return packet;
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
void bend(std::vector<uint8_t>& state, Random& random) {
  for (unsigned i = random() % 6; i > 0; --i) state[random() % state.size()] = static_cast<uint8_t>(random());
}
// What every session has to come to: rest.
template <typename Rig, typename Controller>
void rest(Rig& rig, Controller& controller) {
  rig.node.error = 0;
  for (MemoryNode* node : {&rig.node, &rig.other()}) {
    node->hold = false;
    node->release();
  }
  bool at_rest = false;
  controller.quiesce([&] { at_rest = true; });
  for (int i = 0; i < 200 && !at_rest; ++i) {
    rig.run_loop();
    for (MemoryNode* node : {&rig.node, &rig.other()}) node->release();
  }
  ASSERT_TRUE(at_rest) << "it does not come to rest";
}

struct HostileAhci : AhciRig {
  HostileAhci() : AhciRig(kRam) {
    ahci.plug_in(1, std::make_unique<Cdrom>("cd", &disc, Cdrom::Options{}));
  }
  MemoryNode& other() { return disc; }
  MemoryNode disc{64 * 2048, true};
};

void ahci_step(HostileAhci& rig, Random& random) {
  const unsigned port = random() % 8 ? random() % 2 : random() % 6, slot = random() % 4 ? random() % 4 : random() % 32;
  const auto poke = [&](uint32_t at, uint32_t value) { rig.mmio.write(AhciRig::kBarAt + at, 4, value); };
  switch (random() % 16) {
    case 0: rig.start(port); break;
    case 1: poke(static_cast<uint32_t>(random() % 0x440), static_cast<uint32_t>(random())); break;
    case 2: poke(AhciRig::port_at(port, static_cast<uint32_t>(random() % 20) * 4), static_cast<uint32_t>(random())); break;
    case 3: rig.mmio.write(AhciRig::kBarAt + random() % 0x1000, 1u << random() % 4, random()); break;
    case 4: poke(AhciRig::port_at(port, random() % 2 ? ahci::PxCLB : ahci::PxFB), static_cast<uint32_t>(address(random))); break;
    case 5: poke(AhciRig::port_at(port, ahci::PxSCTL), random() % 2 ? 0x301 : 0x300); break;
    case 6: if (random() % 4 == 0) poke(ahci::GHC, 0x8000'0001); break;
    case 7: disturb(random() % 2 ? rig.node : rig.disc, random); break;
    case 8: {  // bytes anywhere
      Bytes noise(1 + random() % 64);
      for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random());
      rig.put(random() % (0x20'000 - noise.size()), noise);
      break;
    }
    case 9: poke(AhciRig::port_at(port, ahci::PxCMD), random() % 2 ? 0x10 : 0x11); break;
    default: {
      std::vector<AhciRig::Piece> pieces;
      for (unsigned i = random() % 12; i > 0; --i) pieces.push_back({address(random), length(random)});
      const Packet what = packet(random);
      rig.put_command(slot, task(random), pieces, random() % 2, random() % 2 ? &what : nullptr);
      if (random() % 16 == 0) rig.put32(AhciRig::kList + slot * 32, 0xffff'0000 | static_cast<uint32_t>(random()));  // a long table
      if (random() % 16 == 0) rig.put32(AhciRig::kList + slot * 32 + 8, static_cast<uint32_t>(address(random)));
      if (random() % 16 == 0) rig.put(rig.table(slot) + 1, Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(random())});
      poke(AhciRig::port_at(port, ahci::PxSACT), static_cast<uint32_t>(1u << slot & random()));
      poke(AhciRig::port_at(port, ahci::PxCI), 1u << slot);
    }
  }
  if (random() % 2) rig.loop->poll(0);
}

TEST(AtaFuzz, HostileAhciDrivers) {
  sessions("ahci", [](Random& random) {
    HostileAhci rig;
    rig.start(0);
    rig.start(1);
    rig.turns = 1;
    for (int i = 0; i < 600; ++i) ahci_step(rig, random);
    ASSERT_NO_FATAL_FAILURE(rest(rig, rig.ahci));
    auto state = skerry::test::save(rig.ahci);
    rig.ahci.reset();
    if (random() % 2) {
      bend(state, random);
      if (!skerry::test::load(rig.ahci, state)) rig.ahci.reset();
      rig.map();
      rig.ahci.resume();
      for (int i = 0; i < 50; ++i) ahci_step(rig, random);
      ASSERT_NO_FATAL_FAILURE(rest(rig, rig.ahci));
      rig.ahci.reset();
    }
    rig.turns = 4;
    rig.map();
    rig.ahci.resume();
    fill_sectors(rig.node);
    rig.start(0);
    ASSERT_TRUE(rig.command(dma(kReadDmaExt, 77, 2), {{0x8'0000, 1024}}));
    ASSERT_EQ(rig.bytes(0x8'0000 + 1023, 1), Bytes{sector_byte(78)});
  });
}

struct HostileIde : IdeRig {
  HostileIde() : IdeRig(kRam) {}
  MemoryNode& other() { return disc; }
};

void ide_step(HostileIde& rig, Random& random) {
  const unsigned channel = random() % 2;
  switch (random() % 14) {
    case 0: rig.pio.write(IdeRig::control(channel), 1, random() % 4 ? 0 : random()); break;
    case 1: rig.pio.write(IdeRig::block(channel) + random() % 8, 1u << random() % 3, random()); break;
    case 2: rig.pio.read(IdeRig::block(channel) + random() % 8, 1u << random() % 3); break;
    case 3: disturb(random() % 2 ? rig.node : rig.disc, random); break;
    case 4:
      for (unsigned i = random() % 600; i > 0; --i) rig.pio.read(IdeRig::block(channel), random() % 2 ? 2 : 4);
      break;
    case 5: {
      const Packet what = packet(random);
      rig.hand(Bytes(what.begin(), what.end()), channel);
      break;
    }
    case 6:
      for (unsigned i = random() % 300; i > 0; --i) rig.pio.write(IdeRig::block(channel), 2, random() % 4 ? 0 : random());
      break;
    case 7: {
      const memory::Gpa at = address(random);
      for (unsigned i = random() % 20; i > 0; --i) {
        const memory::Gpa entry = (at + 8 * i) % (kRam - 8);
        rig.put32(entry, static_cast<uint32_t>(address(random)));
        rig.put32(entry + 4, length(random) | (random() % 4 ? 0 : 0x8000'0000));
      }
      rig.pio.write(rig.master(4, channel), 4, at);
      break;
    }
    case 8: rig.pio.write(rig.master(static_cast<unsigned>(random() % 8), channel), 1u << random() % 3, random()); break;
    case 9: rig.pio.write(rig.master(0, channel), 1, random() % 2 ? 9 : 1); break;
    case 10: rig.pio.write(rig.master(0, channel), 1, 0); break;
    default: {
      TaskFile what = task(random);
      what.device = static_cast<uint8_t>((what.device & 0xef) | (random() % 2 ? 0x10 : 0));
      rig.give(what, channel, random() % 2);
    }
  }
  if (random() % 2) rig.loop->poll(0);
}

TEST(AtaFuzz, HostileIdeDrivers) {
  sessions("ide", [](Random& random) {
    HostileIde rig;
    rig.turns = 1;
    for (int i = 0; i < 600; ++i) ide_step(rig, random);
    ASSERT_NO_FATAL_FAILURE(rest(rig, rig.ide));
    auto state = skerry::test::save(rig.ide);
    rig.ide.reset();
    if (random() % 2) {
      bend(state, random);
      if (!skerry::test::load(rig.ide, state)) rig.ide.reset();
      rig.map();
      rig.ide.resume();
      for (int i = 0; i < 50; ++i) ide_step(rig, random);
      ASSERT_NO_FATAL_FAILURE(rest(rig, rig.ide));
      rig.ide.reset();
    }
    rig.turns = 4;
    rig.map();
    rig.ide.resume();
    rig.run_loop();
    fill_sectors(rig.node);
    rig.give({.command = 0x20, .device = 0xe0, .count = 1, .lba = 77});
    ASSERT_EQ(rig.take(512), Bytes(512, sector_byte(77)));
  });
}

}  // namespace
}  // namespace skerry::devices::ata::test
