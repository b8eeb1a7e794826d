// Drivers of the HDA card that make no sense: nothing crashes, hangs or grows, and a good driver works afterwards.
#include "unit/devices/fuzz_sessions.hpp"
#include "unit/devices/hda_rig.hpp"

namespace skerry::devices::hda::test {
namespace {

using skerry::test::Random;

memory::Gpa anywhere(Random& random) {
  switch (random() % 6) {
    case 0:
      return random();
    case 1:
      return Rig::kBar + random() % 0x4000;
    case 2:
      return Rig::kRam - random() % 64;
    case 3:
      return ~uint64_t{0} - random() % 64;
    default:
      return random() % Rig::kRam;
  }
}
uint32_t any_length(Random& random) {
  switch (random() % 4) {
    case 0:
      return static_cast<uint32_t>(random());
    case 1:
      return static_cast<uint32_t>(random() % 4);
    default:
      return static_cast<uint32_t>(random() % 0x4000);
  }
}

void write_list(Rig& rig, Random& random) {
  const memory::Gpa list = rig.list_of(random() % 2);
  for (unsigned i = 0; i < 256; ++i) {
    rig.put<uint64_t>(list + 16 * i, anywhere(random));
    rig.put<uint32_t>(list + 16 * i + 8, any_length(random));
    rig.put<uint32_t>(list + 16 * i + 12, static_cast<uint32_t>(random()));
  }
}

void start_stream(Rig& rig, Random& random) {
  const unsigned stream = random() % 3;  // there are two
  rig.set(Rig::sd(stream, SDBDPL), static_cast<uint32_t>(random() % 4 ? rig.list_of(stream % 2) : anywhere(random)));
  rig.set(Rig::sd(stream, SDBDPU), random() % 8 ? 0 : static_cast<uint32_t>(random()));
  rig.set(Rig::sd(stream, SDCBL), random() % 8 ? any_length(random) : 0);
  rig.set(Rig::sd(stream, SDLVI), static_cast<uint32_t>(random()), 2);
  const auto format = static_cast<uint16_t>(random() % 2 ? random() : kStereo48000);
  rig.set(Rig::sd(stream, SDFIFOS) + 2, format, 2);
  if (random() % 2) rig.open_dac(format);
  rig.set(Rig::sd(stream, SDCTL), static_cast<uint32_t>(random() % 4 ? 0x10'001e : random()), 4);
}

void flood(Rig& rig, Random& random) {
  for (unsigned i = 0; i < 256; ++i)
    rig.put<uint32_t>(Rig::kCorb + 4 * i, static_cast<uint32_t>(random()) & (random() % 4 ? 0x00ff'ffff : ~0u));
  rig.set(CORBWP, static_cast<uint32_t>(random() % 256), 2);
}

void step(Rig& rig, Random& random) {
  switch (random() % 12) {
    case 0:
      rig.set(static_cast<uint32_t>(random() % 0x4000), static_cast<uint32_t>(random()), 1u << random() % 3);
      break;
    case 1:
      rig.set(static_cast<uint32_t>(random() % 0xc0), static_cast<uint32_t>(random()), 1u << random() % 3);
      break;
    case 2:
      (void)rig.get(static_cast<uint32_t>(random() % 0x4000), 1u << random() % 3);
      break;
    case 3:
      write_list(rig, random);
      break;
    case 4:
      start_stream(rig, random);
      break;
    case 5:
      flood(rig, random);
      break;
    case 6:
      if (random() % 4 == 0)
        rig.bring_up();
      else
        rig.start_rings();
      break;
    case 7:
      rig.map(random() % 4);
      break;
    case 8:
      rig.set(CORBLBASE, static_cast<uint32_t>(anywhere(random)));
      rig.set(RIRBLBASE, static_cast<uint32_t>(anywhere(random)));
      rig.set(DPLBASE, static_cast<uint32_t>(anywhere(random)));
      break;
    default:
      rig.time.advance(static_cast<int64_t>(random() % (random() % 8 ? 20'000'000 : 5'000'000'000)));
  }
  ASSERT_LE(rig.ear.heard.size(), 8u * 2 * 192'000 / 5) << "more than the time that has passed";
  rig.ear.take();
}

void session(Random& random) {
  Rig rig;
  rig.bring_up();
  for (int i = 0; i < 300; ++i) step(rig, random);
  if (random() % 2) {
    auto state = skerry::test::save(rig.card);
    for (unsigned i = random() % 6; i > 0; --i) state[random() % state.size()] = static_cast<uint8_t>(random());
    rig.card.reset();
    if (!skerry::test::load(rig.card, state)) rig.card.reset();
    rig.map();
    for (int i = 0; i < 50; ++i) step(rig, random);
  }
  rig.card.reset();
  rig.map();
  rig.bring_up();
  rig.fill(Rig::kBuffer, 1920);
  rig.play(kStereo48000, 1920);
  rig.ear.take();
  rig.time.advance(10 * kMillisecond);
  ASSERT_EQ(rig.ear.take(), Rig::samples(0, 960));
  ASSERT_TRUE(rig.status() & sdsts::BCIS);
}

TEST(HdaFuzz, HostileDrivers) { skerry::test::sessions("hda", session); }

}  // namespace
}  // namespace skerry::devices::hda::test
