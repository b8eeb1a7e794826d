// A keyboard and a mouse as the i8042 sees them: what they answer to commands (IBM PS/2 Hardware Interface Technical
// Reference, "Keyboards" and "Mouse"). Parts of one device: the controller's lock covers them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "state/fields.hpp"

namespace skerry::devices {

// Bytes on their way to the controller, oldest first.
class Ps2Queue {
 public:
  bool empty() const { return count_ == 0; }
  // A full queue loses the byte, as a device with nowhere to put it does.
  void push(uint8_t byte) {
    if (count_ < bytes_.size()) bytes_[count_++] = byte;
  }
  // All or nothing: a scan code must not lose its tail.
  bool push(std::span<const uint8_t> bytes);
  uint8_t pop();
  void clear() { count_ = 0; }
  void describe(state::Fields& fields, std::string_view name);

 private:
  std::array<uint8_t, 32> bytes_{};
  uint8_t count_ = 0;
};

class Ps2Keyboard {
 public:
  void reset();
  void command(uint8_t byte);  // or the argument of the last command
  // Bytes of a key in the active scan code set; false if scanning is off or there is no room.
  bool key(std::span<const uint8_t> scan_code) { return scanning_ && output.push(scan_code); }
  void describe(state::Fields& fields);

  Ps2Queue output;

 private:
  void argument(uint8_t byte);
  uint8_t awaited_ = 0;  // the command whose argument comes next, or 0
  uint8_t scan_code_set_ = 2;
  uint8_t leds_ = 0;
  uint8_t typematic_ = 0x2b;
  bool scanning_ = true;
};

class Ps2Mouse {
 public:
  void reset();
  void command(uint8_t byte);
  void describe(state::Fields& fields);

  Ps2Queue output;

 private:
  void defaults();
  uint8_t awaited_ = 0;
  uint8_t resolution_ = 2;  // 4 counts a millimetre
  uint8_t sample_rate_ = 100;
  bool scaling_2_to_1_ = false;
  bool remote_ = false;
  bool wrap_ = false;
  bool reporting_ = false;
};

}  // namespace skerry::devices
