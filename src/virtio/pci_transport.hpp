// A virtio device as a PCI function (virtio 1.2, 4.1), without the legacy interface.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "bus/pci.hpp"
#include "virtio/transport_core.hpp"

namespace skerry::virtio {

class PciTransport final : public bus::PciFunction, public TransportCore {
 public:
  struct Options {
    LoopThread loop = LoopThread::kOther;
    bool packed_rings = true;  // whether they are offered
  };
  // `device` outlives it. Fails if the device has more queues than there may be, or the host has no descriptor left.
  static Result<std::unique_ptr<PciTransport>> create(virtio::Device& device, Options options);
  // On the loop's thread, or when the loop does not run any more.
  ~PciTransport() override;

  // With the VM at rest and the loop alive. What is under way ends first: quiesce() before saves kCaller the polling.
  void reset() override;
  // The device is at rest. A state is loaded only into a device that is fresh or was reset.
  void describe(state::Fields& fields) override;
  void restored() override;

  uint32_t config_read(unsigned offset, unsigned size) override;
  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  // The memory BAR.
  class Registers final : public bus::IoHandler {
   public:
    explicit Registers(PciTransport& transport) : transport_(transport) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t offset, unsigned size, uint64_t value) override;
    unsigned widest_access() const override { return 4; }
    std::span<const bus::Doorbell> doorbells() const override { return transport_.doorbells_; }

   private:
    PciTransport& transport_;
  };

  PciTransport(virtio::Device& device, Options options, Descriptors descriptors);
  void add_capabilities();
  unsigned add_virtio_capability(uint8_t type, uint32_t offset, uint32_t length, std::span<const uint8_t> more = {},
                                 std::span<const uint8_t> writable = {});

  // vCPU threads.
  uint32_t read_common(unsigned offset, unsigned size);
  uint32_t common_dword(unsigned offset) const;
  uint32_t queue_dword(unsigned offset, const QueueRegisters& queue) const;
  void write_common(unsigned offset, unsigned size, uint32_t value);
  bool write_queue(unsigned offset, uint32_t value);
  bool in_config_window(unsigned offset, unsigned size) const;
  uint16_t legal_vector(uint32_t value);

  // Transport and TransportCore.
  void queue_interrupt(unsigned queue) override;
  void signal_config() override;
  void set_line(bool level) override { set_intx(level); }
  void reset_interrupts() override;
  void reset_queue_interrupt(unsigned queue) override;
  void describe_config_interrupt(state::Fields& fields) override;
  void describe_queue_interrupt(state::Fields& fields, unsigned queue) override;
  void interrupt(uint16_t vector, uint8_t isr);
  void describe_vector(state::Fields& fields, std::string_view name, std::atomic<uint16_t>& vector);

  std::vector<bus::Doorbell> doorbells_;
  Registers registers_{*this};
  unsigned config_window_ = 0;  // where VIRTIO_PCI_CAP_PCI_CFG is

  std::atomic<uint16_t> config_vector_{0};
  std::vector<std::atomic<uint16_t>> queue_vectors_;
};

}  // namespace skerry::virtio
