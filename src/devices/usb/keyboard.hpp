// A boot keyboard (HID 1.11, appendix B): six keys at a time besides the modifiers, and three LEDs.
#pragma once

#include <array>
#include <deque>

#include "devices/usb/hid.hpp"
#include "display/input.hpp"

namespace skerry::devices::usb {

// Of the keyboard page (HID Usage Tables 1.12, 10); 0: the page has no such key.
uint8_t key_usage(display::KeyCode key);

class Keyboard final : public Hid {
 public:
  explicit Keyboard(Options options);

  // As display::Input has it. Any thread. What the guest does not fetch is lost, but no key stays down for it.
  void key(display::KeyCode key, bool down);
  display::Leds leds() const;

 private:
  static constexpr size_t kMostEvents = 64, kKeys = 6;
  struct Event {
    uint8_t usage;
    bool down;
  };

  bool next_report(Bytes& report) override;
  Bytes present_report() const override;
  void output_report(std::span<const uint8_t> report) override;
  void clear() override;
  void describe_kind(state::Fields& fields) override;
  void apply(Event event);

  // With lock_ held.
  std::deque<Event> events_;
  bool lost_ = false;                   // an event was: at the end of the others all keys come up
  std::array<uint32_t, 8> down_{};      // a bit for each usage
  uint8_t leds_ = 0;
};

}  // namespace skerry::devices::usb
