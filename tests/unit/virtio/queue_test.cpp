#include "virtio/queue.hpp"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "state/stream.hpp"
#include "unit/virtio/driver.hpp"

namespace skerry::virtio::test {
namespace {

constexpr uint64_t kAll = feature::kRingIndirectDesc | feature::kRingEventIdx;

// Every rule holds for both kinds of ring, with event indexes and without.
class QueueTest : public testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override { start(8); }
  void start(uint16_t size) {
    ring = std::make_unique<RingDriver>(guest, size, GetParam());
    queue.stop();
    queue.start(ring->setup(), GetParam());
    ASSERT_TRUE(queue.running()) << queue.broken();
  }
  bool packed() const { return GetParam() & feature::kRingPacked; }
  bool event_idx() const { return GetParam() & feature::kRingEventIdx; }
  // A descriptor at place `index` of the ring that is the first of a new round.
  void raw(uint16_t index, const Buffer& buffer, uint16_t flags, uint16_t next = 0) {
    if (packed())
      ring->write_descriptor(ring->descriptors + 16 * index, buffer, index,
                             static_cast<uint16_t>(flags | RingDriver::kAvail));
    else
      ring->write_descriptor(ring->descriptors + 16 * index, buffer, flags, next);
  }
  void raw_available(uint16_t head) {
    if (!packed()) ring->make_available(head);
  }
  void expect_broken(const std::string& why) {
    EXPECT_FALSE(queue.pop());
    EXPECT_NE(queue.broken().find(why), std::string::npos) << "says: '" << queue.broken() << "'";
    EXPECT_FALSE(queue.pop()) << "for good";
  }

  Guest guest;
  std::unique_ptr<RingDriver> ring;
  Queue queue{guest.memory};
};

std::string name_of(const testing::TestParamInfo<uint64_t>& info) {
  return std::string(info.param & feature::kRingPacked ? "Packed" : "Split") +
         (info.param & feature::kRingEventIdx ? "EventIdx" : "");
}
INSTANTIATE_TEST_SUITE_P(Rings, QueueTest,
                         testing::Values(feature::kRingIndirectDesc, kAll,
                                         feature::kRingIndirectDesc | feature::kRingPacked,
                                         kAll | feature::kRingPacked),
                         name_of);

TEST_P(QueueTest, ABufferListIsTakenAsItWasGivenAndComesBack) {
  EXPECT_FALSE(queue.pop());
  const Bytes content = {1, 2, 3, 4, 5};
  const Buffer first = guest.put(content), second = guest.put(Bytes{6, 7}), answer = guest.room(16);
  const uint16_t id = ring->add({first, second}, {answer});
  auto chain = queue.pop();
  ASSERT_TRUE(chain) << queue.broken();
  EXPECT_EQ(chain->readable_size, 7u);
  EXPECT_EQ(chain->writable_size, 16u);
  Bytes read(4);
  EXPECT_EQ(chain->read(guest.memory, 3, read), 4u);
  EXPECT_EQ(read, (Bytes{4, 5, 6, 7}));
  EXPECT_EQ(chain->read(guest.memory, 6, read), 1u) << "no more than there is";
  EXPECT_EQ(chain->write(guest.memory, 14, Bytes{9, 8, 7}), 2u);
  EXPECT_FALSE(ring->take()) << "before it is given back";
  queue.push(*chain, 16);
  const auto used = ring->take();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->id, id);
  EXPECT_EQ(used->written, 16u);
  EXPECT_EQ(guest.bytes(answer)[15], 8);
  EXPECT_FALSE(queue.pop());
}

TEST_P(QueueTest, AnIndirectTableIsTheWholeList) {
  const Buffer readable = guest.put(Bytes{1, 2, 3}), a = guest.room(4), b = guest.room(8);
  ring->add({readable}, {a, b}, true);
  const auto chain = queue.pop();
  ASSERT_TRUE(chain) << queue.broken();
  EXPECT_EQ(chain->descriptors, 1u);
  EXPECT_EQ(chain->readable.size(), 1u);
  EXPECT_EQ(chain->writable.size(), 2u);
  EXPECT_EQ(chain->writable_size, 12u);
}

TEST_P(QueueTest, ATableMayBeLongerThanTheQueue) {
  const std::vector<Buffer> many(20, guest.room(16));
  ring->add({}, many, true);
  const auto chain = queue.pop();
  ASSERT_TRUE(chain) << queue.broken();
  EXPECT_EQ(chain->writable.size(), 20u);
}

