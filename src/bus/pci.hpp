// PCI Express functions and buses: configuration space, BARs, MSI-X, legacy interrupts.
// PCI Local Bus 3.0 (PCI), PCI Express Base 3.0 (PCIe), PCI-to-PCI Bridge 1.2.
//
// One lock, PciHost's, covers the configuration space of every function; it is taken by vCPU threads for configuration
// accesses, before a device's own. What a function says at run time (interrupts) needs it not.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"

namespace skerry::bus {

class PciHost;
class PciBus;

// Offsets in a configuration space (PCI 6.1; PCI-to-PCI Bridge 3.2).
namespace pci {
constexpr unsigned kVendorId = 0x00, kDeviceId = 0x02, kCommand = 0x04, kStatus = 0x06, kRevision = 0x08;
constexpr unsigned kClass = 0x09, kHeaderType = 0x0e, kBar0 = 0x10, kPrimaryBus = 0x18, kSecondaryBus = 0x19;
constexpr unsigned kSubordinateBus = 0x1a, kSubsystemVendorId = 0x2c, kSubsystemId = 0x2e, kCapabilities = 0x34;
constexpr unsigned kInterruptLine = 0x3c, kInterruptPin = 0x3d;
constexpr unsigned kConfigSize = 4096, kLegacyConfigSize = 256;

constexpr uint16_t kCommandIo = 1 << 0, kCommandMemory = 1 << 1, kCommandMaster = 1 << 2, kCommandParity = 1 << 6;
constexpr uint16_t kCommandSerr = 1 << 8, kCommandIntxDisable = 1 << 10;
constexpr uint16_t kStatusInterrupt = 1 << 3, kStatusCapabilities = 1 << 4;
constexpr uint8_t kCapMsi = 0x05, kCapVendor = 0x09, kCapPciExpress = 0x10, kCapMsix = 0x11;
constexpr uint8_t kHeaderBridge = 1, kMultiFunction = 0x80;
// Device/port type (PCIe 7.8.2).
constexpr unsigned kExpressEndpoint = 0, kExpressRootPort = 4, kExpressIntegratedEndpoint = 9;
}  // namespace pci

struct PciIdentity {
  uint16_t vendor, device;
  uint16_t subsystem_vendor = 0, subsystem = 0;
  uint32_t class_code;  // 24 bits: base class, subclass, interface
  uint8_t revision = 0;
};

enum class BarKind : uint8_t { kIo, kMemory32, kMemory32Prefetchable, kMemory64, kMemory64Prefetchable };

// Message-signalled interrupts by table (PCI 6.8.2): the table and the pending bits, in a page or more of a BAR.
// Any thread. Its lock is taken after a device's and before a LAPIC's.
class Msix final : public IoHandler {
 public:
  static constexpr unsigned kMaxVectors = 2048;
  explicit Msix(unsigned vectors);

  // The size of the BAR, and where in it the pending bits are. The table is at 0.
  uint64_t bar_size() const { return pba_offset_ * 2; }
  uint32_t pba_offset() const { return static_cast<uint32_t>(pba_offset_); }
  unsigned vectors() const { return static_cast<unsigned>(entries_.size()); }

  // Sends the message of `vector`, or notes it as pending while it is masked.
  void notify(unsigned vector);
  bool enabled() const { return control_.load(std::memory_order_acquire) & kEnable; }

  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;

 private:
  friend class PciFunction;
  friend class PciBus;
  static constexpr uint16_t kEnable = 1 << 15, kFunctionMask = 1 << 14;  // Message Control
  struct Entry {
    uint64_t address = 0;
    uint32_t data = 0, control = 1;  // Vector Control: bit 0 masks
  };
  // The descriptor that sends a vector's message, made when it is first sent, and the message that it sends.
  struct Event {
    std::unique_ptr<MsiEvent> event;
    bool tried = false, works = false;
    uint64_t address = 0;
    uint32_t data = 0;
  };
  void connect(MsiSink* sink) { sink_ = sink; }
  void send(size_t vector);  // with lock_ held
  void set_control(uint16_t control);
  void reset();
  void describe(state::Fields& fields);
  void send_pending();  // with lock_ held

