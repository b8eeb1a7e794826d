#include "net/socket.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/factory.hpp"
#include "base/unix_socket.hpp"
#include "unit/net/packets.hpp"

namespace skerry::net {
namespace {

class Cable : public ::testing::Test {
 protected:
  Cable() {
    char folder[] = "/tmp/skerry-cable-XXXXXX";
    folder_ = ::mkdtemp(folder);
    path_ = folder_ + "/cable";
  }
  ~Cable() override {
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  std::unique_ptr<Backend> open(bool listen) {
    auto backend = open_backend({.type = BackendOptions::Type::kSocket, .path = path_, .listen = listen});
    EXPECT_TRUE(backend) << (backend ? "" : backend.error().message());
    return backend ? std::move(*backend) : nullptr;
  }
  // Another program at the other end.
  UniqueFd connect() {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = *unix_address("test", path_);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  std::string folder_, path_;
  Loop loop_;
  FakeCard here_, there_;
};

TEST_F(Cable, CarriesFramesBothWays) {
  const auto listener = open(true), dialer = open(false);
  ASSERT_TRUE(listener->start(*loop_, here_) && dialer->start(*loop_, there_));
  ASSERT_TRUE(loop_.wait_for([&] { return here_.link && there_.link; }));
  EXPECT_TRUE(listener->link_up() && dialer->link_up());
  EXPECT_EQ(listener->offloads(), Offloads{});
  for (const size_t size : {size_t{14}, size_t{60}, size_t{1514}, kMaxFrame}) {
    EXPECT_TRUE(send_bytes(*listener, Bytes(size, 1)));
    EXPECT_TRUE(send_bytes(*dialer, Bytes(size, 2)));
  }
  ASSERT_TRUE(loop_.wait_for([&] { return here_.frames.size() == 4 && there_.frames.size() == 4; }));
  EXPECT_EQ(here_.frames[3].bytes, Bytes(kMaxFrame, 2));
  EXPECT_EQ(there_.frames[2].bytes, Bytes(1514, 1));
}

TEST_F(Cable, ConnectsAgainWhenTheOtherEndIsStartedAgain) {
  auto listener = open(true);
  const auto dialer = open(false);
  ASSERT_TRUE(dialer->start(*loop_, there_));
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(listener->start(*loop_, here_));
    ASSERT_TRUE(loop_.wait_for([&] { return there_.link; }));
    listener.reset();
    ASSERT_TRUE(loop_.wait_for([&] { return !there_.link; }));
    listener = open(true);
  }
  ASSERT_TRUE(listener->start(*loop_, here_));
  ASSERT_TRUE(loop_.wait_for([&] { return there_.link; }));
}

TEST_F(Cable, CompletesChecksumsBecauseTheOtherEndWillNot) {
  const auto listener = open(true);
  ASSERT_TRUE(listener->start(*loop_, here_));
  const UniqueFd peer = connect();
  ASSERT_TRUE(loop_.wait_for([&] { return here_.link; }));
  Bytes udp = udp_header(1, 2, 4);
  append(udp, Bytes{1, 2, 3, 4});
  Bytes frame = ipv4_packet(kProtocolUdp, kGuestIp, kGatewayIp, udp);
  const uint16_t pseudo = pseudo_header_sum(frame, *find_layout(frame), kProtocolUdp, udp.size());
  store_be16(frame.data() + 40, pseudo);
  EXPECT_TRUE(send_bytes(*listener, frame, {.flags = FrameHeader::kNeedsCsum, .csum_start = 34, .csum_offset = 6}));
  Bytes got(4 + frame.size());
  ASSERT_EQ(::recv(peer.get(), got.data(), got.size(), MSG_WAITALL), static_cast<ssize_t>(got.size()));
  EXPECT_EQ(load_be32(got.data()), frame.size()) << "QEMU's framing";
  EXPECT_TRUE(checksum_is_right(std::span(got).subspan(4)));
}

TEST_F(Cable, SaysWhenAPeerDoesNotReadAndGoesOnWhenItDoes) {
  const auto listener = open(true);
  ASSERT_TRUE(listener->start(*loop_, here_));
  const UniqueFd peer = connect();
  ASSERT_TRUE(loop_.wait_for([&] { return here_.link; }));
  unsigned sent = 0;
  while (sent < 100'000 && send_bytes(*listener, Bytes(60'000, static_cast<uint8_t>(sent)))) ++sent;
  ASSERT_LT(sent, 100'000u);
  Bytes got(60'004);
  for (unsigned i = 0; i < sent; ++i) {
    // The rest of the last frame comes when the loop works.
    size_t there = 0;
    while (there < got.size()) {
      const ssize_t size = ::recv(peer.get(), got.data() + there, got.size() - there, MSG_DONTWAIT);
      if (size > 0) there += static_cast<size_t>(size);
      else loop_.settle();
    }
    ASSERT_EQ(got.back(), static_cast<uint8_t>(i));
  }
  EXPECT_EQ(here_.times_room, 1u);
}

TEST_F(Cable, KeepsFramesWhileTheCardHasNoRoom) {
  const auto listener = open(true), dialer = open(false);
  here_.room = 0;
  ASSERT_TRUE(listener->start(*loop_, here_) && dialer->start(*loop_, there_));
  ASSERT_TRUE(loop_.wait_for([&] { return here_.link && there_.link; }));
  for (uint8_t i = 0; i < 5; ++i) EXPECT_TRUE(send_bytes(*dialer, Bytes(100, i)));
  loop_.settle();
  EXPECT_TRUE(here_.frames.empty());
  here_.room = SIZE_MAX;
  listener->card_has_room();
  ASSERT_TRUE(loop_.wait_for([&] { return here_.frames.size() == 5; }));
  for (uint8_t i = 0; i < 5; ++i) EXPECT_EQ(here_.frames[i].bytes[0], i);
}

TEST_F(Cable, APeerThatSendsNonsenseIsHungUpOnAndTheNextIsServed) {
  const auto listener = open(true);
  ASSERT_TRUE(listener->start(*loop_, here_));
  {
    const UniqueFd peer = connect();
    ASSERT_TRUE(loop_.wait_for([&] { return here_.link; }));
    ASSERT_EQ(::send(peer.get(), "\xff\xff\xff\xff....", 8, MSG_NOSIGNAL), 8);
    ASSERT_TRUE(loop_.wait_for([&] { return !here_.link; }));
  }
  const UniqueFd peer = connect();
  ASSERT_TRUE(loop_.wait_for([&] { return here_.link; }));
  const Bytes frame{0, 0, 0, 14, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
  ASSERT_EQ(::send(peer.get(), frame.data(), frame.size(), MSG_NOSIGNAL), static_cast<ssize_t>(frame.size()));
  ASSERT_TRUE(loop_.wait_for([&] { return here_.frames.size() == 1; }));
}

TEST_F(Cable, WhateverAPeerSendsIsFramesOrTheEnd) {
  auto random = make_random();
  const auto listener = open(true);
  ASSERT_TRUE(listener->start(*loop_, here_));
  for (int round = 0; round < 100; ++round) {
    UniqueFd peer = connect();
    ASSERT_TRUE(loop_.wait_for([&] { return here_.link; }));
    Bytes junk;
    for (int frame = 0; frame < 5; ++frame) {
      const size_t size = random() % 3000;
      put32(junk, static_cast<uint32_t>(random() % 10 ? size : random()));
      for (size_t i = 0; i < size; ++i) junk.push_back(static_cast<uint8_t>(random()));
    }
    (void)::send(peer.get(), junk.data(), junk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    peer.reset();
    ASSERT_TRUE(loop_.wait_for([&] { return !here_.link; }));
    for (const auto& each : here_.frames)
      ASSERT_TRUE(each.bytes.size() >= kEthernetHeader && each.bytes.size() <= kMaxFrame);
    here_.frames.clear();
  }
}

TEST_F(Cable, ASecondListenerIsRefusedAndADeadOneReplaced) {
  auto listener = open(true);
  auto second = listen_socket(path_);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("another program is listening"), std::string::npos);
  listener.reset();
  EXPECT_TRUE(listen_socket(path_));
}

TEST_F(Cable, WhatIsNoSocketIsLeftAlone) {
  ASSERT_EQ(::close(::creat(path_.c_str(), 0600)), 0);
  EXPECT_FALSE(listen_socket(path_));
  EXPECT_EQ(::access(path_.c_str(), F_OK), 0);
  EXPECT_FALSE(listen_socket(std::string(200, 'x')));
  EXPECT_FALSE(dial_socket(""));
}

}  // namespace
}  // namespace skerry::net
