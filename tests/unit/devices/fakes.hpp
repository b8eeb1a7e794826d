// What stands around a device in its tests.
#pragma once

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "bus/address_space.hpp"
#include "bus/interrupt.hpp"
#include "chardev/chardev.hpp"
#include "unit/devices/test_time.hpp"
#include "unit/state_test.hpp"

namespace skerry::test {

// Interrupt lines: their levels, how often each rose, and messages.
struct FakeInterrupts final : bus::IrqSink, bus::MsiSink {
  std::array<bool, 32> level{};
  std::array<unsigned, 32> rises{};
  std::vector<std::pair<uint64_t, uint32_t>> messages;

  void set_irq(unsigned gsi, bool to) override {
    if (to && !level.at(gsi)) ++rises[gsi];
    level.at(gsi) = to;
  }
  void send_msi(uint64_t address, uint32_t data) override { messages.emplace_back(address, data); }

  // Since the last call; and what holds now.
  void append_to(Trace& trace) {
    for (unsigned i = 0; i < level.size(); ++i)
      if (rises[i] != 0 || level[i]) trace.push_back(i << 16 | rises[i] << 1 | level[i]);
    for (const auto& [address, data] : messages) {
      trace.push_back(address);
      trace.push_back(data);
    }
    rises = {};
    messages.clear();
  }
};

// A stream whose other side is the test.
struct FakeChardev final : chardev::Chardev {
  chardev::Frontend device;
  std::string output;
  size_t room = ~size_t{0};
  unsigned ready_calls = 0;

  void connect(chardev::Frontend frontend) override { device = std::move(frontend); }
  Result<void> start(EventLoop&) override { return ok(); }
  size_t write(std::span<const uint8_t> bytes) override {
    const size_t taken = std::min(bytes.size(), room);
    output.append(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(taken));
    room -= taken;
    return taken;
  }
  void receive_ready() override { ++ready_calls; }
  void flush(int) override {}

  // Sends what the device takes now; how much that was.
  size_t send(std::string_view text) {
    const size_t count = std::min(text.size(), device.can_receive());
    if (count > 0) device.receive({reinterpret_cast<const uint8_t*>(text.data()), count});
    return count;
  }
  void make_room(size_t bytes) {
    room = bytes;
    device.writable();
  }
};

struct PortRig {
  TestTime time;
  FakeInterrupts irqs;
  bus::AddressSpace pio{"port"};

  bus::IrqLine line(unsigned gsi) { return {irqs, gsi}; }
  void follow(PortRig& other) { time.set(other.time.now()); }
  void out(uint16_t port, uint32_t value, unsigned size = 1) { pio.write(port, size, value); }
  uint32_t in(uint16_t port, unsigned size = 1) { return static_cast<uint32_t>(pio.read(port, size)); }
};

}  // namespace skerry::test