  MsiSink* sink_ = nullptr;
  std::mutex lock_;
  std::vector<Entry> entries_;
  std::vector<Event> events_;
  std::vector<uint64_t> pending_;  // a bit a vector
  std::atomic<uint16_t> control_{0};
  const uint64_t pba_offset_;
};

// A function of a device: what has a configuration space. Devices derive from it; their describe(), reset() and
// restored() call this one's.
class PciFunction : public Device {
 public:
  PciFunction(std::string name, const PciIdentity& identity);

  std::string_view name() const override { return name_; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

  // By the host, with its lock held. `offset` + `size` stay in an aligned dword.
  virtual uint32_t config_read(unsigned offset, unsigned size);
  virtual void config_write(unsigned offset, unsigned size, uint32_t value);

  bool bus_master() const { return command_.load(std::memory_order_acquire) & pci::kCommandMaster; }
  uint8_t devfn() const { return devfn_; }
  PciBus* bus() const { return bus_; }
  // The bus behind it, of a bridge.
  virtual PciBus* secondary() { return nullptr; }

 protected:
  // While it is made.
  void add_bar(unsigned index, BarKind kind, uint64_t size, IoHandler& handler);
  // Of memory that the guest uses by itself. `place` is told where it is whenever that may have changed, if it is anywhere; with the
  // host's lock held, or at rest.
  void add_memory_bar(unsigned index, BarKind kind, uint64_t size, std::function<void(std::optional<uint64_t>)> place);
  // `content` is what follows the two bytes of ID and next pointer; `writable` its writable bits (shorter: none).
  // Gives its offset.
  unsigned add_capability(uint8_t id, std::span<const uint8_t> content, std::span<const uint8_t> writable = {});
  // MSI-X with a BAR of its own.
  void add_msix(unsigned vectors, unsigned bar);
  // MSI with one message, without masking (PCI 6.8.1). Its state is that of the configuration space.
  void add_msi();
  void add_pci_express(unsigned port_type, unsigned slot = 0);
  void use_interrupt_pin(uint8_t pin);  // 1 to 4: INTA to INTD
  template <typename T>
  void set_config(unsigned offset, T value) {
    for (unsigned i = 0; i < sizeof(T); ++i) config_[offset + i] = static_cast<uint8_t>(value >> (8 * i));
  }
  template <typename T>
  void set_writable(unsigned offset, T mask) {
    for (unsigned i = 0; i < sizeof(T); ++i) writable_[offset + i] = static_cast<uint8_t>(mask >> (8 * i));
  }
  template <typename T>
  T config(unsigned offset) const {
    T value = 0;
    for (unsigned i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | T{config_[offset + i]} << (8 * i));
    return value;
  }

  // Any thread, with the device's lock held or not.
  Msix* msix() { return msix_.get(); }
  void set_intx(bool level);
  // Sends the message, if the guest has enabled it: then true, and INTx is not driven.
  bool send_msi();

 private:
  friend class PciHost;
  friend class PciBus;
  struct Bar {
    BarKind kind = BarKind::kMemory32;
    uint64_t size = 0;  // 0: there is none
    IoHandler* handler = nullptr;
    std::function<void(std::optional<uint64_t>)> place;  // instead
  };
  void describe_bar(unsigned index, Bar bar);
  uint16_t config_written_mask(unsigned offset) const {
    return static_cast<uint16_t>(writable_[offset] | writable_[offset + 1] << 8);
  }
  // Where the BAR is, if it is anywhere.
  std::optional<uint64_t> bar_base(unsigned index) const;
  void command_changed();
  void msi_changed();
  void update_intx();

  const std::string name_;
  PciBus* bus_ = nullptr;
  uint8_t devfn_ = 0;
  std::array<uint8_t, pci::kConfigSize> config_{}, initial_{}, writable_{};
  std::array<Bar, 6> bars_{};
  unsigned capability_end_ = 0x40;
  unsigned last_capability_ = 0;
  std::unique_ptr<Msix> msix_;
  unsigned msix_capability_ = 0;
  unsigned msi_capability_ = 0;
  // The message that the configuration space tells, for other threads. The lock's place is that of Msix's.
  struct Msi {
    std::mutex lock;
    MsiSink* sink = nullptr;
    uint64_t address = 0;
    uint16_t data = 0;
    std::atomic<bool> enabled{false};
  } msi_;
  std::atomic<uint16_t> command_{0};
  std::atomic<bool> intx_{false};
  std::mutex intx_lock_;
  bool intx_driven_ = false;
};

class PciBus {
 public:
  explicit PciBus(PciFunction* bridge = nullptr) : bridge_(bridge) {}
  // `function` outlives the bus. Fails if the place is taken.
  Result<void> add(PciFunction& function, unsigned device, unsigned number = 0);
  PciFunction* at(uint8_t devfn) const { return functions_[devfn]; }
  PciFunction* bridge() const { return bridge_; }

