// The file system device between a guest's driver and a server that may be anything.
#include <linux/fuse.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "unit/devices/fuzz_sessions.hpp"
#include "unit/virtio/card_rig.hpp"
#include "virtio/fs.hpp"

namespace skerry::virtio::test {
namespace {

constexpr unsigned kHiprio = 0, kRequests = 1;

// The device, and the server's side of its slots and socket in the test's hands.
struct FsRig {
  FsRig() {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    server = UniqueFd(pair[1]);
    auto made = share::Slots::create();
    slots.emplace(*share::Slots::map(UniqueFd(::dup(made->fd()))));
    fs.emplace("fs0", *loop.loop, guest.memory, "music", share::ServerLink("/srv/music", std::move(*made), UniqueFd(pair[0])));
    driver.emplace(*fs, guest, 0);
  }
  // A request with this after its header, and this much room for an answer.
  Buffer ask(uint64_t unique, std::string_view text, uint32_t room, unsigned queue = kRequests) {
    fuse_in_header header{};
    header.len = static_cast<uint32_t>(sizeof header + text.size());
    header.opcode = FUSE_LOOKUP;
    header.unique = unique;
    Bytes request = bytes_of_value(header);
    request.insert(request.end(), text.begin(), text.end());
    const Buffer to = guest.room(room ? room : 1);
    driver->ring(queue).add({guest.put(request)}, room ? std::vector<Buffer>{to} : std::vector<Buffer>{});
    driver->notify(queue);
    return to;
  }
  std::optional<share::Ask> asked() {
    share::Ask ask;
    if (::recv(server.get(), &ask, sizeof ask, MSG_DONTWAIT) != sizeof ask) return std::nullopt;
    return ask;
  }
  std::string text_in(const share::Ask& ask) {
    const auto bytes = slots->request(ask.slot).first(ask.size).subspan(sizeof(fuse_in_header));
    return {bytes.begin(), bytes.end()};
  }
  void say(const share::Done& done) {
    EXPECT_EQ(::send(server.get(), &done, sizeof done, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof done));
    loop.turn();
  }
  void answer(const share::Ask& ask, std::string_view text, uint32_t error = 0) {
    std::ranges::copy(text, slots->answer(ask.slot).begin());
    say({ask.slot, static_cast<uint32_t>(text.size()), error});
  }
  struct Got {
    fuse_out_header header;
    std::string text;
    uint32_t written;
  };
  std::optional<Got> take(const Buffer& to, unsigned queue = kRequests) {
    const auto used = driver->ring(queue).take();
    if (!used) return std::nullopt;
    Got got{};
    got.written = used->written;
    if (used->written < sizeof got.header) return got;
    const Bytes bytes = guest.bytes(to.address, used->written);
    std::memcpy(&got.header, bytes.data(), sizeof got.header);
    got.text.assign(bytes.begin() + sizeof got.header, bytes.end());
    return got;
  }

  Guest guest;
  TurnedLoop loop;
  UniqueFd server;
  std::optional<share::Slots> slots;
  std::optional<Fs> fs;
  std::optional<DirectDriver> driver;
};

TEST(Fs, HasItsTagAndOneRequestQueue) {
  FsRig rig;
  std::string tag(36, '?');
  rig.fs->read_config(0, {reinterpret_cast<uint8_t*>(tag.data()), tag.size()});
  EXPECT_EQ(tag, std::string("music") + std::string(31, '\0'));
  EXPECT_EQ(config_field<uint32_t>(*rig.fs, 36), 1u);
  EXPECT_EQ(rig.fs->config_size(), 40u);
  EXPECT_EQ(rig.fs->queue_sizes().size(), 2u);
}

TEST(Fs, CarriesARequestAndItsAnswer) {
  FsRig rig;
  const Buffer to = rig.ask(7, "a name", 100);
  const auto ask = rig.asked();
  ASSERT_TRUE(ask);
  EXPECT_EQ(ask->room, 100 - sizeof(fuse_out_header));
  EXPECT_EQ(rig.text_in(*ask), "a name");
  EXPECT_FALSE(rig.take(to));
  rig.answer(*ask, "an answer");
  const auto got = rig.take(to);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->header.unique, 7u);
  EXPECT_EQ(got->header.error, 0);
  EXPECT_EQ(got->header.len, got->written);
  EXPECT_EQ(got->text, "an answer");
  EXPECT_GT(rig.driver->transport.interrupts[kRequests], 0u);
}

TEST(Fs, AnErrorHasNoContent) {
  FsRig rig;
  const Buffer to = rig.ask(1, "x", 100);
  rig.answer(*rig.asked(), "leftovers", ENOENT);
  const auto got = rig.take(to);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->header.error, -ENOENT);
  EXPECT_EQ(got->written, sizeof(fuse_out_header));
}

TEST(Fs, WhatIsForgottenHasNoAnswer) {
  FsRig rig;
  const Buffer to = rig.ask(1, "12345678", 0, kHiprio);
  const auto ask = rig.asked();
  ASSERT_TRUE(ask);
  EXPECT_EQ(ask->room, 0u);
  rig.say({ask->slot, 0, 0});
  EXPECT_EQ(rig.take(to, kHiprio)->written, 0u);
}

