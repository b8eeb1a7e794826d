// Frames made by hand, a card that remembers what it gets, and networks of one's own, for tests.
#pragma once

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "base/event_loop.hpp"
#include "net/backend.hpp"
#include "net/checksum.hpp"
#include "net/frame.hpp"

namespace skerry::net {

using Bytes = std::vector<uint8_t>;

inline void put16(Bytes& bytes, unsigned value) {
  bytes.push_back(static_cast<uint8_t>(value >> 8));
  bytes.push_back(static_cast<uint8_t>(value));
}
inline void put32(Bytes& bytes, uint32_t value) { put16(bytes, value >> 16), put16(bytes, value & 0xffff); }
inline void append(Bytes& bytes, std::span<const uint8_t> more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

constexpr uint8_t kGuestMac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
constexpr uint8_t kGatewayMac[6] = {0x52, 0x55, 0x0a, 0x00, 0x02, 0x02};
constexpr uint32_t kGuestIp = 0x0a00020f, kGatewayIp = 0x0a000202, kDnsIp = 0x0a000203;

inline Bytes ethernet(unsigned type) {
  Bytes frame(kGatewayMac, kGatewayMac + 6);
  append(frame, kGuestMac);
  put16(frame, type);
  return frame;
}

inline Bytes ipv4_packet(uint8_t protocol, uint32_t from, uint32_t to, std::span<const uint8_t> payload) {
  Bytes frame = ethernet(0x0800);
  append(frame, Bytes{0x45, 0});
  put16(frame, static_cast<unsigned>(20 + payload.size()));
  append(frame, Bytes{0x12, 0x34, 0, 0, 64, protocol, 0, 0});
  put32(frame, from);
  put32(frame, to);
  append(frame, payload);
  set_ipv4_checksum(frame, *find_layout(frame));
  return frame;
}

inline Bytes ipv6_packet(uint8_t protocol, std::span<const uint8_t> payload) {
  Bytes frame = ethernet(0x86dd);
  append(frame, Bytes{0x60, 0, 0, 0});
  put16(frame, static_cast<unsigned>(payload.size()));
  append(frame, Bytes{protocol, 64});
  for (unsigned i = 0; i < 32; ++i) frame.push_back(static_cast<uint8_t>(0x10 + i));
  append(frame, payload);
  return frame;
}

// Fills in the checksum `offset` bytes into the transport header, by the slow and obvious way of RFC 1071, 1.
inline uint16_t plain_sum(std::span<const uint8_t> bytes, uint32_t sum = 0) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 ? bytes[i] : static_cast<uint32_t>(bytes[i]) << 8;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(sum);
}
inline uint16_t transport_sum(std::span<const uint8_t> frame) {
  const auto layout = *find_layout(frame);
  const size_t length = layout.end - layout.transport;
  const size_t addresses = layout.network + (layout.ipv6 ? 8 : 12), size = layout.ipv6 ? 32 : 8;
  const uint32_t start = static_cast<uint32_t>(length + layout.protocol);
  return plain_sum(frame.subspan(layout.transport, length), plain_sum(frame.subspan(addresses, size), start));
}
// 0xffff says that the checksum is right (RFC 1071, 1).
inline bool checksum_is_right(std::span<const uint8_t> frame) { return transport_sum(frame) == 0xffff; }

inline void fill_checksum(Bytes& frame, size_t offset) {
  const auto layout = *find_layout(frame);
  store_be16(frame.data() + layout.transport + offset, 0);
  store_be16(frame.data() + layout.transport + offset, static_cast<uint16_t>(~transport_sum(frame)));
}

inline Bytes tcp_header(unsigned from, unsigned to, uint32_t seq, uint32_t ack, uint8_t flags,
                        std::span<const uint8_t> options = {}) {
  Bytes tcp;
  put16(tcp, from);
  put16(tcp, to);
  put32(tcp, seq);
  put32(tcp, ack);
  tcp.push_back(static_cast<uint8_t>((20 + options.size()) / 4 << 4));
  tcp.push_back(flags);
  append(tcp, Bytes{0xff, 0xff, 0, 0, 0, 0});
  append(tcp, options);
  return tcp;
}
inline Bytes udp_header(unsigned from, unsigned to, size_t payload) {
  Bytes udp;
  put16(udp, from);
  put16(udp, to);
  put16(udp, static_cast<unsigned>(8 + payload));
  put16(udp, 0);
  return udp;
}

class FakeCard final : public Backend::Card {
 public:
  struct Frame {
    FrameHeader header;
    Bytes bytes;
  };
  bool receive(const FrameHeader& header, std::span<const uint8_t> frame) override {
    if (room == 0) return false;
    --room;
    frames.push_back({header, Bytes(frame.begin(), frame.end())});
    return true;
  }
  void backend_has_room() override { ++times_room; }
  void link_changed(bool up) override { link = up; }

  std::vector<Frame> frames;
  size_t room = SIZE_MAX;
  unsigned times_room = 0;
  bool link = false;
};

// A loop whose work is done by wait_for().
class Loop {
 public:
  Loop() : loop_(std::move(EventLoop::create(clock_)).value()) {}
  EventLoop& operator*() { return *loop_; }
  // Works until `done`; false after `limit`.
  bool wait_for(const std::function<bool()>& done, std::chrono::seconds limit = std::chrono::seconds(60)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop_->poll(20);
    }
    return true;
  }
  // Whatever is ready now, and what follows from it.
  void settle() {
    for (int i = 0; i < 50; ++i) loop_->poll(0);
  }

 private:
  VmClock clock_;
  std::unique_ptr<EventLoop> loop_;
};

inline bool send_bytes(Backend& backend, const Bytes& frame, const FrameHeader& header = {}) {
  const iovec part{const_cast<uint8_t*>(frame.data()), frame.size()};
  return backend.send(header, {&part, 1});
}

// SKERRY_SEED, or one of its own, which is printed.
inline std::mt19937_64 make_random() {
  const char* given = std::getenv("SKERRY_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return std::mt19937_64(seed);
}

// Runs `work` on a thread whose network is its own, with the loopback interface up. False: this needs root.
inline bool in_own_network(const std::function<void()>& work, int more_namespaces = 0) {
  bool possible = false;
  std::thread thread([&] {
    if (::unshare(CLONE_NEWNET | more_namespaces) != 0) return;
    possible = true;
    const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{{"lo"}, {}};
    request.ifr_flags = IFF_UP;
    ASSERT_EQ(::ioctl(any.get(), SIOCSIFFLAGS, &request), 0);
    work();
  });
  thread.join();
  return possible;
}

}  // namespace skerry::net