 private:
  friend class PciHost;
  void connect(PciHost& host);
  PciFunction* const bridge_;
  PciHost* host_ = nullptr;
  std::array<PciFunction*, 256> functions_{};
  friend class PciFunction;
};

// A PCI Express root port: a bridge to a bus of one device.
class PciRootPort final : public PciFunction {
 public:
  static constexpr uint16_t kVendor = 0x1b36, kDevice = 0x000c;  // those of a generic root port, which every guest knows
  PciRootPort(std::string name, unsigned slot);
  PciBus* secondary() override { return &bus_behind_; }

 private:
  PciBus bus_behind_;
};

// The host bridge's part: the two configuration mechanisms, and the place of BARs in the address spaces.
class PciHost {
 public:
  static constexpr uint16_t kConfigAddressPort = 0xcf8, kConfigDataPort = 0xcfc;

  // Where interrupts of functions end. `pin` 0 to 3 at the root bus, after the swizzling of bridges.
  class IntxSink {
   public:
    virtual ~IntxSink() = default;
    // Level-triggered lines are shared: `source` tells who drives. Called from any thread, with locks of the source held.
    virtual void set_intx(const PciFunction& source, unsigned device, unsigned pin, bool level) = 0;
  };
  PciHost(AddressSpace& pio, AddressSpace& mmio, MsiSink& msi, IntxSink& intx)
      : pio_(pio), mmio_(mmio), msi_(msi), intx_(intx) {
    root_.connect(*this);
  }

  PciBus& root() { return root_; }
  // `port_cf9` gets what is not for the configuration mechanism.
  Result<void> attach(IoHandler* port_cf9);
  // Configuration accesses by memory (PCIe 7.2.2): base of bus 0, number of buses; 0: none. With the lock held (by a
  // config_write()), or at rest.
  void set_ecam(uint64_t base, unsigned buses);
  // After functions' BARs have changed. Likewise.
  void remap();

  uint32_t config_read(unsigned bus, unsigned devfn, unsigned offset, unsigned size);
  void config_write(unsigned bus, unsigned devfn, unsigned offset, unsigned size, uint32_t value);

  void reset();  // what is not a function's
  void describe(state::Fields& fields);

 private:
  friend class PciFunction;
  friend class PciBus;
  class ConfigPorts final : public IoHandler {
   public:
    explicit ConfigPorts(PciHost& host) : host_(host) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t offset, unsigned size, uint64_t value) override;
    unsigned widest_access() const override { return 4; }

   private:
    PciHost& host_;
  };
  class Ecam final : public IoHandler {
   public:
    explicit Ecam(PciHost& host) : host_(host) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t offset, unsigned size, uint64_t value) override;
    unsigned widest_access() const override { return 4; }

   private:
    PciHost& host_;
  };
  PciFunction* find(unsigned bus, unsigned devfn);
  void drive_intx(const PciFunction& function, bool level);

  AddressSpace& pio_;
  AddressSpace& mmio_;
  MsiSink& msi_;
  IntxSink& intx_;
  std::mutex lock_;
  PciBus root_;
  ConfigPorts ports_{*this};
  Ecam ecam_{*this};
  IoHandler* port_cf9_ = nullptr;
  uint32_t config_address_ = 0;
  uint64_t ecam_base_ = 0;
  unsigned ecam_buses_ = 0;
};

}  // namespace skerry::bus
