#include "net/user.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <fstream>

#include "unit/net/user_guest.hpp"

namespace skerry::net {
namespace {

// A socket of the host on 127.0.0.1, with a port that the kernel chooses.
struct Server {
  explicit Server(int type, uint32_t address = INADDR_LOOPBACK, uint16_t wanted = 0)
      : fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{AF_INET, htons(wanted), {htonl(address)}, {}};
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_TRUE(type != SOCK_STREAM || ::listen(fd.get(), 5) == 0);
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
    port = ntohs(at.sin_port);
  }
  UniqueFd fd;
  uint16_t port = 0;
};

// A port that was free a moment ago.
uint16_t free_port(int type) { return Server(type).port; }

Bytes pattern(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 251);
  return bytes;
}

// Gives back what it gets on the first connection, until that ends.
std::thread echo(const Server& server) {
  return std::thread([fd = server.fd.get()] {
    const UniqueFd peer(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
    Bytes all(1 << 16);
    for (ssize_t got; (got = ::recv(peer.get(), all.data(), all.size(), 0)) > 0;)
      for (ssize_t sent = 0, now; sent < got; sent += now)
        if ((now = ::send(peer.get(), all.data() + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL)) <= 0) return;
  });
}

// The test in skerry-net's place.
struct InPlaceOfSkerryNet {
  InPlaceOfSkerryNet() {
    auto rings = RingMemory::create();
    EXPECT_TRUE(rings);
    memory.emplace(*RingMemory::map(UniqueFd(::fcntl(rings->fd(), F_DUPFD_CLOEXEC, 0))));
    writer.emplace(memory->control(1), memory->bytes(1));
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    control = UniqueFd(pair[1]);
    UniqueFd its_wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    wake = UniqueFd(::fcntl(its_wake.get(), F_DUPFD_CLOEXEC, 0));
    backend = attach_user(std::move(*rings), std::move(its_wake), UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), UniqueFd(pair[0]));
  }
  bool put(const Bytes& frame) {
    const iovec part{const_cast<uint8_t*>(frame.data()), frame.size()};
    return writer->put({&part, 1});
  }
  void wake_vm() {
    const uint64_t one = 1;
    EXPECT_EQ(::write(wake.get(), &one, sizeof one), 8);
  }

  std::optional<RingMemory> memory;
  std::optional<RingWriter> writer;
  UniqueFd wake, control;
  std::unique_ptr<Backend> backend;
};

TEST(UserNetwork, TakesAnAnswerThatIsThereAtOnceWithoutBeingWoken) {
  Loop loop;  // outlives the backend
  FakeCard card;
  InPlaceOfSkerryNet net;
  ASSERT_TRUE(net.backend->start(*loop, card));
  std::thread io([&] { (*loop).run(); });
  const auto borrow = [&](const std::function<void()>& work) {
    while (!(*loop).borrow_turn(work)) std::this_thread::yield();
  };
  RingControl& for_guest = net.memory->control(1);
  while (for_guest.reader_sleeps == 0) std::this_thread::yield();
  RingReader from_guest(net.memory->control(0), net.memory->bytes(0));
  for (unsigned round = 1; round <= 3; ++round) {
    EXPECT_TRUE(from_guest.sleep());
    borrow([&] {
      EXPECT_TRUE(send_bytes(*net.backend, Bytes(60)));
      EXPECT_TRUE(net.put(Bytes(60)));
      EXPECT_FALSE(net.writer->reader_must_wake()) << "who sends looks";
    });
    borrow([&] { EXPECT_EQ(card.frames.size(), 2 * round - 1); });
    Bytes record(kMaxRecord);
    size_t size = 0;
    EXPECT_EQ(from_guest.take(record, size), RingReader::Got::kRecord);
    // What comes later has to say so.
    EXPECT_TRUE(net.put(Bytes(60)));
    EXPECT_TRUE(net.writer->reader_must_wake());
    net.wake_vm();
    for (size_t there = 0; there < 2 * round; std::this_thread::yield()) borrow([&] { there = card.frames.size(); });
    while (for_guest.reader_sleeps == 0) std::this_thread::yield();
  }
  (*loop).quit();
  io.join();
}

