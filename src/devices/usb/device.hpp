// A USB device with one configuration of one interface: its descriptors, the standard requests, its endpoints.
//
// What a controller calls is called in turns of its loop; describe() and reset() at rest too. What a device calls of its
// controller may come from any thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/task.hpp"
#include "devices/usb/protocol.hpp"
#include "state/fields.hpp"

namespace skerry::devices::usb {

// How a transfer ended, and how many bytes went over the bus.
struct Transfer {
  enum class Result : uint8_t { kDone, kNotReady, kStall };  // kNotReady (NAK): nothing has happened; ask again when ready() is called
  Result result = Result::kDone;
  uint64_t bytes = 0;
};

class Device {
 public:
  using Bytes = std::vector<uint8_t>;
  struct Descriptors {
    Bytes device, configuration, bos;  // bos: empty where there is none
    std::vector<std::string> strings;  // ASCII, by index less one
  };
  virtual ~Device() = default;

  virtual Speed speed() const = 0;

  // A control transfer. `data` is what came from the host, or becomes what goes to it, at most setup.length bytes. False: a
  // stall.
  bool control(const Setup& setup, Bytes& data);
  // `endpoint`: its address, with kIn. All of a transfer's data, from the host, or for it.
  Task<Transfer> transfer(uint8_t endpoint, std::span<const iovec> data);

  // By the controller, once: called with the address of an endpoint that was not ready and is now. From any thread, with no
  // lock of the device held.
  void on_ready(std::function<void(uint8_t endpoint)> ready) { ready_ = std::move(ready); }

  void reset();  // of the bus
  void describe(state::Fields& fields);
  virtual void restored() {}  // after describe() has loaded a state
  bool configured() const { return configuration_ != 0; }

 protected:
  explicit Device(Descriptors descriptors) : descriptors_(std::move(descriptors)) {}
  void ready(uint8_t endpoint) {
    if (ready_) ready_(endpoint);
  }
  void halt(uint8_t endpoint) { halted_ |= bit(endpoint); }

  // Of its class, or what is not answered here; likewise.
  virtual bool class_control(const Setup& setup, Bytes& data) = 0;
  virtual Task<Transfer> class_transfer(uint8_t endpoint, std::span<const iovec> data) = 0;
  virtual void endpoint_cleared(uint8_t) {}     // CLEAR_FEATURE(ENDPOINT_HALT) took a halt away
  virtual bool may_clear(uint8_t) const { return true; }
  virtual void class_reset() = 0;               // of the bus, or another configuration
  virtual void configuration_changed() {}
  virtual void describe_class(state::Fields& fields) = 0;

 private:
  static uint32_t bit(uint8_t endpoint) { return 1u << ((endpoint & 15) + (endpoint & kIn ? 16 : 0)); }
  bool has_endpoint(uint8_t endpoint) const;
  bool standard(const Setup& setup, Bytes& data);
  bool descriptor(const Setup& setup, Bytes& data) const;
  bool get_status(const Setup& setup, Bytes& data) const;
  bool feature(const Setup& setup, bool set);

  const Descriptors descriptors_;
  std::function<void(uint8_t)> ready_;
  uint8_t configuration_ = 0;
  uint32_t halted_ = 0;  // endpoints, by bit()
};

// Descriptors, piece by piece.
struct DeviceFacts {
  uint16_t usb = 0x0200;             // bcdUSB
  uint8_t control_packet = 64;       // bMaxPacketSize0
  uint16_t vendor = 0x0627, product = 0;
};
Device::Bytes device_descriptor(const DeviceFacts& facts);
// With its header; `rest` is an interface and its endpoints. In 2 mA, or 8 mA where it is a SuperSpeed device.
Device::Bytes configuration_descriptor(uint8_t power, const Device::Bytes& rest);
Device::Bytes interface_descriptor(uint8_t endpoints, uint8_t class_code, uint8_t subclass, uint8_t protocol);
Device::Bytes endpoint_descriptor(uint8_t address, uint8_t attributes, uint16_t packet, uint8_t interval);
Device::Bytes join(std::initializer_list<Device::Bytes> parts);

}  // namespace skerry::devices::usb
