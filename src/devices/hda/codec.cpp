#include "devices/hda/codec.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace skerry::devices::hda {

namespace {

enum Node : unsigned { kRoot, kFunctionGroup, kDac, kOutPin, kAdc, kInPin, kNodes };

// "SK": one that no driver knows, so that they go by what the nodes tell.
constexpr uint32_t kVendorAndDevice = 0x534b'0001, kSubsystem = 0x534b'0001;
constexpr uint32_t kRevision = 0x0010'0000;  // of the specification: 1.0

// 7.3.3: verbs of 4 bits, with 16 of payload, and of 12 bits, with 8, whose first 4 tell that they are such and get or
// set.
constexpr unsigned kSetFormat = 0x2, kSetAmplifier = 0x3, kGetFormat = 0xa, kGetAmplifier = 0xb, kSet = 0x7, kGet = 0xf;
// The other 8 of those.
constexpr unsigned kParameter = 0x00, kConnectionList = 0x02, kPower = 0x05, kStreamAndChannel = 0x06,
                   kPinControl = 0x07;
constexpr unsigned kConfiguration = 0x1c;  // to 0x1f: a byte each, where it is set
constexpr unsigned kSubsystemId = 0x20;    // to 0x23: likewise
constexpr unsigned kReset = 0xff;
constexpr uint32_t kIndirect = 1 << 27;  // 7.3.1: a node ID of another form, which codecs need that have many

// 7.3.4: parameters.
constexpr unsigned kVendorId = 0x00, kRevisionId = 0x02, kSubordinates = 0x04, kGroupType = 0x05, kWidget = 0x09,
                   kPcm = 0x0a;
constexpr unsigned kFormats = 0x0b, kPin = 0x0c, kInputAmplifier = 0x0d, kConnections = 0x0e, kPowerStates = 0x0f,
                   kOutputAmplifier = 0x12;
constexpr uint32_t kAudioGroup = 1, kPcmOnly = 1 << 0, kD0ToD3 = 0xf;

// 7.3.4.6: audio widget capabilities.
constexpr uint32_t kStereo = 1 << 0, kHasInputAmplifier = 1 << 1, kHasOutputAmplifier = 1 << 2, kOwnAmplifier = 1 << 3,
                   kOwnFormats = 1 << 4;
constexpr uint32_t kHasConnections = 1 << 8, kHasPower = 1 << 10;
constexpr uint32_t kOutput = 0u << 20, kInput = 1u << 20, kPinComplex = 4u << 20;
// 7.3.4.9: pin capabilities.
constexpr uint32_t kCanOutput = 1 << 4, kCanInput = 1 << 5;
// 7.3.3.13: pin widget control.
constexpr uint8_t kOutEnable = 1 << 6, kInEnable = 1 << 5;

// 7.3.3.31: jacks at the rear, of 1/8", that tell nobody whether something is plugged in: green line out, blue line in.
constexpr uint32_t kLineOutJack = 0x0101'4110, kLineInJack = 0x0181'3120;

struct Widget {
  uint32_t capabilities = 0, pin = 0, configuration = 0;
  uint8_t connected_to = 0;
  uint8_t pin_enable = 0;
};
constexpr Widget kWidgets[kNodes] = {
    {},
    {},
    {.capabilities = kOutput | kStereo | kHasOutputAmplifier | kOwnAmplifier | kOwnFormats | kHasPower},
    {.capabilities = kPinComplex | kStereo | kHasConnections,
     .pin = kCanOutput,
     .configuration = kLineOutJack,
     .connected_to = kDac,
     .pin_enable = kOutEnable},
    {.capabilities = kInput | kStereo | kHasInputAmplifier | kOwnAmplifier | kOwnFormats | kHasConnections | kHasPower,
     .connected_to = kInPin},
    {.capabilities = kPinComplex | kStereo, .pin = kCanInput, .configuration = kLineInJack, .pin_enable = kInEnable},
};
constexpr bool is_pin(unsigned node) { return kWidgets[node].pin != 0; }
constexpr unsigned pin_index(unsigned node) { return node == kOutPin ? 0 : 1; }
// Which of the power states is a node's, if it has one.
constexpr int power_index(unsigned node) {
  return node == kFunctionGroup ? 0 : node == kDac ? 1 : node == kAdc ? 2 : -1;
}

// 7.3.4.7: the rates that have a bit there, by that bit, as a format tells them: 8, 11.025, 16, 22.05, 32, 44.1,
// 48, 88.2, 96, 176.4 and 192 kHz.
constexpr uint16_t kRates[] = {0x0500, 0x4300, 0x0200, 0x4100, 0x0a00, 0x4000, 0x0000, 0x4800, 0x0800, 0x5800, 0x1800};
constexpr uint32_t kAllRates = (1 << std::size(kRates)) - 1;
constexpr unsigned kFirstBitsCode = 1, kLastBitsCode = 4;  // 16, 20, 24, 32 bits
constexpr uint32_t kAllSizes = 0xf << 17;
constexpr unsigned kChannels = 2;

bool offers(StreamFormat format) {
  return !(format.word & (StreamFormat::kNotPcm | StreamFormat::kReserved)) && format.channels() <= kChannels &&
         format.bits_code() >= kFirstBitsCode && format.bits_code() <= kLastBitsCode &&
         std::ranges::find(kRates, format.word & StreamFormat::kRateMask) != std::end(kRates);
}

// 7.3.4.10: steps of 1 dB, of which the greatest is 0 dB; it can mute.
constexpr uint8_t kSteps = 63, kMute = 1 << 7, kGainMask = 0x7f;
constexpr uint32_t kAmplifierCapabilities = 1u << 31 | 3 << 16 | kSteps << 8 | kSteps;
// 7.3.3.7: what is set.
constexpr uint16_t kSetOutput = 1 << 15, kSetInput = 1 << 14, kSetLeft = 1 << 13, kSetRight = 1 << 12,
                   kSetIndex = 0xf00;
constexpr uint16_t kGetOutput = 1 << 15, kGetLeft = 1 << 13;

uint32_t gain_of(uint8_t amplifier) {
  if (amplifier & kMute) return 0;
  const int decibels = std::min<uint8_t>(amplifier & kGainMask, kSteps) - kSteps;
  return static_cast<uint32_t>(std::lround(Codec::kUnity * std::pow(10.0, decibels / 20.0)));
}

void set_byte(uint32_t& word, unsigned index, uint8_t value) {
  word = (word & ~(0xffu << (8 * index))) | uint32_t{value} << (8 * index);
}

}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

