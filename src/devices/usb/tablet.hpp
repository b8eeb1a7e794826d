// An absolute pointing device with three buttons and two wheels.
#pragma once

#include <deque>

#include "devices/usb/hid.hpp"
#include "display/input.hpp"

namespace skerry::devices::usb {

class Tablet final : public Hid {
 public:
  explicit Tablet(Options options);

  // As display::Input has them. Any thread. What the guest does not fetch is lost, but for the last of it.
  void pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons);
  void wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons);

 private:
  static constexpr size_t kMostEvents = 32;
  struct Event {
    uint8_t buttons = 0;
    uint16_t x = 0, y = 0;
    int8_t vertical = 0, horizontal = 0;
    bool operator==(const Event&) const = default;
  };

  bool next_report(Bytes& report) override;
  Bytes present_report() const override;
  void clear() override;
  void describe_kind(state::Fields& fields) override;
  void add(Event event);
  static Bytes report_of(const Event& event);

  // With lock_ held.
  std::deque<Event> events_;
  Event latest_;   // the last of them, without its wheels
  Event present_;  // what was reported last, likewise
};

}  // namespace skerry::devices::usb
