// A guest on a user network, as small as it can be: speaks ARP, UDP, ICMP and TCP by hand.
#pragma once

#include <algorithm>
#include <optional>

#include "net/factory.hpp"
#include "unit/net/packets.hpp"

namespace skerry::net {

class Guest {
 public:
  explicit Guest(const BackendOptions& options = {}) {
    auto opened = open_backend(options);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message());
    backend_ = std::move(*opened);
    EXPECT_TRUE(backend_->start(*loop_, card_));
  }

  Backend& backend() { return *backend_; }
  FakeCard& card() { return card_; }
  Loop& loop() { return loop_; }

  void send(const Bytes& frame, const FrameHeader& header = {}) {
    ASSERT_TRUE(loop_.wait_for([&] { return send_bytes(*backend_, frame, header); }));
  }
  // The next frame that `is_it` likes, out of those that have come and will; answers ARP meanwhile.
  std::optional<FakeCard::Frame> wait_for(const std::function<bool(const Bytes&)>& is_it,
                                          std::chrono::seconds limit = std::chrono::seconds(60)) {
    std::optional<FakeCard::Frame> found;
    loop_.wait_for([&] {
      while (!card_.frames.empty() && !found) {
        FakeCard::Frame frame = std::move(card_.frames.front());
        card_.frames.erase(card_.frames.begin());
        if (load_be16(frame.bytes.data() + 12) == 0x0806) answer_arp(frame.bytes);
        if (is_it(frame.bytes)) found = std::move(frame);
      }
      return found.has_value();
    }, limit);
    return found;
  }

  static Bytes arp(unsigned operation, uint32_t target) {
    Bytes frame = ethernet(0x0806);
    if (operation == 1) std::fill(frame.begin(), frame.begin() + 6, 0xff);
    append(frame, Bytes{0, 1, 8, 0, 6, 4});
    put16(frame, operation);
    append(frame, kGuestMac);
    put32(frame, kGuestIp);
    append(frame, Bytes(6));
    put32(frame, target);
    return frame;
  }
  // Makes itself known, as every guest does before it says more.
  void introduce() {
    send(arp(1, kGatewayIp));
    ASSERT_TRUE(wait_for([](const Bytes& frame) { return load_be16(frame.data() + 12) == 0x0806 && frame[21] == 2; }));
  }
  void send_udp(uint32_t to, unsigned from_port, unsigned to_port, const Bytes& payload) {
    Bytes udp = udp_header(from_port, to_port, payload.size());
    append(udp, payload);
    Bytes frame = ipv4_packet(kProtocolUdp, kGuestIp, to, udp);
    fill_checksum(frame, 6);
    send(frame);
  }
  static bool is(const Bytes& frame, uint8_t protocol, unsigned to_port = 0) {
    const auto layout = find_layout(frame);
    if (!layout || layout->ipv6 || layout->protocol != protocol) return false;
    return to_port == 0 || load_be16(frame.data() + layout->transport + 2) == to_port;
  }

 private:
  void answer_arp(const Bytes& frame) {
    if (frame[21] == 1 && load_be32(frame.data() + 38) == kGuestIp) (void)send_bytes(*backend_, arp(2, kGatewayIp));
  }

  Loop loop_;
  FakeCard card_;
  std::unique_ptr<Backend> backend_;
};

// One connection of the guest, without losses: the cable has none.
class GuestTcp {
 public:
  GuestTcp(Guest& guest, unsigned from_port) : guest_(guest), from_port_(from_port) {}

  // Makes it.
  bool connect(uint32_t to, unsigned to_port) {
    to_ = to;
    to_port_ = to_port;
    put(0x02, {}, Bytes{2, 4, 0x05, 0xb4});
    ++seq_;
    return await_syn(0x12);
  }
  // Waits for somebody who makes it.
  bool accept(uint32_t from) {
    to_ = from;
    if (!await_syn(0x02)) return false;
    put(0x12, {}, Bytes{2, 4, 0x05, 0xb4});
    ++seq_;
    return true;
  }
  void send(std::span<const uint8_t> payload) {
    put(0x18, payload);
    seq_ += static_cast<uint32_t>(payload.size());
  }
  // As a driver with segmentation offload does: one large frame, with a checksum to be completed.
  void send_large(std::span<const uint8_t> payload) {
    Bytes frame = make(0x18, payload, {});
    const auto layout = *find_layout(frame);
    store_be16(frame.data() + 50, pseudo_header_sum(frame, layout, kProtocolTcp, layout.end - layout.transport));
    guest_.send(frame, {.flags = FrameHeader::kNeedsCsum, .gso_type = FrameHeader::kGsoTcpv4, .hdr_len = 54,
                        .gso_size = 1460, .csum_start = 34, .csum_offset = 16});
    seq_ += static_cast<uint32_t>(payload.size());
  }
  // Takes what comes until there are `size` bytes.
  Bytes receive(size_t size) {
    Bytes all;
    while (all.size() < size) {
      const auto frame = next();
      if (!frame) break;
      const auto layout = *find_layout(frame->bytes);
      const uint8_t* tcp = frame->bytes.data() + layout.transport;
      const size_t header = (tcp[12] >> 4) * 4u;
      largest_ = std::max(largest_, frame->bytes.size());
      EXPECT_TRUE(frame->header.flags & FrameHeader::kNeedsCsum || checksum_is_right(frame->bytes));
      if (load_be32(tcp + 4) != ack_ || layout.transport + header >= layout.end) continue;
      append(all, std::span(frame->bytes).subspan(layout.transport + header, layout.end - layout.transport - header));
      ack_ += static_cast<uint32_t>(layout.end - layout.transport - header);
      put(0x10, {});
    }
    return all;
  }
  size_t largest() const { return largest_; }

 private:
  Bytes make(uint8_t flags, std::span<const uint8_t> payload, const Bytes& options) {
    Bytes tcp = tcp_header(from_port_, to_port_, seq_, ack_, flags, options);
    append(tcp, payload);
    Bytes frame = ipv4_packet(kProtocolTcp, kGuestIp, to_, tcp);
    fill_checksum(frame, 16);
    return frame;
  }
  void put(uint8_t flags, std::span<const uint8_t> payload, const Bytes& options = {}) {
    guest_.send(make(flags, payload, options));
  }
  std::optional<FakeCard::Frame> next() {
    return guest_.wait_for([this](const Bytes& frame) { return Guest::is(frame, kProtocolTcp, from_port_); });
  }
  bool await_syn(uint8_t flags) {
    const auto frame = next();
    if (!frame || (frame->bytes[47] & 0x17) != flags) return false;
    to_port_ = load_be16(frame->bytes.data() + 34);
    ack_ = load_be32(frame->bytes.data() + 38) + 1;
    if (flags == 0x12) put(0x10, {});
    return true;
  }

  Guest& guest_;
  const unsigned from_port_;
  unsigned to_port_ = 0;
  uint32_t to_ = 0, seq_ = 1000, ack_ = 0;
  size_t largest_ = 0;
};

}  // namespace skerry::net
