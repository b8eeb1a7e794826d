#include "virtio/vsock.hpp"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "base/unix_socket.hpp"
#include "unit/virtio/card_rig.hpp"

namespace skerry::virtio::test {
namespace {

constexpr unsigned kReceive = 0, kTransmit = 1, kEvent = 2;
constexpr uint32_t kCid = 7, kGuestBuffer = 64 * 1024;

struct Folder {
  Folder() {
    char name[] = "/tmp/skerry-vsock-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

// What is there now; "" at the end of the file and when there is nothing.
std::string read_now(int fd) {
  std::string text(1 << 20, '\0');
  const ssize_t got = ::recv(fd, text.data(), text.size(), MSG_DONTWAIT);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}
bool at_end(int fd) {
  char byte = 0;
  return ::recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}
void write_now(int fd, std::string_view text) {
  EXPECT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT), static_cast<ssize_t>(text.size()));
}

struct Packet {
  VsockHeader header;
  std::string payload;
};

struct Rig : TurnedLoop {
  explicit Rig(bool buffers = true, uint64_t features = 0)
      : host(path()), vsock("vsock0", *loop, guest.memory, kCid, host.host()), driver(vsock, guest, features) {
    if (buffers)
      for (int i = 0; i < 32; ++i) post();
  }
  std::string path(std::string_view suffix = "") const { return folder.path + "/vsock" + std::string(suffix); }
  void turn() {
    TurnedLoop::turn();
    host.serve();
    TurnedLoop::turn();
  }
  void post() {
    const Buffer buffer = guest.room(4096);
    posted[driver.ring(kReceive).add({}, {buffer})] = buffer;
    driver.notify(kReceive);
  }
  void send(uint16_t op, uint32_t guest_port, uint32_t host_port, std::string_view payload = {}, uint32_t flags = 0) {
    VsockHeader header{};
    header.src_cid = kCid;
    header.dst_cid = kVsockHostCid;
    header.src_port = guest_port;
    header.dst_port = host_port;
    header.len = static_cast<uint32_t>(payload.size());
    header.type = VIRTIO_VSOCK_TYPE_STREAM;
    header.op = op;
    header.flags = flags;
    header.buf_alloc = kGuestBuffer;
    header.fwd_cnt = forwarded;
    send(header, payload);
  }
  void send(const VsockHeader& header, std::string_view payload) {
    std::vector<Buffer> buffers = {guest.put(bytes_of_value(header))};
    if (!payload.empty()) buffers.push_back(guest.put(bytes_of(payload)));
    driver.ring(kTransmit).add(buffers, {});
    driver.notify(kTransmit);
    turn();
    driver.ring(kTransmit).take_all();
  }
  // All packets for the guest; its buffers are posted anew.
  std::vector<Packet> packets() {
    turn();
    std::vector<Packet> all;
    for (const auto& used : driver.ring(kReceive).take_all()) {
      const Bytes bytes = guest.bytes(posted[used.id].address, used.written);
      EXPECT_GE(bytes.size(), sizeof(VsockHeader));
      Packet packet;
      std::memcpy(&packet.header, bytes.data(), sizeof packet.header);
      packet.payload = {bytes.begin() + sizeof packet.header, bytes.end()};
      all.push_back(packet);
      post();
    }
    return all;
  }
  std::vector<uint16_t> ops() {
    std::vector<uint16_t> all;
    for (const Packet& packet : packets()) all.push_back(packet.header.op);
    return all;
  }
  // A connection that a host program asked for, to port 1234 of the guest.
  uint32_t connected(UniqueFd& client) {
    client = connect_to(path());
    write_now(client.get(), "CONNECT 1234\n");
    const auto asked = packets();
    EXPECT_EQ(asked.size(), 1u);
    const uint32_t host_port = asked.empty() ? 0 : asked[0].header.src_port;
    send(VIRTIO_VSOCK_OP_RESPONSE, 1234, host_port);
    EXPECT_EQ(read_now(client.get()), "OK " + std::to_string(host_port) + "\n");
    return host_port;
  }

