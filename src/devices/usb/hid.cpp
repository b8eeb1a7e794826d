#include "devices/usb/hid.hpp"

#include <algorithm>
#include <utility>

#include "block/iovec.hpp"

namespace skerry::devices::usb {

namespace {
enum HidRequest : uint8_t { GET_REPORT = 1, GET_IDLE = 2, GET_PROTOCOL = 3, SET_REPORT = 9, SET_IDLE = 10, SET_PROTOCOL = 11 };  // HID, 7.2
constexpr uint8_t kHidClass = 3, kInputReport = 1, kOutputReport = 2;
constexpr uint8_t kPower = 50;  // of 2 mA
constexpr int64_t kIdleUnit = 4'000'000;  // ns

// HID, 6.2.1.
Device::Bytes hid_descriptor_of(size_t report_descriptor) {
  return {9, HID, 0x11, 0x01, 0, 1, REPORT, static_cast<uint8_t>(report_descriptor), static_cast<uint8_t>(report_descriptor >> 8)};
}

Device::Descriptors descriptors(const std::string& product, uint16_t product_id, uint8_t subclass, uint8_t protocol,
                                size_t report_descriptor, uint8_t report_size, uint8_t interval) {
  const auto interface = join({interface_descriptor(1, kHidClass, subclass, protocol), hid_descriptor_of(report_descriptor),
                               endpoint_descriptor(Hid::kReports, kInterrupt, report_size, interval)});
  return {.device = device_descriptor({.product = product_id}),
          .configuration = configuration_descriptor(kPower, interface),
          .bos = {},
          .strings = {"Skerry", product, "1"}};
}
}  // namespace

Hid::Hid(Options options, Kind kind)
    : Device(descriptors(kind.product, kind.product_id, kind.subclass, kind.protocol, kind.report_descriptor.size(), kind.report_size,
                         kind.interval)),
      options_(std::move(options)),
      kind_(std::move(kind)),
      timer_(options_.loop, [this] {
        {
          std::lock_guard guard(lock_);
          if (repeat_at_ == 0 || timer_.now() < repeat_at_) return;
          repeat_at_ = 0;
          repeats_ = true;
        }
        wake();
      }) {}

void Hid::class_reset() {
  std::lock_guard guard(lock_);
  timer_.cancel();
  idle_ = 0;
  boot_ = repeats_ = false;
  repeat_at_ = 0;
  clear();
}

void Hid::configuration_changed() {
  if (in_use_.exchange(configured()) != configured() && options_.in_use_changed) options_.in_use_changed();
}

void Hid::describe_class(state::Fields& fields) {
  std::lock_guard guard(lock_);
  fields.field("idle", idle_);
  fields.field("boot", boot_);
  fields.field("repeats", repeats_);
  fields.field("repeat_at", repeat_at_);
  describe_kind(fields);
}

void Hid::restored() {
  {
    std::lock_guard guard(lock_);
    if (repeat_at_ != 0) timer_.set(std::min(repeat_at_, timer_.now() + 255 * kIdleUnit));
  }
  configuration_changed();
}

bool Hid::hid_descriptor(const Setup& setup, Bytes& data) const {
  if (setup.request != GET_DESCRIPTOR || setup.recipient() != kToInterface || setup.index != 0) return false;
  if (setup.value >> 8 == HID)
    data = hid_descriptor_of(kind_.report_descriptor.size());
  else if (setup.value >> 8 == REPORT)
    data = kind_.report_descriptor;
  else
    return false;
  return true;
}

bool Hid::class_control(const Setup& setup, Bytes& data) {
  if (setup.kind() == kStandard) return hid_descriptor(setup, data);
  if (setup.kind() != kClass || setup.recipient() != kToInterface || setup.index != 0) return false;
  const auto type = static_cast<uint8_t>(setup.value >> 8);
  std::lock_guard guard(lock_);
  switch (setup.request) {
    case GET_REPORT:
      data = present_report();
      return setup.to_host() && type == kInputReport;
    case GET_IDLE: data = {idle_}; return setup.to_host();
    case GET_PROTOCOL: data = {static_cast<uint8_t>(boot_ ? 0 : 1)}; return setup.to_host() && kind_.subclass != 0;
    case SET_REPORT:
      if (setup.to_host() || type != kOutputReport) return false;
      output_report(data);
      return true;
    case SET_IDLE:
      if (setup.to_host()) return false;
      idle_ = static_cast<uint8_t>(setup.value >> 8);
      schedule_idle();
      return true;
    case SET_PROTOCOL:
      if (setup.to_host() || kind_.subclass == 0 || setup.value > 1) return false;
      boot_ = setup.value == 0;
      return true;
    default: return false;
  }
}

Task<Transfer> Hid::class_transfer(uint8_t, std::span<const iovec> data) {
  Bytes report;
  std::lock_guard guard(lock_);
  if (!next_report(report)) {
    if (!std::exchange(repeats_, false)) co_return Transfer{Transfer::Result::kNotReady};
    report = present_report();
  }
  schedule_idle();
  report.resize(std::min<uint64_t>(report.size(), block::length_of(data)));
  block::copy_to(data, 0, report);
  co_return Transfer{.bytes = report.size()};
}

// HID, 7.2.4. With lock_ held.
void Hid::schedule_idle() {
  repeats_ = false;
  repeat_at_ = idle_ == 0 ? 0 : timer_.now() + idle_ * kIdleUnit;
  if (repeat_at_ == 0)
    timer_.cancel();
  else
    timer_.set(repeat_at_);
}

}  // namespace skerry::devices::usb
