// What viewers hear.
#include "display/rfb/audio.hpp"

#include "unit/display/chance.hpp"
#include "unit/display/server_rig.hpp"

namespace skerry::display::test {
namespace {

using namespace std::chrono_literals;

constexpr int32_t kRaw = 0, kAudio = -259;
constexpr uint16_t kEnable = 0, kDisable = 1;
constexpr uint8_t kU8 = 0, kS16 = 3, kS32 = 5;

using Samples = std::vector<int16_t>;

Samples noise(size_t count, uint32_t seed) {
  Chance chance(seed);
  Samples samples(count);
  for (int16_t& sample : samples) sample = static_cast<int16_t>(chance.any());
  return samples;
}

Bytes on_wire(const Samples& samples) {
  Bytes bytes;
  for (const int16_t sample : samples) {
    bytes.push_back(static_cast<uint8_t>(sample & 0xff));
    bytes.push_back(static_cast<uint8_t>(sample >> 8 & 0xff));
  }
  return bytes;
}

// A viewer that has been told that there is sound.
std::unique_ptr<TestViewer> listener(ServerRig& rig) {
  auto viewer = rig.viewer({kRaw, kAudio});
  viewer->send_request(false);
  viewer->update();
  return viewer;
}

void hear_bytes(TestViewer& viewer, size_t count) {
  while (viewer.heard.size() < count) viewer.hear();
}

// Until the server has done what the viewer has said before: it answers in order.
void settle(ServerRig& rig, TestViewer& viewer) {
  rig.screen->fill({0, 0, 1, 1}, 1);
  viewer.send_request(false, {0, 0, 1, 1});
  viewer.update();
}

TEST(RfbAudio, IsOfferedWhereThereIsACard) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw, kAudio});
  viewer->send_request(false);
  EXPECT_TRUE(viewer->update().has(kAudio));
  viewer->send_encodings({kRaw, kAudio});
  viewer->send_request(false);
  EXPECT_FALSE(viewer->update().has(kAudio)) << "it has been told";
  auto other = rig.viewer({kRaw});
  other->send_request(false);
  EXPECT_FALSE(other->update().has(kAudio)) << "it does not know of it";
}

TEST(RfbAudio, IsNotWhereThereIsNone) {
  ServerRig rig({}, false);
  auto viewer = rig.viewer({kRaw, kAudio});
  viewer->send_request(false);
  EXPECT_FALSE(viewer->update().has(kAudio));
  viewer->send_audio(kEnable);
  EXPECT_TRUE(viewer->has_ended());
}