TEST(Fs, TakesAsManyAsThereAreSlotsForAndTheRestLater) {
  FsRig rig;
  std::vector<Buffer> buffers;
  for (unsigned i = 0; i < share::kSlots + 3; ++i) buffers.push_back(rig.ask(i, "x", 64));
  std::vector<share::Ask> asks;
  while (const auto ask = rig.asked()) asks.push_back(*ask);
  ASSERT_EQ(asks.size(), share::kSlots);
  rig.answer(asks[4], "four");  // in any order
  EXPECT_EQ(rig.take(buffers[4])->text, "four");
  EXPECT_EQ(rig.asked()->slot, asks[4].slot);
}

TEST(Fs, AServerThatEndsAnswersEverythingWithAnError) {
  FsRig rig;
  std::vector<Buffer> buffers;
  for (unsigned i = 0; i < 20; ++i) buffers.push_back(rig.ask(i, "x", 64));
  rig.server.reset();
  rig.loop.turn();
  const auto used = rig.driver->ring(kRequests).take_all();
  EXPECT_EQ(used.size(), 20u);
  const Buffer to = rig.ask(99, "later", 64);
  EXPECT_EQ(rig.take(to)->header.error, -ENOTCONN);
  EXPECT_EQ(rig.driver->transport.why, "") << "the device is well";
}

TEST(Fs, AServerThatBreaksTheProtocolIsLeft) {
  for (const share::Done wrong :
       {share::Done{share::kSlots, 0, 0}, share::Done{7, 0, 0}, share::Done{0, 49, 0}, share::Done{~0u, ~0u, ~0u}}) {
    FsRig rig;
    const Buffer to = rig.ask(5, "x", 64);  // 48 bytes of room, in slot 0
    ASSERT_EQ(rig.asked()->slot, 0u);
    rig.say(wrong);
    const auto got = rig.take(to);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->header.error, -ENOTCONN);
    EXPECT_EQ(rig.take(rig.ask(6, "x", 64))->header.error, -ENOTCONN);
  }
}

TEST(Fs, AnErrorThatIsNoneIsOne) {
  FsRig rig;
  const Buffer to = rig.ask(5, "x", 64);
  rig.answer(*rig.asked(), "", 0x80000000);
  EXPECT_EQ(rig.take(to)->header.error, -EIO);
}

TEST(Fs, ARequestThatIsTooLongIsRefusedAndOneWithoutAHeaderBreaksTheDevice) {
  FsRig rig;
  const Buffer big = rig.guest.room(share::kRequestBytes + 1), to = rig.guest.room(64);
  rig.driver->ring(kRequests).add({big}, {to});
  rig.driver->notify(kRequests);
  EXPECT_EQ(rig.take(to)->header.error, -E2BIG);
  EXPECT_FALSE(rig.asked());
  rig.driver->ring(kRequests).add({rig.guest.room(39)}, {to});
  rig.driver->notify(kRequests);
  EXPECT_NE(rig.driver->transport.why, "");
}

TEST(Fs, AnswersWaitWhileTheDeviceIsAtRest) {
  FsRig rig;
  const Buffer to = rig.ask(5, "x", 64);
  bool at_rest = false;
  rig.fs->quiesce([&] { at_rest = true; });
  EXPECT_TRUE(at_rest) << "whatever the server does";
  rig.answer(*rig.asked(), "now");
  EXPECT_FALSE(rig.take(to));
  rig.fs->resume();
  EXPECT_EQ(rig.take(to)->text, "now");
}

TEST(Fs, AnswersToADriverThatIsGoneAreDropped) {
  FsRig rig;
  const Buffer to = rig.ask(5, "x", 64);
  const auto ask = rig.asked();
  rig.driver->deactivate();
  rig.driver->activate();
  rig.answer(*ask, "late");
  EXPECT_FALSE(rig.take(to));
  EXPECT_EQ(rig.driver->transport.why, "");
}

TEST(Fs, AnswersToAQueueThatWasResetAreDropped) {
  FsRig rig;
  const Buffer to = rig.ask(5, "x", 64);
  const auto ask = rig.asked();
  rig.fs->quiesce([] {});
  rig.driver->queues[kRequests].stop();
  rig.fs->resume();
  rig.answer(*ask, "late");
  EXPECT_FALSE(rig.take(to));
  EXPECT_EQ(rig.driver->transport.why, "");
}

TEST(FsFuzz, RandomRingsAndAnswersAreSurvived) {
  skerry::test::sessions("fs", [](skerry::test::Random& random) {
    FsRig rig;
    rig.driver->deactivate();
    expect_random_rings_are_survived(*rig.fs, rig.guest, rig.loop, random, [&] {
      const auto ask = rig.asked();
      share::Done done{static_cast<uint32_t>(random() % 10), static_cast<uint32_t>(random() % 5000), static_cast<uint32_t>(random() % 3)};
      if (ask && random() % 16) done = {ask->slot, ask->room ? static_cast<uint32_t>(random() % ask->room) : 0, done.error};
      if (random() % 64 == 0) done.size = static_cast<uint32_t>(random());
      std::array<uint8_t, 20> message{};  // now and then of a size that none has
      std::memcpy(message.data(), &done, sizeof done);
      if (ask || random() % 64 == 0)
        (void)!::send(rig.server.get(), message.data(), random() % 64 ? sizeof done : random() % message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (random() % 200 == 0) rig.server.reset();
    });
  });
}

}  // namespace
}  // namespace skerry::virtio::test
