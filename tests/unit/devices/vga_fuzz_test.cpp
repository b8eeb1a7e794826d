// Hostile guests of the VGA: ports, window, dispi registers, memory and states in any order, and pictures of what that comes
// to. Nothing may crash, reach out of the memory or make a screen without bound; after a reset a mode can be set and seen.
// tests/fuzz/vga/run gives it more time.
#include <thread>

#include "unit/devices/fuzz_sessions.hpp"
#include "unit/devices/vga_rig.hpp"
#include "unit/state_test.hpp"

namespace skerry::devices::vga::test {
namespace {

using skerry::test::Random;

struct HostileRig : VgaRig {
  HostileRig() : VgaRig(512 * 1024) {}
};

uint16_t number(Random& random) {
  constexpr uint16_t kEdges[] = {0, 1, 7, 8, 255, 640, 1024, 2560, 4095, 4096, 4097, 0x7fff, 0x8000, 0xffff};
  return random() % 2 ? kEdges[random() % std::size(kEdges)] : static_cast<uint16_t>(random() % 2 ? random() % 2048 : random());
}

void set_some_mode(VgaRig& rig, Random& random) {
  constexpr Mode kModes[] = {kMode1, kMode3, kMode4, kMode6, kMode0d, kMode12, kMode13};
  constexpr unsigned kDepths[] = {4, 8, 15, 16, 24, 32};
  if (random() % 2)
    rig.set(kModes[random() % std::size(kModes)]);
  else
    rig.vbe(number(random), number(random), kDepths[random() % std::size(kDepths)], static_cast<unsigned>(random()));
}

void scribble(VgaRig& rig, Random& random) {
  for (unsigned i = 0; i < 64; ++i) rig.memory[random() % rig.memory.size()] = random();
}

void expect_picture(VgaRig& rig, Random& random) {
  rig.draw(static_cast<int64_t>(random()));
  ASSERT_LE(rig.size.width, std::max<uint32_t>(Dispi::kMaxXres, 256 * 18));
  ASSERT_LE(rig.size.height, Dispi::kMaxYres);
}

void step(VgaRig& rig, Random& random) {
  const uint8_t byte = static_cast<uint8_t>(random());
  switch (random() % 16) {
    case 0: set_some_mode(rig, random); break;
    case 1: scribble(rig, random); break;
    case 2: rig.crtc(static_cast<unsigned>(random() % 26), byte); break;
    case 3: rig.seq(static_cast<unsigned>(random() % 8), byte); break;
    case 4: rig.gr(static_cast<unsigned>(random() % 10), byte); break;
    case 5: rig.ar(static_cast<unsigned>(random() % 0x18), byte); break;
    case 6: rig.out(static_cast<uint16_t>(random() % 4 ? VgaCore::kFirstPort + random() % VgaCore::kPorts : random()), byte); break;
    case 7: rig.in(static_cast<uint16_t>(random() % 4 ? VgaCore::kFirstPort + random() % VgaCore::kPorts : random())); break;
    case 8: rig.out(0x3c2, byte | (random() % 2 ? 3 : 0)); break;
    case 9: rig.dispi(static_cast<uint16_t>(random() % 12), number(random)); break;
    case 10: rig.dispi(static_cast<uint16_t>(random() % 12)); break;
    case 11:
      if (random() % 8 == 0) rig.core.reset();
      break;
    default: {
      const uint64_t at = random() % 8 ? random() % VgaCore::kWindowSize : random();
      const unsigned size = 1u << random() % 4;
      if (random() % 2)
        rig.core.write_window(at, size, random());
      else
        rig.core.read_window(at, size);
    }
  }
}

void bend(std::vector<uint8_t>& state, Random& random) {
  for (unsigned i = random() % 6; i > 0; --i) state[random() % state.size()] = static_cast<uint8_t>(random());
}

TEST(VgaFuzz, HostileGuests) {
  skerry::test::sessions("vga", [](Random& random) {
    HostileRig rig;
    set_some_mode(rig, random);
    for (int i = 0; i < 400; ++i) {
      step(rig, random);
      if (random() % 40) continue;
      ASSERT_NO_FATAL_FAILURE(expect_picture(rig, random));
    }
    if (random() % 2) {
      auto state = skerry::test::save(rig.device());
      bend(state, random);
      if (!skerry::test::load(rig.device(), state)) rig.core.reset();
      ASSERT_NO_FATAL_FAILURE(expect_picture(rig, random));
      for (int i = 0; i < 20; ++i) step(rig, random);
      ASSERT_NO_FATAL_FAILURE(expect_picture(rig, random));
    }
    rig.core.reset();
    rig.set(kMode3);
    rig.put_glyph('A', 0x81);
    rig.put(0, 'A', 0x0f);
    rig.draw();
    ASSERT_EQ(rig.size, (display::Screen::Size{720, 400}));
    ASSERT_EQ(rig.row(0, 8, 8), "f000000f");
  });
}

// Any registers at all, such as only a state can bring.
TEST(VgaFuzz, PicturesOfAnyRegisters) {
  skerry::test::sessions("registers", [](Random& random) {
    HostileRig rig;
    scribble(rig, random);
    for (int i = 0; i < 8; ++i) {
      skerry::test::randomize(rig.device(), random());
      rig.in(0x3da);
      rig.in(0x3ba);
      rig.out(0x3c0, 0x20);  // else half of them would be black
      if (random() % 4) rig.seq(1, static_cast<unsigned>(random()) & 0x1f);
      ASSERT_NO_FATAL_FAILURE(expect_picture(rig, random));
    }
  });
}

TEST(VgaState, SurvivesAndRandomAccessesAreHarmless) {
  skerry::test::run_state_test<VgaRig>(20, [](VgaRig& rig, Random& random) {
    skerry::test::Trace trace;
    // What is no state.
    std::ranges::fill(rig.memory, 0);
    rig.screen = display::Screen::create({1, 1}).value();
    for (int i = 0; i < 200; ++i) {
      step(rig, random);
      trace.push_back(rig.in(static_cast<uint16_t>(VgaCore::kFirstPort + random() % VgaCore::kPorts)));
      trace.push_back(rig.core.read_window(random() % VgaCore::kWindowSize, 4));
      trace.push_back(rig.dispi(static_cast<uint16_t>(random() % 12)));
    }
    rig.draw(0);
    trace.insert(trace.end(), rig.shown.begin(), rig.shown.end());
    return trace;
  });
}

TEST(VgaState, KeepsTheDepthOfTheDac) {
  VgaRig rig, copy;
  rig.vbe(64, 64, 8, 0x60);
  rig.out(0x3c8, 0);
  rig.out(0x3c9, 0xc3);
  ASSERT_TRUE(skerry::test::load(copy.device(), skerry::test::save(rig.device())));
  copy.out(0x3c7, 0);
  EXPECT_EQ(copy.in(0x3c9), 0xc3);
}

// vCPUs at the registers and in the window while the monitor is drawn.
TEST(VgaThreads, DrawWhileTheGuestGoesOn) {
  HostileRig rig;
  rig.set(kMode3);
  std::vector<std::thread> vcpus;
  for (uint64_t seed = 1; seed <= 2; ++seed)
    vcpus.emplace_back([&rig, seed] {
      Random random(seed);
      for (int i = 0; i < 3000; ++i) {
        rig.core.write_window(random() % VgaCore::kWindowSize, 8, random());
        rig.core.read_window(random() % VgaCore::kWindowSize, 8);
        rig.core.write_port(static_cast<uint16_t>(VgaCore::kFirstPort + random() % VgaCore::kPorts), static_cast<uint8_t>(random()));
        rig.core.write_dispi(static_cast<uint16_t>(random() % 10), number(random));
      }
    });
  for (int i = 0; i < 20; ++i) rig.core.draw(*rig.screen, i * 100'000'000);
  for (std::thread& vcpu : vcpus) vcpu.join();
  rig.core.reset();
  rig.set(kMode3);
  rig.draw();
  EXPECT_EQ(rig.size, (display::Screen::Size{720, 400}));
}

}  // namespace
}  // namespace skerry::devices::vga::test
