// What is the MMIO transport's own: its registers, its line, and resets that the driver does not wait for. What it has
// in common with PCI's is tested there.
#include "virtio/mmio_transport.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "unit/state_test.hpp"
#include "unit/virtio/echo_device.hpp"
#include "unit/virtio/mmio_driver.hpp"

namespace skerry::virtio::test {
namespace {

using namespace mmio_layout;

constexpr unsigned kLine = 3;

struct Rig : MmioBoard {
  bus::Device& device() { return *transport; }
  void follow(Rig& other) { MmioBoard::follow(other); }
  bool high() { return lines.high[kLine]; }

  EchoDevice echo{*loop, guest.memory};
  std::unique_ptr<MmioTransport> transport = connect(echo, kLine);
};

class MmioTransportTest : public testing::Test {
 protected:
  // Sends bytes through a queue; what came back, or nothing.
  std::optional<Bytes> echo(const Bytes& bytes, unsigned queue = 0) {
    const Buffer answer = rig.guest.room(static_cast<uint32_t>(bytes.size()));
    driver.ring(queue).add({rig.guest.put(bytes)}, {answer});
    driver.notify(queue);
    if (!driver.ring(queue).take()) return std::nullopt;
    return rig.guest.bytes(answer);
  }

  Rig rig;
  MmioDriver driver{rig, kLine};
};

const Bytes kHello = {'h', 'e', 'l', 'l', 'o'};

// --- registers -------------------------------------------------------------------------------------------------------

TEST_F(MmioTransportTest, TheWindowIsThatOfAModernDevice) {
  EXPECT_EQ(driver.get(kMagicValue), 0x74726976u);
  EXPECT_EQ(driver.get(kVersion), 2u);
  EXPECT_EQ(driver.get(kDeviceId), 3u);
  EXPECT_EQ(driver.queues(), 2u);
  EXPECT_EQ(driver.offered() & 0xff, 0xffu);
  EXPECT_TRUE(driver.offered() & feature::kVersion1);
  EXPECT_EQ(driver.get(kShmLenLow), ~0u) << "no shared memory";
}

TEST_F(MmioTransportTest, RegistersAreAccessedByWholeWordsOnly) {
  EXPECT_EQ(driver.get(kMagicValue, 2), 0u);
  EXPECT_EQ(driver.get(kMagicValue + 1, 1), 0u);
  EXPECT_EQ(driver.get(kMagicValue + 2, 4), 0u);
  driver.set(kStatus, ACKNOWLEDGE, 1);
  EXPECT_EQ(driver.status(), 0);
  driver.set(kStatus, ACKNOWLEDGE);
  EXPECT_EQ(driver.status(), ACKNOWLEDGE);
}

TEST_F(MmioTransportTest, TheDevicesConfigurationIsAccessedByAnySizeInsideOfItsOwn) {
  EXPECT_EQ(driver.get(kConfig), 0x0d0c0b0au);
  EXPECT_EQ(driver.get(kConfig + 1, 1), 11u);
  EXPECT_EQ(driver.get(kConfig + 8), 0x1312u) << "the rest reads as 0";
  driver.set(kConfig + 8, 0xaabbccdd);
  EXPECT_EQ(driver.get(kConfig + 8), 0xccddu);
  EXPECT_EQ(driver.get(kConfig + 0xfc), 0u);
}

TEST_F(MmioTransportTest, FeaturesThatWereNotOfferedAreRefused) {
  EXPECT_FALSE(driver.negotiate(feature::kAccessPlatform));
  EXPECT_TRUE(driver.negotiate(3));
}

TEST_F(MmioTransportTest, AQueueThatDoesNotExistIsNotThere) {
  for (const uint32_t number : {2u, 64u, 0xffffu, 0x10000u, ~0u}) {
    driver.set(kQueueSel, number);
    EXPECT_EQ(driver.get(kQueueSizeMax), 0u);
    driver.set(kQueueReady, 1);
    EXPECT_EQ(driver.get(kQueueReady), 0u);
    driver.set(kQueueNotify, number);
  }
}

// --- work ------------------------------------------------------------------------------------------------------------

class MmioTransportWork : public MmioTransportTest, public testing::WithParamInterface<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Rings, MmioTransportWork,
                         testing::Values(0, feature::kRingEventIdx, feature::kRingPacked,
                                         feature::kRingPacked | feature::kRingEventIdx));

TEST_P(MmioTransportWork, BuffersAreServedAndTheLineIsHighUntilThatIsAcknowledged) {
  driver.start(GetParam());
  for (unsigned i = 0; i < 100; ++i) {
    driver.ring(1).want_interrupt();
    ASSERT_EQ(echo(kHello, 1), kHello);
    EXPECT_TRUE(rig.high());
    EXPECT_EQ(driver.get(kInterruptStatus), kIsrQueue);
    EXPECT_TRUE(rig.high()) << "to read is not to acknowledge";
    driver.set(kInterruptAck, kIsrQueue);
    EXPECT_FALSE(rig.high());
  }
}

TEST_F(MmioTransportTest, AChangeOfTheConfigurationIsOneReasonAndAUsedBufferAnother) {
  driver.start(0);
  const uint32_t before = driver.get(kConfigGeneration);
  rig.echo.transport->config_interrupt();
  EXPECT_NE(driver.get(kConfigGeneration), before);
  ASSERT_EQ(echo(kHello), kHello);
  EXPECT_EQ(driver.get(kInterruptStatus), kIsrQueue | kIsrConfig);
  driver.set(kInterruptAck, kIsrQueue);
  EXPECT_TRUE(rig.high());
  EXPECT_EQ(driver.get(kInterruptStatus), kIsrConfig);
  driver.set(kInterruptAck, kIsrConfig);
  EXPECT_FALSE(rig.high());
}

// --- reset -----------------------------------------------------------------------------------------------------------

TEST_F(MmioTransportTest, AQueueIsTakenFromTheDeviceAlone) {
  driver.start(0);
  ASSERT_EQ(echo(kHello, 1), kHello);
  driver.set(kQueueSel, 1);
  driver.set(kQueueReady, 0);
  rig.run_loop();
  EXPECT_EQ(driver.get(kQueueReady), 0u);
  EXPECT_EQ(echo(kHello, 0), kHello) << "the other one goes on";
  driver.make_ring(1, 8);
  EXPECT_EQ(echo(kHello, 1), kHello);
}

TEST_F(MmioTransportTest, AResetOfTheMachineIsWhatPowerOnWas) {
  driver.start(0);
  ASSERT_EQ(echo(kHello), kHello);
  rig.transport->reset();
  EXPECT_FALSE(rig.high());
  EXPECT_TRUE(skerry::test::same_state(skerry::test::save(*rig.transport), skerry::test::save(*Rig().transport)));
}

TEST_F(MmioTransportTest, ABrokenRingStopsTheDeviceUntilItIsReset) {
  driver.start(0);
  driver.ring(0).make_available(500);
  driver.notify(0);
  EXPECT_TRUE(driver.status() & DEVICE_NEEDS_RESET);
  EXPECT_EQ(driver.get(kInterruptStatus), kIsrConfig) << "the driver is told";
  driver.start(0);
  EXPECT_EQ(echo(kHello), kHello);
}

// A driver on one thread, the device on another.
struct Threads : MmioBoard {
  ~Threads() {
    loop->quit();
    thread.join();
    transport.reset();
  }
  void on_loop(const std::function<void()>& work) {
    std::atomic<bool> done = false;
    loop->post([&] {
      work();
      done = true;
      done.notify_all();
    });
    done.wait(false);
  }

