// The codec, as a driver that knows nothing of it finds out what it has.
#include "devices/hda/codec.hpp"
#include "unit/devices/hda_rig.hpp"

namespace skerry::devices::hda::test {
namespace {

struct CodecTest : testing::Test {
  uint32_t ask(unsigned node, unsigned verb, unsigned payload) {
    return codec.answer(Rig::command(node, verb, payload));
  }
  uint32_t ask_short(unsigned node, unsigned verb, unsigned payload) {
    return codec.answer(Rig::short_command(node, verb, payload));
  }
  uint32_t parameter(unsigned node, unsigned id) { return ask(node, 0xf00, id); }
  unsigned type(unsigned node) { return parameter(node, 0x09) >> 20 & 0xf; }
  void listen(uint16_t format, unsigned stream = 1) {
    ask_short(kDac, 2, format);
    ask(kDac, 0x706, stream << 4);
  }
  Codec codec;
};

// As a parser goes: from the pins that output, along the connections, to converters.
TEST_F(CodecTest, APathLeadsFromEachJackToAConverter) {
  const uint32_t groups = parameter(0, 0x04);
  ASSERT_EQ(groups & 0xff, 1u);
  const unsigned group = groups >> 16;
  ASSERT_EQ(parameter(group, 0x05), 1u) << "an audio function group, without unsolicited responses";
  const uint32_t widgets = parameter(group, 0x04);
  std::vector<unsigned> outputs, inputs;
  for (unsigned node = widgets >> 16; node < (widgets >> 16) + (widgets & 0xff); ++node) {
    const bool connected = parameter(node, 0x09) & 1 << 8;
    EXPECT_EQ(parameter(node, 0x0e), connected ? 1u : 0u) << node;
    if (type(node) == 4 && parameter(node, 0x0c) & 1 << 4) {
      const unsigned source = ask(node, 0xf02, 0);
      EXPECT_EQ(type(source), 0u) << "an output converter";
      outputs.push_back(ask(node, 0xf1c, 0) >> 20 & 0xf);
    }
    if (type(node) == 1) {
      const unsigned source = ask(node, 0xf02, 0);
      EXPECT_TRUE(type(source) == 4 && parameter(source, 0x0c) & 1 << 5) << "a pin that inputs";
      inputs.push_back(ask(source, 0xf1c, 0) >> 20 & 0xf);
    }
  }
  EXPECT_EQ(outputs, std::vector<unsigned>{0}) << "a line out";
  EXPECT_EQ(inputs, std::vector<unsigned>{8}) << "a line in";
}

TEST_F(CodecTest, TellsWhoItIs) {
  EXPECT_NE(parameter(0, 0x00), 0u);
  EXPECT_EQ(parameter(0, 0x02) >> 16, 0x10u) << "of version 1.0";
  EXPECT_NE(ask(1, 0xf20, 0), 0u);
  for (unsigned node : {1u, kDac, kAdc}) {
    EXPECT_EQ(parameter(node, 0x0a), 0x1e'07ffu) << node;
    EXPECT_EQ(parameter(node, 0x0b), 1u) << node;
    EXPECT_EQ(parameter(node, 0x0f), 0xfu) << node;
  }
  EXPECT_EQ(parameter(kDac, 0x12), 0x8003'3f3fu);
  EXPECT_EQ(parameter(kAdc, 0x0d), 0x8003'3f3fu);
  EXPECT_EQ(parameter(kDac, 0x0d) | parameter(kAdc, 0x12) | parameter(kOutPin, 0x0a), 0u);
}

// Each of the rates and sizes that the parameters tell, and no other.
TEST_F(CodecTest, PlaysWhatItOffers) {
  unsigned taken = 0;
  for (unsigned word = 0; word <= 0xffff; ++word) {
    listen(static_cast<uint16_t>(word));
    const StreamFormat format{static_cast<uint16_t>(word)};
    if (!codec.plays(1, format)) continue;
    ++taken;
    constexpr uint32_t kRates[] = {8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000};
    EXPECT_NE(std::ranges::find(kRates, format.rate()), std::end(kRates)) << std::hex << word;
    EXPECT_LE(format.channels(), 2u);
    EXPECT_GE(format.sample_bytes(), 2u);
    EXPECT_FALSE(word & 0x8088) << "what is reserved, and what is no PCM";
  }
  EXPECT_EQ(taken, 11u * 4 * 2);
}

TEST_F(CodecTest, PlaysTheStreamThatItIsSetTo) {
  listen(kStereo48000, 5);
  EXPECT_TRUE(codec.plays(5, {kStereo48000}));
  EXPECT_FALSE(codec.plays(4, {kStereo48000}));
  EXPECT_FALSE(codec.plays(5, {kMono48000}));
  listen(kStereo48000, 0);
  EXPECT_FALSE(codec.plays(0, {kStereo48000})) << "stream 0 is none";
  EXPECT_EQ(ask_short(kDac, 0xa, 0), kStereo48000);
}

TEST_F(CodecTest, AmplifiesLeftAndRight) {
  EXPECT_EQ(codec.gains(), (std::array<uint32_t, 2>{0, 0})) << "it is mute at first";
  ask_short(kDac, 3, 0xa000 | 63);
  EXPECT_EQ(codec.gains(), (std::array<uint32_t, 2>{Codec::kUnity, 0}));
  ask_short(kDac, 3, 0x9000 | 57);
  EXPECT_EQ(codec.gains(), (std::array<uint32_t, 2>{Codec::kUnity, 32846})) << "6 dB less";
  EXPECT_EQ(ask_short(kDac, 0xb, 0xa000), 63u);
  EXPECT_EQ(ask_short(kDac, 0xb, 0x8000), 57u);
  ask_short(kDac, 3, 0xa000 | 0x80 | 63);
  EXPECT_EQ(codec.gains()[0], 0u);
  ask_short(kDac, 3, 0xb000 | 0x7f);
  EXPECT_EQ(codec.gains()[0], Codec::kUnity) << "beyond the last step";
  ask_short(kDac, 3, 0x7000 | 1);
  EXPECT_EQ(ask_short(kDac, 0xb, 0xa000), 0x7fu) << "that was for an input";
  ask_short(kAdc, 3, 0x7000 | 5);
  EXPECT_EQ(ask_short(kAdc, 0xb, 0x2000), 5u);
  ask_short(kAdc, 3, 0x7100 | 6);
  EXPECT_EQ(ask_short(kAdc, 0xb, 0x0000), 5u) << "there is one input";
  EXPECT_EQ(ask_short(kOutPin, 0xb, 0xa000), 0u);
}

TEST_F(CodecTest, IsSilentWithoutPowerOrPin) {
  ask_short(kDac, 3, 0xb000 | 63);
  const auto loud = codec.gains();
  constexpr std::array<unsigned, 4> kSwitches[] = {{1, 0x705, 3, 0}, {kDac, 0x705, 2, 0}, {kOutPin, 0x707, 0, 0x40}};
  for (const auto& [node, verb, off, on] : kSwitches) {
    ask(node, verb, off);
    EXPECT_EQ(codec.gains()[0], 0u) << node;
    EXPECT_EQ(ask(node, 0xf00 | (verb & 0xff), 0), verb == 0x705 ? off << 4 | off : off);
    ask(node, verb, on);
    EXPECT_EQ(codec.gains(), loud) << node;
  }
  ask(kDac, 0x706, 1 << 4 | 2);
  EXPECT_EQ(codec.gains()[0], 0u) << "a channel that the stream does not have";
}

// 7.3.3.31, 7.3.3.33.
TEST_F(CodecTest, AResetLeavesWhatFirmwareHasSaid) {
  for (unsigned i = 0; i < 4; ++i) {
    ask(kOutPin, 0x71c + i, 0x11 * (i + 1));
    ask(1, 0x720 + i, 0xa0 + i);
  }
  ask_short(kDac, 3, 0xb000 | 1);
  ask(1, 0x7ff, 0);
  EXPECT_EQ(ask(kOutPin, 0xf1c, 0), 0x4433'2211u);
  EXPECT_EQ(ask(1, 0xf20, 0), 0xa3a2'a1a0u);
  EXPECT_EQ(ask_short(kDac, 0xb, 0xa000), 0x80u | 63);
  codec.power_on();
  EXPECT_EQ(ask(kOutPin, 0xf1c, 0), 0x0101'4110u);
}

TEST_F(CodecTest, AnswersAnything) {
  for (uint64_t i = 0; i < 200'000; ++i) (void)codec.answer(static_cast<uint32_t>(i * 2'654'435'761u));
  EXPECT_EQ(codec.answer(1u << 27 | 0xf0000), 0u) << "a node ID of the other form";
}

}  // namespace
}  // namespace skerry::devices::hda::test
