// The memory balloon (virtio 1.2, 5.5): the host asks the guest to do with less memory, gets free pages back without
// asking, and reads what the guest says of its memory.
//
// Threads: set_target(), target(), actual(), poll_statistics() and statistics() may be called from any thread, until
// the device goes. Queues are worked on by the loop's thread.
#pragma once

#include <array>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/deferred.hpp"
#include "virtio/activation.hpp"
#include "virtio/device.hpp"

namespace skerry::virtio {

class Balloon final : public Device {
 public:
  // 5.5.6.4, VIRTIO_BALLOON_S_*, in its order; sizes in bytes, the others are counts since the guest's boot.
  enum Statistic : uint8_t {
    kSwapIn,
    kSwapOut,
    kMajorFaults,
    kMinorFaults,
    kFree,
    kTotal,
    kAvailable,
    kCaches,
    kHugePagesMade,
    kHugePagesFailed,
    kStatistics
  };
  struct Statistics {
    std::array<std::optional<uint64_t>, kStatistics> values;
    std::optional<int64_t> at;  // VmClock time; nothing: the guest has given none yet
  };

  Balloon(std::string name, EventLoop& loop, memory::GuestMemory& memory);

  // How much memory the guest shall have, in bytes; the rest it is asked to give back. More than there is: all.
  void set_target(uint64_t bytes);
  uint64_t target() const;
  // How much it has now, by its own account.
  uint64_t actual() const;
  // Asks the guest for new statistics; they come when it gives them.
  void poll_statistics();
  Statistics statistics() const;

  DeviceId id() const override { return DeviceId::kBalloon; }
  uint32_t pci_class() const override { return 0x00ff00; }  // none of the others
  uint64_t features() const override;
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override;
  void read_config(uint32_t offset, std::span<uint8_t> to) override;
  void write_config(uint32_t offset, std::span<const uint8_t> from) override;
  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override;
  void resume() override;
  void describe(state::Fields& fields) override;

 private:
  bool is_statistics_queue(unsigned index) const;
  void inflate();
  bool inflate_chain(const Chain& chain, size_t& left);
  void deflate();
  void report(unsigned index);
  uint64_t give_back_inside(const Buffer& buffer);
  void take_statistics();
  void answer_statistics();
  uint64_t in_bytes(uint32_t pages) const;

  Activation active_;
  Deferred work_later_, config_changed_, poll_;
  uint64_t inflated_ = 0;         // bytes of the next buffer of the inflate queue that have been worked on
  bool statistics_held_ = false;  // the guest's buffer has been read and waits, still in its queue, for a request

  mutable std::mutex lock_;  // what follows
  uint32_t num_pages_ = 0;   // 5.5.4: the size of the balloon that is wanted, in pages of 4 KiB
  uint32_t actual_ = 0;      // and the one that the guest has
  Statistics statistics_;
};

}  // namespace skerry::virtio
