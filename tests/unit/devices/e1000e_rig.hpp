// A card 82574L between a driver for tests and a backend for tests, on the calling thread, with time that stands still unless
// it is moved.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bus/pci.hpp"
#include "devices/e1000e/e1000e.hpp"
#include "net/checksum.hpp"
#include "net/frame.hpp"
#include "unit/devices/test_time.hpp"
#include "unit/state_test.hpp"

namespace skerry::devices::e1000e::test {

using Bytes = std::vector<uint8_t>;
constexpr Mac kMac = {0x52, 0x54, 0, 1, 2, 3};

// Keeps what is sent; has as much room as it is told.
class FakeBackend final : public net::Backend {
 public:
  Result<void> start(EventLoop&, Card& to) override {
    if (refuses) return error("no");
    card = &to;
    return ok();
  }
  void stop() override { card = nullptr; }
  bool send(const net::FrameHeader& header, std::span<const iovec> frame) override {
    if (on_send) on_send();
    if (room == 0) return false;
    --room;
    Bytes all;
    for (const iovec& piece : frame)
      all.insert(all.end(), static_cast<uint8_t*>(piece.iov_base), static_cast<uint8_t*>(piece.iov_base) + piece.iov_len);
    sent.emplace_back(header, all);
    return true;
  }
  void card_has_room() override { ++told_of_room; }
  net::Offloads offloads() const override { return takes; }
  void set_guest_offloads(net::Offloads offloads) override { guest = offloads; }
  bool link_up() const override { return up; }

  Card* card = nullptr;
  std::function<void()> on_send;  // what happens meanwhile
  bool refuses = false, up = true;
  unsigned room = ~0u;
  unsigned told_of_room = 0;
  net::Offloads takes, guest;
  std::vector<std::pair<net::FrameHeader, Bytes>> sent;
};

// An Ethernet frame to the card with a TCP or UDP packet, complete with its checksums.
inline Bytes ip_frame(uint8_t protocol, size_t payload, bool ipv6 = false, uint16_t port = 1000) {
  const size_t ip = 14, transport = ip + (ipv6 ? 40 : 20), header = protocol == net::kProtocolTcp ? 20 : 8;
  Bytes bytes(transport + header + payload);
  std::copy(kMac.begin(), kMac.end(), bytes.begin());
  for (size_t i = 6; i < 12; ++i) bytes[i] = static_cast<uint8_t>(i);
  net::store_be16(&bytes[12], ipv6 ? 0x86dd : net::kTypeIpv4);
  if (ipv6) {
    bytes[ip] = 0x60;
    net::store_be16(&bytes[ip + 4], static_cast<uint16_t>(header + payload));
    bytes[ip + 6] = protocol;
    bytes[ip + 8] = 0xfe;
    bytes[ip + 39] = 9;
  } else {
    bytes[ip] = 0x45;
    net::store_be16(&bytes[ip + 2], static_cast<uint16_t>(20 + header + payload));
    bytes[ip + 8] = 64;
    bytes[ip + 9] = protocol;
    bytes[ip + 12] = 10;
    bytes[ip + 16] = 20;
  }
  net::store_be16(&bytes[transport], port);
  net::store_be16(&bytes[transport + 2], 80);
  if (protocol == net::kProtocolTcp) bytes[transport + 12] = 5 << 4, bytes[transport + 13] = 0x18;
  else net::store_be16(&bytes[transport + 4], static_cast<uint16_t>(header + payload));
  for (size_t i = 0; i < payload; ++i) bytes[transport + header + i] = static_cast<uint8_t>(i * 7 + i / 256);
  const auto layout = *net::find_layout(bytes);
  if (!ipv6) net::set_ipv4_checksum(bytes, layout);
  const uint16_t pseudo = net::pseudo_header_sum(bytes, layout, protocol, header + payload);
  const uint16_t sum = net::ones_sum(std::span(bytes).subspan(transport), pseudo);
  net::store_be16(&bytes[transport + (protocol == net::kProtocolTcp ? 16 : 6)], static_cast<uint16_t>(~sum));
  return bytes;
}

struct Board {
  struct Messages final : bus::MsiSink {
    void send_msi(uint64_t address, uint32_t data) override { sent.emplace_back(address, data); }
    std::vector<std::pair<uint64_t, uint32_t>> sent;
  };
  struct Lines final : bus::PciHost::IntxSink {
    void set_intx(const bus::PciFunction&, unsigned, unsigned, bool level) override { high = level; }
    bool high = false;
  };
  static constexpr uint64_t kRam = 1 << 20;

