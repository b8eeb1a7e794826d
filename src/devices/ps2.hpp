// A keyboard and a mouse as the i8042 sees them: what they answer to commands (IBM PS/2 Hardware Interface Technical
// Reference, "Keyboards" and "Mouse"). Parts of one device: the controller's lock covers them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "display/input.hpp"
#include "state/fields.hpp"

namespace skerry::devices {

// A byte of the keyboard in scan code set 2, as the controller translates it to set 1.
uint8_t set1_of_set2(uint8_t code);

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
  bool has_room(size_t bytes) const { return bytes <= bytes_.size() - count_; }
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
  // A key goes down, or up; false if scanning is off or there is no room.
  bool key(display::KeyCode key, bool down);
  uint8_t lamps() const { return leds_; }  // as they are set
  static display::Leds leds(uint8_t lamps);
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

// With a wheel, if the driver asks as Microsoft's does: an IntelliMouse with three buttons.
class Ps2Mouse {
 public:
  void reset();
  void command(uint8_t byte);
  // To the right, down, and of the wheel down; the buttons that are held from now on.
  void move(int32_t dx, int32_t dy, int32_t dz, display::Buttons buttons);
  uint8_t take();  // the next byte of `output`
  void describe(state::Fields& fields);

  Ps2Queue output;

 private:
  void defaults();
  void set_sample_rate(uint8_t rate);
  void report();
  void send_report();
  uint8_t buttons() const;
  uint8_t awaited_ = 0;
  uint8_t resolution_ = 2;  // 4 counts a millimetre
  uint8_t sample_rate_ = 100;
  bool scaling_2_to_1_ = false;
  bool remote_ = false;
  bool wrap_ = false;
  bool reporting_ = false;
  // What the guest has not been told yet.
  display::Buttons buttons_;
  int16_t dx_ = 0, dy_ = 0, dz_ = 0;
  bool news_ = false;
  uint8_t id_ = 0;                        // 3: with a wheel
  std::array<uint8_t, 3> last_rates_{};  // by which a driver asks for the wheel
};

}  // namespace skerry::devices
