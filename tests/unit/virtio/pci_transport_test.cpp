#include "virtio/pci_transport.hpp"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "unit/state_test.hpp"
#include "unit/virtio/echo_device.hpp"
#include "unit/virtio/pci_driver.hpp"

namespace skerry::virtio::test {
namespace {

using namespace pci_layout;

struct Rig : PciBoard {
  Rig() {
    auto created = PciTransport::create(echo, {.loop = LoopThread::kCaller});
    EXPECT_TRUE(created);
    transport = std::move(*created);
    EXPECT_TRUE(host.root().add(*transport, 3));
  }
  bus::Device& device() { return *transport; }
  void follow(Rig& other) { PciBoard::follow(other); }

  EchoDevice echo{*loop, guest.memory};
  std::unique_ptr<PciTransport> transport;
};

class PciTransportTest : public testing::Test {
 protected:
  // Sends bytes through queue 0; what came back, or nothing.
  std::optional<Bytes> echo(const Bytes& bytes, unsigned queue = 0) {
    const Buffer answer = rig.guest.room(static_cast<uint32_t>(bytes.size()));
    driver.ring(queue).add({rig.guest.put(bytes)}, {answer});
    driver.notify(queue);
    if (!driver.ring(queue).take()) return std::nullopt;
    return rig.guest.bytes(answer);
  }
  bool broken() { return driver.status() & DEVICE_NEEDS_RESET; }

