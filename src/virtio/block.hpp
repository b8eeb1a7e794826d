// Block device (virtio 1.2, 5.2) over a node of the storage graph.
//
// Each request is a coroutine; the data goes straight between the image and guest memory. All queues are served on the
// loop's thread, which is the node's. What ends in one turn of the loop is told by one interrupt for each queue.
#pragma once

#include <atomic>

#include "base/task.hpp"
#include "block/node.hpp"
#include "virtio/device.hpp"
#include "virtio/request_queues.hpp"

namespace skerry::virtio {

class Block final : public Device {
 public:
  struct Options {
    std::string serial;  // of at most 20 bytes (VIRTIO_BLK_ID_BYTES); what is longer is cut
    uint16_t queues = 1;
    uint16_t queue_size = 256;  // a power of two, at least 4
    bool read_only = false;     // a node that is read-only makes it so as well
  };
  // `node` outlives it and has `loop` as its own.
  Block(std::string name, EventLoop& loop, memory::GuestMemory& memory, block::Node& node, Options options);

  DeviceId id() const override { return DeviceId::kBlock; }
  uint32_t pci_class() const override { return 0x010000; }  // SCSI storage: what guests know virtio disks as
  uint64_t features() const override;
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override;
  void read_config(uint32_t offset, std::span<uint8_t> to) override;
  void write_config(uint32_t offset, std::span<const uint8_t> from) override;

  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  bool prompt() override;
  // If something is under way still, polls the loop until it has ended.
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override { requests_.quiesce(std::move(at_rest)); }
  void resume() override { requests_.resume(); }
  void describe(state::Fields& fields) override;

 private:
  struct Request {
    unsigned queue;
    Chain chain;
    uint64_t offset = 0;        // in bytes
    uint64_t data_size = 0;     // without header and status
    std::vector<iovec> ranges;  // where the data is in this process
  };
  struct Segment {
    uint64_t offset, length;  // in bytes
    bool unmap;
  };

  void take(unsigned index);
  void do_not_borrow(unsigned notifications);
  Task<void> serve(Request request);
  Task<uint8_t> execute(Request& request);
  Task<uint8_t> read(Request& request);
  Task<uint8_t> write(Request& request);
  Task<uint8_t> discard_or_zero(Request& request, uint32_t type);
  uint8_t give_id(Request& request);
  bool in_range(const Request& request) const;
  bool aligned(uint64_t offset, uint64_t length) const;
  uint8_t parse_segments(const Request& request, uint32_t type, std::vector<Segment>& segments) const;
  uint8_t status_of(block::Errno result, const char* doing) const;
  void complete(Request& request, uint8_t status);
  bool writeback() const;

  block::Node& node_;
  const Options options_;
  const uint64_t capacity_;  // in bytes, whole sectors
  const block::Limits limits_;
  const bool read_only_;

  // VIRTIO_BLK_F_CONFIG_WCE: 1 is writeback. The driver's, from vCPU threads.
  std::atomic<uint8_t> write_cache_{1};

  uint64_t features_ = 0;  // agreed on
  RequestQueues requests_;
  std::atomic<unsigned> not_borrowed_{0};     // so many notifications more are the loop's
  std::atomic<unsigned> borrowed_in_row_{0};  // notifications since the loop was tried
};

}  // namespace skerry::virtio
