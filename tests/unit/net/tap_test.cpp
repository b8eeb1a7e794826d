// On taps and bridges of networks of their own: needs root, and is skipped otherwise.
#include "net/tap.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/wait.h>

#include "net/bridge.hpp"
#include "net/factory.hpp"
#include "net/tun.hpp"
#include "unit/net/packets.hpp"

namespace skerry::net {
namespace {

#define IN_OWN_NETWORK(...) \
  if (!in_own_network(__VA_ARGS__)) GTEST_SKIP() << "only root may make network namespaces"

ifreq about(const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
  return request;
}

int control(unsigned long what, ifreq& request) {
  const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return ::ioctl(any.get(), what, &request);
}

// A tap that stays, as `ip tuntap add` makes it.
bool make_persistent_tap(const char* name) {
  const UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request = about(name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  return fd && ::ioctl(fd.get(), TUNSETIFF, &request) == 0 && ::ioctl(fd.get(), TUNSETPERSIST, 1) == 0;
}

void bring_up(const char* name) {
  ifreq request = about(name);
  ASSERT_EQ(control(SIOCGIFFLAGS, request), 0);
  request.ifr_flags |= IFF_UP;
  ASSERT_EQ(control(SIOCSIFFLAGS, request), 0);
}

void set_address(const char* name, const char* text) {
  ifreq request = about(name);
  auto* address = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  address->sin_family = AF_INET;
  ::inet_pton(AF_INET, text, &address->sin_addr);
  ASSERT_EQ(control(SIOCSIFADDR, request), 0);
}

std::string failure(const Result<std::unique_ptr<Backend>>& result) { return result ? "" : result.error().message(); }

TEST(Tap, CarriesFramesBetweenTheCardAndTheHost) {
  IN_OWN_NETWORK([] {
    Loop loop;  // outlives the backend
    FakeCard card;
    ASSERT_TRUE(make_persistent_tap("tap0"));
    auto tap = open_tap("tap0");
    ASSERT_TRUE(tap) << failure(tap);
    EXPECT_TRUE((*tap)->offloads().tso4);
    EXPECT_EQ((*tap)->mtu(), 1500);
    set_address("tap0", "10.0.2.2");
    bring_up("tap0");
    ASSERT_TRUE((*tap)->start(*loop, card));
    // The host's datagram makes it ask who has the address.
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in guest{AF_INET, htons(99), {htonl(kGuestIp)}, {}};
    ASSERT_EQ(::sendto(socket.get(), "hello", 5, 0, reinterpret_cast<sockaddr*>(&guest), sizeof guest), 5);
    const auto is_arp = [](const FakeCard::Frame& frame) { return load_be16(frame.bytes.data() + 12) == 0x0806; };
    ASSERT_TRUE(loop.wait_for([&] { return std::any_of(card.frames.begin(), card.frames.end(), is_arp); }));
    // A frame with its checksum left to the host arrives.
    const UniqueFd server(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in any{AF_INET, htons(7777), {INADDR_ANY}, {}};
    ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&any), sizeof any), 0);
    Bytes udp = udp_header(99, 7777, 3);
    append(udp, Bytes{'a', 'b', 'c'});
    Bytes frame = ipv4_packet(kProtocolUdp, kGuestIp, kGatewayIp, udp);
    std::fill(frame.begin(), frame.begin() + 6, 0xff);
    store_be16(frame.data() + 40, pseudo_header_sum(frame, *find_layout(frame), kProtocolUdp, udp.size()));
    EXPECT_TRUE(send_bytes(**tap, frame, {.flags = FrameHeader::kNeedsCsum, .csum_start = 34, .csum_offset = 6}));
    char text[8] = {};
    timeval limit{60, 0};
    ::setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    EXPECT_EQ(::recv(server.get(), text, sizeof text, 0), 3);
    EXPECT_STREQ(text, "abc");
  });
}

TEST(Tap, ADescriptorMayComeFromElsewhereWithOrWithoutHeaders) {
  IN_OWN_NETWORK([] {
    Loop loop;  // outlives the backend
    FakeCard card;
    for (const short flags : {IFF_TAP | IFF_NO_PI, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR}) {
      const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
      ifreq request = about("tap7");
      request.ifr_flags = flags;
      ASSERT_EQ(::ioctl(fd, TUNSETIFF, &request), 0);
      auto tap = open_backend({.type = BackendOptions::Type::kTap, .fd = fd});
      ASSERT_TRUE(tap) << failure(tap);
      EXPECT_EQ((*tap)->offloads().checksum, (flags & IFF_VNET_HDR) != 0);
      bring_up("tap7");
      ASSERT_TRUE((*tap)->start(*loop, card));
      card.frames.clear();
      // What IPv6 says by itself when an interface comes up.
      ASSERT_TRUE(loop.wait_for([&] { return !card.frames.empty(); }));
      EXPECT_GE(card.frames[0].bytes.size(), kEthernetHeader);
      EXPECT_EQ(load_be16(card.frames[0].bytes.data() + 12), 0x86dd);
    }
  });
}

TEST(Tap, WhenItsInterfaceIsRemovedTheLinkGoesDownAndTheVmGoesOn) {
  IN_OWN_NETWORK([] {
    Loop loop;  // outlives the backend
    FakeCard card;
    ASSERT_TRUE(make_persistent_tap("tap0"));
    auto tap = open_tap("tap0");
    ASSERT_TRUE(tap);
    card.link = true;
    ASSERT_TRUE((*tap)->start(*loop, card));
    ASSERT_EQ(std::system("ip link del tap0"), 0);
    ASSERT_TRUE(loop.wait_for([&] { return !card.link; }));
    EXPECT_FALSE((*tap)->link_up());
    EXPECT_TRUE(send_bytes(**tap, Bytes(60)));
  });
}

TEST(Tap, WhatCannotBeOpenedIsNamedWithWhatToDo) {
  IN_OWN_NETWORK([] {
    EXPECT_NE(failure(open_tap("tap0")).find("ip tuntap add tap0 mode tap"), std::string::npos);
    EXPECT_NE(failure(open_tap("lo")).find("is no tap"), std::string::npos);
    EXPECT_NE(failure(open_tap("no/such")).find("cannot be the name"), std::string::npos);
    ASSERT_TRUE(make_persistent_tap("tap0"));
    const auto first = open_tap("tap0");
    ASSERT_TRUE(first);
    EXPECT_NE(failure(open_tap("tap0")).find("in use by another program"), std::string::npos);
    EXPECT_NE(failure(open_tap_fd(::open("/dev/null", O_RDWR))).find("is no Ethernet tap"), std::string::npos);
  });
}

TEST(Tap, WithoutTheRightTheErrorSaysWhose) {
  IN_OWN_NETWORK([] {
    ASSERT_TRUE(make_persistent_tap("tap0"));
    const pid_t child = ::fork();
    if (child == 0) {
      // Somebody who may open the device, but owns nothing and has no rights.
      bool right = ::setgid(65534) == 0 && ::setuid(65534) == 0;
      const std::string said = failure(open_tap("tap0")), of_bridge = failure(open_bridge("lo"));
      right = right && (said.find("CAP_NET_ADMIN") != said.npos || said.find("/dev/net/tun may not") != said.npos);
      right = right && !of_bridge.empty();
      ::_exit(right ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  });
}

TEST(Bridge, GetsATapThatGoesWithItsDescriptor) {
  IN_OWN_NETWORK([] {
    Loop loop;  // outlives the backend
    FakeCard card;
    const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::ioctl(any.get(), SIOCBRADDBR, "br7"), 0);
    ifreq mtu = about("br7");
    mtu.ifr_mtu = 4000;
    ASSERT_EQ(control(SIOCSIFMTU, mtu), 0);
    set_address("br7", "10.0.2.2");
    bring_up("br7");
    {
      auto bridge = open_bridge("br7");
      ASSERT_TRUE(bridge) << failure(bridge);
      EXPECT_NE(::if_nametoindex("skerry0"), 0u);
      EXPECT_EQ((*bridge)->mtu(), 4000) << "a port must not make the bridge's smaller";
      ASSERT_TRUE((*bridge)->start(*loop, card));
      const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_in guest{AF_INET, htons(99), {htonl(kGuestIp)}, {}};
      const auto arrived = [&] {
        (void)::sendto(socket.get(), "hello", 5, 0, reinterpret_cast<sockaddr*>(&guest), sizeof guest);
        return std::any_of(card.frames.begin(), card.frames.end(),
                           [](const auto& each) { return load_be16(each.bytes.data() + 12) == 0x0806; });
      };
      EXPECT_TRUE(loop.wait_for(arrived));
    }
    EXPECT_EQ(::if_nametoindex("skerry0"), 0u);
  });
}

TEST(Bridge, WhatIsNoneIsNamed) {
  IN_OWN_NETWORK([] {
    EXPECT_NE(failure(open_bridge("br0")).find("there is no bridge 'br0'"), std::string::npos);
    EXPECT_NE(failure(open_bridge("lo")).find("'lo' is not a bridge"), std::string::npos);
    EXPECT_EQ(::if_nametoindex("skerry0"), 0u) << "nothing is left behind";
  });
}

}  // namespace
}  // namespace skerry::net