void Codec::reset() {
  output_ = input_ = {.format = {}, .stream_and_channel = 0, .amplifier = {kMute | kSteps, kMute | kSteps}};
  pin_control_ = {kOutEnable, kInEnable};
  power_ = {};
}

void Codec::power_on() {
  reset();
  configuration_ = {kLineOutJack, kLineInJack};
  subsystem_ = kSubsystem;
}

void Codec::describe(state::Fields& fields) {
  const auto describe_converter = [&](std::string_view name, Converter& converter) {
    fields.group(name, [&] {
      fields.field("format", converter.format.word);
      fields.field("stream", converter.stream_and_channel);
      fields.field("amplifier", converter.amplifier);
    });
  };
  describe_converter("output", output_);
  describe_converter("input", input_);
  fields.field("pin_control", pin_control_, state::in_mask(kOutEnable | kInEnable));
  fields.field("power", power_, state::up_to(3));
  fields.field("configuration", configuration_);
  fields.field("subsystem", subsystem_);
}

// --- verbs -----------------------------------------------------------------------------------------------------------

uint32_t Codec::answer(uint32_t command) {
  const unsigned node = command >> 20 & 0x7f;
  if (command & kIndirect || node >= kNodes) return 0;
  const auto payload = static_cast<uint16_t>(command);
  Converter* const of = converter(node);
  switch (command >> 16 & 0xf) {
    case kGet:
      return get(node, payload >> 8, static_cast<uint8_t>(payload));
    case kSet:
      set(node, payload >> 8, static_cast<uint8_t>(payload));
      return 0;
    case kGetFormat:
      return of ? of->format.word : 0;
    case kSetFormat:
      if (of) of->format.word = payload;
      return 0;
    case kGetAmplifier:
      return get_amplifier(node, payload);
    case kSetAmplifier:
      set_amplifier(node, payload);
      return 0;
    default:
      return 0;
  }
}

