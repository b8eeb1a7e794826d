// Streams: what is heard, and when; positions, interrupts, and lists of buffers that make no sense.
#include "unit/devices/hda_rig.hpp"

namespace skerry::devices::hda::test {
namespace {

constexpr uint32_t kTenMilliseconds = 1920;  // bytes of stereo, 48 kHz, 16 bits

TEST(HdaStream, IsHeardAsItIs) {
  Rig rig;
  rig.bring_up();
  rig.fill(Rig::kBuffer, 2 * kTenMilliseconds / 2);
  rig.play(kStereo48000, kTenMilliseconds);
  EXPECT_EQ(rig.ear.begun, 0u) << "nothing has been played";
  for (unsigned piece = 0; piece < 5; ++piece) {
    rig.time.advance(10 * kMillisecond - 1);
    EXPECT_FALSE(rig.status() & sdsts::BCIS);
    rig.time.advance(1);
    EXPECT_EQ(rig.status(), sdsts::BCIS | sdsts::FIFORDY);
    EXPECT_TRUE(rig.high);
    EXPECT_EQ(rig.get(INTSTS), intctl::GIE | 1u << Rig::kOut);
    rig.clear_status();
    EXPECT_FALSE(rig.high);
    EXPECT_EQ(rig.ear.take(), Rig::samples(piece % 2 * 960, 960)) << piece;
    EXPECT_EQ(rig.position(), piece % 2 ? 0 : kTenMilliseconds);
  }
  EXPECT_EQ(rig.ear.begun, 1u);
  EXPECT_EQ(*rig.ear.format, (sound::Format{.rate = 48'000, .channels = 2}));
  rig.run(Rig::kOut, false);
  EXPECT_EQ(rig.ear.ended, 1u);
  rig.time.advance(100 * kMillisecond);
  EXPECT_TRUE(rig.ear.take().empty());
}

// The timer comes at the end of each piece by itself, and each 10 ms.
TEST(HdaStream, InterruptsWhenAPieceEnds) {
  Rig rig;
  rig.bring_up();
  rig.use_msi();
  rig.play(kStereo48000, 2400);  // 12.5 ms
  rig.time.advance(9'999'999);
  EXPECT_TRUE(rig.ear.heard.empty());
  rig.time.advance(1);
  EXPECT_EQ(rig.ear.heard.size(), 960u);
  rig.time.advance(2'499'999);
  EXPECT_EQ(rig.messages, 0u);
  rig.time.advance(1);
  EXPECT_EQ(rig.messages, 1u);
  EXPECT_EQ(rig.ear.heard.size(), 1200u);
}

TEST(HdaStream, PositionsAreThoseOfNow) {
  Rig rig;
  rig.bring_up();
  rig.set(DPLBASE, Rig::kPositions | 1);
  rig.play(kStereo48000, 8 * kTenMilliseconds);
  rig.time.advance(3 * kMillisecond);
  EXPECT_EQ(rig.peek<uint32_t>(Rig::kPositions + 8), 0u);
  EXPECT_EQ(rig.position(), 576u);
  EXPECT_EQ(rig.get(0x2000 + Rig::sd(Rig::kOut, SDLPIB)), 576u) << "the alias";
  EXPECT_EQ(rig.peek<uint32_t>(Rig::kPositions + 8), 576u);
  EXPECT_EQ(rig.peek<uint32_t>(Rig::kPositions), 0u) << "of the input";
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.peek<uint32_t>(Rig::kPositions + 8), 576u + kTenMilliseconds);
}

// Frames of a rate that no nanoseconds fit do not drift.
TEST(HdaStream, KeepsItsPace) {
  Rig rig;
  rig.bring_up();
  rig.play(0x4011, 0x4000);  // 44.1 kHz
  for (unsigned i = 0; i < 3000; ++i) {
    rig.time.advance(3'333'333);
    (void)rig.position();
  }
  EXPECT_EQ(rig.ear.heard.size() / 2, 3000ull * 3'333'333 * 44'100 / 1'000'000'000);
  EXPECT_EQ(rig.ear.format->rate, 44'100u);
}

struct Sampled {
  uint16_t word;
  uint32_t rate;
  unsigned bytes;  // of a sample
  unsigned channels;
};

TEST(HdaStream, EveryFormatIsHeard) {
  for (const Sampled& format : {Sampled{0x0511, 8'000, 2, 2},
                                {0x4310, 11'025, 2, 1},
                                {0x0221, 16'000, 4, 2},
                                {0x4131, 22'050, 4, 2},
                                {0x0a40, 32'000, 4, 1},
                                {0x4041, 44'100, 4, 2},
                                {0x0020, 48'000, 4, 1},
                                {0x4811, 88'200, 2, 2},
                                {0x0831, 96'000, 4, 2},
                                {0x5841, 176'400, 4, 2},
                                {0x1811, 192'000, 2, 2},
                                {0x1841, 192'000, 4, 2}}) {
    SCOPED_TRACE(format.word);
    Rig rig;
    rig.bring_up();
    const size_t frames = 512;
    std::vector<int16_t> expected;
    for (size_t i = 0; i < frames * format.channels; ++i) {
      const uint16_t sample = Rig::sample(i);
      if (format.bytes == 2)
        rig.put<uint16_t>(Rig::kBuffer + 2 * i, sample);
      else
        rig.put<uint32_t>(Rig::kBuffer + 4 * i, uint32_t{sample} << 16 | 0xabcd);
      for (unsigned copy = format.channels; copy <= 2; ++copy) expected.push_back(static_cast<int16_t>(sample));
    }
    const auto bytes = static_cast<uint32_t>(frames * format.channels * format.bytes);
    rig.play(format.word, bytes);
    rig.time.advance((int64_t{frames} * 1'000'000'000 + format.rate - 1) / format.rate);
    EXPECT_EQ(rig.position(), bytes);
    EXPECT_EQ(rig.ear.heard, expected);
    ASSERT_TRUE(rig.ear.format);
    EXPECT_EQ(*rig.ear.format, (sound::Format{.rate = format.rate, .channels = 2}));
  }
}

TEST(HdaStream, IsAmplified) {
  Rig rig;
  rig.bring_up();
  rig.play(kStereo48000, kTenMilliseconds);
  for (unsigned i = 0; i < 10; ++i)
    rig.put<uint16_t>(Rig::kBuffer + 2 * i, static_cast<uint16_t>(i % 4 < 2 ? 20'000 : -20'000));
  rig.ask(Rig::short_command(kDac, 3, 0xa000 | 43));  // left: 20 dB less
  rig.ask(Rig::short_command(kDac, 3, 0x9000 | 0x80 | 63));
  rig.time.advance(10 * kMillisecond);
  const auto heard = rig.ear.take();
  EXPECT_EQ(std::vector(heard.begin(), heard.begin() + 6), (std::vector<int16_t>{2000, 0, -2001, 0, 2000, 0}))
      << "rounded down";
}

TEST(HdaStream, AFormatThatIsNotOfferedMovesUnheard) {
  for (const uint16_t format : {uint16_t{0}, uint16_t{0x0001}, uint16_t{0x0017}, uint16_t{0x0711}}) {
    Rig rig;
    rig.bring_up();
    rig.play(format, 0x8000);
    rig.time.advance(10 * kMillisecond);
    const StreamFormat of{format};
    EXPECT_EQ(rig.position(), of.rate() / 100 * of.frame_bytes());
    EXPECT_EQ(rig.ear.begun, 0u);
  }
}

TEST(HdaStream, TheConverterDecidesWhatIsHeard) {
  Rig rig;
  rig.bring_up();
  rig.play(kStereo48000, 0x4000);
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.ear.take().size(), 960u);
  rig.time.advance(5 * kMillisecond);
  rig.ask(Rig::command(kDac, 0x706, 2 << 4));
  EXPECT_EQ(rig.ear.take().size(), 480u) << "what was before";
  EXPECT_EQ(rig.ear.ended, 1u);
  rig.time.advance(10 * kMillisecond);
  EXPECT_TRUE(rig.ear.take().empty());
  rig.ask(Rig::command(kDac, 0x706, 1 << 4));
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.ear.take().size(), 960u);
  EXPECT_EQ(rig.ear.begun, 2u);
}

TEST(HdaStream, AnInputHearsSilenceAtTheSamePace) {
  Rig rig;
  rig.bring_up();
  rig.fill(Rig::kBuffer, 0x2000);
  rig.set_pieces(Rig::kIn, {{Rig::kBuffer, kTenMilliseconds, true}, {Rig::kBuffer + 0x1000, kTenMilliseconds, true}},
                 kStereo48000);
  rig.run(Rig::kIn);
  rig.time.advance(10 * kMillisecond);
  EXPECT_TRUE(rig.status(Rig::kIn) & sdsts::BCIS);
  EXPECT_EQ(rig.position(Rig::kIn), kTenMilliseconds);
  for (unsigned i = 0; i < kTenMilliseconds; i += 2) ASSERT_EQ(rig.peek<uint16_t>(Rig::kBuffer + i), 0u);
  EXPECT_EQ(rig.peek<uint16_t>(Rig::kBuffer + kTenMilliseconds), Rig::sample(kTenMilliseconds / 2));
  EXPECT_EQ(rig.ear.begun, 0u);
}

TEST(HdaStream, GoesOnWhereItWasStoppedUnlessReset) {
  Rig rig;
  rig.bring_up();
  rig.fill(Rig::kBuffer, 0x2000);
  rig.play(kStereo48000, 0x2000);
  rig.time.advance(10 * kMillisecond);
  rig.time.advance(2 * kMillisecond);
  rig.run(Rig::kOut, false);
  EXPECT_EQ(rig.position(), 2304u) << "up to when it was stopped";
  rig.time.advance(50 * kMillisecond);
  rig.run(Rig::kOut);
  rig.time.advance(5 * kMillisecond);
  EXPECT_EQ(rig.position(), 3264u);
  EXPECT_EQ(rig.ear.take(), Rig::samples(0, 1632));
  rig.set(Rig::sd(Rig::kOut, SDCTL), sdctl::SRST, 1);
  EXPECT_EQ(rig.get(Rig::sd(Rig::kOut, SDCTL), 1), sdctl::SRST);
  rig.set(Rig::sd(Rig::kOut, SDCBL), 1);
  EXPECT_EQ(rig.get(Rig::sd(Rig::kOut, SDCBL)), 0u) << "in reset nothing can be written";
  EXPECT_EQ(rig.position(), 0u);
  rig.set(Rig::sd(Rig::kOut, SDCTL), 0, 1);
  EXPECT_EQ(rig.get(Rig::sd(Rig::kOut, SDCTL)), 0u);
}

TEST(HdaStream, StreamsThatAreHeldBeginTogether) {
  for (const uint32_t sync : {ICH9_SSYNC, SSYNC}) {
    Rig rig;
    rig.bring_up();
    rig.set(sync, 3);
    rig.set_pieces(Rig::kIn, {{Rig::kBuffer, 0x4000}, {Rig::kBuffer, 0x4000}}, kStereo48000);
    rig.run(Rig::kIn);
    rig.play(kStereo48000, 0x4000);
    rig.time.advance(30 * kMillisecond);
    EXPECT_EQ(rig.position(Rig::kIn) | rig.position(Rig::kOut), 0u);
    EXPECT_TRUE(rig.status(Rig::kIn) & rig.status(Rig::kOut) & sdsts::FIFORDY);
    rig.set(sync, 0);
    rig.time.advance(10 * kMillisecond);
    EXPECT_EQ(rig.position(Rig::kIn), kTenMilliseconds);
    EXPECT_EQ(rig.position(Rig::kOut), kTenMilliseconds);
  }
}

TEST(HdaStream, WhoComesLateHasLostWhatIsBeyondTheBuffer) {
  Rig rig;
  rig.bring_up();
  rig.play(kStereo48000, kTenMilliseconds);
  rig.time.advance(1000 * kMillisecond);
  EXPECT_EQ(rig.ear.take().size(), 2 * 960u) << "one round";
  rig.play(kStereo48000, 0x1'0000);
  rig.time.advance(1000 * kMillisecond);
  EXPECT_EQ(rig.ear.take().size(), 2 * 9600u) << "200 ms";
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.ear.take().size(), 960u) << "and then as before";
}

TEST(HdaStream, PiecesMayEndAmidAFrame) {
  Rig rig;
  rig.bring_up();
  rig.fill(Rig::kBuffer, 0x1000);
  rig.open_dac(kStereo48000);
  rig.set_pieces(Rig::kOut,
                 {{Rig::kBuffer, 7},
                  {Rig::kBuffer + 7, 1},
                  {Rig::kBuffer + 8, 0},
                  {Rig::kBuffer + 8, 3001},
                  {Rig::kBuffer + 3009, 831}},
                 kStereo48000);
  rig.run(Rig::kOut);
  for (unsigned i = 0; i < 20; ++i) rig.time.advance(kMillisecond);
  EXPECT_EQ(rig.ear.take(), Rig::samples(0, 1920));
  EXPECT_EQ(rig.position(), 0u);
}

TEST(HdaStream, MemoryThatIsNotThereIsSilence) {
  Rig rig;
  rig.bring_up();
  rig.open_dac(kStereo48000);
  rig.set_pieces(Rig::kOut, {{Rig::kBar, 960}, {~uint64_t{0} - 100, 960}}, kStereo48000);
  rig.run(Rig::kOut);
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.ear.take(), std::vector<int16_t>(960, 0));
  EXPECT_EQ(rig.status(), sdsts::FIFOE | sdsts::FIFORDY);
  EXPECT_TRUE(rig.high);
  rig.set_pieces(Rig::kIn, {{Rig::kBar, 960}, {Rig::kRam - 4, 960}}, kStereo48000);
  rig.run(Rig::kIn);
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.status(Rig::kIn), sdsts::FIFOE | sdsts::FIFORDY);
}

TEST(HdaStream, AListThatIsNotThereEndsTheStream) {
  Rig rig;
  rig.bring_up();
  rig.open_dac(kStereo48000);
  rig.set_pieces(Rig::kOut, {{Rig::kBuffer, 0x1000}, {Rig::kBuffer, 0x1000}}, kStereo48000);
  rig.set(Rig::sd(Rig::kOut, SDBDPU), 1);
  rig.run(Rig::kOut);
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.status(), sdsts::DESE);
  EXPECT_FALSE(rig.get(Rig::sd(Rig::kOut, SDCTL), 1) & sdctl::RUN);
  EXPECT_TRUE(rig.high);
}

TEST(HdaStream, ListsWithoutSenseAreNoTrouble) {
  Rig rig;
  rig.bring_up();
  rig.open_dac(kStereo48000);
  std::vector<Rig::Piece> nothing(256, {Rig::kBuffer, 0, true});
  rig.set_pieces(Rig::kOut, nothing, kStereo48000);
  rig.run(Rig::kOut);
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.status(), sdsts::FIFORDY) << "without a length of the whole nothing moves";
  rig.set(Rig::sd(Rig::kOut, SDCBL), 0xffff'ffff);
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.status(), sdsts::BCIS | sdsts::FIFORDY);
  EXPECT_EQ(rig.position(), 0u);
  rig.set_pieces(Rig::kOut, {{Rig::kBuffer, 1, true}}, kStereo48000);
  rig.run(Rig::kOut);
  for (unsigned i = 0; i < 5; ++i) rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.position(), 0u);
  rig.set_pieces(Rig::kOut, {{Rig::kBuffer, 0xffff'fffc}}, kStereo48000);
  rig.run(Rig::kOut);
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.position(), kTenMilliseconds);
}

TEST(HdaStream, WithoutTheBusNothingMoves) {
  Rig rig;
  rig.bring_up();
  rig.play(kStereo48000, 0x4000);
  rig.time.advance(10 * kMillisecond);
  rig.map(false);
  rig.time.advance(50 * kMillisecond);
  EXPECT_EQ(rig.position(), kTenMilliseconds);
  rig.map(true);
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.position(), 2 * kTenMilliseconds);
}

TEST(HdaStream, AResetOfTheLinkEndsEverything) {
  for (const bool of_machine : {false, true}) {
    Rig rig;
    rig.bring_up();
    rig.play(kStereo48000, kTenMilliseconds);
    rig.time.advance(10 * kMillisecond);
    EXPECT_TRUE(rig.high);
    if (of_machine) {
      rig.card.reset();
      rig.map();
    } else {
      rig.set(GCTL, 0);
    }
    EXPECT_EQ(rig.ear.ended, 1u);
    EXPECT_EQ(rig.get(Rig::sd(Rig::kOut, SDCTL)) | rig.get(INTCTL) | rig.position(), 0u);
    rig.ear.take();
    rig.time.advance(50 * kMillisecond);
    EXPECT_TRUE(rig.ear.heard.empty());
    EXPECT_EQ(rig.get(WAKEEN + 2, 2), of_machine ? 0u : 1u) << "what codecs have said outlives the link";
    rig.bring_up();
    EXPECT_EQ(rig.parameter(0, 0), 0x534b'0001u);
  }
}

}  // namespace
}  // namespace skerry::devices::hda::test
