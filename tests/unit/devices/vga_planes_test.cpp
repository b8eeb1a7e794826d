// The legacy window of the VGA's memory: modes of addressing, and the data path against a model that goes bit by bit.
#include <random>

#include "unit/devices/vga_rig.hpp"

namespace skerry::devices::vga::test {
namespace {

// "IBM VGA Technical Reference", "Graphics Controller Registers" and "Sequencer Registers": one pixel after the other.
struct Model {
  std::array<uint8_t, 9> gr{};
  uint8_t map_mask = 0, memory_mode = 0;
  std::array<std::array<uint8_t, 4>, 0x10000> memory{};  // [address][plane]
  std::array<uint8_t, 4> latches{};

  bool chain_4() const { return memory_mode & 8; }
  unsigned address(unsigned at) const { return chain_4() ? at / 4 : gr[6] & 2 ? at / 2 : at; }
  bool written(unsigned plane, unsigned at) const {
    if (!(map_mask >> plane & 1)) return false;
    if (chain_4()) return plane == at % 4;
    if (!(memory_mode & 4)) return plane % 2 == at % 2;
    return true;
  }
  bool pixel(unsigned plane, unsigned bit, uint8_t value) const {
    const bool latch = latches[plane] >> bit & 1;
    const bool rotated = value >> ((bit + (gr[3] & 7)) % 8) & 1;
    const bool set_reset = gr[0] >> plane & 1;
    const unsigned mode = gr[5] & 3;
    if (mode == 1) return latch;
    bool pass = gr[8] >> bit & 1;
    bool in = false;
    if (mode == 0) in = gr[1] >> plane & 1 ? set_reset : rotated;
    if (mode == 2) in = value >> plane & 1;
    if (mode == 3) in = set_reset, pass = pass && rotated;
    if (!pass) return latch;
    switch (gr[3] >> 3) {
      case 0: return in;
      case 1: return in && latch;
      case 2: return in || latch;
      default: return in != latch;
    }
  }
  void write(unsigned at, uint8_t value) {
    for (unsigned plane = 0; plane < 4; ++plane) {
      if (!written(plane, at)) continue;
      uint8_t result = 0;
      for (unsigned bit = 0; bit < 8; ++bit) result |= static_cast<uint8_t>(pixel(plane, bit, value) << bit);
      memory[address(at)][plane] = result;
    }
  }
  uint8_t read(unsigned at) {
    latches = memory[address(at)];
    if (gr[5] & 8) {
      uint8_t result = 0;
      for (unsigned bit = 0; bit < 8; ++bit) {
        bool same = true;
        for (unsigned plane = 0; plane < 4; ++plane)
          if (gr[7] >> plane & 1 && (latches[plane] >> bit & 1) != (gr[2] >> plane & 1)) same = false;
        if (same) result |= static_cast<uint8_t>(1 << bit);
      }
      return result;
    }
    if (chain_4()) return latches[at % 4];
    if (gr[5] & 0x10) return latches[(gr[4] & 2) + at % 2];
    return latches[gr[4]];
  }
};

void set_registers(VgaRig& rig, Model& model, std::mt19937_64& random) {
  constexpr std::array<uint8_t, 9> kBits = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
  for (unsigned i = 0; i < 9; ++i) {
    model.gr[i] = static_cast<uint8_t>(random()) & kBits[i];
    if (i == 6) model.gr[i] = (model.gr[i] & 3) | 4;  // at 0xa0000
    rig.gr(i, model.gr[i]);
  }
  model.map_mask = random() & 0xf;
  model.memory_mode = random() & 0xe;
  rig.seq(2, model.map_mask);
  rig.seq(4, model.memory_mode);
}

TEST(VgaPlanes, EveryWriteAndReadModeIsThatOfTheManual) {
  constexpr uint64_t kSeed = 20261122;
  std::printf("seed %llu\n", static_cast<unsigned long long>(kSeed));
  std::mt19937_64 random(kSeed);
  VgaRig rig;
  auto model = std::make_unique<Model>();
  rig.out(0x3c2, 0x63);
  for (int step = 0; step < 4000; ++step) {
    set_registers(rig, *model, random);
    for (int access = 0; access < 12; ++access) {
      // Few addresses, so that writes meet.
      const unsigned at = random() % 4 ? static_cast<unsigned>(random() % 32) : 0xffff - static_cast<unsigned>(random() % 32);
      if (random() % 2) {
        const uint8_t value = static_cast<uint8_t>(random());
        rig.core.write_window(at, 1, value);
        model->write(at, value);
      } else {
        ASSERT_EQ(rig.core.read_window(at, 1), model->read(at)) << "step " << step << " at " << at;
      }
    }
  }
  EXPECT_EQ(std::memcmp(rig.vram.data(), model->memory.data(), 0x40000), 0);
}

TEST(VgaPlanes, WideAccessesAreThoseOfTheirBytes) {
  VgaRig rig;
  rig.set(kMode13);
  rig.core.write_window(0x101, 8, 0x8877665544332211);
  for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(rig.core.read_window(0x101 + i, 1), 0x11u * (i + 1));
  EXPECT_EQ(rig.core.read_window(0x103, 4), 0x66554433u);
  EXPECT_EQ(rig.core.read_window(0x103, 2), 0x4433u);
  EXPECT_EQ(rig.core.read_window(0xfffe, 8), 0xffff'ffff'ffff'0000u);  // the end of the map
}

TEST(VgaPlanes, Chain4LiesAsTheLinearFrameBuffer) {
  VgaRig rig;
  rig.set(kMode13);
  for (unsigned i = 0; i < 0x10000; ++i) rig.core.write_window(i, 1, i % 251);
  for (unsigned i = 0; i < 0x10000; ++i) ASSERT_EQ(static_cast<unsigned>(rig.vram[i]), i % 251) << i;
}

TEST(VgaPlanes, TextIsInPlanes0And1AndItsFontInPlane2) {
  VgaRig rig;
  rig.set(kMode3);
  rig.put(0x100, 'A', 0x1f);
  EXPECT_EQ(rig.core.read_window(0x18100, 2), 0x1f41u);
  EXPECT_EQ(rig.vram[0x200], std::byte{'A'});
  EXPECT_EQ(rig.vram[0x201], std::byte{0x1f});
  // As every BIOS and Linux load a font.
  rig.seq(2, 4), rig.seq(4, 7), rig.gr(4, 2), rig.gr(5, 0), rig.gr(6, 4);
  rig.core.write_window('A' * 32 + 3, 1, 0xa5);
  EXPECT_EQ(rig.core.read_window('A' * 32 + 3, 1), 0xa5u);
  EXPECT_EQ(rig.vram[('A' * 32 + 3) * 4 + 2], std::byte{0xa5});
  rig.seq(2, 3), rig.seq(4, 3), rig.gr(4, 0), rig.gr(5, 0x10), rig.gr(6, 0x0e);
  EXPECT_EQ(rig.core.read_window(0x18100, 2), 0x1f41u);
}

TEST(VgaPlanes, AreWhereTheMemoryMapSelectSays) {
  VgaRig rig;
  rig.set(kMode12);
  constexpr std::array<std::array<uint64_t, 2>, 4> kMaps = {{{0, 0x20000}, {0, 0x10000}, {0x10000, 0x18000}, {0x18000, 0x20000}}};
  for (unsigned select = 0; select < 4; ++select) {
    rig.gr(6, 1 | select << 2);
    const auto [start, end] = kMaps[select];
    for (const uint64_t at : {uint64_t{0}, uint64_t{0xffff}, uint64_t{0x10000}, uint64_t{0x17fff}, uint64_t{0x18000}, uint64_t{0x1ffff}}) {
      std::ranges::fill(rig.memory, 0);
      rig.core.write_window(at, 1, 0x5a);
      const bool inside = at >= start && at < end && at - start < 0x10000;
      EXPECT_EQ(rig.core.read_window(at, 1), inside ? 0x5au : 0xffu) << select << " " << at;
      EXPECT_EQ(rig.vram[(inside ? at - start : 0) * 4], inside ? std::byte{0x5a} : std::byte{0}) << select << " " << at;
    }
  }
  rig.gr(6, 5);
  rig.out(0x3c2, 0xe1);  // memory off
  EXPECT_EQ(rig.core.read_window(0, 1), 0xffu);
}

TEST(VgaPlanes, BanksReachAllOfTheMemory) {
  VgaRig rig(1 << 20);
  rig.vbe(1024, 768, 8);
  for (unsigned bank = 0; bank < 16; ++bank) {
    rig.dispi(Dispi::VBE_DISPI_INDEX_BANK, bank);
    rig.core.write_window(0x1234, 4, 0xa0b0c000 + bank);
    EXPECT_EQ(rig.core.read_window(0x1234, 4), 0xa0b0c000 + bank);
    EXPECT_EQ(static_cast<unsigned>(rig.vram[bank * 0x10000 + 0x1234]), bank);
  }
  for (const unsigned bank : {16u, 0xffffu}) {  // behind the end
    rig.dispi(Dispi::VBE_DISPI_INDEX_BANK, bank);
    rig.core.write_window(0, 1, 1);
    EXPECT_EQ(rig.core.read_window(0, 1), 0xffu);
  }
}

TEST(VgaPlanes, BanksOfVbeAreLinearWhateverTheModeBeforeNeeded) {
  VgaRig rig;
  rig.set(kMode12);
  rig.seq(2, 1), rig.gr(0, 0xf), rig.gr(1, 0xf), rig.gr(3, 0x1b), rig.gr(5, 3), rig.gr(8, 0x10);
  rig.vbe(320, 200, 8);
  rig.core.write_window(0, 8, 0x0123456789abcdef);
  EXPECT_EQ(rig.memory[0], 0x0123456789abcdefu);
}

}  // namespace
}  // namespace skerry::devices::vga::test