uint32_t Codec::parameter(unsigned node, unsigned id) const {
  const uint32_t capabilities = kWidgets[node].capabilities;
  const bool group = node == kFunctionGroup;
  switch (id) {
    case kVendorId:
      return node == kRoot ? kVendorAndDevice : 0;
    case kRevisionId:
      return node == kRoot ? kRevision : 0;
    case kSubordinates:
      return node == kRoot ? kFunctionGroup << 16 | 1 : group ? kDac << 16 | (kNodes - kDac) : 0;
    case kGroupType:
      return group ? kAudioGroup : 0;
    case kWidget:
      return capabilities;
    case kPcm:
      return group || capabilities & kOwnFormats ? kAllRates | kAllSizes : 0;
    case kFormats:
      return group || capabilities & kOwnFormats ? kPcmOnly : 0;
    case kPin:
      return kWidgets[node].pin;
    case kInputAmplifier:
      return capabilities & kHasInputAmplifier ? kAmplifierCapabilities : 0;
    case kOutputAmplifier:
      return capabilities & kHasOutputAmplifier ? kAmplifierCapabilities : 0;
    case kConnections:
      return kWidgets[node].connected_to ? 1 : 0;
    case kPowerStates:
      return power_index(node) >= 0 ? kD0ToD3 : 0;
    default:
      return 0;
  }
}

uint32_t Codec::get(unsigned node, unsigned verb, uint8_t payload) const {
  switch (verb) {
    case kParameter:
      return parameter(node, payload);
    case kConnectionList:
      return payload == 0 ? kWidgets[node].connected_to : 0;
    case kPower: {
      if (power_index(node) < 0) return 0;
      const uint32_t state = power_[static_cast<unsigned>(power_index(node))];
      return state | state << 4;  // as set, and as it is
    }
    case kStreamAndChannel:
      return converter(node) ? converter(node)->stream_and_channel : 0;
    case kPinControl:
      return is_pin(node) ? pin_control_[pin_index(node)] : 0;
    case kConfiguration:
      return is_pin(node) ? configuration_[pin_index(node)] : 0;
    case kSubsystemId:
      return node == kFunctionGroup ? subsystem_ : 0;
    default:
      return 0;
  }
}

void Codec::set(unsigned node, unsigned verb, uint8_t payload) {
  if (verb == kReset && node == kFunctionGroup) return reset();
  if (verb == kPower && power_index(node) >= 0) power_[static_cast<unsigned>(power_index(node))] = payload & 3;
  if (verb == kStreamAndChannel && converter(node)) converter(node)->stream_and_channel = payload;
  if (verb == kPinControl && is_pin(node)) pin_control_[pin_index(node)] = payload & kWidgets[node].pin_enable;
  if (verb >= kConfiguration && verb < kConfiguration + 4 && is_pin(node))
    set_byte(configuration_[pin_index(node)], verb - kConfiguration, payload);
  if (verb >= kSubsystemId && verb < kSubsystemId + 4 && node == kFunctionGroup)
    set_byte(subsystem_, verb - kSubsystemId, payload);
}

// The DAC's is for its output, the ADC's for its only input.
uint32_t Codec::get_amplifier(unsigned node, uint16_t payload) const {
  const Converter* const of = converter(node);
  const bool output = payload & kGetOutput;
  if (!of || output != (node == kDac) || (!output && payload & 0xf)) return 0;
  return of->amplifier[payload & kGetLeft ? 0 : 1];
}

void Codec::set_amplifier(unsigned node, uint16_t payload) {
  Converter* const of = converter(node);
  if (!of || !(payload & (node == kDac ? kSetOutput : kSetInput)) || (node == kAdc && payload & kSetIndex)) return;
  if (payload & kSetLeft) of->amplifier[0] = static_cast<uint8_t>(payload);
  if (payload & kSetRight) of->amplifier[1] = static_cast<uint8_t>(payload);
}

Codec::Converter* Codec::converter(unsigned node) { return node == kDac ? &output_ : node == kAdc ? &input_ : nullptr; }

// --- what is heard ---------------------------------------------------------------------------------------------------

bool Codec::plays(unsigned stream, StreamFormat format) const {
  return stream != 0 && output_.stream_and_channel >> 4 == stream && output_.format == format && offers(format);
}

bool Codec::has_power() const { return power_[0] == 0 && power_[1] == 0; }

std::array<uint32_t, 2> Codec::gains() const {
  const bool first_channel = (output_.stream_and_channel & 0xf) == 0;  // all others are beyond those of the stream
  if (!has_power() || !first_channel || !(pin_control_[0] & kOutEnable)) return {};
  return {gain_of(output_.amplifier[0]), gain_of(output_.amplifier[1])};
}

}  // namespace skerry::devices::hda