  Folder folder;
  Guest guest;
  TestVsockHost host;
  Vsock vsock;
  DirectDriver driver;
  std::map<uint16_t, Buffer> posted;
  uint32_t forwarded = 0;
};

using Ops = std::vector<uint16_t>;

TEST(Vsock, TheHostConnectsToTheGuest) {
  Rig rig;
  EXPECT_EQ(config_field<uint64_t>(rig.vsock, 0), kCid);
  UniqueFd client = connect_to(rig.path());
  write_now(client.get(), "CONNECT 12");
  EXPECT_TRUE(rig.packets().empty());
  write_now(client.get(), "34\nhello");
  const auto asked = rig.packets();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].header.op, VIRTIO_VSOCK_OP_REQUEST);
  EXPECT_EQ(asked[0].header.src_cid, kVsockHostCid);
  EXPECT_EQ(asked[0].header.dst_cid, kCid);
  EXPECT_EQ(asked[0].header.dst_port, 1234u);
  EXPECT_EQ(asked[0].header.buf_alloc, kVsockBuffer);
  EXPECT_EQ(read_now(client.get()), "") << "not before the guest has accepted";
  const uint32_t port = asked[0].header.src_port;
  rig.send(VIRTIO_VSOCK_OP_RESPONSE, 1234, port);
  EXPECT_EQ(read_now(client.get()), "OK " + std::to_string(port) + "\n");
  const auto data = rig.packets();
  ASSERT_EQ(data.size(), 1u);
  EXPECT_EQ(data[0].header.op, VIRTIO_VSOCK_OP_RW);
  EXPECT_EQ(data[0].payload, "hello");
  rig.send(VIRTIO_VSOCK_OP_RW, 1234, port, "world");
  EXPECT_EQ(read_now(client.get()), "world");
}

TEST(Vsock, TheGuestConnectsToTheHost) {
  Rig rig;
  const UniqueFd server = *listen_unix("test", rig.path("_80"), 1);
  rig.send(VIRTIO_VSOCK_OP_REQUEST, 5000, 80);
  EXPECT_EQ(rig.ops(), Ops{VIRTIO_VSOCK_OP_RESPONSE});
  UniqueFd peer(::accept4(server.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  ASSERT_TRUE(peer);
  rig.send(VIRTIO_VSOCK_OP_RW, 5000, 80, "GET /");
  EXPECT_EQ(read_now(peer.get()), "GET /");
  write_now(peer.get(), "200");
  const auto answer = rig.packets();
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].payload, "200");
  EXPECT_EQ(answer[0].header.fwd_cnt, 5u);
}

TEST(Vsock, WhatNobodyListensToIsReset) {
  Rig rig;
  rig.send(VIRTIO_VSOCK_OP_REQUEST, 5000, 81);
  EXPECT_EQ(rig.ops(), Ops{VIRTIO_VSOCK_OP_RST});
  rig.send(VIRTIO_VSOCK_OP_RW, 5000, 82, "x");
  EXPECT_EQ(rig.ops(), Ops{VIRTIO_VSOCK_OP_RST});
  rig.send(VIRTIO_VSOCK_OP_RST, 5000, 82);
  EXPECT_EQ(rig.ops(), Ops{}) << "a reset is not answered";
}

TEST(Vsock, AGuestThatRefusesEndsTheCall) {
  Rig rig;
  UniqueFd client = connect_to(rig.path());
  write_now(client.get(), "CONNECT 9\n");
  const auto asked = rig.packets();
  ASSERT_EQ(asked.size(), 1u);
  rig.send(VIRTIO_VSOCK_OP_RST, 9, asked[0].header.src_port);
  EXPECT_TRUE(at_end(client.get()));
  EXPECT_EQ(rig.vsock.connections(), 0u);
}

TEST(Vsock, CallersThatSayOtherThingsAreSentAway) {
  Rig rig;
  for (const std::string_view line : {"HELLO 1\n", "CONNECT x\n", "CONNECT \n", "CONNECT 99999999999\n",
                                      "CONNECT 1 2\n", "CONNECT 00000000000000000000000000001\n"}) {
    UniqueFd client = connect_to(rig.path());
    write_now(client.get(), line);
    EXPECT_TRUE(rig.packets().empty()) << line;
    char byte = 0;
    errno = 0;
    EXPECT_LE(::recv(client.get(), &byte, 1, MSG_DONTWAIT), 0);
    EXPECT_NE(errno, EAGAIN) << line;
  }
}

