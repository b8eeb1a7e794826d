// Random rings against network card, console, balloon, sockets and SCSI disks. tests/fuzz/virtio_cards/run gives it longer.
#include <stdlib.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "base/unix_socket.hpp"
#include "unit/virtio/card_rig.hpp"
#include "unit/virtio/scsi_rig.hpp"
#include "virtio/balloon.hpp"
#include "virtio/console.hpp"
#include "virtio/net.hpp"
#include "virtio/vsock.hpp"

namespace skerry::virtio::test {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = ::getenv(name);
  return text ? ::strtoull(text, nullptr, 10) : otherwise;
}

// Takes everything or nothing, as the dice say, and gives what they say.
struct RandomBackend final : net::Backend {
  explicit RandomBackend(std::mt19937_64& dice) : random(dice) {}
  Result<void> start(EventLoop&, Card& to) override {
    card = &to;
    return ok();
  }
  void stop() override { card = nullptr; }
  bool send(const net::FrameHeader&, std::span<const iovec> frame) override {
    for (const iovec& piece : frame) sum += static_cast<uint8_t*>(piece.iov_base)[piece.iov_len - 1];
    return random() % 4;
  }
  void card_has_room() override {}
  net::Offloads offloads() const override { return {true, true, true, true}; }
  void set_guest_offloads(net::Offloads) override {}
  void act() {
    if (!card) return;
    if (random() % 4 == 0) card->backend_has_room();
    if (random() % 8 == 0) card->link_changed(random() % 2);
    Bytes frame(random() % 16 ? random() % 300 : random() % 70'000);
    for (size_t i = 0; i < frame.size() && i < 64; ++i)
      frame[i] = static_cast<uint8_t>(random() % 2 ? random() % 4 : random());
    net::FrameHeader header{};
    if (card && random() % 4 == 0) header.flags = static_cast<uint8_t>(random());
    if (card) card->receive(header, frame);
  }
  std::mt19937_64& random;
  Card* card = nullptr;
  unsigned sum = 0;
};

struct RandomChardev final : chardev::Chardev {
  explicit RandomChardev(std::mt19937_64& dice) : random(dice) {}
  void connect(chardev::Frontend to) override { frontend = std::move(to); }
  Result<void> start(EventLoop&) override { return ok(); }
  size_t write(std::span<const uint8_t> bytes) override {
    return random() % 2 ? bytes.size() : random() % (bytes.size() + 1);
  }
  void receive_ready() override {}
  void flush(int) override {}
  void act() {
    if (random() % 2) frontend.connected(random() % 2);
    if (random() % 2) frontend.writable();
    if (const size_t room = frontend.can_receive()) frontend.receive(Bytes(1 + random() % room));
  }
  std::mt19937_64& random;
  chardev::Frontend frontend;
};

void round_of(std::mt19937_64& random, const std::string& folder) {
  Guest guest(4 << 20);
  TurnedLoop loop;
  switch (random() % 5) {
    case 4: {
      ScsiDisks disks;
      Scsi scsi("scsi0", *loop.loop, guest.memory, disks.units(), {.queues = 2, .queue_size = 16});
      return expect_random_rings_are_survived(scsi, guest, loop, random, [] {});
    }
    case 0: {
      RandomBackend backend(random);
      Net net("net0", *loop.loop, guest.memory, backend,
              {.mac = {2}, .queue_pairs = static_cast<unsigned>(1 + random() % 4)});
      return expect_random_rings_are_survived(net, guest, loop, random, [&] { backend.act(); });
    }
    case 1: {
      RandomChardev terminal(random), port(random);
      Console console("console0", *loop.loop, guest.memory, &terminal, {{"port", &port}});
      return expect_random_rings_are_survived(console, guest, loop, random, [&] {
        terminal.act();
        port.act();
      });
    }
    case 2: {
      Balloon balloon("balloon0", *loop.loop, guest.memory);
      return expect_random_rings_are_survived(balloon, guest, loop, random, [&] {
        balloon.set_target(random() % (4 << 20));
        balloon.poll_statistics();
      });
    }
    default: {
      const std::string path = folder + "/v";
      // Few ports and CIDs, so that packets meet connections: dice of 0 to 7 fill most headers.
      TestVsockHost host(path);
      const auto server = listen_unix("test", path + "_0", 64);
      Vsock vsock("vsock0", *loop.loop, guest.memory, 3, host.host());
      return expect_random_rings_are_survived(vsock, guest, loop, random, [&] { host.serve(); });
    }
  }
}

TEST(CardsFuzz, RandomRingsAreSurvived) {
  const uint64_t seed = from_environment("SKERRY_SEED", std::random_device{}());
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(from_environment("SKERRY_FUZZ_MS", 500));
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  SCOPED_TRACE(fmt::format("SKERRY_SEED={}", seed));
  std::mt19937_64 random(seed);
  char name[] = "/tmp/skerry-cards-XXXXXX";
  const std::string folder = ::mkdtemp(name);
  uint64_t rounds = 0;
  do round_of(random, folder);
  while (++rounds && std::chrono::steady_clock::now() < end && !HasFailure());
  std::printf("%llu rounds\n", static_cast<unsigned long long>(rounds));
  std::filesystem::remove_all(folder);
}

// One command or function of a guest that knows the layout, but not the rules; its buffers are where others' are too.
void random_scsi_request(std::mt19937_64& random, Guest& guest, DirectDriver& driver) {
  constexpr uint8_t kOperations[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x1b, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41,
                                     0x42, 0x5a, 0x88, 0x8a, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa8, 0xaa};
  const auto queue = static_cast<unsigned>(random() % 4);
  if (queue == scsi_layout::kEventQueue || driver.ring(queue).free() < 4) return;
  const Lun lun = lun_of(random() % 8 ? random() % 2 : random() % 256, random() % 8 ? 0 : random() % 300);
  Bytes bytes;
  if (queue == scsi_layout::kControlQueue) {
    bytes = function_bytes(static_cast<uint32_t>(random() % 9), lun, random() % 8);
    if (random() % 8 == 0) bytes[0] = static_cast<uint8_t>(random() % 4);
  } else {
    Bytes cdb(16);
    for (uint8_t& byte : cdb) byte = static_cast<uint8_t>(random() % 8 ? random() % 3 * (random() % 2) : random());
    cdb[0] = random() % 16 ? kOperations[random() % std::size(kOperations)] : static_cast<uint8_t>(random());
    bytes = command_bytes(lun, random() % 8, static_cast<uint8_t>(random() % 5), cdb);
  }
  if (random() % 32 == 0) bytes.resize(1 + random() % 60);
  const Gpa at = 0x1000 + random() % 0x1000;
  guest.memory.write(at, std::as_bytes(std::span(bytes)));
  std::vector<Buffer> readable = {{at, static_cast<uint32_t>(bytes.size())}}, writable;
  const auto room = [&] { return Buffer{0x2000 + random() % 0x4000, static_cast<uint32_t>(random() % 4 ? 512 * (1 + random() % 16) : 1 + random() % 9000)}; };
  if (random() % 3 == 0) readable.push_back(room());
  if (random() % 64) writable.push_back({0x2000 + random() % 0x4000, static_cast<uint32_t>(random() % 32 ? 108 : 1 + random() % 200)});
  if (random() % 2) writable.push_back(room());
  driver.ring(queue).add(readable, writable);
  driver.notify(queue);
}

TEST(CardsFuzz, ScsiCommandsInAnyOrderAreSurvived) {
  const uint64_t seed = from_environment("SKERRY_SEED", std::random_device{}());
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(from_environment("SKERRY_FUZZ_MS", 500));
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  SCOPED_TRACE(fmt::format("SKERRY_SEED={}", seed));
  std::mt19937_64 random(seed);
  do {
    Guest guest(4 << 20);
    TurnedLoop loop;
    ScsiDisks disks;
    Scsi scsi("scsi0", *loop.loop, guest.memory, disks.units(), {.queues = 2, .queue_size = 32});
    DirectDriver driver(scsi, guest, random() % 2 ? feature::kRingPacked : 0, 32);
    for (unsigned step = 0; step < 300; ++step) {
      random_scsi_request(random, guest, driver);
      if (random() % 8 == 0) disks.first.hold = random() % 2;
      if (random() % 4 == 0) disks.first.release(random() % 2);
      if (random() % 16 == 0) disks.first.error = random() % 2 ? EIO : 0;
      if (random() % 16 == 0) loop.turn();
      for (const unsigned queue : {0, 2, 3}) driver.ring(queue).take_all();
      if (random() % 64 == 0) {
        bool at_rest = false;
        scsi.quiesce([&] { at_rest = true; });
        disks.first.hold = false;
        disks.first.release();
        loop.turn();
        EXPECT_TRUE(at_rest) << "it does not come to rest";
        AsBusDevice device(scsi);
        EXPECT_TRUE(skerry::test::load(device, skerry::test::save(device)));
        scsi.resume();
      }
    }
    EXPECT_EQ(driver.transport.why, "");
    disks.first.hold = false;
    disks.first.release();
    loop.turn();
    // Whatever was done to it, it has forgotten none, and an honest driver finds a device that works.
    for (const unsigned queue : {0, 2, 3}) {
      driver.ring(queue).take_all();
      EXPECT_EQ(driver.ring(queue).free(), 32u) << "queue " << queue;
    }
    disks.first.error = 0;
    const Bytes read = command_bytes(lun_of(0), 1, 0, read_10(0, 1));
    const Buffer answer = guest.room(108), command = guest.put(read), data = guest.room(512);
    for (unsigned i = 0; i < 2; ++i) {  // the first may be told of a reset
      driver.ring(2).add({command}, {answer, data});
      driver.notify(2);
      loop.turn();
    }
    EXPECT_EQ(driver.ring(2).take_all().size(), 2u);
    EXPECT_EQ(guest.bytes(answer)[10], 0);
    EXPECT_EQ(guest.bytes(answer)[11], 0);
  } while (std::chrono::steady_clock::now() < end && !HasFailure());
}

// Packets of a guest that knows the protocol but not its rules, over connections that are really there.
TEST(CardsFuzz, SocketPacketsInAnyOrderAreSurvived) {
  const uint64_t seed = from_environment("SKERRY_SEED", std::random_device{}());
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(from_environment("SKERRY_FUZZ_MS", 500));
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  SCOPED_TRACE(fmt::format("SKERRY_SEED={}", seed));
  std::mt19937_64 random(seed);
  char name[] = "/tmp/skerry-cards-XXXXXX";
  const std::string folder = ::mkdtemp(name), path = folder + "/v";
  Guest guest;
  TurnedLoop loop;
  TestVsockHost host(path);
  const auto server = listen_unix("test", path + "_1", 256);
  ASSERT_TRUE(server);
  Vsock vsock("vsock0", *loop.loop, guest.memory, 3, host.host());
  DirectDriver driver(vsock, guest, 0);
  const Buffer room = guest.room(8192), sent = guest.room(8192);
  std::vector<UniqueFd> peers;
  do {
    VsockHeader header{};
    header.src_cid = 3;
    header.dst_cid = kVsockHostCid;
    header.src_port = static_cast<uint32_t>(random() % 4);
    header.dst_port = 1;
    header.type = VIRTIO_VSOCK_TYPE_STREAM;
    header.op = static_cast<uint16_t>(random() % 3 ? 5 : random() % 9);
    header.len = static_cast<uint32_t>(random() % 16 ? random() % 8000 : random());
    header.flags = static_cast<uint32_t>(random() % 4);
    header.buf_alloc = static_cast<uint32_t>(random() % 8 ? 1 << 20 : random());
    header.fwd_cnt = static_cast<uint32_t>(random() % 8 ? 0 : random());
    guest.memory.write(sent.address, std::as_bytes(std::span(&header, 1)));
    driver.ring(1).add({sent}, {});
    driver.notify(1);
    if (random() % 2 && driver.ring(0).free() > 0) {
      driver.ring(0).add({}, {{room.address, static_cast<uint32_t>(40 + random() % 5000)}});
      driver.notify(0);
    }
    if (random() % 2) host.serve();
    UniqueFd peer(::accept4(server->get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (peer) peers.push_back(std::move(peer));
    if (!peers.empty()) {
      std::array<char, 4096> bytes{};
      const int fd = peers[random() % peers.size()].get();
      if (random() % 2) (void)!::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (random() % 2) (void)!::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (random() % 32 == 0) ::shutdown(fd, static_cast<int>(random() % 3));
      if (random() % 32 == 0 || peers.size() > 32) peers.erase(peers.begin());
    }
    loop.turn();
    driver.ring(0).take_all();
    driver.ring(1).take_all();
    while (driver.ring(1).free() == 0 && driver.ring(0).free() > 0) {  // answers first
      driver.ring(0).add({}, {{room.address, 4096}});
      driver.notify(0);
      loop.turn();
      driver.ring(0).take_all();
      driver.ring(1).take_all();
    }
    EXPECT_EQ(driver.transport.why, "");
    EXPECT_LE(vsock.connections(), 4u);
  } while (std::chrono::steady_clock::now() < end && !HasFailure());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace skerry::virtio::test
