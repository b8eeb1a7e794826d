// Random states of the card, and ones that use has led to, saved and loaded; and a sound that goes on as if nothing had
// been.
#include "unit/devices/hda_rig.hpp"

namespace skerry::devices::hda::test {
namespace {

void play_anything(Rig& rig, std::mt19937_64& random) {
  constexpr uint16_t kFormats[] = {kStereo48000, kMono48000, 0x4041, 0x1821, 0x0000, 0x0511};
  const uint16_t format = kFormats[random() % std::size(kFormats)];
  const unsigned stream = random() % 2;
  if (stream == Rig::kOut) rig.open_dac(format);
  std::vector<Rig::Piece> pieces;
  for (unsigned i = 1 + random() % 6; i > 0; --i)
    pieces.push_back({random() % 8 ? Rig::kBuffer + random() % 0x8'0000 : random(),
                      static_cast<uint32_t>(random() % 0x2000), random() % 2 == 0});
  rig.set_pieces(stream, pieces, format);
  rig.run(stream);
}

// Random registers, commands, streams and time, of which the trace is what guest and listener see.
skerry::test::Trace drive(Rig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.map();
  rig.ear.take();
  for (int i = 0; i < 60; ++i) {
    switch (random() % 8) {
      case 0:
        rig.bring_up();
        break;
      case 1:
      case 2:
        play_anything(rig, random);
        break;
      case 3:
        rig.set(static_cast<uint32_t>(random() % 0xc0), static_cast<uint32_t>(random()), 1u << random() % 3);
        break;
      case 4:
        trace.push_back(rig.ask(static_cast<uint32_t>(random()) & 0x00ff'ffff));
        break;
      case 5:
        rig.clear_status(random() % 2);
        break;
      default:
        rig.time.advance(static_cast<int64_t>(random() % 30'000'000));
    }
    for (const int16_t sample : rig.ear.take()) trace.push_back(static_cast<uint16_t>(sample));
    for (uint32_t at = 0; at < 0xc0; at += 4) trace.push_back(rig.get(at));
    trace.push_back(rig.high);
    for (unsigned at = 0; at < 16; at += 4) trace.push_back(rig.peek<uint32_t>(Rig::kPositions + at));
  }
  return trace;
}

TEST(HdaState, Survives) { skerry::test::run_state_test<Rig>(20, drive); }

TEST(HdaState, ASoundGoesOnWhereItWasSaved) {
  Rig before;
  before.bring_up();
  before.fill(Rig::kBuffer, 0x4000);
  before.set(DPLBASE, Rig::kPositions | 1);
  before.play(0x4011, 0x3000);
  for (unsigned i = 0; i < 4; ++i) before.time.advance(7'777'777);
  const auto heard = before.ear.take();
  const auto state = skerry::test::save(before.device());
  Rig after;
  after.follow(before);
  ASSERT_TRUE(skerry::test::load(after.device(), state));
  EXPECT_EQ(skerry::test::save(after.device()), state);
  auto all = heard;
  for (unsigned i = 0; i < 4; ++i) {
    after.time.advance(7'777'777);
    before.time.advance(7'777'777);
  }
  EXPECT_EQ(after.position(), before.position());
  EXPECT_EQ(after.ear.heard, before.ear.heard);
  EXPECT_EQ(after.ear.begun, 1u) << "for who listens now";
  const auto rest = after.ear.take();
  all.insert(all.end(), rest.begin(), rest.end());
  EXPECT_EQ(all.size() / 2, 8ull * 7'777'777 * 44'100 / 1'000'000'000) << "nothing is lost, nothing twice";
  EXPECT_EQ(all, Rig::samples(0, all.size()));
}

}  // namespace
}  // namespace skerry::devices::hda::test
