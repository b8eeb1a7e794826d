// The controller: link, commands, interrupts.
#include "unit/devices/hda_rig.hpp"

namespace skerry::devices::hda::test {
namespace {

TEST(Hda, ComesOutOfResetWithACodec) {
  Rig rig;
  EXPECT_EQ(rig.get(GCAP), 0x0100'1101u) << "an input and an output stream, 64 bits, version 1.0";
  EXPECT_EQ(rig.get(GCTL), 0u);
  rig.set(INTCTL, ~0u);
  rig.set(CORBLBASE, 0x1000);
  rig.set(Rig::sd(1, SDCBL), 100);
  EXPECT_EQ(rig.get(INTCTL) | rig.get(CORBLBASE) | rig.get(Rig::sd(1, SDCBL)), 0u) << "in reset nothing can be written";
  rig.set(GCTL, 1, 1);
  EXPECT_EQ(rig.get(GCTL), 1u);
  EXPECT_EQ(rig.get(WAKEEN + 2, 2), 1u);
  rig.set(WAKEEN + 2, 1, 2);
  EXPECT_EQ(rig.get(WAKEEN + 2, 2), 0u);
  rig.set(GCTL, 3);
  EXPECT_EQ(rig.get(GSTS), 2u) << "flushed";
  rig.set(GSTS, 2);
  EXPECT_EQ(rig.get(GSTS), 0u);
}

TEST(Hda, AChangeOfTheCodecInterruptsIfItMay) {
  Rig rig;
  rig.start_link();
  rig.set(INTCTL, intctl::GIE | intctl::CIE);
  EXPECT_FALSE(rig.high);
  rig.set(WAKEEN, 1, 2);
  EXPECT_TRUE(rig.high);
  EXPECT_EQ(rig.get(INTSTS), intctl::GIE | intctl::CIE);
  rig.set(WAKEEN + 2, 1, 2);
  EXPECT_FALSE(rig.high);
}

TEST(Hda, RegistersHaveBytesAndWords) {
  Rig rig;
  rig.start_link();
  rig.set(CORBLBASE + 1, 0x12, 1);
  EXPECT_EQ(rig.get(CORBLBASE), 0x1200u);
  rig.set(CORBLBASE, 0xffff'ffff);
  EXPECT_EQ(rig.get(CORBLBASE), 0xffff'ff80u);
  rig.set(CORBUBASE, 7);
  EXPECT_EQ(rig.get(CORBUBASE), 7u);
  EXPECT_EQ(rig.get(GCAP + 3, 1), 1u);
  EXPECT_EQ(rig.get(GCAP, 2), 0x1101u);
  rig.set(RIRBWP, 0x0005'0000);
  EXPECT_EQ(rig.get(RIRBWP + 2, 2), 5u);
  rig.set(Rig::sd(1, SDFIFOS), 0xffff'0000);
  EXPECT_EQ(rig.get(Rig::sd(1, SDFIFOS)), 0x7f7f'00bfu);
  rig.set(DPLBASE, 0x1001);
  EXPECT_EQ(rig.get(DPLBASE), 0x1001u);
  for (uint32_t at = 0; at < 0x4000; ++at)
    for (const unsigned size : {1u, 2u, 4u}) (void)rig.get(at, size);
}

TEST(Hda, CommandsAreAnsweredInTheirOrder) {
  Rig rig;
  rig.bring_up();
  rig.set(RIRBCTL, 3, 1);
  for (unsigned i = 1; i <= 3; ++i) rig.put<uint32_t>(Rig::kCorb + 4 * i, Rig::command(0, 0xf00, i == 2 ? 2 : 0));
  rig.set(CORBWP, 3, 2);
  EXPECT_EQ(rig.get(CORBWP + 2, 2), 3u) << "all are read";
  EXPECT_EQ(rig.get(RIRBWP, 2), 3u);
  EXPECT_EQ(rig.peek<uint64_t>(Rig::kRirb + 8), 0x534b'0001u);
  EXPECT_EQ(rig.peek<uint64_t>(Rig::kRirb + 16), 0x0010'0000u);
  EXPECT_EQ(rig.peek<uint64_t>(Rig::kRirb + 24), 0x534b'0001u);
  EXPECT_EQ(rig.get(RIRBCTL + 1, 1), 1u);
  EXPECT_TRUE(rig.high);
  rig.set(RIRBCTL + 1, 5, 1);
  EXPECT_FALSE(rig.high);
  EXPECT_EQ(rig.get(RIRBCTL, 1), 3u) << "to write a status leaves control";
}

TEST(Hda, RingsWrap) {
  Rig rig;
  rig.bring_up();
  for (unsigned i = 0; i < 700; ++i)
    ASSERT_EQ(rig.ask(Rig::command(kOutPin, 0xf00, i % 2 ? 0x0c : 0x0e)), i % 2 ? 0x10u : 1u) << i;
  for (unsigned i = 0; i < 256; ++i) rig.put<uint32_t>(Rig::kCorb + 4 * i, Rig::command(0, 0xf00, 0));
  const auto before = static_cast<uint8_t>(rig.get(CORBWP, 2));
  rig.set(CORBWP, static_cast<uint8_t>(before - 1), 2);
  EXPECT_EQ(rig.get(RIRBWP, 2), static_cast<uint8_t>(before - 1)) << "255 at once";
}

TEST(Hda, PointersArePutBackWhileTheBitIsSet) {
  Rig rig;
  rig.bring_up();
  rig.ask(Rig::command(0, 0xf00, 0));
  rig.set(CORBWP + 2, 0x8000, 2);
  EXPECT_EQ(rig.get(CORBWP + 2, 2), 0x8000u);
  rig.set(CORBWP, 2, 2);
  EXPECT_EQ(rig.get(RIRBWP, 2), 1u) << "nothing runs meanwhile";
  rig.set(CORBWP, 0, 2);
  rig.set(CORBWP + 2, 0, 2);
  EXPECT_EQ(rig.get(CORBWP + 2, 2), 0u);
  rig.set(RIRBWP, 0x8000, 2);
  EXPECT_EQ(rig.get(RIRBWP, 2), 0u);
}

TEST(Hda, NobodyAnswersForACodecThatIsNotThere) {
  Rig rig;
  rig.bring_up();
  rig.ask(Rig::command(0, 0xf00, 0, 1));
  EXPECT_EQ(rig.get(RIRBWP, 2), 0u);
  rig.set(ICOI, Rig::command(0, 0xf00, 0, 1));
  rig.set(ICIS, 1, 2);
  EXPECT_EQ(rig.get(ICIS, 2), 0u) << "no result, and not busy";
}

TEST(Hda, ImmediateCommands) {
  Rig rig;
  rig.start_link();
  rig.set(ICOI, Rig::command(0, 0xf00, 0));
  rig.set(ICIS, 1, 2);
  EXPECT_EQ(rig.get(ICIS, 2), 2u);
  EXPECT_EQ(rig.get(ICII), 0x534b'0001u);
  rig.set(ICIS, 2, 2);
  EXPECT_EQ(rig.get(ICIS, 2), 0u);
}

TEST(Hda, RingsThatAreNoMemoryAreErrors) {
  Rig rig;
  rig.bring_up();
  rig.set(RIRBCTL, 4 | 2, 1);
  rig.set(RIRBLBASE, Rig::kBar);
  rig.ask(Rig::command(0, 0xf00, 0));
  EXPECT_EQ(rig.get(RIRBCTL + 1, 1), 4u);
  EXPECT_TRUE(rig.high);
  rig.set(RIRBCTL + 1, 4, 1);
  rig.set(CORBCTL, 3, 1);
  rig.set(CORBUBASE, 0xffff'ffff);
  rig.set(CORBLBASE, 0xffff'ff80);
  rig.set(CORBWP, 0x80, 2);
  EXPECT_EQ(rig.get(CORBCTL, 2), 0x101u) << "it has stopped";
  EXPECT_TRUE(rig.high);
  rig.set(CORBCTL + 1, 1, 1);
  EXPECT_FALSE(rig.high);
}

TEST(Hda, WithoutTheBusCommandsWait) {
  Rig rig;
  rig.map(false);
  rig.bring_up();
  rig.put<uint32_t>(Rig::kCorb + 4, Rig::command(0, 0xf00, 0));
  rig.set(CORBWP, 1, 2);
  EXPECT_EQ(rig.get(RIRBWP, 2), 0u);
  rig.map(true);
  EXPECT_EQ(rig.get(RIRBWP, 2), 1u);
}

TEST(Hda, MessagesTellOfEachNewCause) {
  Rig rig;
  rig.bring_up();
  rig.use_msi();
  rig.set(RIRBCTL, 3, 1);
  rig.ask(Rig::command(0, 0xf00, 0));
  EXPECT_EQ(rig.messages, 1u);
  rig.ask(Rig::command(0, 0xf00, 0));
  EXPECT_EQ(rig.messages, 1u) << "the guest knows";
  rig.set(RIRBCTL + 1, 1, 1);
  rig.ask(Rig::command(0, 0xf00, 0));
  EXPECT_EQ(rig.messages, 2u);
  EXPECT_FALSE(rig.high);
  rig.play(kStereo48000, 1920);
  const unsigned before = rig.messages;
  rig.time.advance(10 * kMillisecond);
  EXPECT_EQ(rig.messages, before + 1) << "a stream's, while that of responses is pending";
}

TEST(Hda, WallClockCounts24MHz) {
  Rig rig;
  rig.time.advance(123);
  EXPECT_EQ(rig.get(WALCLK), 0u);
  rig.start_link();
  rig.time.advance(1'000'000'000);
  EXPECT_EQ(rig.get(WALCLK), 24'000'000u);
  rig.time.advance(1'000);
  EXPECT_EQ(rig.get(0x2030), 24'000'024u) << "the alias";
  rig.time.advance(200'000'000'000);
  EXPECT_EQ(rig.get(WALCLK), static_cast<uint32_t>(24 * uint64_t{201'000'001})) << "of 32 bits";
}

TEST(Hda, IsAnIch9sControllerOnPciExpress) {
  Rig rig;
  const auto config = [&](unsigned at) { return rig.host.config_read(0, Rig::kDevfn, at, 4); };
  EXPECT_EQ(config(0), 0x293e'8086u);
  EXPECT_EQ(config(8) >> 8, 0x040300u);
  const uint32_t before = config(0x44);
  rig.host.config_write(0, Rig::kDevfn, 0x44, 1, 0xff);
  EXPECT_EQ(config(0x44), before) << "TCSEL, which drivers write to, harms nothing";
}

}  // namespace
}  // namespace skerry::devices::hda::test
