#include "virtio/net.hpp"

#include "unit/virtio/card_rig.hpp"

namespace skerry::virtio::test {
namespace {

constexpr uint64_t kCsum = 1 << 0, kGuestCsum = 1 << 1, kGuestOffloads = 1 << 2, kGuestTso4 = 1 << 7,
                   kHostTso4 = 1 << 11, kMergeable = 1 << 15, kStatus = 1 << 16, kControl = 1 << 17, kRx = 1 << 18,
                   kVlan = 1 << 19, kAnnounce = 1 << 21, kMultiQueue = 1 << 22, kSetMac = 1 << 23;
constexpr uint64_t kAll = kCsum | kGuestCsum | kGuestOffloads | kGuestTso4 | kHostTso4 | kMergeable | kStatus |
                          kControl | kRx | kVlan | kAnnounce | kMultiQueue | kSetMac | 1 << 20;
constexpr Mac kMac = {0x52, 0x54, 0, 1, 2, 3};

class FakeBackend final : public net::Backend {
 public:
  Result<void> start(EventLoop&, Card& to) override {
    card = &to;
    return ok();
  }
  void stop() override { card = nullptr; }
  bool send(const net::FrameHeader& header, std::span<const iovec> frame) override {
    if (full) return false;
    Bytes all;
    for (const iovec& piece : frame)
      all.insert(all.end(), static_cast<uint8_t*>(piece.iov_base),
                 static_cast<uint8_t*>(piece.iov_base) + piece.iov_len);
    sent.emplace_back(header, all);
    return true;
  }
  void card_has_room() override { ++room; }
  net::Offloads offloads() const override { return {.checksum = true, .tso4 = true, .tso6 = true, .ufo = true}; }
  void set_guest_offloads(net::Offloads offloads) override { guest = offloads; }

  Card* card = nullptr;
  bool full = false;
  unsigned room = 0;
  net::Offloads guest;
  std::vector<std::pair<net::FrameHeader, Bytes>> sent;
};

// An Ethernet frame with an IPv4 UDP header.
Bytes frame(size_t size = 60, uint16_t from_port = 1000, uint16_t to_port = 2000, bool back = false) {
  Bytes bytes(size);
  std::copy(kMac.begin(), kMac.end(), bytes.begin());
  bytes[12] = 8;
  bytes[14] = 0x45;
  bytes[23] = 17;
  bytes[26 + (back ? 4 : 0)] = 10;
  bytes[30 - (back ? 4 : 0)] = 20;
  if (back) std::swap(from_port, to_port);
  bytes[34] = static_cast<uint8_t>(from_port >> 8);
  bytes[35] = static_cast<uint8_t>(from_port);
  bytes[36] = static_cast<uint8_t>(to_port >> 8);
  bytes[37] = static_cast<uint8_t>(to_port);
  for (size_t i = 42; i < size; ++i) bytes[i] = static_cast<uint8_t>(i);
  return bytes;
}

Bytes with_header(const Bytes& frame, net::FrameHeader header = {}) {
  Bytes all = bytes_of_value(header);
  all.resize(12);
  all.insert(all.end(), frame.begin(), frame.end());
  return all;
}

struct Rig : TurnedLoop {
  explicit Rig(uint64_t features, unsigned pairs = 1)
      : net("net0", *loop, guest.memory, backend, {.mac = kMac, .queue_pairs = pairs}), driver(net, guest, features) {
    EXPECT_EQ(features & ~net.features(), 0u);
  }
  void send(const Bytes& bytes, unsigned queue = 1) {
    driver.ring(queue).add({guest.put(bytes)}, {});
    driver.notify(queue);
  }
  Buffer post(uint32_t size, unsigned queue = 0) {
    const Buffer buffer = guest.room(size);
    driver.ring(queue).add({}, {buffer});
    driver.notify(queue);
    return buffer;
  }
  bool receive(const Bytes& bytes, const net::FrameHeader& header = {}) { return backend.card->receive(header, bytes); }
  // The acknowledge of a control command.
  int control(Bytes command, unsigned queue = 2) {
    const Buffer ack = guest.room(1);
    driver.ring(queue).add({guest.put(command)}, {ack});
    driver.notify(queue);
    EXPECT_TRUE(driver.ring(queue).take());
    return guest.bytes(ack)[0];
  }