// Nor are many taken at once by who has other things to do.
TEST(UserNetwork, LeavesManyAnswersToTheLoop) {
  Loop loop;
  FakeCard card;
  InPlaceOfSkerryNet net;
  ASSERT_TRUE(net.backend->start(*loop, card));
  std::thread io([&] { (*loop).run(); });
  const auto borrow = [&](const std::function<void()>& work) {
    while (!(*loop).borrow_turn(work)) std::this_thread::yield();
  };
  while (net.memory->control(1).reader_sleeps == 0) std::this_thread::yield();
  RingReader from_guest(net.memory->control(0), net.memory->bytes(0));
  EXPECT_TRUE(from_guest.sleep());
  borrow([&] {
    EXPECT_TRUE(send_bytes(*net.backend, Bytes(60)));
    for (unsigned n = 0; n < 100; ++n) EXPECT_TRUE(net.put(Bytes(60)));
    EXPECT_FALSE(net.writer->reader_must_wake());
  });
  for (size_t there = 0; there < 100; std::this_thread::yield()) borrow([&] { there = card.frames.size(); });
  (*loop).quit();
  io.join();
}

TEST(UserNetwork, GivesTheGuestItsAddressAndNames) {
  Guest guest;
  Bytes dhcp{1, 1, 6, 0, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0};  // RFC 2131, 2: a request, on Ethernet
  dhcp.resize(28);
  append(dhcp, kGuestMac);
  dhcp.resize(236);
  append(dhcp, Bytes{0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255});  // DHCPDISCOVER
  dhcp.resize(300);
  Bytes udp = udp_header(68, 67, dhcp.size());
  append(udp, dhcp);
  Bytes frame = ipv4_packet(kProtocolUdp, 0, 0xffffffff, udp);
  std::fill(frame.begin(), frame.begin() + 6, 0xff);
  fill_checksum(frame, 6);
  guest.send(frame);
  const auto offer = guest.wait_for([](const Bytes& got) { return Guest::is(got, kProtocolUdp, 68); });
  ASSERT_TRUE(offer);
  EXPECT_EQ(load_be32(offer->bytes.data() + 42 + 16), kGuestIp);
  const std::string options(offer->bytes.begin() + 42 + 240, offer->bytes.end());
  EXPECT_NE(options.find(std::string("\x03\x04\x0a\x00\x02\x02", 6)), std::string::npos) << "the gateway";
  EXPECT_NE(options.find(std::string("\x06\x04\x0a\x00\x02\x03", 6)), std::string::npos) << "the name server";
}

TEST(UserNetwork, AnswersPingsOfAnySize) {
  Guest guest;
  guest.introduce();
  for (const size_t size : {56, 4000}) {
    Bytes icmp{8, 0, 0, 0, 0x12, 0x34, 0, 1};
    append(icmp, pattern(size));
    store_be16(icmp.data() + 2, static_cast<uint16_t>(~plain_sum(icmp)));
    guest.send(ipv4_packet(1, kGuestIp, kGatewayIp, icmp));
    size_t got = 0;
    while (got < icmp.size()) {
      const auto reply = guest.wait_for([](const Bytes& frame) { return Guest::is(frame, 1); });
      ASSERT_TRUE(reply);
      EXPECT_LE(reply->bytes.size(), 1514u) << "what is larger comes in fragments";
      const auto layout = *find_layout(reply->bytes);
      EXPECT_TRUE(got != 0 || reply->bytes[layout.transport] == 0) << "echo reply";
      got += layout.end - layout.transport;
    }
    EXPECT_EQ(got, icmp.size());
  }
}