TEST_P(QueueTest, WhatIsUnpoppedComesAgain) {
  for (int round = 0; round < 20; ++round) {
    const uint16_t id = ring->add({guest.put(Bytes{1})}, {guest.room(1), guest.room(2)});
    auto chain = queue.pop();
    ASSERT_TRUE(chain);
    queue.unpop(*chain);
    chain = queue.pop();
    ASSERT_TRUE(chain);
    EXPECT_EQ(chain->id, id);
    queue.push(*chain, 0);
    ASSERT_TRUE(ring->take());
  }
}

TEST_P(QueueTest, ListsComeBackInAnyOrder) {
  std::vector<Chain> chains;
  for (int i = 0; i < 4; ++i) {
    ring->add({guest.put(Bytes{1})}, {guest.room(1)});
    chains.push_back(*queue.pop());
  }
  std::swap(chains[0], chains[3]);
  std::vector<uint16_t> expected, got;
  for (auto& chain : chains) {
    expected.push_back(chain.id);
    queue.push(chain, 1);
    queue.recycle(std::move(chain));
  }
  for (const auto& used : ring->take_all()) got.push_back(used.id);
  EXPECT_EQ(got, expected);
  EXPECT_EQ(ring->free(), 8u);
}

TEST_P(QueueTest, WhatBelongsTogetherAppearsInOrder) {
  for (int round = 0; round < 7; ++round) {  // over the end of the ring too
    std::vector<Chain> chains;
    for (int i = 0; i < 3; ++i) {
      ring->add({}, {guest.room(8)});
      chains.push_back(*queue.pop());
    }
    const std::array<uint32_t, 3> written = {8, 8, 3};
    queue.push_all(chains, written);
    const auto used = ring->take_all();
    ASSERT_EQ(used.size(), 3u);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(used[i].id, chains[i].id);
      EXPECT_EQ(used[i].written, written[i]);
    }
  }
}

// --- interrupts and notifications ------------------------------------------------------------------------------------

TEST_P(QueueTest, AnInterruptIsNeededOnceAndOnlyIfWanted) {
  EXPECT_FALSE(queue.needs_interrupt());
  for (int round = 0; round < 30; ++round) {
    ring->want_interrupt();
    ring->add({}, {guest.room(8)});
    queue.push(*queue.pop(), 1);
    EXPECT_TRUE(queue.needs_interrupt()) << round;
    EXPECT_FALSE(queue.needs_interrupt());
    ASSERT_TRUE(ring->take());
    ring->want_no_interrupt();
    ring->add({}, {guest.room(8)});
    queue.push(*queue.pop(), 1);
    EXPECT_FALSE(queue.needs_interrupt()) << round;
    ASSERT_TRUE(ring->take());
  }
}

TEST_P(QueueTest, AnEventIndexIsReachedBySeveral) {
  if (!event_idx()) return;
  for (int round = 0; round < 30; ++round) {
    ring->want_interrupt(2);  // with the third
    std::vector<Chain> chains;
    for (int i = 0; i < 4; ++i) {
      ring->add({}, {guest.room(8)});
      chains.push_back(*queue.pop());
    }
    queue.push(chains[0], 1);
    queue.push(chains[1], 1);
    EXPECT_FALSE(queue.needs_interrupt()) << round;
    queue.push(chains[2], 1);
    queue.push(chains[3], 1);
    EXPECT_TRUE(queue.needs_interrupt()) << round;
    EXPECT_EQ(ring->take_all().size(), 4u);
  }
}

TEST_P(QueueTest, TheDriverNotifiesAgainAfterTheRingWasFoundEmpty) {
  for (int round = 0; round < 30; ++round) {
    ring->add({}, {guest.room(8)});
    EXPECT_TRUE(ring->should_notify()) << round;
    while (auto chain = queue.pop()) queue.push(*chain, 0);
    ring->take_all();
  }
}

TEST_P(QueueTest, TheDriverIsQuietWhileNotificationsAreOff) {
  queue.disable_notifications();
  for (int i = 0; i < 5; ++i) {
    ring->add({}, {guest.room(8)});
    if (i > 0 || !event_idx() || packed()) {
      EXPECT_FALSE(ring->should_notify());
    } else {
      ring->should_notify();  // the index asked for first is only passed
    }
  }
  EXPECT_TRUE(queue.enable_notifications()) << "what came meanwhile is told";
  while (auto chain = queue.pop()) queue.push(*chain, 0);
  EXPECT_FALSE(queue.enable_notifications());
  ring->take_all();
  ring->add({}, {guest.room(8)});
  EXPECT_TRUE(ring->should_notify());
}

