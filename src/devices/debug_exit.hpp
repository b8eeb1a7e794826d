// QEMU's isa-debug-exit: a guest ends its VM, and chooses the exit status, by writing to a port. For tests.
#pragma once

#include <functional>
#include <string_view>

#include "bus/address_space.hpp"
#include "bus/device.hpp"

namespace skerry::devices {

class DebugExit final : public bus::Device, private bus::IoHandler {
 public:
  static constexpr uint16_t kDefaultPort = 0xf4;
  static constexpr unsigned kPorts = 4;

  // `exit` gets (value << 1) | 1, in 8 bits: never 0, the status of an orderly shutdown. From any vCPU thread.
  explicit DebugExit(std::function<void(uint8_t status)> exit) : exit_(std::move(exit)) {}
  Result<void> attach(bus::AddressSpace& pio, uint16_t port = kDefaultPort) {
    return pio.add(port, kPorts, *this, "debug-exit");
  }

  std::string_view name() const override { return "debug-exit"; }
  void reset() override {}
  void describe(state::Fields&) override {}  // it remembers nothing

 private:
  uint64_t io_read(uint64_t, unsigned) override { return 0; }
  void io_write(uint64_t, unsigned, uint64_t value) override { exit_(static_cast<uint8_t>(value << 1 | 1)); }
  unsigned widest_access() const override { return 4; }

  std::function<void(uint8_t)> exit_;
};

}  // namespace skerry::devices