  EchoDevice echo{*loop, guest.memory};
  std::unique_ptr<MmioTransport> transport = connect(echo, kLine, LoopThread::kOther);
  std::thread thread{[this] { loop->run(); }};
  MmioDriver driver{*this, kLine, false};
};

TEST(MmioTransportThreads, AResetIsDoneWhenItsWriteIs) {
  Threads rig;
  for (int i = 0; i < 20; ++i) {
    rig.driver.start(0);
    rig.driver.set_status(0);
    ASSERT_EQ(rig.driver.status(), 0);
    rig.driver.start(0);
    rig.driver.set(kQueueSel, 1);
    rig.driver.set(kQueueReady, 0);
    ASSERT_EQ(rig.driver.get(kQueueReady), 0u);
  }
}

TEST(MmioTransportThreads, AResetWaitsForWhatIsUnderWayButNotLongerThanItMay) {
  Threads rig;
  rig.driver.start(0);
  rig.on_loop([&] { rig.echo.keep = true; });
  rig.driver.ring(0).add({rig.guest.put(kHello)}, {rig.guest.room(8)});
  rig.driver.notify(0);
  for (bool taken = false; !taken;) rig.on_loop([&] { taken = rig.echo.kept() == 1; });
  rig.may_wait = false;  // as when the machine pauses
  rig.driver.set_status(0);
  EXPECT_NE(rig.driver.status(), 0);
  rig.may_wait = true;
  std::thread other([&] { rig.on_loop([&] { rig.echo.give_back(); }); });
  while (rig.driver.status() != 0) std::this_thread::yield();
  other.join();
  rig.on_loop([&] { rig.echo.keep = false; });
  rig.driver.start(0);
  EXPECT_TRUE(rig.driver.status() & DRIVER_OK);
}

// --- state -----------------------------------------------------------------------------------------------------------

skerry::test::Trace drive(Rig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.transport->resume();
  rig.run_loop();
  MmioDriver driver(rig, kLine);
  for (int step = 0; step < 60; ++step) {
    const auto offset = static_cast<uint32_t>(random() % 16 == 0 ? random() % 0x200 : random() % 0x104 & ~uint64_t{3});
    if (random() % 2)
      trace.push_back(driver.get(offset));
    else
      driver.set(offset, random() % 4 ? random() % 16 : random());
    rig.run_loop();
    trace.push_back(rig.high());
  }
  rig.transport->quiesce([] {});
  rig.run_loop();
  return trace;
}

TEST(MmioTransportState, SurvivesSaveAndLoad) { skerry::test::run_state_test<Rig>(40, drive); }

}  // namespace
}  // namespace skerry::virtio::test