TEST_P(QueueTest, ADriverOnAnotherThreadLosesNothing) {
  start(16);
  constexpr unsigned kLists = 20000;
  std::atomic<unsigned> notifications{1}, interrupts{0};
  std::atomic<bool> lost{false};
  std::thread driver([&] {
    const Buffer buffer = guest.room(8);
    unsigned sent = 0, got = 0;
    while (got < kLists && !lost) {
      while (sent < kLists && ring->free() >= 2) {
        ring->add({buffer}, {buffer}, sent % 3 == 0);
        ++sent;
        if (ring->should_notify()) notifications.fetch_add(1);
      }
      const unsigned before = interrupts.load();
      unsigned taken = static_cast<unsigned>(ring->take_all().size());
      got += taken;
      if (taken > 0) continue;
      ring->want_interrupt();
      taken = static_cast<unsigned>(ring->take_all().size());
      got += taken;
      if (taken > 0 || got == kLists) continue;
      for (unsigned spins = 0; interrupts.load() == before; ++spins) {
        std::this_thread::yield();
        if (spins > 20'000'000) lost = true;
        if (lost) break;
      }
    }
    notifications.fetch_add(1);
  });
  unsigned handled = 0, done = 0;
  while (done < kLists && !lost) {
    if (handled == notifications.load()) {
      std::this_thread::yield();
      continue;
    }
    handled = notifications.load();
    while (auto chain = queue.pop()) {
      queue.push(*chain, 1);
      queue.recycle(std::move(*chain));
      ++done;
      if (queue.needs_interrupt()) interrupts.fetch_add(1);
    }
    if (!queue.broken().empty()) lost = true;
  }
  driver.join();
  EXPECT_FALSE(lost) << "an interrupt or a notification was lost; " << queue.broken();
  EXPECT_EQ(done, kLists);
}

// --- hostile rings ---------------------------------------------------------------------------------------------------

TEST_P(QueueTest, ALoopOfDescriptorsBreaksTheQueue) {
  for (uint16_t i = 0; i < 8; ++i) raw(i, guest.room(16), RingDriver::kNext, static_cast<uint16_t>((i + 1) % 8));
  raw_available(0);
  expect_broken("longer than the queue");
}

TEST_P(QueueTest, ADescriptorOutsideOfTheTableBreaksTheQueue) {
  if (packed()) return;  // there are no numbers in it
  raw(0, guest.room(16), RingDriver::kNext, 8);
  raw_available(0);
  expect_broken("not in a table of 8");
  start(8);
  raw_available(1000);
  expect_broken("descriptor 1000");
}

TEST_P(QueueTest, MoreBuffersThanTheRingHasBreakTheQueue) {
  if (packed()) return;
  ring->store<uint16_t>(ring->driver + 2, 9);
  expect_broken("9 buffers are available");
}

TEST_P(QueueTest, BuffersGivenTwiceAreBounded) {
  for (uint16_t i = 0; i < 8; ++i) raw(i, guest.room(16), 0);
  for (uint16_t i = 0; i < 8; ++i) raw_available(i);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(queue.pop());
  if (packed())
    ring->write_descriptor(ring->descriptors, guest.room(16), 0, RingDriver::kUsed);  // of the next round
  else
    raw_available(0);
  expect_broken("under way");
}

