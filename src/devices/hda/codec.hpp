// The codec (High Definition Audio 1.0a, chapter 7): an audio function group with an output converter and its line-out
// jack, and an input converter and its line-in jack. Both converters have an amplifier. What the input hears is
// silence.
//
//   DAC (2) --> line out (3)      line in (5) --> ADC (4)
//
// Absent: detection of jacks, and so unsolicited responses; GPIO, digital converters, processing, coefficients, beep.
// Owned by the card's lock.
#pragma once

#include <array>
#include <cstdint>

#include "devices/hda/stream_format.hpp"
#include "state/fields.hpp"

namespace skerry::devices::hda {

class Codec {
 public:
  static constexpr unsigned kAddress = 0;
  static constexpr uint32_t kUnity = 1 << 16;

  Codec() { power_on(); }

  // The response to a command (7.3) that is addressed to it. Verbs that a node does not have are answered by 0.
  uint32_t answer(uint32_t command);

  // Whether the output converter is set to play the stream of this number, which has this format.
  bool plays(unsigned stream, StreamFormat format) const;
  // What left and right are multiplied by, 16.16: 0, where nothing can be heard, to kUnity.
  std::array<uint32_t, 2> gains() const;

  void reset();     // of the link or of the function group: what firmware has set to describe the machine stays
  void power_on();  // all
  void describe(state::Fields& fields);

 private:
  struct Converter {
    StreamFormat format;
    uint8_t stream_and_channel = 0;      // 7.3.3.11
    std::array<uint8_t, 2> amplifier{};  // left and right, 7.3.3.7: mute and gain
  };
  static constexpr unsigned kPins = 2, kPowered = 3;  // nodes that have a power state: the function group, DAC, ADC

  uint32_t parameter(unsigned node, unsigned id) const;
  uint32_t get(unsigned node, unsigned verb, uint8_t payload) const;
  void set(unsigned node, unsigned verb, uint8_t payload);
  uint32_t get_amplifier(unsigned node, uint16_t payload) const;
  void set_amplifier(unsigned node, uint16_t payload);
  Converter* converter(unsigned node);
  const Converter* converter(unsigned node) const { return const_cast<Codec*>(this)->converter(node); }
  bool has_power() const;

  Converter output_, input_;
  std::array<uint8_t, kPins> pin_control_{};     // 7.3.3.13
  std::array<uint8_t, kPowered> power_{};        // 7.3.3.10: D0 to D3
  std::array<uint32_t, kPins> configuration_{};  // 7.3.3.31
  uint32_t subsystem_ = 0;                       // 7.3.3.30
};

}  // namespace skerry::devices::hda