TEST(Vsock, SendsNoMoreThanTheGuestHasRoomFor) {
  Rig rig;
  UniqueFd client;
  const uint32_t port = rig.connected(client);
  const std::string all(100'000, 'x');
  write_now(client.get(), all);
  size_t got = 0;
  bool asked = false;
  for (int i = 0; i < 4; ++i)
    for (const Packet& packet : rig.packets()) {
      got += packet.payload.size();
      asked |= packet.header.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST;
    }
  EXPECT_EQ(got, kGuestBuffer);
  EXPECT_TRUE(asked);
  rig.forwarded = kGuestBuffer;
  rig.send(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1234, port);
  for (int i = 0; i < 4; ++i)
    for (const Packet& packet : rig.packets()) got += packet.payload.size();
  EXPECT_EQ(got, all.size());
}

TEST(Vsock, KeepsForASlowReaderWhatWasAllowedAndTellsWhenItIsGone) {
  Rig rig;
  UniqueFd client;
  const uint32_t port = rig.connected(client);
  const std::string chunk(32 * 1024, 'y');
  size_t sent = 0;
  uint32_t told = 0;
  const auto hear = [&] {
    for (const Packet& packet : rig.packets()) {
      EXPECT_EQ(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
      told = packet.header.fwd_cnt;
    }
  };
  for (; sent + chunk.size() - told <= kVsockBuffer && sent < 16u << 20; sent += chunk.size()) {
    rig.send(VIRTIO_VSOCK_OP_RW, 1234, port, chunk);
    hear();
  }
  EXPECT_LT(sent, 4u << 20) << "the socket is full, and then the buffer";
  EXPECT_EQ(rig.vsock.connections(), 1u);
  size_t got = 0;
  for (int i = 0; i < 200 && got < sent; ++i) {
    got += read_now(client.get()).size();
    hear();
  }
  EXPECT_EQ(got, sent);
  EXPECT_GE(told + kVsockBuffer / 2, sent) << "there is room again";
}

TEST(Vsock, AGuestThatSendsMoreThanAllowedIsReset) {
  Rig rig;
  UniqueFd client;
  const uint32_t port = rig.connected(client);
  const std::string chunk(64 * 1024, 'y');
  for (int i = 0; i < 40 && rig.vsock.connections() > 0; ++i) rig.send(VIRTIO_VSOCK_OP_RW, 1234, port, chunk);
  EXPECT_EQ(rig.vsock.connections(), 0u);
  EXPECT_EQ(rig.ops().back(), VIRTIO_VSOCK_OP_RST);
}

TEST(Vsock, TheHostsEndIsToldAfterItsLastByte) {
  Rig rig;
  UniqueFd client;
  rig.connected(client);
  write_now(client.get(), "last words");
  client.reset();
  const auto packets = rig.packets();
  ASSERT_EQ(packets.size(), 2u);
  EXPECT_EQ(packets[0].payload, "last words");
  EXPECT_EQ(packets[1].header.op, VIRTIO_VSOCK_OP_SHUTDOWN);
  EXPECT_EQ(packets[1].header.flags, uint32_t{kVsockShutdownBoth});
}

TEST(Vsock, HalfAConnectionGoesOn) {
  Rig rig;
  UniqueFd client;
  const uint32_t port = rig.connected(client);
  ::shutdown(client.get(), SHUT_WR);
  const auto packets = rig.packets();
  ASSERT_EQ(packets.size(), 1u);
  EXPECT_EQ(packets[0].header.flags, uint32_t{VIRTIO_VSOCK_SHUTDOWN_F_SEND});
  rig.send(VIRTIO_VSOCK_OP_RW, 1234, port, "still here");
  EXPECT_EQ(read_now(client.get()), "still here");
  rig.send(VIRTIO_VSOCK_OP_SHUTDOWN, 1234, port, {}, kVsockShutdownBoth);
  EXPECT_EQ(rig.ops(), Ops{VIRTIO_VSOCK_OP_RST}) << "it is over, and the guest may use the port again";
  EXPECT_TRUE(at_end(client.get()));
  EXPECT_EQ(rig.vsock.connections(), 0u);
}

TEST(Vsock, TheGuestsEndComesAfterItsLastByte) {
  Rig rig;
  UniqueFd client;
  const uint32_t port = rig.connected(client);
  rig.send(VIRTIO_VSOCK_OP_RW, 1234, port, "bye");
  rig.send(VIRTIO_VSOCK_OP_SHUTDOWN, 1234, port, {}, VIRTIO_VSOCK_SHUTDOWN_F_SEND);
  EXPECT_EQ(read_now(client.get()), "bye");
  EXPECT_TRUE(at_end(client.get()));
  write_now(client.get(), "and you");
  EXPECT_EQ(rig.packets().at(0).payload, "and you");
}

TEST(Vsock, AWaitingHostProgramCostsNoTurnsOfTheLoop) {
  Rig rig(false);  // a guest that takes nothing
  UniqueFd client = connect_to(rig.path());
  write_now(client.get(), "CONNECT 1\n");
  rig.turn();
  write_now(client.get(), "more");
  rig.turn();
  client.reset();
  rig.turn();
  EXPECT_EQ(rig.vsock.connections(), 0u) << "who does not wait any more is forgotten";
}

TEST(Vsock, ConnectionsAreLimitedAndTheOldEndedOnesGiveWay) {
  Rig rig;
  const UniqueFd server = *listen_unix("test", rig.path("_80"), 256);
  for (uint32_t port = 0; port < Vsock::kMaxConnections + 3; ++port) {
    rig.send(VIRTIO_VSOCK_OP_REQUEST, 10'000 + port, 80);
    EXPECT_EQ(rig.ops(), Ops{port < Vsock::kMaxConnections ? VIRTIO_VSOCK_OP_RESPONSE : VIRTIO_VSOCK_OP_RST});
  }
  UniqueFd(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
  EXPECT_EQ(rig.ops(), Ops{VIRTIO_VSOCK_OP_SHUTDOWN});
  rig.send(VIRTIO_VSOCK_OP_REQUEST, 20'000, 80);
  EXPECT_EQ(rig.ops(), (Ops{VIRTIO_VSOCK_OP_RST, VIRTIO_VSOCK_OP_RESPONSE}));
  EXPECT_EQ(rig.vsock.connections(), Vsock::kMaxConnections);
}

TEST(Vsock, AGuestThatTakesNoAnswersIsNotServedWithoutEnd) {
  Rig rig(false);
  size_t taken = 0;
  for (int i = 0; i < 20; ++i) {
    for (int j = 0; j < 10 && rig.driver.ring(kTransmit).free() > 0; ++j) {
      VsockHeader header{};
      header.src_cid = kCid;
      header.dst_cid = kVsockHostCid;
      header.type = VIRTIO_VSOCK_TYPE_STREAM;
      header.op = VIRTIO_VSOCK_OP_RW;
      rig.driver.ring(kTransmit).add({rig.guest.put(bytes_of_value(header))}, {});
    }
    rig.driver.notify(kTransmit);
    rig.turn();
    taken += rig.driver.ring(kTransmit).take_all().size();
  }
  EXPECT_EQ(taken, 64u);
  size_t answered = 0;
  for (int i = 0; i < 64; ++i) rig.post();
  for (int i = 0; i < 10; ++i) answered += rig.packets().size();
  EXPECT_GT(answered, 64u) << "and then it goes on";
}

TEST(Vsock, PacketsOfStrangersAreDropped) {
  Rig rig;
  VsockHeader header{};
  header.src_cid = kCid + 1;
  header.dst_cid = kVsockHostCid;
  header.type = VIRTIO_VSOCK_TYPE_STREAM;
  header.op = VIRTIO_VSOCK_OP_REQUEST;
  rig.send(header, {});
  EXPECT_EQ(rig.ops(), Ops{});
  header.src_cid = kCid;
  header.dst_cid = 99;
  rig.send(header, {});
  EXPECT_EQ(rig.ops(), Ops{VIRTIO_VSOCK_OP_RST});
}

TEST(Vsock, AfterALoadTheGuestHearsThatItsConnectionsAreGone) {
  Rig rig;
  rig.vsock.quiesce([] {});
  rig.vsock.resume();
  const Buffer event = rig.guest.room(8);
  rig.driver.ring(kEvent).add({}, {event});
  rig.driver.notify(kEvent);
  EXPECT_FALSE(rig.driver.ring(kEvent).take()) << "it only stood still";
  UniqueFd client;
  rig.connected(client);
  rig.vsock.quiesce([] {});
  rig.driver.activate();  // as after describe() has loaded a state
  EXPECT_TRUE(at_end(client.get()));
  const auto used = rig.driver.ring(kEvent).take();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 4u);
  EXPECT_EQ(rig.guest.bytes(event.address, 4), Bytes(4));
}

TEST(Vsock, ConnectionsStandStillForASave) {
  Rig rig;
  UniqueFd client;
  const uint32_t port = rig.connected(client);
  rig.vsock.quiesce([] {});
  write_now(client.get(), "meanwhile");
  EXPECT_TRUE(rig.packets().empty());
  rig.vsock.resume();
  EXPECT_EQ(rig.packets().at(0).payload, "meanwhile");
  rig.send(VIRTIO_VSOCK_OP_RW, 1234, port, "on");
  EXPECT_EQ(read_now(client.get()), "on");
}

TEST(Vsock, AResetEndsEverything) {
  Rig rig;
  UniqueFd client;
  rig.connected(client);
  rig.driver.deactivate();
  EXPECT_EQ(rig.vsock.connections(), 0u);
  EXPECT_TRUE(at_end(client.get()));
}

TEST(Vsock, ARequestIsUnderWayUntilTheHostAnswers) {
  Rig rig;
  const UniqueFd server = *listen_unix("test", rig.path("_80"), 16);
  const auto ask = [&](uint16_t op, uint32_t port) {
    VsockHeader header{};
    header.src_cid = kCid;
    header.dst_cid = kVsockHostCid;
    header.src_port = port;
    header.dst_port = 80;
    header.type = VIRTIO_VSOCK_TYPE_STREAM;
    header.buf_alloc = kGuestBuffer;
    header.op = op;
    rig.driver.ring(kTransmit).add({rig.guest.put(bytes_of_value(header))}, {});
    rig.driver.notify(kTransmit);
    rig.TurnedLoop::turn();
  };
  ask(VIRTIO_VSOCK_OP_REQUEST, 1);
  ask(VIRTIO_VSOCK_OP_REQUEST, 2);
  ask(VIRTIO_VSOCK_OP_RST, 1);  // the guest gives up the first
  EXPECT_EQ(rig.vsock.connections(), 0u);
  const auto answers = rig.packets();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].header.op, VIRTIO_VSOCK_OP_RESPONSE);
  EXPECT_EQ(answers[0].header.dst_port, 2u);
  EXPECT_EQ(rig.vsock.connections(), 1u);
}

TEST(Vsock, AnAnswerAfterAResetIsForNobody) {
  Rig rig;
  const UniqueFd server = *listen_unix("test", rig.path("_80"), 16);
  VsockHeader header{};
  header.src_cid = kCid;
  header.dst_cid = kVsockHostCid;
  header.src_port = 5;
  header.dst_port = 80;
  header.type = VIRTIO_VSOCK_TYPE_STREAM;
  header.op = VIRTIO_VSOCK_OP_REQUEST;
  rig.driver.ring(kTransmit).add({rig.guest.put(bytes_of_value(header))}, {});
  rig.driver.notify(kTransmit);
  rig.driver.deactivate();
  rig.turn();
  rig.driver.activate();
  rig.turn();
  EXPECT_EQ(rig.vsock.connections(), 0u);
}

TEST(Vsock, WithoutADialerTheHostsPortsAreClosed) {
  Rig rig;
  const UniqueFd server = *listen_unix("test", rig.path("_80"), 1);
  rig.host.dialer.reset();
  rig.send(VIRTIO_VSOCK_OP_REQUEST, 5000, 80);
  EXPECT_EQ(rig.ops(), Ops{VIRTIO_VSOCK_OP_RST});
}

TEST(Vsock, RefusesAPathThatHasNoRoomForPorts) {
  const auto refused = VsockHost::open("/tmp/" + std::string(95, 'x'));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("use a shorter one"), std::string::npos);
}

struct StateRig : TurnedLoop {
  StateRig() : host(folder.path + "/v"), vsock("vsock0", *loop, guest.memory, kCid, host.host()), adapter(vsock) {}
  ~StateRig() { vsock.deactivate(); }
  bus::Device& device() { return adapter; }

  Folder folder;
  Guest guest;
  TestVsockHost host;
  Vsock vsock;
  AsBusDevice adapter;
  std::unique_ptr<LoadedDriver> driver;
};

skerry::test::Trace drive(StateRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.driver = std::make_unique<LoadedDriver>(rig.vsock, rig.guest, feature::kVersion1);
  const UniqueFd client = connect_to(rig.folder.path + "/v");
  write_now(client.get(), "CONNECT " + std::to_string(random() % 1000) + "\n");
  std::vector<Buffer> written;
  for (const unsigned queue : {kReceive, kReceive, kEvent}) {
    written.push_back(rig.guest.room(100));
    rig.driver->rings[queue]->add({}, {written.back()});
  }
  for (const unsigned queue : {kReceive, kEvent}) rig.vsock.notified(queue);
  rig.turn();
  note_used(rig.guest, *rig.driver, written, trace);
  // What is saved with it does not come back: the connection is ended on both sides alike.
  VsockHeader header{};
  rig.guest.memory.read(written[0].address, std::as_writable_bytes(std::span(&header, 1)));
  const uint32_t host_port = header.src_port;
  header.src_cid = kCid;
  header.dst_cid = kVsockHostCid;
  header.src_port = header.dst_port;
  header.dst_port = host_port;
  header.op = VIRTIO_VSOCK_OP_RST;
  rig.driver->rings[kTransmit]->add({rig.guest.put(bytes_of_value(header))}, {});
  rig.vsock.notified(kTransmit);
  rig.driver->quiesce();
  return trace;
}

TEST(Vsock, StateSurvives) { skerry::test::run_state_test<StateRig>(10, drive); }

}  // namespace
}  // namespace skerry::virtio::test