  Rig rig;
  PciDriver driver{rig, 3};
};

const Bytes kHello = {'h', 'e', 'l', 'l', 'o'};

// --- configuration space and registers -------------------------------------------------------------------------------

TEST_F(PciTransportTest, TheFunctionIsAModernVirtioDevice) {
  EXPECT_EQ(driver.config(0, 4), 0x1043'1af4u);
  EXPECT_EQ(driver.config(bus::pci::kRevision, 4), 0x0780'0001u);
  EXPECT_EQ(driver.config(bus::pci::kSubsystemVendorId, 4), 0x1100'1af4u);
  EXPECT_EQ(driver.config(bus::pci::kInterruptPin, 1), 1u);
  EXPECT_EQ(driver.capabilities.size(), 5u);
  EXPECT_EQ(driver.capabilities[VIRTIO_PCI_CAP_DEVICE_CFG].length, 10u);
  EXPECT_NE(driver.msix_capability, 0u);
  EXPECT_EQ(driver.common(kNumQueues, 2), 2u);
  EXPECT_EQ(driver.offered() & 0xff, 0xffu);
  EXPECT_TRUE(driver.offered() & feature::kVersion1);
}

TEST_F(PciTransportTest, AllRegistersAreReachedByTheConfigurationSpaceToo) {
  const unsigned at = driver.capabilities[VIRTIO_PCI_CAP_PCI_CFG].at;
  const auto point = [&](uint32_t offset, uint32_t length) {
    driver.set_config(at + kCapBar, 1, kBar);
    driver.set_config(at + kCapOffset, 4, offset);
    driver.set_config(at + kCapLength, 4, length);
  };
  point(kCommon + kDeviceStatus, 1);
  driver.set_config(at + kCapData, 1, ACKNOWLEDGE);
  EXPECT_EQ(driver.status(), ACKNOWLEDGE);
  EXPECT_EQ(driver.config(at + kCapData, 1), ACKNOWLEDGE);
  point(kDevice + 2, 2);
  EXPECT_EQ(driver.config(at + kCapData, 2), 12u | 13u << 8);
  for (const auto& [offset, length] : {std::pair{0u, 3u}, {2u, 4u}, {0x4000u, 4u}, {0xffff'fffcu, 4u}, {0u, 0u}}) {
    point(offset, length);
    driver.set_config(at + kCapData, 4, 0);
    driver.config(at + kCapData, 4);
  }
  EXPECT_EQ(driver.status(), ACKNOWLEDGE) << "what lies nowhere is not accessed";
}

TEST_F(PciTransportTest, TheDevicesConfigurationIsReadAndWrittenInsideOfItsSize) {
  EXPECT_EQ(driver.device_config<uint32_t>(0), 0x0d0c0b0au);
  EXPECT_EQ(driver.device_config<uint32_t>(8), 0x1312u) << "the rest reads as 0";
  driver.write(driver.capabilities[VIRTIO_PCI_CAP_DEVICE_CFG].address + 8, 4, 0xaabbccdd);
  EXPECT_EQ(driver.device_config<uint32_t>(8), 0xccddu);
  EXPECT_EQ(driver.device_config<uint32_t>(0x800), 0u);
}

TEST_F(PciTransportTest, FeaturesThatWereNotOfferedAreRefused) {
  EXPECT_FALSE(driver.negotiate(feature::kAccessPlatform));
  EXPECT_FALSE(driver.negotiate(1 << 10));
  EXPECT_TRUE(driver.negotiate(3));
  driver.set_status(0);
  driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  EXPECT_FALSE(driver.status() & FEATURES_OK) << "without VIRTIO_F_VERSION_1";
  driver.set_status(ACKNOWLEDGE | DRIVER | DRIVER_OK);
  rig.run_loop();
  EXPECT_FALSE(driver.status() & DRIVER_OK);
  EXPECT_EQ(rig.echo.activations, 0u);
}

TEST_F(PciTransportTest, WhatWasAgreedOnDoesNotChange) {
  ASSERT_TRUE(driver.negotiate(3));
  driver.set_common(kDriverFeatureSelect, 4, 0);
  driver.set_common(kDriverFeature, 4, 0xf0);
  driver.make_ring(0);
  driver.set_common(kQueueSize, 2, 4);
  driver.driver_ok();
  EXPECT_EQ(rig.echo.agreed, 3 | feature::kVersion1);
  EXPECT_EQ(driver.common(kQueueSize, 2), 16u);
}

TEST_F(PciTransportTest, AQueueThatDoesNotExistIsNotThere) {
  driver.set_common(kQueueSelect, 2, 2);
  EXPECT_EQ(driver.common(kQueueSize, 2), 0u);
  driver.set_common(kQueueSize, 2, 8);
  driver.set_common(kQueueEnable, 2, 1);
  EXPECT_EQ(driver.common(kQueueEnable, 2), 0u);
  driver.write(driver.capabilities[VIRTIO_PCI_CAP_NOTIFY_CFG].address + 4 * 900, 2, 900);
}

TEST_F(PciTransportTest, AVectorThatDoesNotExistIsNotTaken) {
  driver.set_common(kConfigMsixVector, 2, 2);
  EXPECT_EQ(driver.common(kConfigMsixVector, 2), 2u);
  driver.set_common(kConfigMsixVector, 2, 3);
  EXPECT_EQ(driver.common(kConfigMsixVector, 2), VIRTIO_MSI_NO_VECTOR);
}

// --- work ------------------------------------------------------------------------------------------------------------

class PciTransportWork : public PciTransportTest, public testing::WithParamInterface<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Rings, PciTransportWork,
                         testing::Values(0, feature::kRingEventIdx, feature::kRingPacked,
                                         feature::kRingPacked | feature::kRingEventIdx));

TEST_P(PciTransportWork, BuffersAreServedAndToldByTheirMessage) {
  driver.start(GetParam());
  driver.enable_msix();
  for (unsigned i = 0; i < 100; ++i) {
    driver.ring(1).want_interrupt();
    ASSERT_EQ(echo(kHello, 1), kHello);
    EXPECT_EQ(rig.messages.sent[102], i + 1);
  }
  EXPECT_EQ(driver.isr(), 0u);
  EXPECT_FALSE(rig.lines.high);
}

TEST_F(PciTransportTest, WithoutMessagesTheLineIsHighUntilTheStatusIsRead) {
  driver.start(0);
  ASSERT_EQ(echo(kHello), kHello);
  EXPECT_TRUE(rig.lines.high);
  EXPECT_EQ(driver.isr(), kIsrQueue);
  EXPECT_FALSE(rig.lines.high);
  EXPECT_EQ(driver.isr(), 0u);
  rig.echo.transport->config_interrupt();
  EXPECT_TRUE(rig.lines.high);
  EXPECT_EQ(driver.isr(), kIsrConfig);
}

TEST_F(PciTransportTest, AChangeOfTheConfigurationChangesItsGeneration) {
  driver.start(0);
  driver.enable_msix();
  const uint32_t before = driver.common(kConfigGeneration, 1);
  rig.echo.transport->config_interrupt();
  EXPECT_NE(driver.common(kConfigGeneration, 1), before);
  EXPECT_EQ(rig.messages.sent[100], 1u);
}

TEST_F(PciTransportTest, WhatWasAvailableBeforeTheDriverWasReadyIsFound) {
  ASSERT_TRUE(driver.negotiate(0));
  auto& ring = driver.make_ring(0);
  ring.add({rig.guest.put(kHello)}, {rig.guest.room(8)});
  driver.notify(0);
  EXPECT_FALSE(ring.take()) << "not before DRIVER_OK";
  driver.driver_ok();
  EXPECT_TRUE(ring.take());
}

TEST_F(PciTransportTest, ANotificationWakesTheDeviceOnceHoweverOftenItIsWritten) {
  driver.start(0);
  const unsigned before = rig.echo.notifications;
  const uint64_t at = driver.capabilities[VIRTIO_PCI_CAP_NOTIFY_CFG].address;
  for (int i = 0; i < 10; ++i) driver.write(at, 2, 0);
  rig.run_loop();
  EXPECT_EQ(rig.echo.notifications, before + 1);
}

// --- reset -----------------------------------------------------------------------------------------------------------

TEST_F(PciTransportTest, AResetWaitsForWhatIsUnderWay) {
  driver.start(0);
  rig.echo.keep = true;
  ASSERT_FALSE(echo(kHello));
  const uint8_t status = driver.status();
  driver.set_status(0);
  rig.run_loop();
  EXPECT_EQ(driver.status(), status) << "a request is under way";
  driver.set_status(ACKNOWLEDGE | DRIVER | FAILED);
  EXPECT_EQ(driver.status(), status) << "nothing is taken before it is done";
  rig.echo.give_back();
  rig.run_loop();
  EXPECT_EQ(driver.status(), 0);
  EXPECT_EQ(rig.echo.deactivations, 1u);
  EXPECT_EQ(driver.common(kQueueEnable, 2), 0u);
  rig.echo.keep = false;
  driver.start(feature::kRingPacked);
  EXPECT_EQ(echo(kHello), kHello) << "and all begins anew";
}

TEST_F(PciTransportTest, AResetOfTheMachineIsWhatPowerOnWas) {
  driver.start(0);
  ASSERT_EQ(echo(kHello), kHello);
  rig.transport->reset();
  EXPECT_TRUE(skerry::test::same_state(skerry::test::save(*rig.transport), skerry::test::save(*Rig().transport)));
}

TEST_F(PciTransportTest, AQueueIsResetAlone) {
  driver.start(feature::kRingReset);
  ASSERT_EQ(echo(kHello, 0), kHello);
  ASSERT_EQ(echo(kHello, 1), kHello);
  rig.echo.keep = true;
  ASSERT_FALSE(echo(kHello, 1));
  driver.set_common(kQueueSelect, 2, 1);
  driver.set_common(kQueueReset, 2, 1);
  rig.run_loop();
  EXPECT_EQ(driver.common(kQueueReset, 2), 1u) << "a buffer is under way";
  rig.echo.keep = false;
  rig.echo.give_back();
  rig.run_loop();
  EXPECT_EQ(driver.common(kQueueReset, 2), 0u);
  EXPECT_EQ(driver.common(kQueueEnable, 2), 0u);
  EXPECT_EQ(echo(kHello, 0), kHello) << "the other one goes on";
  driver.make_ring(1, 8);
  EXPECT_EQ(echo(kHello, 1), kHello);
}

// --- hostile drivers -------------------------------------------------------------------------------------------------

TEST_F(PciTransportTest, ABrokenRingStopsTheDeviceUntilItIsReset) {
  driver.start(0);
  driver.enable_msix();
  driver.ring(0).make_available(500);
  driver.notify(0);
  EXPECT_TRUE(broken());
  EXPECT_EQ(rig.messages.sent[100], 1u) << "the driver is told";
  EXPECT_FALSE(echo(kHello, 1));
  driver.start(0);
  EXPECT_FALSE(broken());
  EXPECT_EQ(echo(kHello), kHello);
}

TEST_F(PciTransportTest, AQueueThatIsNowhereStopsTheDevice) {
  ASSERT_TRUE(driver.negotiate(0));
  driver.set_queue(0, {.size = 16, .descriptors = 1ull << 45, .driver = 64, .device = 64, .enabled = true});
  driver.driver_ok();
  EXPECT_TRUE(broken());
}

// --- at rest ---------------------------------------------------------------------------------------------------------

TEST_F(PciTransportTest, AtRestNothingMovesUntilItIsResumed) {
  driver.start(0);
  rig.echo.keep = true;
  ASSERT_FALSE(echo(kHello));
  bool at_rest = false;
  rig.transport->quiesce([&] { at_rest = true; });
  rig.run_loop();
  EXPECT_FALSE(at_rest);
  rig.echo.keep = false;
  rig.echo.give_back();
  rig.run_loop();
  EXPECT_TRUE(at_rest);
  EXPECT_TRUE(driver.ring(0).take());
  EXPECT_FALSE(echo(kHello));
  rig.transport->resume();
  rig.run_loop();
  EXPECT_TRUE(driver.ring(0).take());
}

TEST_F(PciTransportTest, AResetWhileAtRestComesWhenItIsResumed) {
  driver.start(0);
  rig.transport->quiesce([] {});
  rig.run_loop();
  driver.set_status(0);
  rig.run_loop();
  EXPECT_NE(driver.status(), 0);
  rig.transport->resume();
  rig.run_loop();
  EXPECT_EQ(driver.status(), 0);
  driver.start(0);
  EXPECT_EQ(echo(kHello), kHello);
}

TEST_F(PciTransportTest, ARestoredDeviceGoesOnWithWhatWasAvailable) {
  driver.start(feature::kRingPacked);
  ASSERT_EQ(echo(kHello), kHello);
  rig.transport->quiesce([] {});
  rig.run_loop();
  const uint16_t id = driver.ring(0).add({rig.guest.put(kHello)}, {rig.guest.room(8)});

  Rig copy;
  const uint64_t size = copy.guest.memory.ram_size();
  Bytes all = rig.guest.bytes(0, size);
  ASSERT_TRUE(copy.guest.memory.write(0, std::as_bytes(std::span(all))));
  ASSERT_TRUE(skerry::test::load(*copy.transport, skerry::test::save(*rig.transport)));
  copy.run_loop();
  EXPECT_EQ(copy.echo.activations, 0u) << "nothing moves before resume()";
  copy.transport->resume();
  copy.run_loop();
  EXPECT_EQ(copy.echo.activations, 1u);
  EXPECT_EQ(copy.echo.served, 2u) << "its own state was kept";
  all = copy.guest.bytes(0, size);
  ASSERT_TRUE(rig.guest.memory.write(0, std::as_bytes(std::span(all))));
  const auto used = driver.ring(0).take();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->id, id);
}

TEST_F(PciTransportTest, AStateWithFeaturesThatAreNotOfferedIsRefused) {
  driver.start(feature::kRingPacked);
  Rig other;
  auto created = PciTransport::create(other.echo, {.loop = LoopThread::kCaller, .packed_rings = false});
  ASSERT_TRUE(created);
  ASSERT_TRUE(other.host.root().add(**created, 4));
  const auto loaded = skerry::test::load(**created, skerry::test::save(*rig.transport));
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message().find("driver_features"), std::string::npos);
}

// The machine's thread asks, the loop's thread does it.
TEST(PciTransportThreads, ResetAndRestWorkFromAnotherThread) {
  PciBoard board;
  EchoDevice echo(*board.loop, board.guest.memory);
  auto created = PciTransport::create(echo, {.loop = LoopThread::kOther});
  ASSERT_TRUE(created);
  ASSERT_TRUE(board.host.root().add(**created, 3));
  PciDriver driver(board, 3);
  driver.start(0);  // polls the loop, which no thread runs yet
  std::thread io([&] { board.loop->run(); });
  std::promise<void> at_rest;
  (*created)->quiesce([&] { at_rest.set_value(); });
  at_rest.get_future().wait();
  (*created)->resume();
  (*created)->reset();
  EXPECT_EQ(driver.status(), 0);
  board.loop->quit();
  io.join();
  EXPECT_EQ(echo.deactivations, 1u);
}

// A device that says that it is prompt; another, never.
TEST(PciTransportThreads, WhoNotifiesASleepingLoopServesTheQueueItself) {
  for (const bool prompt : {true, false}) {
    PciBoard board;
    EchoDevice echo(*board.loop, board.guest.memory);
    echo.is_prompt = prompt;
    auto created = PciTransport::create(echo, {.loop = LoopThread::kOther});
    ASSERT_TRUE(created);
    ASSERT_TRUE(board.host.root().add(**created, 3));
    PciDriver driver(board, 3);
    driver.start(0);
    std::thread io([&] { board.loop->run(); });
    const uint64_t doorbell = driver.capabilities[VIRTIO_PCI_CAP_NOTIFY_CFG].address;
    bool here = false;
    // Sooner or later the loop sleeps. Where it may not be served here, it is served there.
    for (unsigned i = 0; !here && (prompt || i < 1000); ++i) {
      echo.notified_on = std::thread::id();
      driver.write(doorbell, 2, 0);
      while (echo.notified_on.load() == std::thread::id()) std::this_thread::yield();
      here = echo.notified_on.load() == std::this_thread::get_id();
    }
    EXPECT_EQ(here, prompt);
    board.loop->quit();
    io.join();
  }
}

// --- state -----------------------------------------------------------------------------------------------------------

skerry::test::Trace drive(Rig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.transport->resume();
  rig.run_loop();
  PciDriver driver(rig, 3);
  for (int i = 0; i < 200; ++i) {
    const uint64_t window = (random() % 4) * kWindow, at = PciDriver::kBarAt + window + random() % 64;
    const unsigned size = 1u << random() % 3;
    if (random() % 2)
      trace.push_back(driver.read(at, size));
    else
      driver.write(at, size, random() >> random() % 64);
    rig.run_loop();
    trace.push_back(driver.status() | uint64_t{rig.lines.high} << 8 | rig.messages.sent.size() << 16);
  }
  // As a save finds it.
  rig.transport->quiesce([] {});
  rig.run_loop();
  return trace;
}

TEST(PciTransportState, SurvivesSaveAndLoad) { skerry::test::run_state_test<Rig>(40, drive); }

}  // namespace
}  // namespace skerry::virtio::test
