// A virtqueue, split or packed (virtio 1.2, 2.7 and 2.8), from the device's side.
//
// The rings and descriptors are the driver's, which may be hostile: every descriptor is read once, checked once, and
// its copy is used from then on. Used on one thread, the device's.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory/guest_memory.hpp"
#include "state/fields.hpp"

namespace skerry::virtio {

// A stretch of guest memory, checked to be RAM when it was taken from the ring.
struct Buffer {
  memory::Gpa address;
  uint32_t length;
};

// One buffer list of the driver: first what the device reads, then what it writes.
struct Chain {
  uint16_t id = 0;       // to be given back by Queue::push()
  uint16_t descriptors = 0;  // how many ring entries it takes (packed)
  std::vector<Buffer> readable, writable;
  uint64_t readable_size = 0, writable_size = 0;

  // Copies from the readable part, starting `offset` bytes into it; gives how many bytes there were.
  size_t read(const memory::GuestMemory& memory, uint64_t offset, std::span<uint8_t> to) const;
  // Copies into the writable part.
  size_t write(memory::GuestMemory& memory, uint64_t offset, std::span<const uint8_t> from) const;
};

class Queue {
 public:
  static constexpr uint16_t kMaxSize = 32768;  // 2.7

  // As the driver has set it up by the transport; checked by start().
  struct Setup {
    uint16_t size = 0;
    uint64_t descriptors = 0, driver = 0, device = 0;  // guest-physical: descriptor area, available ring, used ring
    bool enabled = false;
  };

  explicit Queue(memory::GuestMemory& memory) : memory_(&memory) {}

  // Begins to work on what the driver has set up. `features` are those agreed on.
  void start(const Setup& setup, uint64_t features);
  void stop();
  bool running() const { return running_; }
  uint16_t size() const { return setup_.size; }

  // The next buffer list, if there is one. Nothing either if the ring is broken: then broken() says why, for good.
  std::optional<Chain> pop();
  // Puts the last one back, unused; only directly after its pop().
  void unpop(const Chain& chain);
  // Gives a buffer list back, `written` bytes into its writable part. Becomes visible at once.
  void push(const Chain& chain, uint32_t written);
  // The same for several that belong together (merged receive buffers): the driver sees all of them or none.
  void push_all(std::span<const Chain> chains, std::span<const uint32_t> written);
  // Whether the driver wants an interrupt for what was pushed since the last call.
  bool needs_interrupt();
  // Tells the driver whether to notify. After asking for notifications look again: true if a buffer came meanwhile.
  bool enable_notifications();
  void disable_notifications();

  const std::string& broken() const { return broken_; }  // empty: it is not
  void describe(state::Fields& fields);  // what start() does not give: the indexes

 private:
  memory::GuestMemory* memory_;
  Setup setup_;
  bool running_ = false;
  std::string broken_;
};

}  // namespace skerry::virtio
