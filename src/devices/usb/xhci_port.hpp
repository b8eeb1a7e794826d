// A port of the root hub (4.19 and 5.4.8). A device at it is there from the beginning.
//
// All members are called with the controller's lock held.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "devices/usb/device.hpp"
#include "devices/usb/xhci_layout.hpp"

namespace skerry::devices::usb::xhci {

class Port {
 public:
  void be_usb3(bool usb3) { usb3_ = usb3; }
  bool usb3() const { return usb3_; }
  void plug_in(std::unique_ptr<Device> device);
  Device* device() { return device_.get(); }

  uint32_t read() const;
  // True: there may be something for the loop.
  bool write(uint32_t value);
  bool enabled() const { return enabled_; }
  bool reset_wanted() const { return reset_wanted_; }
  void finish_reset();
  // Whether something has changed that no event has told of.
  bool take_news() { return std::exchange(news_, false); }
  bool has_news() const { return news_; }

  void power_on();
  void describe(state::Fields& fields);

  // The slot that has the device, or 0. Of the loop; read by any thread.
  std::atomic<uint8_t> slot{0};

 private:
  void change(uint32_t bits);
  void set_link(uint32_t value);

  std::unique_ptr<Device> device_;
  bool usb3_ = true;
  bool enabled_ = false, reset_wanted_ = false, warm_ = false, news_ = false;
  Link link_ = Link::kRxDetect;
  uint32_t changes_ = 0, wakes_ = 0;
};

}  // namespace skerry::devices::usb::xhci