TEST_P(QueueTest, BadBuffersBreakTheQueue) {
  const uint64_t end = guest.memory.ram_size();
  const struct {
    Buffer buffer;
    uint16_t flags;
    const char* why;
  } cases[] = {
      {{0x1000, 0}, 0, "length 0"},
      {{end - 8, 16}, RingDriver::kWrite, "not in memory"},
      {{0xffff'ffff'ffff'fff0, 0x20}, 0, "not in memory"},
      {{0x8000'0000'0000, 1}, 0, "not in memory"},
      {{0x1000, 16}, RingDriver::kIndirect | RingDriver::kNext, "follows an indirect"},
      {{0x1000, 17}, RingDriver::kIndirect, "indirect table has 17 bytes"},
      {{0x1000, 0}, RingDriver::kIndirect, "indirect table has 0 bytes"},
      {{0x1000, 16 * 2000}, RingDriver::kIndirect, "2000 entries"},
      {{end - 16, 32}, RingDriver::kIndirect, "not in memory"},
      {{0xffff'ffff'ffff'fff0, 32}, RingDriver::kIndirect, "not in memory"},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.why);
    start(8);
    raw(0, bad.buffer, bad.flags);
    raw_available(0);
    expect_broken(bad.why);
  }
}

TEST_P(QueueTest, ReadableAfterWritableBreaksTheQueue) {
  raw(0, guest.room(8), RingDriver::kWrite | RingDriver::kNext, 1);
  raw(1, guest.room(8), 0);
  raw_available(0);
  expect_broken("follows a device-writable");
}

TEST_P(QueueTest, ABadTableBreaksTheQueue) {
  const auto with_table = [&](uint16_t flags, uint16_t next, const char* why) {
    SCOPED_TRACE(why);
    start(8);
    const Gpa table = ring->tables;
    for (int i = 0; i < 2; ++i)
      ring->write_descriptor(table + 16 * i, guest.room(8), packed() ? uint16_t{0} : flags, packed() ? flags : next);
    raw(0, {table, 32}, RingDriver::kIndirect);
    raw_available(0);
    expect_broken(why);
  };
  with_table(RingDriver::kIndirect, 0, "has an indirect descriptor");
  if (packed()) return;  // the rest has no numbers
  with_table(RingDriver::kNext, 0, "has a loop");
  with_table(RingDriver::kNext, 2, "not in an indirect table of 2");
}

TEST_P(QueueTest, AnIndirectDescriptorThatWasNotAgreedOnBreaksTheQueue) {
  queue.stop();
  queue.start(ring->setup(), GetParam() & ~feature::kRingIndirectDesc);
  ring->add({}, {guest.room(8)}, true);
  expect_broken("not agreed on");
}

TEST_P(QueueTest, MoreThanFourGigabytesBreakTheQueue) {
  const Buffer all = {0, static_cast<uint32_t>(guest.memory.ram_size())};  // 16 MiB
  std::vector<Buffer> many(257, all);
  Gpa table = guest.allocate(16 * many.size());
  for (uint16_t i = 0; i < many.size(); ++i) {
    const uint16_t flags = packed() || i + 1u == many.size() ? uint16_t{0} : RingDriver::kNext;
    ring->write_descriptor(table + 16 * i, many[i], packed() ? 0 : flags, packed() ? flags : i + 1);
  }
  raw(0, {table, static_cast<uint32_t>(16 * many.size())}, RingDriver::kIndirect);
  raw_available(0);
  expect_broken("more than 4 GiB");
}

TEST_P(QueueTest, ABadSetupDoesNotRun) {
  const auto expect_refused = [&](Queue::Setup setup, const char* why) {
    Queue bad(guest.memory);
    bad.start(setup, GetParam());
    EXPECT_FALSE(bad.running());
    EXPECT_NE(bad.broken().find(why), std::string::npos) << bad.broken();
    EXPECT_FALSE(bad.pop());
    bad.push(Chain{}, 0);
    EXPECT_FALSE(bad.needs_interrupt());
    EXPECT_FALSE(bad.enable_notifications());
    bad.disable_notifications();
  };
  const Queue::Setup good = ring->setup();
  auto with = [&](auto change) {
    Queue::Setup setup = good;
    change(setup);
    return setup;
  };
  expect_refused(with([](auto& s) { s.size = 0; }), "size is 0");
  expect_refused(with([](auto& s) { s.size = 40000; }), "size is 40000");
  if (!packed()) {
    expect_refused(with([](auto& s) { s.size = 6; }), "power of two");
  }
  expect_refused(with([](auto& s) { s.descriptors += 8; }), "not aligned");
  expect_refused(with([](auto& s) { s.driver += 1; }), "not aligned");
  expect_refused(with([](auto& s) { s.device += 2; }), "not aligned");
  expect_refused(with([](auto& s) { s.descriptors = 1ull << 40; }), "not in memory");
  expect_refused(with([](auto& s) { s.device = ~uint64_t{0} - 3; }), "not in memory");
}

// --- state -----------------------------------------------------------------------------------------------------------

TEST_P(QueueTest, ASavedQueueGoesOnWhereItWas) {
  for (int round = 0; round < 11; ++round) {
    ring->add({}, {guest.room(8), guest.room(8)});
    queue.push(*queue.pop(), 1);
    ring->take_all();
  }
  const uint16_t waiting = ring->add({}, {guest.room(8)});
  state::Saver saver;
  queue.describe(saver);
  Queue copy(guest.memory);
  state::Loader loader(saver.data());
  copy.describe(loader);
  ASSERT_TRUE(loader.finish());
  copy.start(ring->setup(), GetParam());
  const auto chain = copy.pop();
  ASSERT_TRUE(chain) << copy.broken();
  EXPECT_EQ(chain->id, waiting);
  copy.push(*chain, 5);
  const auto used = ring->take();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->id, waiting);
}

TEST_P(QueueTest, AnyLoadedStateIsSafe) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Queue loaded(guest.memory);
    state::Randomizer randomizer(seed);
    loaded.describe(randomizer);
    loaded.start(ring->setup(), GetParam());
    if (packed() && !loaded.running()) {
      EXPECT_NE(loaded.broken().find("state"), std::string::npos);
    }
    for (int i = 0; i < 20; ++i)
      if (auto chain = loaded.pop()) loaded.push(*chain, 1);
    loaded.needs_interrupt();
  }
}

}  // namespace
}  // namespace skerry::virtio::test