  Guest guest;
  FakeBackend backend;
  Net net;
  DirectDriver driver;
};

TEST(Net, SendsFramesOutOfSeveralBuffers) {
  Rig rig(0);
  const Bytes all = with_header(frame(100));
  const Buffer buffer = rig.guest.put(all);
  rig.driver.ring(1).add({{buffer.address, 5}, {buffer.address + 5, 20}, {buffer.address + 25, buffer.length - 25}},
                         {});
  rig.driver.notify(1);
  ASSERT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_EQ(rig.backend.sent[0].second, frame(100));
  EXPECT_TRUE(rig.driver.ring(1).take());
  EXPECT_EQ(rig.driver.transport.interrupts[1], 1u);
}

TEST(Net, DropsWhatIsNoFrameAndCountsIt) {
  Rig rig(kCsum);
  rig.send(Bytes(11));
  rig.send(with_header(Bytes(13)));
  rig.send(with_header(frame(), {.flags = 1, .csum_start = 50, .csum_offset = 9}));  // behind the end
  rig.send(with_header(frame(), {.flags = 1, .gso_type = 1, .gso_size = 1000}));     // not agreed on
  rig.send(with_header(Bytes(net::kMaxFrame + 1)));
  EXPECT_TRUE(rig.backend.sent.empty());
  EXPECT_EQ(rig.net.counters().send_dropped, 5u);
  EXPECT_EQ(rig.driver.ring(1).take_all().size(), 5u) << "the buffers come back";
  rig.send(with_header(frame(), {.flags = 1, .csum_start = 50, .csum_offset = 8}));
  EXPECT_EQ(rig.backend.sent.size(), 1u);
}

TEST(Net, WaitsForABackendThatIsFullAndLosesNothing) {
  Rig rig(0);
  rig.backend.full = true;
  rig.send(with_header(frame(60)));
  rig.send(with_header(frame(61)));
  EXPECT_FALSE(rig.driver.ring(1).take());
  rig.backend.full = false;
  rig.backend.card->backend_has_room();
  ASSERT_EQ(rig.backend.sent.size(), 2u);
  EXPECT_EQ(rig.backend.sent[0].second.size(), 60u);
  EXPECT_EQ(rig.backend.sent[1].second.size(), 61u);
}

TEST(Net, ReceivesABatchWithOneInterrupt) {
  Rig rig(0);
  const Buffer first = rig.post(1600);
  rig.post(1600);
  rig.post(1600);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(rig.receive(frame(80)));
  rig.turn();
  const auto used = rig.driver.ring(0).take_all();
  ASSERT_EQ(used.size(), 3u);
  EXPECT_EQ(used[0].written, 92u);
  const Bytes got = rig.guest.bytes(first.address, 92);
  EXPECT_EQ(got[10] | got[11] << 8, 1) << "num_buffers";
  EXPECT_EQ(Bytes(got.begin() + 12, got.end()), frame(80));
  EXPECT_EQ(rig.driver.transport.interrupts[0], 1u);
}

TEST(Net, MergesBuffersForALongFrame) {
  Rig rig(kMergeable);
  const Buffer a = rig.post(100), b = rig.post(100), c = rig.post(100);
  ASSERT_TRUE(rig.receive(frame(230)));
  const auto used = rig.driver.ring(0).take_all();
  ASSERT_EQ(used.size(), 3u);
  EXPECT_EQ(used[0].written, 100u);
  EXPECT_EQ(used[2].written, 42u);
  Bytes all = rig.guest.bytes(a);
  for (const Buffer& more : {b, c}) {
    const Bytes next = rig.guest.bytes(more);
    all.insert(all.end(), next.begin(), next.end());
  }
  EXPECT_EQ(all[10], 3);
  EXPECT_EQ(Bytes(all.begin() + 12, all.begin() + 242), frame(230));
}

TEST(Net, TheBackendKeepsAFrameUntilThereIsRoom) {
  Rig rig(kMergeable);
  rig.post(100);
  EXPECT_FALSE(rig.receive(frame(150)));
  EXPECT_FALSE(rig.driver.ring(0).take()) << "half a frame is not delivered";
  EXPECT_EQ(rig.backend.room, 0u);
  rig.post(100);
  EXPECT_EQ(rig.backend.room, 1u);
  EXPECT_TRUE(rig.receive(frame(150)));
  EXPECT_EQ(rig.driver.ring(0).take_all().size(), 2u);
}

TEST(Net, AsksForANotificationWhenBuffersRunOut) {
  for (const uint64_t ring : {uint64_t{0}, feature::kRingEventIdx, feature::kRingPacked | feature::kRingEventIdx}) {
    Rig rig(kMergeable);
    DirectDriver driver(rig.net, rig.guest, kMergeable | ring);
    driver.ring(0).add({}, {rig.guest.room(100)});
    driver.ring(0).should_notify();
    driver.notify(0);
    EXPECT_FALSE(rig.receive(frame(150)));
    driver.ring(0).add({}, {rig.guest.room(100)});
    EXPECT_TRUE(driver.ring(0).should_notify());
    driver.notify(0);
    EXPECT_TRUE(rig.receive(frame(150)));
  }
}

TEST(Net, AFrameThatFitsNoBufferIsDroppedAndTheBufferStays) {
  Rig rig(0);
  rig.post(100);
  EXPECT_TRUE(rig.receive(frame(200)));
  EXPECT_EQ(rig.net.counters().receive_dropped, 1u);
  EXPECT_TRUE(rig.receive(frame(60)));
  EXPECT_EQ(rig.driver.ring(0).take_all().size(), 1u);
}

TEST(Net, BuffersThatAreHeldGoBackBeforeASave) {
  Rig rig(kMergeable);
  rig.post(100);
  rig.post(100);
  EXPECT_FALSE(rig.receive(frame(300)));
  rig.net.quiesce([] {});
  EXPECT_EQ(rig.backend.card, nullptr);
  rig.net.resume();
  EXPECT_TRUE(rig.receive(frame(60)));
  EXPECT_EQ(rig.driver.ring(0).take_all().size(), 1u);
}

TEST(Net, FiltersByAddressAndVlanWhenTheDriverAsks) {
  Rig rig(kControl | kRx | kVlan);
  for (int i = 0; i < 8; ++i) rig.post(200);
  Bytes other = frame(), multicast = frame(), tagged = frame();
  other[5] = 9;
  multicast[0] = 1;
  tagged[12] = 0x81;
  tagged[13] = tagged[14] = 0;
  tagged[15] = 7;
  const auto passes = [&](const Bytes& bytes) {
    EXPECT_TRUE(rig.receive(bytes));
    return !rig.driver.ring(0).take_all().empty();
  };
  EXPECT_TRUE(passes(other)) << "promiscuous until the driver says otherwise";
  EXPECT_EQ(rig.control({0, 0, 0}), 0);
  EXPECT_FALSE(passes(other));
  EXPECT_TRUE(passes(frame()));
  EXPECT_FALSE(passes(multicast));
  EXPECT_FALSE(passes(tagged));
  Bytes table = {1, 0, 1, 0, 0, 0};
  table.insert(table.end(), other.begin(), other.begin() + 6);
  table.insert(table.end(), {1, 0, 0, 0});
  table.insert(table.end(), multicast.begin(), multicast.begin() + 6);
  EXPECT_EQ(rig.control(table), 0);
  EXPECT_EQ(rig.control({2, 0, 7, 0}), 0);
  EXPECT_TRUE(passes(other));
  EXPECT_TRUE(passes(multicast));
  EXPECT_TRUE(passes(tagged));
  EXPECT_EQ(rig.control({2, 1, 7, 0}), 0);
  EXPECT_FALSE(passes(tagged));
  EXPECT_EQ(rig.net.counters().filtered, 4u);
}

TEST(Net, RefusesControlCommandsThatAreWrong) {
  Rig rig(kControl | kRx | kMultiQueue | kGuestCsum | kGuestOffloads, 2);
  const std::vector<Bytes> wrong = {
      {0},                             // no command
      {0, 0},                          // no data
      {0, 2, 1},                       // CTRL_RX_EXTRA was not agreed on
      {1, 0, 0xff, 0xff, 0xff, 0xff},  // a table that is not there
      {1, 1, 1, 2, 3, 4, 5, 6},        // CTRL_MAC_ADDR was not agreed on
      {2, 0, 1, 0},                    // nor VLANs
      {4, 0, 0, 0},                    // no pair
      {4, 0, 3, 0},                    // more than there are
      {5, 0, 0x80, 0, 0, 0, 0, 0, 0, 0},
      {9, 9, 9},
  };
  for (const Bytes& command : wrong) EXPECT_EQ(rig.control(command, 4), 1) << int{command[0]};
}

TEST(Net, TheDriverSetsTheAddress) {
  Rig rig(kControl | kSetMac);
  EXPECT_EQ(rig.control({1, 1, 2, 3, 4, 5, 6, 7}), 0);
  EXPECT_EQ(config_field<uint32_t>(rig.net, 0), 0x05040302u);
  rig.driver.deactivate();
  EXPECT_EQ(config_field<uint8_t>(rig.net, 0), kMac[0]) << "a reset gives the card its own again";
}

TEST(Net, OffloadsFollowTheDriver) {
  Rig rig(kControl | kGuestCsum | kGuestTso4 | kGuestOffloads);
  EXPECT_EQ(rig.backend.guest, (net::Offloads{.checksum = true, .tso4 = true}));
  rig.post(2000);
  EXPECT_EQ(rig.control({5, 0, 2, 0, 0, 0, 0, 0, 0, 0}), 0);
  EXPECT_EQ(rig.backend.guest, (net::Offloads{.checksum = true}));
  EXPECT_TRUE(rig.receive(frame(), {.flags = 1, .gso_type = 1, .gso_size = 1000}));
  EXPECT_EQ(rig.net.counters().receive_dropped, 1u) << "what the guest does not take";
}

TEST(Net, AnswersComeToTheQueueThatAsked) {
  Rig rig(kControl | kMultiQueue, 4);
  EXPECT_EQ(rig.control({4, 0, 4, 0}, 8), 0);
  for (const unsigned queue : {0u, 2u, 4u, 6u}) rig.post(200, queue);
  for (const unsigned pair : {3u, 1u}) {
    rig.send(with_header(frame(60, 1000, 2000)), 2 * pair + 1);
    EXPECT_TRUE(rig.receive(frame(60, 1000, 2000, true)));
    EXPECT_TRUE(rig.driver.ring(2 * pair).take()) << pair;
  }
}

TEST(Net, WithoutMultiqueueTheControlQueueIsTheThird) {
  Rig rig(kControl | kRx, 4);
  EXPECT_EQ(rig.control({0, 0, 1}, 2), 0);
}

TEST(Net, TellsOfTheLink) {
  Rig rig(kStatus);
  EXPECT_EQ(config_field<uint16_t>(rig.net, 6), 1u);
  rig.backend.card->link_changed(false);
  EXPECT_EQ(config_field<uint16_t>(rig.net, 6), 0u);
  EXPECT_EQ(rig.driver.transport.config_interrupts, 1u);
}

TEST(Net, AGuestThatWasLoadedAnnouncesItself) {
  Rig rig(kControl | kStatus | kAnnounce);
  rig.net.quiesce([] {});
  rig.net.resume();
  EXPECT_EQ(config_field<uint16_t>(rig.net, 6), 1u) << "it has not moved";
  rig.net.quiesce([] {});
  rig.driver.activate();  // as after describe() has loaded a state
  EXPECT_EQ(config_field<uint16_t>(rig.net, 6), 3u);
  EXPECT_EQ(rig.driver.transport.config_interrupts, 1u);
  EXPECT_EQ(rig.control({3, 0}), 0);
  EXPECT_EQ(config_field<uint16_t>(rig.net, 6), 1u);
}

TEST(Net, ABrokenRingIsReportedAndEndsTheWork) {
  Rig rig(0);
  rig.driver.ring(1).make_available(999);
  rig.driver.notify(1);
  EXPECT_NE(rig.driver.transport.why, "");
  EXPECT_TRUE(rig.receive(frame())) << "what comes is dropped";
  rig.driver.deactivate();
}

struct StateRig : TurnedLoop {
  StateRig() : net("net0", *loop, guest.memory, backend, {.mac = kMac, .queue_pairs = 4}), adapter(net) {}
  ~StateRig() { net.deactivate(); }
  bus::Device& device() { return adapter; }

