// The guest's driver of a virtio PCI function, for tests: the board around it, its capabilities, and its registers
// (virtio 1.2, 4.1), on the calling thread, which also polls the loop.
#pragma once

#include <map>
#include <set>

#include "bus/pci.hpp"
#include "unit/virtio/driver.hpp"
#include "virtio/pci_layout.hpp"
#include "virtio/pci_transport.hpp"

namespace skerry::virtio::test {

struct Messages final : bus::MsiSink {
  void send_msi(uint64_t, uint32_t data) override { ++sent[data]; }
  std::map<uint32_t, unsigned> sent;  // how often, by data
};

struct Lines final : bus::PciHost::IntxSink {
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool level) override { high = level; }
  bool high = false;
};

// Two address spaces, a host bridge, guest memory and a loop.
struct PciBoard {
  explicit PciBoard(uint64_t memory = 4 << 20) : guest(memory) {
    auto created = EventLoop::create(clock);
    EXPECT_TRUE(created);
    loop = std::move(*created);
    EXPECT_TRUE(host.attach(nullptr));
  }
  // What the guest and what interrupts end at had seen of `other`.
  void follow(PciBoard& other) {
    guest.follow(other.guest);
    messages.sent = other.messages.sent;
    lines.high = other.lines.high;
  }
  // All that is ready.
  void run_loop() {
    for (int i = 0; i < 8; ++i) loop->poll(0);
  }

  VmClock clock;
  std::unique_ptr<EventLoop> loop;
  Guest guest;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  Messages messages;
  Lines lines;
  bus::PciHost host{pio, mmio, messages, lines};
};

class PciDriver {
 public:
  static constexpr uint64_t kBarAt = 0x8'0000'0000, kMsixAt = 0xfe00'0000;

