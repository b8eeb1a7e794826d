// What stands around disk controllers in their tests: a loop, guest memory, a root bus, and a disk in memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/event_loop.hpp"
#include "bus/pci.hpp"
#include "devices/ata/device.hpp"
#include "memory/guest_memory.hpp"
#include "unit/state_test.hpp"
#include "unit/virtio/memory_node.hpp"

namespace skerry::devices::ata::test {

using virtio::test::MemoryNode;
using Bytes = std::vector<uint8_t>;

// Sector n is full of the byte n * 7 + n / 256.
inline uint8_t sector_byte(uint64_t sector) { return static_cast<uint8_t>(sector * 7 + sector / 256); }
inline void fill_sectors(MemoryNode& node) {
  for (size_t at = 0; at < node.content.size(); at += 512)
    std::fill_n(node.content.begin() + static_cast<ptrdiff_t>(at), 512, sector_byte(at / 512));
}

struct AtaBoard {
  struct Messages final : bus::MsiSink {
    void send_msi(uint64_t address, uint32_t data) override { sent.emplace_back(address, data); }
    std::vector<std::pair<uint64_t, uint32_t>> sent;
  };
  struct Lines final : bus::PciHost::IntxSink {
    void set_intx(const bus::PciFunction&, unsigned, unsigned, bool level) override { high = level; }
    bool high = false;
  };

  explicit AtaBoard(uint64_t ram = 4 << 20) {
    EXPECT_TRUE(memory.add_ram(0, ram, "ram"));
    auto created = EventLoop::create(clock);
    EXPECT_TRUE(created);
    loop = std::move(*created);
    EXPECT_TRUE(host.attach(nullptr));
  }
  void run_loop() {
    for (unsigned i = 0; i < turns; ++i) loop->poll(0);
  }
  Bytes bytes(memory::Gpa at, size_t size) const {
    Bytes content(size);
    EXPECT_TRUE(memory.read(at, std::as_writable_bytes(std::span(content))));
    return content;
  }
  void put(memory::Gpa at, std::span<const uint8_t> content) { EXPECT_TRUE(memory.write(at, std::as_bytes(content))); }
  void put32(memory::Gpa at, uint32_t value) {
    const std::array<uint8_t, 4> raw = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value >> 16),
                                        static_cast<uint8_t>(value >> 24)};
    put(at, raw);
  }
  uint32_t get32(memory::Gpa at) const {
    const Bytes raw = bytes(at, 4);
    return raw[0] | uint32_t{raw[1]} << 8 | uint32_t{raw[2]} << 16 | uint32_t{raw[3]} << 24;
  }
  void follow(const AtaBoard& other) {
    const Bytes all = other.bytes(0, other.memory.ram_size());
    put(0, all);
    lines.high = other.lines.high;
  }

  unsigned turns = 4;  // enough for everything that is ready
  VmClock clock;
  memory::GuestMemory memory;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  Messages messages;
  Lines lines;
  bus::PciHost host{pio, mmio, messages, lines};
  std::unique_ptr<EventLoop> loop;
};

// Does a device's command without a controller: what its host would see.
template <typename Done>
Task<void> do_command(Device& device, TaskFile& task, Bytes& data, Done done, const Packet* packet = nullptr) {
  Command command = device.begin(task);
  if (command.work == Command::Work::kPacket && packet) command = device.begin_packet(*packet, task);
  if (!task.failed() && (command.to_host() || command.from_host())) {
    if (command.to_host()) data.assign(command.size, 0xee);
    EXPECT_GE(data.size(), command.size) << "the test gives too little";
    const iovec where{data.data(), command.size};
    co_await device.move(command, 0, std::span(&where, 1), task);
  }
  if (!task.failed()) co_await device.finish(command, task);
  done();
}

}  // namespace skerry::devices::ata::test
