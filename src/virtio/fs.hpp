// File system device (virtio 1.2, 5.11): a folder of the host that the guest mounts by its tag. The device carries requests of
// FUSE to the share's server (share/server_link.hpp) and answers back; it knows no more of them than their headers.
//
// Threads: everything on the loop's thread; the configuration space never changes.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/deferred.hpp"
#include "share/server_link.hpp"
#include "virtio/activation.hpp"
#include "virtio/device.hpp"

namespace skerry::virtio {

class Fs final : public Device {
 public:
  static constexpr size_t kMaxTag = 36;

  // `tag` has 1 to kMaxTag bytes.
  Fs(std::string name, EventLoop& loop, memory::GuestMemory& memory, const std::string& tag, share::ServerLink link);
  ~Fs() override;

  DeviceId id() const override { return DeviceId::kFs; }
  uint32_t pci_class() const override { return 0x018000; }  // mass storage controller, other
  uint64_t features() const override { return 0; }
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override { return sizeof config_; }
  void read_config(uint32_t offset, std::span<uint8_t> to) override;

  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  void deactivate() override;
  // At once: answers that come meanwhile stay in their slots until resume(). So a server that answers nothing keeps nobody waiting.
  void quiesce(std::function<void()> at_rest) override;
  void resume() override;
  // A VM with a share is not saved (config::check_can_be_saved): the server's half of the state would be missing.
  void describe(state::Fields&) override {}

 private:
  // virtio_fs_config (5.11.4).
  struct Config {
    std::array<char, kMaxTag> tag;
    uint32_t num_request_queues;
  };
  // What is in a slot. Without a chain, the driver has reset the device meanwhile.
  struct UnderWay {
    std::optional<Chain> chain;
    unsigned queue;
    uint64_t unique;
    std::optional<share::Done> done;  // the server's answer, while the device is at rest
  };

  void serve();
  void begin(unsigned queue, Chain chain);
  void hear();
  void answer(unsigned slot, const share::Done& done);
  void refuse(unsigned queue, Chain chain, uint64_t unique, int error);
  void finish(unsigned queue, Chain chain, uint64_t unique, int error, std::span<const uint8_t> payload);
  void after_answers();

  Config config_{};
  share::ServerLink link_;
  Activation active_;
  Deferred more_;
  std::array<std::optional<UnderWay>, share::kSlots> under_way_;
};

}  // namespace skerry::virtio