  Guest guest;
  FakeBackend backend;
  Net net;
  AsBusDevice adapter;
  std::unique_ptr<LoadedDriver> driver;
};

skerry::test::Trace drive(StateRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.driver = std::make_unique<LoadedDriver>(rig.net, rig.guest, kAll | feature::kVersion1);
  rig.backend.sent.clear();
  std::vector<Buffer> written;
  for (unsigned step = 0; step < 30; ++step) {
    const auto pair = static_cast<unsigned>(random() % 4);
    Bytes bytes = frame(60 + random() % 100, static_cast<uint16_t>(random() % 8), 2000, random() % 2);
    if (random() % 2) bytes[random() % 6] = static_cast<uint8_t>(random());
    switch (random() % 4) {
      case 0:
        if (rig.driver->rings[2 * pair]->free() == 0) break;
        written.push_back(rig.guest.room(400));
        rig.driver->rings[2 * pair]->add({}, {written.back()});
        rig.net.notified(2 * pair);
        break;
      case 1:
        if (rig.driver->rings[2 * pair + 1]->free() == 0) break;
        rig.driver->rings[2 * pair + 1]->add({rig.guest.put(with_header(bytes))}, {});
        rig.net.notified(2 * pair + 1);
        break;
      case 2:
        trace.push_back(rig.backend.card->receive({}, bytes));
        break;
      default: {
        const std::vector<Bytes> commands = {
            {0, static_cast<uint8_t>(random() % 6), static_cast<uint8_t>(random() % 2)},
            {4, 0, static_cast<uint8_t>(1 + random() % 4), 0},
            {3, 0},
            {5, 0, 2, 0, 0, 0, 0, 0, 0, 0}};
        if (rig.driver->rings[8]->free() < 2) break;
        rig.driver->rings[8]->add({rig.guest.put(commands[random() % commands.size()])}, {rig.guest.room(1)});
        rig.net.notified(8);
      }
    }
    rig.turn();
  }
  note_used(rig.guest, *rig.driver, written, trace);
  for (const auto& [header, bytes] : rig.backend.sent) trace.insert(trace.end(), bytes.begin(), bytes.end());
  for (uint32_t i = 0; i < 12; i += 2) trace.push_back(config_field<uint16_t>(rig.net, i));
  trace.push_back(rig.backend.guest.tso4);
  rig.driver->quiesce();
  return trace;
}

TEST(Net, StateSurvives) { skerry::test::run_state_test<StateRig>(10, drive); }

}  // namespace
}  // namespace skerry::virtio::test
