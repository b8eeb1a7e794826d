// The USB controller under several threads, its loop running: for the thread sanitizer, for deadlocks, and for data that goes
// where it should not.
#include <future>
#include <thread>

#include "unit/devices/usb_xhci_driver.hpp"

namespace skerry::devices::usb::test {
namespace {

// With a loop that has a thread of its own, from the point on at which the devices are configured.
struct Machine {
  static constexpr unsigned kRounds = 400;

  Machine() {
    rig.turns = 8;
    rig.start();
    disk = rig.disk();
    keyboard = rig.hid(XhciRig::kKeyboardPort);
    rig.scsi_in(disk, kTestUnitReady, 0);
    rig.turns = 0;
    rig.waits = true;
    io = std::thread([this] { rig.loop->run(); });
  }
  ~Machine() {
    rig.loop->quit();
    io.join();
  }
  void queue(unsigned slot, unsigned endpoint, memory::Gpa at, uint32_t length) {
    rig.queue(slot, endpoint, {.parameter = at, .status = length, .control = type(Type::kNormal) | trb::IOC | trb::ISP});
    rig.ring_doorbell(slot, endpoint);
  }
  // A read with all that belongs to it, at once.
  void begin_read(uint32_t sector) {
    Bytes wrapper = {0x55, 0x53, 0x42, 0x43, 0x78, 0x56, 0x34, 0x12, 0, 4, 0, 0, 0x80, 0, 10};
    const Bytes cdb = read_10(sector, 2);
    wrapper.insert(wrapper.end(), cdb.begin(), cdb.end());
    wrapper.resize(31);
    rig.put(XhciRig::kWrapper, wrapper);
    queue(disk, kInEndpoint, XhciRig::kBlocks, 1024);
    queue(disk, kInEndpoint, XhciRig::kStatus, 13);
    queue(disk, kOut, XhciRig::kWrapper, 31);
  }
  void check_read(uint32_t sector) {
    ASSERT_EQ(rig.bytes(XhciRig::kStatus + 12, 1), Bytes{0});
    ASSERT_EQ(rig.bytes(XhciRig::kBlocks + 511, 2), (Bytes{sector_byte(sector), sector_byte(sector + 1)}));
  }

  XhciRig rig{true};
  unsigned disk = 0, keyboard = 0;
  std::thread io;
};

TEST(UsbThreads, ADriverBesideWhoTypesAndWhoLooks) {
  Machine machine;
  std::atomic<bool> end{false};
  std::thread viewer([&] {
    for (unsigned i = 0; !end; ++i) {
      machine.rig.keyboard->key(display::KeyCode::kA, i % 2 == 0);
      machine.rig.tablet->pointer_absolute(static_cast<uint16_t>(i), 0, {});
      std::this_thread::yield();
    }
  });
  std::thread other_vcpu([&] {
    for (unsigned i = 0; !end; ++i) {
      machine.rig.mmio.read(XhciRig::kBarAt + kPortsAt + i % 12 * kPortStride, 4);
      machine.rig.mmio.write(XhciRig::kBarAt + kInterruptersAt + IMAN, 4, iman::IE | iman::IP);
      std::this_thread::yield();
    }
  });
  unsigned keys = 0;
  bool asks = false;
  for (unsigned round = 0; round < Machine::kRounds; ++round) {
    const uint32_t sector = round * 5 % 2000;
    if (!std::exchange(asks, true)) machine.queue(machine.keyboard, kInEndpoint, XhciRig::kData, 8);
    machine.begin_read(sector);
    for (unsigned left = 3; left > 0;) {
      const auto event = machine.rig.next_event();
      ASSERT_EQ(event->type(), Type::kTransferEvent);
      ASSERT_EQ(XhciRig::code_of(*event), Code::kSuccess);
      if (event->slot() == machine.disk) {
        --left;
      } else {
        ++keys;
        asks = false;
      }
    }
    ASSERT_NO_FATAL_FAILURE(machine.check_read(sector));
  }
  end = true;
  viewer.join();
  other_vcpu.join();
  EXPECT_GT(keys, 0u);
}

TEST(UsbThreads, RestWhileTransfersAreUnderWay) {
  Machine machine;
  for (unsigned i = 0; i < 100; ++i) {
    machine.begin_read(i);
    std::promise<void> rested;
    machine.rig.xhci.quiesce([&] { rested.set_value(); });
    rested.get_future().wait();
    const auto first = skerry::test::save(machine.rig.xhci);
    EXPECT_TRUE(skerry::test::same_state(skerry::test::save(machine.rig.xhci), first));
    machine.rig.xhci.resume();
    for (unsigned left = 3; left > 0; --left) ASSERT_EQ(XhciRig::code_of(*machine.rig.next_event()), Code::kSuccess);
    ASSERT_NO_FATAL_FAILURE(machine.check_read(i));
  }
}

TEST(UsbThreads, CommandsWhileTransfersAreUnderWay) {
  Machine machine;
  for (unsigned i = 0; i < 100; ++i) {
    machine.begin_read(i);
    const uint32_t in = XhciRig::endpoint_bits(machine.disk, kInEndpoint);
    machine.rig.enqueue(XhciRig::kCommandRing, machine.rig.commands, {.control = type(Type::kStopEndpoint) | in});
    machine.rig.ring_doorbell(0, 0);
    unsigned left = 3;
    for (bool stopped = false; left > 0 || !stopped;) {
      const auto event = machine.rig.next_event();
      ASSERT_EQ(XhciRig::code_of(*event), Code::kSuccess);
      if (event->type() == Type::kTransferEvent) {
        --left;
      } else {
        stopped = true;
        machine.rig.ring_doorbell(machine.disk, kInEndpoint);
      }
    }
    ASSERT_NO_FATAL_FAILURE(machine.check_read(i));
  }
}

}  // namespace
}  // namespace skerry::devices::usb::test