TEST(RfbAudio, ViewersHearExactlyWhatIsPlayed) {
  ServerRig rig;
  auto viewer = listener(rig);
  viewer->send_audio(kEnable);
  settle(rig, *viewer);
  rig.outlet.begin({44'100, 2});
  const Samples first = noise(20'000, 1), second = noise(2, 2);
  rig.outlet.play(first);
  hear_bytes(*viewer, 40'000);
  EXPECT_EQ(viewer->sounds_begun, 1u);
  EXPECT_EQ(viewer->heard, on_wire(first));
  rig.outlet.play(second);
  rig.outlet.end();
  while (viewer->sounds_ended == 0) viewer->hear();
  Bytes all = on_wire(first);
  const Bytes more = on_wire(second);
  all.insert(all.end(), more.begin(), more.end());
  EXPECT_EQ(viewer->heard, all) << "nothing is held back";
}

TEST(RfbAudio, ComesAmidASoundAndBetweenTwo) {
  ServerRig rig;
  rig.outlet.begin({44'100, 2});
  rig.outlet.play(noise(100, 3));
  auto viewer = listener(rig);
  viewer->send_audio(kEnable);
  settle(rig, *viewer);
  const Samples samples = noise(200, 4);
  rig.outlet.play(samples);
  hear_bytes(*viewer, 400);
  EXPECT_EQ(viewer->heard, on_wire(samples));
  rig.outlet.begin({44'100, 2});
  rig.outlet.play(samples);
  hear_bytes(*viewer, 800);
  EXPECT_EQ(viewer->sounds_begun, 2u);
}

TEST(RfbAudio, IsInTheViewersFormat) {
  ServerRig rig;
  auto viewer = listener(rig);
  viewer->send_audio_format(kS32, 1, 8'000);
  viewer->send_audio(kEnable);
  settle(rig, *viewer);
  rig.outlet.begin({4'000, 2});
  rig.outlet.play(Samples{1000, 3000, -32768, -32768});
  hear_bytes(*viewer, 12);
  EXPECT_EQ(viewer->heard, (Bytes{0, 0, 0xd0, 0x07, 0, 0, 0xe8, 0xc3, 0, 0, 0, 0x80})) << "2000, -15384, -32768";
  // In the midst of it.
  viewer->heard.clear();
  viewer->send_audio_format(kU8, 2, 4'000);
  settle(rig, *viewer);
  rig.outlet.play(Samples{0, 32767, -32768, 255});
  hear_bytes(*viewer, 4);
  EXPECT_EQ(viewer->heard, (Bytes{0x80, 0xff, 0, 0x80}));
}

TEST(RfbAudio, EverySampleFormat) {
  const Samples samples = {-32768, -1, 0, 1, 0x1234, 32767};
  const auto put = [&](rfb::SampleFormat format) {
    Bytes bytes;
    rfb::put_samples(bytes, samples, format);
    return bytes;
  };
  EXPECT_EQ(put(rfb::SampleFormat::kU8), (Bytes{0, 0x7f, 0x80, 0x80, 0x92, 0xff}));
  EXPECT_EQ(put(rfb::SampleFormat::kS8), (Bytes{0x80, 0xff, 0, 0, 0x12, 0x7f}));
  EXPECT_EQ(put(rfb::SampleFormat::kU16), (Bytes{0, 0, 0xff, 0x7f, 0, 0x80, 1, 0x80, 0x34, 0x92, 0xff, 0xff}));
  EXPECT_EQ(put(rfb::SampleFormat::kS16), (Bytes{0, 0x80, 0xff, 0xff, 0, 0, 1, 0, 0x34, 0x12, 0xff, 0x7f}));
  EXPECT_EQ(put(rfb::SampleFormat::kU32),
            (Bytes{0, 0, 0, 0, 0, 0, 0xff, 0x7f, 0, 0, 0, 0x80, 0, 0, 1, 0x80, 0, 0, 0x34, 0x92, 0, 0, 0xff, 0xff}));
  EXPECT_EQ(put(rfb::SampleFormat::kS32),
            (Bytes{0, 0, 0, 0x80, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x34, 0x12, 0, 0, 0xff, 0x7f}));
}

TEST(RfbAudio, EndsWhenItIsDisabled) {
  ServerRig rig;
  auto viewer = listener(rig);
  viewer->send_audio(kEnable);
  viewer->send_audio(kEnable);
  settle(rig, *viewer);
  rig.outlet.begin({44'100, 2});
  rig.outlet.play(noise(100, 5));
  hear_bytes(*viewer, 200);
  viewer->send_audio(kDisable);
  viewer->send_audio(kDisable);
  viewer->hear();
  EXPECT_EQ(viewer->sounds_ended, 1u);
  rig.outlet.play(noise(100, 6));
  EXPECT_TRUE(viewer->silent(100ms));
  viewer->send_audio(kEnable);
  viewer->hear();
  EXPECT_EQ(viewer->sounds_begun, 2u);
  // Another sound, of another rate, whose beginning it cannot have seen: all of it comes at once.
  Bytes at_once = {255, 1, 0, 1, 255, 1, 0, 0};
  viewer->send(at_once);
  viewer->hear();
  viewer->hear();
  EXPECT_EQ(viewer->sounds_ended, 2u);
  EXPECT_EQ(viewer->sounds_begun, 3u);
}

TEST(RfbAudio, RefusesFormatsThatThereAreNot) {
  ServerRig rig;
  const auto refused = [&](const Bytes& message) {
    auto viewer = listener(rig);
    viewer->send(message);
    return viewer->has_ended();
  };
  EXPECT_TRUE(refused({255, 1, 0, 2, 6, 2, 0, 0, 0xac, 0x44}));
  EXPECT_TRUE(refused({255, 1, 0, 2, 3, 0, 0, 0, 0xac, 0x44}));
  EXPECT_TRUE(refused({255, 1, 0, 2, 3, 3, 0, 0, 0xac, 0x44}));
  EXPECT_TRUE(refused({255, 1, 0, 2, 3, 2, 0, 0, 0x0f, 0x9f}));
  EXPECT_TRUE(refused({255, 1, 0, 2, 3, 2, 0, 2, 0xee, 0x01}));
  EXPECT_TRUE(refused({255, 1, 0, 2, 3, 2, 0xff, 0xff, 0xff, 0xff}));
  EXPECT_TRUE(refused({255, 1, 0, 3}));
  EXPECT_TRUE(refused({255, 2, 0, 0}));
}

TEST(RfbAudio, EachViewerHearsInItsOwnFormat) {
  ServerRig rig;
  auto first = listener(rig), second = listener(rig), third = listener(rig);
  first->send_audio(kEnable);
  second->send_audio_format(kS16, 1, 44'100);
  second->send_audio(kEnable);
  for (TestViewer* viewer : {first.get(), second.get(), third.get()}) settle(rig, *viewer);
  rig.outlet.begin({44'100, 2});
  const Samples samples = noise(4'000, 7);
  rig.outlet.play(samples);
  hear_bytes(*first, 8'000);
  hear_bytes(*second, 4'000);
  EXPECT_EQ(first->heard, on_wire(samples));
  EXPECT_EQ(second->heard.size(), 4'000u);
  EXPECT_TRUE(third->silent(100ms)) << "it did not ask";
  first.reset();  // goes amid the sound
  second->heard.clear();
  rig.outlet.play(samples);
  hear_bytes(*second, 4'000);
}

// Ten minutes of sound for a viewer that reads nothing; then it hears the newest. The card waits for nobody.
TEST(RfbAudio, ASlowViewerHearsTheNewestAndNothingGrows) {
  ServerRig rig;
  auto slow = listener(rig), quick = listener(rig);
  slow->send_audio(kEnable);
  settle(rig, *slow);
  rig.outlet.begin({44'100, 2});
  const Samples second = noise(88'200, 8);
  for (int n = 0; n < 600; ++n) rig.outlet.play(second);
  const Samples last = noise(2'000, 9);
  rig.outlet.play(last);
  settle(rig, *quick);
  rig.outlet.end();
  while (slow->sounds_ended == 0) slow->hear();
  EXPECT_LT(slow->heard.size(), size_t{32} << 20) << "105 MB were played";
  const Bytes newest = on_wire(last);
  ASSERT_GE(slow->heard.size(), newest.size());
  EXPECT_TRUE(std::equal(newest.rbegin(), newest.rend(), slow->heard.rbegin())) << "what was played last";
  settle(rig, *slow);
}

// Neither waits for the other: a sound that never stops, and a picture that always changes.
TEST(RfbAudio, SoundAndPicturesTakeTurns) {
  ServerRig rig;
  ASSERT_TRUE(rig.screen->resize({2048, 2048}));
  auto viewer = rig.viewer({kRaw, -223, kAudio});
  viewer->send_request(false);
  viewer->follow([&] { return rig.shown_by(*viewer); });
  viewer->send_audio_format(kS32, 2, 192'000);
  viewer->send_audio(kEnable);
  settle(rig, *viewer);
  rig.outlet.begin({192'000, 2});
  rig.outlet.play(noise(2, 10));
  while (viewer->sound_messages == 0) viewer->hear();
  // 16 MiB of picture and 1.5 MB of sound are there at once.
  rig.screen->fill({0, 0, 2048, 2048}, 0xabcdef);
  rig.outlet.play(noise(192'000, 11));
  viewer->send_request(true);
  size_t area = 0, updates = 0;
  while (area < size_t{2048} * 2048) {
    const TestViewer::Update update = viewer->update();
    for (const Rect& rect : update.rects) area += rect.area();
    EXPECT_LE(update.rects.size(), 16u) << "an update that sound waits for is short";
    ++updates;
    viewer->send_request(true);
  }
  EXPECT_TRUE(rig.shown_by(*viewer)) << "what was left of an update came with the next ones";
  EXPECT_GE(updates, 4u);
  EXPECT_LE(viewer->most_heard_at_once, size_t{192'000} * 20 / 1000 * 8 + 8);
  hear_bytes(*viewer, 192'002 * 4);
}

}  // namespace
}  // namespace skerry::display::test
