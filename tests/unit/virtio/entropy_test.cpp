#include "virtio/entropy.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "unit/state_test.hpp"
#include "unit/virtio/pci_driver.hpp"

namespace skerry::virtio::test {
namespace {

struct EntropyTest : testing::Test {
  PciBoard board;
  Entropy device{"rng", *board.loop, board.guest.memory};
  DirectDriver driver{device, board.guest, 0};
};

TEST_F(EntropyTest, BuffersAreFilled) {
  const Buffer a = board.guest.room(64), b = board.guest.room(64);
  driver.ring(0).add({}, {a, b});
  driver.notify(0);
  const auto used = driver.ring(0).take();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 128u);
  EXPECT_NE(board.guest.bytes(a), Bytes(64)) << "64 zeroes in a row";
  EXPECT_NE(board.guest.bytes(a), board.guest.bytes(b));
  EXPECT_EQ(driver.transport.interrupts[0], 1u);
}

TEST_F(EntropyTest, ALargeBufferIsFilledInPartAndAReadableOneNotAtAll) {
  driver.ring(0).add({}, {board.guest.room(100'000)});
  driver.ring(0).add({board.guest.room(16)}, {});
  driver.notify(0);
  const auto used = driver.ring(0).take_all();
  ASSERT_EQ(used.size(), 2u);
  EXPECT_EQ(used[0].written, 4096u);
  EXPECT_EQ(used[1].written, 0u);
}

TEST_F(EntropyTest, ManyBuffersTakeSeveralTurnsOfTheLoop) {
  for (int i = 0; i < 40; ++i) driver.ring(0).add({}, {board.guest.room(8)});
  driver.notify(0);
  const size_t first = driver.ring(0).take_all().size();
  EXPECT_LT(first, 40u);
  board.run_loop();
  EXPECT_EQ(first + driver.ring(0).take_all().size(), 40u);
}

TEST_F(EntropyTest, AtRestNothingIsGiven) {
  bool at_rest = false;
  device.quiesce([&] { at_rest = true; });
  EXPECT_TRUE(at_rest);
  driver.ring(0).add({}, {board.guest.room(8)});
  driver.notify(0);
  EXPECT_FALSE(driver.ring(0).take());
  device.resume();
  driver.notify(0);
  EXPECT_TRUE(driver.ring(0).take());
}

TEST_F(EntropyTest, ABrokenRingIsTold) {
  driver.ring(0).make_available(999);
  driver.notify(0);
  EXPECT_FALSE(driver.transport.why.empty());
}

struct EntropyRig : PciBoard {
  EntropyRig() {
    auto created = PciTransport::create(entropy, {.loop = LoopThread::kCaller});
    EXPECT_TRUE(created);
    transport = std::move(*created);
    EXPECT_TRUE(host.root().add(*transport, 3));
  }
  bus::Device& device() { return *transport; }
  Entropy entropy{"rng", *loop, guest.memory};
  std::unique_ptr<PciTransport> transport;
};

skerry::test::Trace drive(EntropyRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.transport->resume();
  rig.run_loop();
  PciDriver driver(rig, 3);
  driver.start(random() & (feature::kRingPacked | feature::kRingEventIdx), 16);
  for (int i = 0; i < 20; ++i) {
    driver.ring(0).add({}, {rig.guest.room(static_cast<uint32_t>(1 + random() % 100))});
    driver.notify(0);
    const auto used = driver.ring(0).take();
    trace.push_back(used ? used->written : ~0u);
  }
  rig.transport->quiesce([] {});
  rig.run_loop();
  return trace;
}

TEST(EntropyState, SurvivesSaveAndLoad) { skerry::test::run_state_test<EntropyRig>(20, drive); }

}  // namespace
}  // namespace skerry::virtio::test