TEST(UserNetwork, CarriesDatagramsToTheHostsLoopback) {
  const Server server(SOCK_DGRAM);
  Guest guest;
  guest.introduce();
  guest.send_udp(kGatewayIp, 5555, server.port, pattern(900));
  Bytes got(2000);
  sockaddr_in from{};
  socklen_t size = sizeof from;
  ASSERT_EQ(::recvfrom(server.fd.get(), got.data(), got.size(), 0, reinterpret_cast<sockaddr*>(&from), &size), 900);
  ASSERT_EQ(::sendto(server.fd.get(), got.data(), 900, 0, reinterpret_cast<sockaddr*>(&from), size), 900);
  const auto reply = guest.wait_for([](const Bytes& frame) { return Guest::is(frame, kProtocolUdp, 5555); });
  ASSERT_TRUE(reply);
  EXPECT_TRUE(checksum_is_right(reply->bytes));
  EXPECT_EQ(Bytes(reply->bytes.begin() + 42, reply->bytes.end()), pattern(900));
}

TEST(UserNetwork, CarriesConnectionsInFramesOfAnySize) {
  const Server server(SOCK_STREAM);
  std::thread echoing = echo(server);
  {
    Guest guest;
    guest.introduce();
    GuestTcp tcp(guest, 4444);
    ASSERT_TRUE(tcp.connect(kGatewayIp, server.port));
    for (const size_t size : {size_t{1}, size_t{1460}}) {
      tcp.send(pattern(size));
      ASSERT_EQ(tcp.receive(size), pattern(size));
    }
    for (const size_t size : {size_t{3000}, size_t{30'000}, size_t{60'000}}) {
      tcp.send_large(pattern(size));
      ASSERT_EQ(tcp.receive(size), pattern(size));
    }
    EXPECT_LE(tcp.largest(), 1514u) << "the guest has not said that it takes more";
  }
  ::shutdown(server.fd.get(), SHUT_RDWR);
  echoing.join();
}

