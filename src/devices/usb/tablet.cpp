#include "devices/usb/tablet.hpp"

#include <algorithm>
#include <utility>

namespace skerry::devices::usb {

namespace {
constexpr size_t kEventSize = 7;  // of a report, and of an event in a file
constexpr int32_t kMostNotches = 127;

const Device::Bytes kReportDescriptor = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,                          // generic desktop, mouse; pointer
    0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01, 0x95, 0x03, 0x75, 0x01,  // three buttons
    0x81, 0x02, 0x95, 0x01, 0x75, 0x05, 0x81, 0x01,                                      // input; five bits of nothing
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f, 0x35, 0x00, 0x46, 0xff, 0x7f,  // X, Y: 0 to 32767
    0x75, 0x10, 0x95, 0x02, 0x81, 0x02,                                                  // absolute
    0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06,  // wheel: relative
    0x05, 0x0c, 0x0a, 0x38, 0x02, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06,        // consumer, AC Pan: likewise
    0xc0, 0xc0,
};

// In the order of the button page.
uint8_t bits_of(display::Buttons buttons) {
  return static_cast<uint8_t>((buttons.left ? 1 : 0) | (buttons.right ? 2 : 0) | (buttons.middle ? 4 : 0));
}
}  // namespace

Tablet::Tablet(Options options)
    : Hid(std::move(options), {.product = "USB tablet", .product_id = 0x0002, .subclass = 0, .protocol = 0,
                               .report_descriptor = kReportDescriptor, .report_size = 8, .interval = 4}) {}

void Tablet::pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons) {
  add({.buttons = bits_of(buttons), .x = std::min(x, display::kPointerMax), .y = std::min(y, display::kPointerMax)});
}

// Up is positive in a report, and down in the call.
void Tablet::wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons) {
  Event event{.buttons = bits_of(buttons)};
  {
    std::lock_guard guard(lock_);
    event.x = latest_.x;
    event.y = latest_.y;
  }
  event.vertical = static_cast<int8_t>(-std::clamp(vertical, -kMostNotches, kMostNotches));
  event.horizontal = static_cast<int8_t>(std::clamp(horizontal, -kMostNotches, kMostNotches));
  add(event);
}

// A movement replaces one that nobody has fetched, if the buttons are the same.
void Tablet::add(Event event) {
  if (!in_use()) return;
  {
    std::lock_guard guard(lock_);
    const bool only_moves = event.vertical == 0 && event.horizontal == 0;
    const bool replaces = !events_.empty() && only_moves && events_.back().buttons == event.buttons && events_.back().vertical == 0 &&
                          events_.back().horizontal == 0;
    if (replaces || events_.size() == kMostEvents) events_.pop_back();
    events_.push_back(event);
    latest_ = {event.buttons, event.x, event.y};
  }
  wake();
}

bool Tablet::next_report(Bytes& report) {
  if (events_.empty()) return false;
  report = report_of(events_.front());
  present_ = {events_.front().buttons, events_.front().x, events_.front().y};
  events_.pop_front();
  return true;
}

Device::Bytes Tablet::present_report() const { return report_of(present_); }

Device::Bytes Tablet::report_of(const Event& event) {
  const auto low = [](uint16_t value) { return static_cast<uint8_t>(value); };
  const auto high = [](uint16_t value) { return static_cast<uint8_t>(value >> 8); };
  return {event.buttons, low(event.x), high(event.x), low(event.y), high(event.y), static_cast<uint8_t>(event.vertical),
          static_cast<uint8_t>(event.horizontal)};
}

void Tablet::clear() {
  events_.clear();
  latest_ = present_ = {};
}

void Tablet::describe_kind(state::Fields& fields) {
  std::vector<uint8_t> raw;
  for (const Event& event : events_) {
    const Bytes one = report_of(event);
    raw.insert(raw.end(), one.begin(), one.end());
  }
  fields.blob("events", raw, kEventSize * kMostEvents);
  const auto position = [&](std::string_view name, Event& event) {
    fields.group(name, [&] {
      fields.field("buttons", event.buttons, state::up_to(7));
      fields.field("x", event.x, state::up_to(display::kPointerMax));
      fields.field("y", event.y, state::up_to(display::kPointerMax));
    });
  };
  position("latest", latest_);
  position("present", present_);
  events_.clear();
  for (size_t at = 0; at + kEventSize <= raw.size(); at += kEventSize)
    events_.push_back({.buttons = raw[at],
                       .x = static_cast<uint16_t>(raw[at + 1] | raw[at + 2] << 8),
                       .y = static_cast<uint16_t>(raw[at + 3] | raw[at + 4] << 8),
                       .vertical = static_cast<int8_t>(raw[at + 5]),
                       .horizontal = static_cast<int8_t>(raw[at + 6])});
}

}  // namespace skerry::devices::usb
