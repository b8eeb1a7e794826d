#include "devices/usb/xhci_port.hpp"

#include <utility>

namespace skerry::devices::usb::xhci {

using namespace portsc;

void Port::plug_in(std::unique_ptr<Device> device) {
  device_ = std::move(device);
  power_on();
}

// A SuperSpeed link trains by itself; a USB 2 port waits for a reset (4.19.1).
void Port::power_on() {
  slot = 0;
  changes_ = wakes_ = 0;
  reset_wanted_ = warm_ = news_ = false;
  enabled_ = device_ && usb3_;
  link_ = !device_ ? Link::kRxDetect : usb3_ ? Link::kU0 : Link::kPolling;
  if (device_) change(CSC);
}

void Port::describe(state::Fields& fields) {
  fields.field("enabled", enabled_);
  fields.field("reset_wanted", reset_wanted_);
  fields.field("warm", warm_);
  fields.field("news", news_);
  fields.field("link", link_, state::up_to(static_cast<uint8_t>(Link::kResume)));
  fields.field("changes", changes_, state::in_mask(kChanges));
  fields.field("wakes", wakes_, state::in_mask(kWakes));
  if (device_) fields.group("device", [&] { device_->describe(fields); });
  if (!device_) enabled_ = reset_wanted_ = false;
}

void Port::change(uint32_t bits) {
  if ((changes_ & bits) != bits) news_ = true;
  changes_ |= bits;
}

uint32_t Port::read() const {
  const uint32_t speed = device_ && (enabled_ || usb3_) ? static_cast<uint32_t>(device_->speed()) : 0;
  return (device_ ? CCS : 0) | (enabled_ ? PED : 0) | (reset_wanted_ ? PR : 0) | static_cast<uint32_t>(link_) << kLinkShift | PP |
         speed << kSpeedShift | changes_ | wakes_;
}

bool Port::write(uint32_t value) {
  changes_ &= ~value;
  wakes_ = value & kWakes;
  if (!device_) return false;
  if ((value & PR) || (usb3_ && (value & WPR))) {
    reset_wanted_ = true;
    warm_ = usb3_ && (value & WPR);
    return true;
  }
  if (enabled_ && (value & PED)) {
    enabled_ = false;
    link_ = Link::kDisabled;
  } else if (enabled_ && (value & LWS)) {
    set_link(value >> kLinkShift & 15);
  }
  return news_;
}

void Port::set_link(uint32_t value) {
  const auto link = static_cast<Link>(value);
  if (link == Link::kU3 || (link == Link::kResume && !usb3_)) {
    link_ = link;
  } else if (link == Link::kU0) {
    if (link_ != Link::kU0) change(PLC);
    link_ = link;
  }
}

void Port::finish_reset() {
  if (!std::exchange(reset_wanted_, false)) return;
  enabled_ = true;
  link_ = Link::kU0;
  change(PRC | (std::exchange(warm_, false) ? WRC : 0));
}

}  // namespace skerry::devices::usb::xhci
