// The PC's keyboard controller (Intel 8042 as programmed by the IBM PS/2; "PS/2 Hardware Interface Technical
// Reference, Keyboard and Auxiliary Device Controller") at ports 0x60 and 0x64, with a keyboard and perhaps a mouse;
// and the system control port A (0x92), which has the same two wires: A20 and reset.
//
// A20 can be read and written but does nothing: address line 20 is always on.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include "bus/device.hpp"
#include "bus/interrupt.hpp"
#include "devices/io_window.hpp"
#include "devices/ps2.hpp"
#include "display/input.hpp"

namespace skerry::devices {

class I8042 final : public bus::Device, public display::Input {
 public:
  static constexpr uint16_t kDataPort = 0x60, kCommandPort = 0x64, kSystemControlPortA = 0x92;
  static constexpr unsigned kKeyboardIrq = 1, kMouseIrq = 12;

  struct Wiring {
    bus::IrqLine keyboard_irq, mouse_irq;
    bool mouse = true;            // whether one is plugged in
    std::function<void()> reset;  // the guest pulses the processor's reset line; from a vCPU thread, with no lock held
  };
  explicit I8042(Wiring wiring);
  Result<void> attach(bus::AddressSpace& pio);

  // display::Input. Any thread. Keys are lost, as on hardware, if the guest has switched scanning off or does not keep up; movements
  // that it does not fetch add up.
  void key(display::KeyCode key, bool down) override;
  bool wants_absolute() const override { return false; }
  void pointer_absolute(uint16_t, uint16_t, display::Buttons) override {}  // it cannot say where it is
  void pointer_relative(int32_t dx, int32_t dy, display::Buttons buttons) override;
  void wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons) override;
  display::Leds leds() const { return Ps2Keyboard::leds(shown_.load(std::memory_order_relaxed)); }
  // Called when the guest has changed its lamps, with the device's lock held: it may ask for leds(), and no more. To be given at rest.
  void on_leds_change(std::function<void()> changed) { leds_changed_ = std::move(changed); }

  std::string_view name() const override { return "i8042"; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  uint8_t read_data();
  uint8_t read_status();
  uint8_t read_control_a();
  void write_data(uint8_t value);
  void write_command(uint8_t value);
  void write_control_a(uint8_t value);

  // With lock_ held. Those that return bool say whether the reset line was pulsed.
  [[nodiscard]] bool controller_command(uint8_t command);
  [[nodiscard]] bool data_for_controller(uint8_t value);
  void write_command_byte(uint8_t value);
  uint8_t output_port() const;
  void reply(uint8_t byte) { replies_.push(byte); }
  void fill_output_buffer();
  void load(uint8_t byte, bool from_mouse);
  void update_irqs();
  void show_leds();

  const Wiring wiring_;
  std::mutex lock_;
  uint8_t command_byte_ = 0;  // RAM address 0
  uint8_t awaited_ = 0;       // the controller command whose data byte comes next, or 0
  uint8_t output_buffer_ = 0;
  bool output_full_ = false;  // OBF
  bool output_from_mouse_ = false;
  bool last_write_was_command_ = false;
  bool break_prefix_ = false;  // translating: 0xf0 came, the next code is a release
  bool a20_ = true;
  Ps2Queue replies_;     // the controller's own
  Ps2Queue mouse_loop_;  // 0xd3: as if from the mouse
  Ps2Keyboard keyboard_;
  Ps2Mouse mouse_;
  std::function<void()> leds_changed_;
  std::atomic<uint8_t> shown_{0};  // the keyboard's lamps, for other threads; derived
  IoWindow data_window_, command_window_, control_a_window_;
};

}  // namespace skerry::devices
