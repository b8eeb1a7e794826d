// Entropy device (virtio 1.2, 5.4): gives the guest random numbers of the host.
#pragma once

#include "base/deferred.hpp"
#include "virtio/device.hpp"

namespace skerry::virtio {

class Entropy final : public Device {
 public:
  Entropy(std::string name, EventLoop& loop, memory::GuestMemory& memory);

  DeviceId id() const override { return DeviceId::kEntropy; }
  uint32_t pci_class() const override { return 0x00ff00; }  // unclassified
  uint64_t features() const override { return 0; }
  std::vector<uint16_t> queue_sizes() const override;
  void read_config(uint32_t, std::span<uint8_t>) override {}

  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override;
  void resume() override;
  void describe(state::Fields&) override {}  // it has no state of its own

 private:
  void fill();
  bool fill_one(const Chain& chain);

  Queue* queue_ = nullptr;  // while active
  Transport* transport_ = nullptr;
  bool quiesced_ = false;
  Deferred more_;
};

}  // namespace skerry::virtio
