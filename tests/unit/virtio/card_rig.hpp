// What the tests of network card, console, balloon and sockets have in common: a loop that is turned by hand, and a
// device's rings that may be set up anew while the device keeps its state, as a restored transport does it.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <random>

#include "base/unix_socket.hpp"
#include "bus/device.hpp"
#include "net/port_dialer.hpp"
#include "unit/state_test.hpp"
#include "unit/virtio/driver.hpp"
#include "virtio/vsock.hpp"

namespace skerry::virtio::test {

struct TurnedLoop {
  TurnedLoop() : loop(*EventLoop::create(clock)) {}
  // Until what is posted, and what that posts, is done.
  void turn() {
    for (int i = 0; i < 6; ++i) loop->poll(0);
  }
  VmClock clock;
  std::unique_ptr<EventLoop> loop;
};

inline std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
template <typename T>
Bytes bytes_of_value(const T& value) {
  const auto* first = reinterpret_cast<const uint8_t*>(&value);
  return {first, first + sizeof value};
}
inline std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

// What VsockHost::open() makes, with its dialer in this thread: serve() answers what has been asked.
struct TestVsockHost {
  explicit TestVsockHost(std::string prefix) : path(std::move(prefix)) {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ours = UniqueFd(pair[0]);
    dialer = UniqueFd(pair[1]);
  }
  VsockHost host() { return {path, *listen_unix("test", path, 16), net::PortDialer(std::move(ours))}; }
  void serve() {
    for (pollfd asked{dialer.get(), POLLIN, 0}; ::poll(&asked, 1, 0) > 0 && asked.revents & POLLIN;)
      if (!net::answer_dial(dialer.get(), path)) return;
  }
  std::string path;
  UniqueFd ours, dialer;
};

// A device as the state test wants one.
class AsBusDevice final : public bus::Device {
 public:
  explicit AsBusDevice(virtio::Device& device) : device_(device) {}
  std::string_view name() const override { return device_.name(); }
  void reset() override {}
  void describe(state::Fields& fields) override { device_.describe(fields); }

 private:
  virtio::Device& device_;
};

// Rings that a loaded state goes on with.
class LoadedDriver {
 public:
  LoadedDriver(Device& device, Guest& guest, uint64_t features) : device_(device) {
    for (const uint16_t size : device.queue_sizes())
      rings.push_back(std::make_unique<RingDriver>(guest, std::min<uint16_t>(size, 16), features));
    queues_.assign(rings.size(), Queue(guest.memory));
    for (size_t i = 0; i < rings.size(); ++i) queues_[i].start(rings[i]->setup(), features);
    device.activate(features, queues_, transport);
  }
  void quiesce() {
    device_.quiesce([] {});
  }

  FakeTransport transport;
  std::vector<std::unique_ptr<RingDriver>> rings;

 private:
  Device& device_;
  std::vector<Queue> queues_;
};

// What a device gave back, as numbers.
inline void note_used(test::Guest& guest, LoadedDriver& driver, const std::vector<Buffer>& written,
                      skerry::test::Trace& trace) {
  for (size_t queue = 0; queue < driver.rings.size(); ++queue) {
    for (const auto& used : driver.rings[queue]->take_all()) {
      trace.push_back(queue << 32 | used.written);
      trace.push_back(used.id);
    }
  }
  for (const Buffer& buffer : written)
    for (const uint8_t byte : guest.bytes(buffer)) trace.push_back(byte);
}

// Random rings: descriptors of any address, length and order, of any content, for every queue of a device. Whatever the
// driver does, the device neither crashes nor hangs, and takes a reset. `also` happens in between.
inline void expect_random_rings_are_survived(Device& device, Guest& guest, TurnedLoop& loop, std::mt19937_64& random,
                                             const std::function<void()>& also) {
  uint64_t features =
      random() & (device.features() | feature::kRingPacked | feature::kRingEventIdx | feature::kRingIndirectDesc);
  features |= feature::kVersion1;
  const Gpa top = guest.memory.ram_size();
  std::vector<std::unique_ptr<RingDriver>> rings;
  std::vector<Queue> queues;
  FakeTransport transport;
  for (const uint16_t most : device.queue_sizes()) {
    rings.push_back(std::make_unique<RingDriver>(guest, std::min<uint16_t>(most, 8), features));
    queues.emplace_back(guest.memory);
    if (random() % 16) queues.back().start(rings.back()->setup(), features);
  }
  device.activate(features, queues, transport);
  for (unsigned step = 0; step < 40; ++step) {
    const auto queue = static_cast<unsigned>(random() % rings.size());
    RingDriver& ring = *rings[queue];
    std::vector<Buffer> readable, writable;
    for (uint64_t n = random() % 3; n > 0; --n) {
      Bytes content(1 + random() % 100);
      for (uint8_t& byte : content) byte = static_cast<uint8_t>(random() % 4 ? random() % 8 : random());
      const Gpa at = 0x8000 + random() % 0x7000;
      guest.memory.write(at, std::as_bytes(std::span(content)));
      readable.push_back({at, static_cast<uint32_t>(content.size())});
    }
    for (uint64_t n = random() % 3; n > 0; --n)
      writable.push_back({random() % 64 ? 0x1000 + random() % 0x6000 : random() % top,
                          static_cast<uint32_t>(random() % 64 ? 1 + random() % 4096 : random())});
    const size_t parts = readable.size() + writable.size();
    if (parts > 0 && ring.free() >= parts) ring.add(readable, writable, random() % 4 == 0);
    if (random() % 64 == 0) ring.store<uint64_t>(ring.descriptors + random() % 16 * 8, random());
    if (random() % 64 == 0) ring.store<uint16_t>(ring.driver + 2, static_cast<uint16_t>(random()));
    device.notified(queue);
    if (random() % 4 == 0) also();
    if (random() % 4 == 0) loop.turn();
    if (random() % 16 == 0) {
      device.quiesce([] {});
      device.resume();
    }
    if (!(features & feature::kRingPacked)) ring.take_all();
    if (!transport.why.empty()) break;
  }
  device.deactivate();
  loop.turn();
}

}  // namespace skerry::virtio::test