  Board() {
    EXPECT_TRUE(memory.add_ram(0, kRam, "ram"));
    EXPECT_TRUE(host.attach(nullptr));
  }
  void run_loop() {
    for (int i = 0; i < 4; ++i) time.loop().poll(0);
  }
  Bytes bytes(memory::Gpa at, size_t size) const {
    Bytes content(size);
    EXPECT_TRUE(memory.read(at, std::as_writable_bytes(std::span(content))));
    return content;
  }
  void put(memory::Gpa at, std::span<const uint8_t> content) { EXPECT_TRUE(memory.write(at, std::as_bytes(content))); }
  template <typename T>
  void set(memory::Gpa at, T value) {
    EXPECT_TRUE(memory.write(at, std::as_bytes(std::span(&value, 1))));
  }
  template <typename T>
  T get(memory::Gpa at) const {
    T value{};
    EXPECT_TRUE(memory.read(at, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }

  skerry::test::TestTime time;
  memory::GuestMemory memory;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  Messages messages;
  Lines lines;
  bus::PciHost host{pio, mmio, messages, lines};
};

struct Rig : Board {
  static constexpr uint64_t kBar = 0xfe00'0000, kMsixBar = 0xfe10'0000;
  static constexpr uint16_t kPorts = 0xc000;
  static constexpr unsigned kDevfn = 5 << 3, kMsixCapability = 0x8c;
  // Each of eight descriptors, in the order of queues: rings, and buffers of 2 KiB.
  static constexpr unsigned kRing = 8;
  static constexpr memory::Gpa kSend = 0x1000, kReceive = 0x2000, kSendBuffers = 0x1'0000, kReceiveBuffers = 0x4'0000;

  explicit Rig(net::Offloads takes = {}) {
    backend.takes = takes;
    card = std::make_unique<E1000e>("net0", time.loop(), memory, backend, E1000e::Options{kMac});
    EXPECT_TRUE(host.root().add(*card, kDevfn >> 3));
    map();
  }
  Rig(const Rig&) = delete;
  void map() {
    host.config_write(0, kDevfn, bus::pci::kBar0, 4, kBar);
    host.config_write(0, kDevfn, bus::pci::kBar0 + 8, 4, kPorts);
    host.config_write(0, kDevfn, bus::pci::kBar0 + 12, 4, kMsixBar);
    host.config_write(0, kDevfn, bus::pci::kCommand, 2, bus::pci::kCommandMemory | bus::pci::kCommandIo | bus::pci::kCommandMaster);
    run_loop();
  }
  bus::Device& device() { return *card; }
  void follow(Rig& other) {
    time.set(other.time.now());
    put(0, other.bytes(0, kRam));
    lines.high = other.lines.high;
    std::copy_n(other.next_send, kQueues, next_send);
    std::copy_n(other.next_receive, kQueues, next_receive);
  }

  uint32_t read(uint32_t at) { return static_cast<uint32_t>(mmio.read(kBar + at, 4)); }
  void write(uint32_t at, uint32_t value) {
    mmio.write(kBar + at, 4, value);
    run_loop();
  }
  uint16_t phy(unsigned reg) {
    write(MDIC, 2u << 26 | 1u << 21 | reg << 16);
    return static_cast<uint16_t>(read(MDIC));
  }
  void set_phy(unsigned reg, uint16_t value) { write(MDIC, 1u << 26 | 1u << 21 | reg << 16 | value); }
  unsigned capability(uint8_t id) {
    for (unsigned at = host.config_read(0, kDevfn, bus::pci::kCapabilities, 1); at; at = host.config_read(0, kDevfn, at + 1, 1))
      if (host.config_read(0, kDevfn, at, 1) == id) return at;
    return 0;
  }
  void use_msix() {
    for (unsigned i = 0; i < kVectors; ++i) {
      mmio.write(kMsixBar + 16 * i, 4, 0xfee0'0000);
      mmio.write(kMsixBar + 16 * i + 8, 4, 0x40 + i);
      mmio.write(kMsixBar + 16 * i + 12, 4, 0);
    }
    host.config_write(0, kDevfn, capability(bus::pci::kCapMsix) + 2, 2, 0x8000);
    write(IVAR, 0x800c'ba98);  // RxQ0, RxQ1, TxQ0, TxQ1, other: vectors 0 to 4, valid
  }

  void start(uint32_t receive = rctl::EN | rctl::BAM | rctl::SECRC, uint32_t extended = 1 << 15) {
    for (unsigned queue = 0; queue < kQueues; ++queue) {
      const uint32_t to = TDBAL + queue * kQueueStride, from = RDBAL + queue * kQueueStride;
      write(to + kBaseLow, static_cast<uint32_t>(kSend + queue * 0x800));
      write(to + kLength, kRing * 16);
      write(from + kBaseLow, static_cast<uint32_t>(kReceive + queue * 0x800));
      write(from + kLength, kRing * 16);
    }
    write(RFCTL, extended);
    write(RCTL, receive);
    write(TCTL, tctl::EN | tctl::PSP);
  }

  // --- sending
  memory::Gpa send_at(unsigned index, unsigned queue = 0) const { return kSend + queue * 0x800 + index % kRing * 16; }
  void put_descriptor(uint64_t address, uint32_t command, uint32_t options, unsigned queue = 0) {
    const memory::Gpa at = send_at(next_send[queue], queue);
    set(at, address);
    set(at + 8, command);
    set(at + 12, options);
    next_send[queue] = (next_send[queue] + 1) % kRing;
  }
  void ring_send(unsigned queue = 0) { write(TDBAL + queue * kQueueStride + kTail, next_send[queue]); }
  static constexpr uint32_t kEop = 1 << 24, kRs = 1 << 27, kDext = 1 << 29, kVle = 1 << 30, kTse = 1 << 26, kIc = 1 << 26, kData = 1 << 20;
  memory::Gpa buffer_of(const Bytes& bytes) {
    const memory::Gpa at = kSendBuffers;
    put(at, bytes);
    return at;
  }
  void send(const Bytes& bytes, uint32_t command = kEop | kRs, uint32_t options = 0) {
    put_descriptor(buffer_of(bytes), command | static_cast<uint32_t>(bytes.size()), options);
    ring_send();
  }
  // A context as Linux makes it for TCP or UDP of a frame without options.
  void put_context(bool ipv6, bool tcp, bool segment, uint16_t mss = 0, unsigned queue = 0) {
    const uint64_t ip = 14, transport = ip + (ipv6 ? 40 : 20);
    const uint64_t lower = ip | (ip + 10) << 8 | (transport - 1) << 16;
    const uint64_t upper = transport | (transport + (tcp ? 16 : 6)) << 8;
    put_descriptor(lower | upper << 32, kDext | (tcp ? 1u << 24 : 0) | (ipv6 ? 0 : 1u << 25) | (segment ? kTse : 0),
                   static_cast<uint32_t>((transport + 20) << 8 | uint32_t{mss} << 16), queue);
  }
  bool sent_back(unsigned index) { return get<uint32_t>(send_at(index) + 12) & 1; }

  // --- receiving
  memory::Gpa receive_at(unsigned index, unsigned queue = 0) const { return kReceive + queue * 0x800 + index % kRing * 16; }
  memory::Gpa receive_buffer(unsigned index, unsigned queue = 0) const { return kReceiveBuffers + queue * 0x8000 + index % kRing * 0x1000; }
  void give_buffers(unsigned count, unsigned queue = 0) {
    for (; count > 0; --count) {
      const memory::Gpa at = receive_at(next_receive[queue], queue);
      set(at, receive_buffer(next_receive[queue], queue));
      set<uint64_t>(at + 8, 0);
      next_receive[queue] = (next_receive[queue] + 1) % kRing;
    }
    write(RDBAL + queue * kQueueStride + kTail, next_receive[queue]);
  }
  bool receive(const Bytes& frame) {
    const bool taken = backend.card->receive({}, frame);
    run_loop();
    return taken;
  }
  struct Got {
    uint32_t mrq, hash, status;
    uint16_t length, vlan;
  };
  Got got(unsigned index, unsigned queue = 0) {
    const memory::Gpa at = receive_at(index, queue);
    return {get<uint32_t>(at), get<uint32_t>(at + 4), get<uint32_t>(at + 8), get<uint16_t>(at + 12), get<uint16_t>(at + 14)};
  }
  bool rest() {
    bool at_rest = false;
    card->quiesce([&] { at_rest = true; });
    run_loop();
    return at_rest;
  }

  FakeBackend backend;
  std::unique_ptr<E1000e> card;
  unsigned next_send[kQueues] = {}, next_receive[kQueues] = {};
};

// What a driver gives to be segmented: lengths are zero, the checksum is of a pseudo-header without length.
inline Bytes to_segment(size_t payload, bool ipv6) {
  Bytes frame = ip_frame(net::kProtocolTcp, payload, ipv6);
  const auto layout = *net::find_layout(frame);
  net::store_be16(&frame[layout.transport + 16], net::pseudo_header_sum(frame, layout, net::kProtocolTcp, 0));
  net::store_be16(&frame[ipv6 ? 18 : 16], 0);
  if (!ipv6) net::store_be16(&frame[24], 0);
  return frame;
}
inline void send_segments(Rig& rig, size_t payload, bool ipv6, uint16_t mss) {
  const Bytes frame = to_segment(payload, ipv6);
  const memory::Gpa at = rig.buffer_of(frame);
  const size_t headers = ipv6 ? 74 : 54;
  rig.put_context(ipv6, true, true, mss);
  rig.put_descriptor(at, Rig::kDext | Rig::kData | Rig::kTse | static_cast<uint32_t>(headers), (ipv6 ? 2 : 3) << 8);
  rig.put_descriptor(at + headers, Rig::kDext | Rig::kData | Rig::kTse | Rig::kEop | Rig::kRs | static_cast<uint32_t>(payload), 0);
  rig.ring_send();
}

}  // namespace skerry::devices::e1000e::test