  PciDriver(PciBoard& board, unsigned device) : board_(board), devfn_(device << 3) {
    set_config(bus::pci::kBar0 + 4 * pci_layout::kBar, 4, kBarAt & 0xffff'ffff);
    set_config(bus::pci::kBar0 + 4 * pci_layout::kBar + 4, 4, kBarAt >> 32);
    set_config(bus::pci::kBar0 + 4 * pci_layout::kMsixBar, 4, kMsixAt);
    set_config(bus::pci::kCommand, 2, bus::pci::kCommandMemory | bus::pci::kCommandMaster);
    find_capabilities();
  }

  // The configuration space.
  uint32_t config(unsigned offset, unsigned size) { return board_.host.config_read(0, devfn_, offset, size); }
  void set_config(unsigned offset, unsigned size, uint64_t value) {
    board_.host.config_write(0, devfn_, offset, size, static_cast<uint32_t>(value));
  }
  struct Capability {
    unsigned at;  // in the configuration space
    uint64_t address;
    uint32_t length;
  };
  std::map<unsigned, Capability> capabilities;  // by virtio's type
  unsigned msix_capability = 0;

  // Registers.
  uint64_t read(uint64_t address, unsigned size) { return board_.mmio.read(address, size); }
  void write(uint64_t address, unsigned size, uint64_t value) { board_.mmio.write(address, size, value); }
  uint32_t common(unsigned offset, unsigned size) {
    return static_cast<uint32_t>(read(capabilities[pci_layout::VIRTIO_PCI_CAP_COMMON_CFG].address + offset, size));
  }
  void set_common(unsigned offset, unsigned size, uint64_t value) {
    write(capabilities[pci_layout::VIRTIO_PCI_CAP_COMMON_CFG].address + offset, size, value);
  }
  uint8_t status() { return static_cast<uint8_t>(common(pci_layout::kDeviceStatus, 1)); }
  void set_status(uint8_t value) { set_common(pci_layout::kDeviceStatus, 1, value); }
  uint8_t isr() { return static_cast<uint8_t>(read(capabilities[pci_layout::VIRTIO_PCI_CAP_ISR_CFG].address, 1)); }
  template <typename T>
  T device_config(unsigned offset) {
    return static_cast<T>(read(capabilities[pci_layout::VIRTIO_PCI_CAP_DEVICE_CFG].address + offset, sizeof(T)));
  }

  // 3.1.1, up to FEATURES_OK; whether the device agrees.
  bool negotiate(uint64_t features) {
    set_status(0);
    board_.run_loop();
    set_status(pci_layout::ACKNOWLEDGE);
    set_status(pci_layout::ACKNOWLEDGE | pci_layout::DRIVER);
    features_ = features | feature::kVersion1;
    for (unsigned half = 0; half < 2; ++half) {
      set_common(pci_layout::kDriverFeatureSelect, 4, half);
      set_common(pci_layout::kDriverFeature, 4, features_ >> (32 * half) & 0xffff'ffff);
    }
    set_status(pci_layout::ACKNOWLEDGE | pci_layout::DRIVER | pci_layout::FEATURES_OK);
    return status() & pci_layout::FEATURES_OK;
  }
  uint64_t offered() {
    uint64_t features = 0;
    for (unsigned half = 0; half < 2; ++half) {
      set_common(pci_layout::kDeviceFeatureSelect, 4, half);
      features |= uint64_t{common(pci_layout::kDeviceFeature, 4)} << (32 * half);
    }
    return features;
  }
  void set_queue(unsigned index, const Queue::Setup& setup) {
    set_common(pci_layout::kQueueSelect, 2, index);
    set_common(pci_layout::kQueueSize, 2, setup.size);
    const auto set64 = [&](unsigned offset, uint64_t value) {
      set_common(offset, 4, value & 0xffff'ffff);
      set_common(offset + 4, 4, value >> 32);
    };
    set64(pci_layout::kQueueDesc, setup.descriptors);
    set64(pci_layout::kQueueDriver, setup.driver);
    set64(pci_layout::kQueueDevice, setup.device);
    if (setup.enabled) set_common(pci_layout::kQueueEnable, 2, 1);
  }
  // A ring for the queue, of `size` or what it has.
  RingDriver& make_ring(unsigned index, uint16_t size = 0) {
    set_common(pci_layout::kQueueSelect, 2, index);
    if (size == 0) size = static_cast<uint16_t>(common(pci_layout::kQueueSize, 2));
    rings_[index] = std::make_unique<RingDriver>(board_.guest, size, features_);
    set_queue(index, rings_[index]->setup());
    return *rings_[index];
  }
  RingDriver& ring(unsigned index) { return *rings_.at(index); }
  void driver_ok() {
    set_status(pci_layout::ACKNOWLEDGE | pci_layout::DRIVER | pci_layout::FEATURES_OK | pci_layout::DRIVER_OK);
    board_.run_loop();
  }
  // All of the above, with a ring for each queue.
  void start(uint64_t features, uint16_t size = 0) {
    ASSERT_TRUE(negotiate(features));
    const unsigned queues = common(pci_layout::kNumQueues, 2);
    for (unsigned i = 0; i < queues; ++i) make_ring(i, size);
    driver_ok();
  }
  void notify(unsigned queue) {
    const auto& at = capabilities[pci_layout::VIRTIO_PCI_CAP_NOTIFY_CFG];
    set_common(pci_layout::kQueueSelect, 2, queue);
    write(at.address + common(pci_layout::kQueueNotifyOff, 2) * uint64_t{pci_layout::kNotifyMultiplier}, 2, queue);
    board_.run_loop();
  }
  // MSI-X: vector v sends the data 100 + v. Queue q gets vector q + 1, changes of the configuration 0.
  void enable_msix() {
    const unsigned vectors = (config(msix_capability + 2, 2) & 0x7ff) + 1;
    for (unsigned v = 0; v < vectors; ++v) {
      write(kMsixAt + 16 * v, 4, 0xfee0'0000);
      write(kMsixAt + 16 * v + 4, 4, 0);
      write(kMsixAt + 16 * v + 8, 4, 100 + v);
      write(kMsixAt + 16 * v + 12, 4, 0);
    }
    set_config(msix_capability + 2, 2, 0x8000);
    set_common(pci_layout::kConfigMsixVector, 2, 0);
    for (unsigned q = 0; q + 1 < vectors; ++q) {
      set_common(pci_layout::kQueueSelect, 2, q);
      set_common(pci_layout::kQueueMsixVector, 2, q + 1);
    }
  }

 private:
  void find_capabilities() {
    for (unsigned at = config(bus::pci::kCapabilities, 1); at != 0; at = config(at + 1, 1)) {
      const unsigned id = config(at, 1);
      if (id == bus::pci::kCapMsix) msix_capability = at;
      if (id != bus::pci::kCapVendor) continue;
      capabilities[config(at + pci_layout::kCapType, 1)] = {at, kBarAt + config(at + pci_layout::kCapOffset, 4),
                                                            config(at + pci_layout::kCapLength, 4)};
    }
  }

  PciBoard& board_;
  const unsigned devfn_;
  uint64_t features_ = 0;
  std::map<unsigned, std::unique_ptr<RingDriver>> rings_;
};

}  // namespace skerry::virtio::test