TEST(UserNetwork, GivesLargeSegmentsToAGuestThatTakesThem) {
  const Server server(SOCK_STREAM);
  std::thread echoing = echo(server);
  {
    Guest guest;
    guest.backend().set_guest_offloads({.checksum = true, .tso4 = true, .tso6 = true});
    guest.introduce();
    GuestTcp tcp(guest, 4444);
    ASSERT_TRUE(tcp.connect(kGatewayIp, server.port));
    for (int i = 0; i < 5; ++i) {
      tcp.send_large(pattern(60'000));
      ASSERT_EQ(tcp.receive(60'000), pattern(60'000));
    }
    EXPECT_GT(tcp.largest(), 10'000u);
    // The same connection after a reset of the card, which takes nothing then.
    guest.backend().set_guest_offloads({});
    tcp.send_large(pattern(60'000));
    ASSERT_EQ(tcp.receive(60'000), pattern(60'000));
  }
  ::shutdown(server.fd.get(), SHUT_RDWR);
  echoing.join();
}

TEST(UserNetwork, ForwardsPortsOfTheHost) {
  const uint16_t tcp_port = free_port(SOCK_STREAM), udp_port = free_port(SOCK_DGRAM);
  Guest guest({.forwards = {{.host_port = tcp_port, .guest_port = 22},
                            {.udp = true, .host_address = "127.0.0.1", .host_port = udp_port,
                             .guest_address = "10.0.2.15", .guest_port = 53}}});
  guest.introduce();
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{AF_INET, htons(tcp_port), {htonl(INADDR_LOOPBACK)}, {}};
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  GuestTcp tcp(guest, 22);
  ASSERT_TRUE(tcp.accept(kGatewayIp));
  ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
  EXPECT_EQ(tcp.receive(5), (Bytes{'h', 'e', 'l', 'l', 'o'}));
  const UniqueFd sender(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  to.sin_port = htons(udp_port);
  ASSERT_EQ(::sendto(sender.get(), "ask", 3, 0, reinterpret_cast<sockaddr*>(&to), sizeof to), 3);
  EXPECT_TRUE(guest.wait_for([](const Bytes& frame) { return Guest::is(frame, kProtocolUdp, 53); }));
}

std::string failure(const BackendOptions& options) {
  const auto opened = open_backend(options);
  return opened ? "" : opened.error().message();
}

TEST(UserNetwork, ATakenPortIsNamedWithWhoHasIt) {
  const Server tcp(SOCK_STREAM), udp(SOCK_DGRAM);
  const std::string us = fmt::format("process {} (", ::getpid());
  const std::string of_tcp = failure({.forwards = {{.host_port = tcp.port, .guest_port = 22}}});
  EXPECT_EQ(of_tcp.find(fmt::format("--net: host port 127.0.0.1:{} (tcp) is taken by {}", tcp.port, us)), 0u) << of_tcp;
  const std::string of_udp = failure({.forwards = {{.udp = true, .host_port = udp.port, .guest_port = 22}}});
  EXPECT_EQ(of_udp.find(fmt::format("--net: host port 127.0.0.1:{} (udp) is taken by {}", udp.port, us)), 0u) << of_udp;
}

TEST(UserNetwork, ForwardsThatCannotBeAreRefused) {
  const uint16_t port = free_port(SOCK_STREAM);
  EXPECT_NE(failure({.forwards = {{.host_address = "localhost", .host_port = port, .guest_port = 22}}}).find("numbers"),
            std::string::npos);
  const std::string elsewhere = "203.0.113.7";
  EXPECT_NE(failure({.forwards = {{.host_address = elsewhere, .host_port = port, .guest_port = 22}}}).find("no such"),
            std::string::npos);
  EXPECT_NE(failure({.forwards = {{.host_address = "::1", .host_port = port, .guest_address = "10.0.2.15",
                                   .guest_port = 22}}}).find("family"),
            std::string::npos);
}

TEST(UserNetwork, RestrictedLetsForwardedConnectionsThroughAndNothingElse) {
  const Server server(SOCK_STREAM), datagrams(SOCK_DGRAM);
  const uint16_t port = free_port(SOCK_STREAM);
  Guest guest({.restricted = true, .forwards = {{.host_port = port, .guest_port = 22}}});
  guest.introduce();
  guest.send_udp(kGatewayIp, 5555, datagrams.port, pattern(10));
  GuestTcp out(guest, 4444);
  EXPECT_FALSE(out.connect(kGatewayIp, server.port)) << "refused by a reset";
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  GuestTcp in(guest, 22);
  ASSERT_TRUE(in.accept(kGatewayIp));
  ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
  EXPECT_EQ(in.receive(5).size(), 5u);
  // The datagram came before all of that.
  char byte;
  EXPECT_EQ(::recv(datagrams.fd.get(), &byte, 1, MSG_DONTWAIT), -1);
}

// Files that name resolution reads are those of a network and a file system of its own.
TEST(UserNetwork, AsksTheHostsNameServersAndFollowsTheirChange) {
  const bool possible = in_own_network([] {
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(::mount("none", "/etc", "tmpfs", 0, nullptr), 0);
    std::ofstream("/etc/resolv.conf") << "nameserver 127.0.0.5\n";
    const Server first(SOCK_DGRAM, 0x7f000005, 53), second(SOCK_DGRAM, 0x7f000006, 53);
    Guest guest;
    guest.introduce();
    char text[8] = {};
    const auto asks = [&](const Server& server) {
      guest.send_udp(kDnsIp, 5555, 53, Bytes{'n', 'a', 'm', 'e'});
      return ::recv(server.fd.get(), text, sizeof text, MSG_DONTWAIT) == 4;
    };
    EXPECT_TRUE(guest.loop().wait_for([&] { return asks(first); }));
    std::ofstream("/etc/resolv.conf.new") << "nameserver 127.0.0.6\n";
    ASSERT_EQ(::rename("/etc/resolv.conf.new", "/etc/resolv.conf"), 0);
    unsigned port = 6000;  // libslirp keeps the server of a socket that it has
    EXPECT_TRUE(guest.loop().wait_for([&] {
      guest.send_udp(kDnsIp, ++port, 53, Bytes{'n', 'a', 'm', 'e'});
      return ::recv(second.fd.get(), text, sizeof text, MSG_DONTWAIT) == 4;
    }));
  }, CLONE_NEWNS);
  if (!possible) GTEST_SKIP() << "only root may make namespaces";
}

TEST(UserNetwork, KeepsFramesWhileTheCardHasNoRoomAndLosesNone) {
  const Server server(SOCK_STREAM);
  std::thread echoing = echo(server);
  {
    Guest guest;
    guest.introduce();
    GuestTcp tcp(guest, 4444);
    ASSERT_TRUE(tcp.connect(kGatewayIp, server.port));
    guest.card().room = 0;
    tcp.send_large(pattern(20'000));
    guest.loop().settle();
    guest.card().room = SIZE_MAX;
    guest.backend().card_has_room();
    EXPECT_EQ(tcp.receive(20'000), pattern(20'000));
    guest.backend().stop();
    guest.card().frames.clear();
    guest.loop().settle();
    EXPECT_TRUE(guest.card().frames.empty()) << "nothing comes after stop()";
    ASSERT_TRUE(guest.backend().start(*guest.loop(), guest.card()));
    tcp.send(pattern(100));
    EXPECT_EQ(tcp.receive(100), pattern(100));
  }
  ::shutdown(server.fd.get(), SHUT_RDWR);
  echoing.join();
}

// Those of our children that are `name`.
std::vector<pid_t> children(const std::string& name) {
  std::vector<pid_t> found;
  std::ifstream list(fmt::format("/proc/self/task/{}/children", ::gettid()));
  for (pid_t child; list >> child;) {
    std::string its;
    std::getline(std::ifstream(fmt::format("/proc/{}/comm", child)), its);
    if (its == name) found.push_back(child);
  }
  return found;
}

TEST(UserNetwork, WhenSkerryNetIsKilledTheLinkGoesDownAndTheVmGoesOn) {
  const auto before = children("skerry-net");
  Guest guest;
  guest.introduce();
  guest.card().link = true;
  for (const pid_t child : children("skerry-net"))
    if (std::find(before.begin(), before.end(), child) == before.end()) ::kill(child, SIGKILL);
  ASSERT_TRUE(guest.loop().wait_for([&] { return !guest.card().link; }));
  EXPECT_FALSE(guest.backend().link_up());
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(send_bytes(guest.backend(), Bytes(1500)));
  guest.loop().settle();
}

TEST(UserNetwork, SkerryNetEndsWithItsVm) {
  const auto before = children("skerry-net");
  std::vector<pid_t> ours;
  {
    Guest guest;
    for (const pid_t child : children("skerry-net"))
      if (std::find(before.begin(), before.end(), child) == before.end()) ours.push_back(child);
    ASSERT_EQ(ours.size(), 1u);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(ours[0], &status, 0), ours[0]);
  EXPECT_EQ(status, 0);
}

// Any frame at all: skerry-net may drop it, but not the frames of others.
TEST(NetFuzz, SkerryNetSurvivesWhateverTheGuestSends) {
  auto random = make_random();
  Guest guest({.restricted = true});  // nothing that is sent at random must leave this machine
  guest.backend().set_guest_offloads({.checksum = true, .tso4 = true, .tso6 = true});
  guest.introduce();
  const char* given = std::getenv("SKERRY_FUZZ_MS");
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(given ? std::atoi(given) : 1000);
  while (std::chrono::steady_clock::now() < end) {
    const Bytes options(random() % 10 * 4, static_cast<uint8_t>(random() % 5));
    Bytes tcp = tcp_header(static_cast<unsigned>(random()), 22, static_cast<uint32_t>(random()), 0,
                           static_cast<uint8_t>(random()), options);
    tcp.resize(tcp.size() + (random() % 4 ? random() % 100 : random() % 64'000));
    const uint8_t protocol = std::array<uint8_t, 5>{1, 6, 17, 58, 43}[random() % 5];
    Bytes frame = random() % 2 ? ipv4_packet(protocol, kGuestIp, kGatewayIp, tcp) : ipv6_packet(protocol, tcp);
    const size_t headers = std::min<size_t>(frame.size(), 80);
    for (uint64_t i = random() % 8; i > 0; --i) frame[random() % headers] = static_cast<uint8_t>(random());
    if (random() % 8 == 0) frame.resize(14 + random() % frame.size());
    if (random() % 4 == 0) frame = Guest::arp(static_cast<unsigned>(random() % 3), static_cast<uint32_t>(random()));
    const FrameHeader header{.flags = static_cast<uint8_t>(random() % 4),
                             .gso_type = static_cast<uint8_t>(random() % 6),
                             .gso_size = static_cast<uint16_t>(random()),
                             .csum_start = static_cast<uint16_t>(random() % 80),
                             .csum_offset = static_cast<uint16_t>(random() % 80)};
    if (!send_bytes(guest.backend(), frame, header)) guest.loop().settle();
    if (random() % 64 == 0) guest.loop().settle();
    guest.card().frames.clear();
  }
  EXPECT_TRUE(guest.backend().link_up());
  guest.introduce();
}

// Any record at all: the card gets frames of lengths that frames have.
TEST(NetFuzz, TheVmSurvivesWhateverSkerryNetSends) {
  auto random = make_random();
  const char* given = std::getenv("SKERRY_FUZZ_MS");
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(given ? std::atoi(given) : 1000);
  for (unsigned round = 0; std::chrono::steady_clock::now() < end || round == 0; ++round) {
    Loop loop;  // outlives the backend
    FakeCard card;
    InPlaceOfSkerryNet net;
    Backend* const backend = net.backend.get();
    if (random() % 2) backend->set_guest_offloads({.checksum = true, .tso4 = true, .tso6 = true});
    ASSERT_TRUE(backend->start(*loop, card));
    for (int i = 0; i < 30; ++i) {
      Bytes tcp(random() % 3 ? random() % 3000 : random() % 65'000, static_cast<uint8_t>(random()));
      if (tcp.size() > 20) tcp[12] = static_cast<uint8_t>(random());
      const uint8_t protocol = random() % 3 ? 6 : 17;
      Bytes frame = random() % 2 ? ipv4_packet(protocol, 1, 2, tcp) : ipv6_packet(protocol, tcp);
      for (uint64_t j = random() % 4; j > 0; --j) frame[random() % 54 % frame.size()] = static_cast<uint8_t>(random());
      (void)net.put(frame);
      if (random() % 200 == 0) net.memory->control(1).written = static_cast<uint32_t>(random());
      if (random() % 200 == 0) net.memory->control(0).read = static_cast<uint32_t>(random());
      (void)::send(net.control.get(), "junk", random() % 4 + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
      net.wake_vm();
      loop.settle();
      (void)send_bytes(*backend, Bytes(1000));
      for (const auto& each : card.frames) {
        ASSERT_GE(each.bytes.size(), kEthernetHeader);
        ASSERT_LE(each.bytes.size(), kMaxFrame);
        ASSERT_TRUE(each.header.gso_type != FrameHeader::kGsoNone || each.bytes.size() <= 1518);
      }
      card.frames.clear();
    }
  }
}

}  // namespace
}  // namespace skerry::net
