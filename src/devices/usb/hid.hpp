// A human interface device (Device Class Definition for Human Interface Devices, HID, 1.11): its descriptors and requests, and
// the interrupt endpoint on which it reports. What it reports is its kind's.
//
// Events come from any thread, under the device's lock; all else is as for every device.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>

#include "base/event_loop.hpp"
#include "devices/usb/device.hpp"

namespace skerry::devices::usb {

class Hid : public Device {
 public:
  static constexpr uint8_t kReports = 1 | kIn;
  // `loop` is the controller's. `in_use_changed` is called in its turns, and at rest when a state is loaded or the VM reset, with
  // no lock held; it may be empty.
  struct Options {
    EventLoop& loop;
    std::function<void()> in_use_changed;
  };

  Speed speed() const override { return Speed::kFull; }
  // Whether the guest has configured it, so that somebody listens. Any thread.
  bool in_use() const { return in_use_.load(std::memory_order_acquire); }
  void restored() override;

 protected:
  struct Kind {
    std::string product;
    uint16_t product_id;
    uint8_t subclass, protocol;  // of the interface
    Bytes report_descriptor;
    uint8_t report_size, interval;  // bytes; ms
  };
  Hid(Options options, Kind kind);

  // With lock_ held. The next report that the host has not had; false: there is none.
  virtual bool next_report(Bytes& report) = 0;
  virtual Bytes present_report() const = 0;
  virtual void output_report(std::span<const uint8_t>) {}
  virtual void clear() = 0;
  virtual void describe_kind(state::Fields& fields) = 0;

  bool boot_protocol() const { return boot_; }  // likewise
  // With no lock held, after an event.
  void wake() { ready(kReports); }

  mutable std::mutex lock_;

 private:
  bool class_control(const Setup& setup, Bytes& data) override;
  Task<Transfer> class_transfer(uint8_t endpoint, std::span<const iovec> data) override;
  void class_reset() override;
  void configuration_changed() override;
  void describe_class(state::Fields& fields) override;
  bool hid_descriptor(const Setup& setup, Bytes& data) const;
  void schedule_idle();

  const Options options_;
  const Kind kind_;
  Timer timer_;
  std::atomic<bool> in_use_{false};
  // With lock_ held.
  uint8_t idle_ = 0;          // of 4 ms: so long after a report it is made again; 0: never
  bool boot_ = false;         // the boot protocol
  bool repeats_ = false;      // the idle time is over
  int64_t repeat_at_ = 0;     // of the VM's clock; 0: never
};

}  // namespace skerry::devices::usb
