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
  uint16_t id = 0;           // to be given back by Queue::push()
  uint16_t descriptors = 0;  // how many ring entries it takes
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

  // Begins to work on what the driver has set up: at the ring's start, or where describe() has loaded. `features` are
  // those agreed on. Asks for notifications. What cannot be worked on leaves it not running, and broken().
  void start(const Setup& setup, uint64_t features);
  // Back to how it was made. Chains that were taken are forgotten by it; they must not be pushed any more.
  void stop();
  bool running() const { return running_; }
  uint16_t size() const { return setup_.size; }

  // The next buffer list, if there is one. Nothing either if the ring is broken: then broken() says why, for good.
  // If there is none and notifications are on, the driver gives one for the next buffer list.
  std::optional<Chain> pop();
  // Puts the last one back, unused; only directly after its pop().
  void unpop(const Chain& chain);
  // Gives a buffer list back, `written` bytes into its writable part. Becomes visible at once.
  void push(const Chain& chain, uint32_t written);
  // The same for several that belong together (merged receive buffers): the driver sees all of them or none.
  void push_all(std::span<const Chain> chains, std::span<const uint32_t> written);
  // Takes the memory of a chain that was pushed, for later pops: saves allocations. Not needed.
  void recycle(Chain&& chain);
  // Whether the driver wants an interrupt for what was pushed since the last call.
  bool needs_interrupt();
  // Tells the driver whether to notify. After asking for notifications look again: true if a buffer came meanwhile.
  bool enable_notifications();
  void disable_notifications();

  const std::string& broken() const { return broken_; }  // empty: it is not
  void describe(state::Fields& fields);                  // what start() does not give: the indexes

 private:
  // As in guest memory, little endian like the host (2.7.5, 2.8.13).
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t a, b;  // split: flags, next; packed: buffer ID, flags
  };
  bool fail(std::string why);  // false
  bool in_memory(memory::Gpa gpa, uint64_t size, bool for_write);
  bool check_setup();
  Descriptor load_descriptor(unsigned index) const;
  bool available();
  bool pop_split(Chain& chain);
  bool pop_packed(Chain& chain);
  bool add_buffer(Chain& chain, const Descriptor& descriptor, uint16_t flags);
  bool add_indirect(Chain& chain, const Descriptor& descriptor, uint16_t flags);
  bool add_table_split(Chain& chain, memory::Gpa table, unsigned entries);
  bool add_table_packed(Chain& chain, memory::Gpa table, unsigned entries);
  void advance(uint16_t& index, bool& wrap, unsigned by) const;
  void write_used_packed(const Chain& chain, uint32_t written, uint16_t index) const;
  uint16_t used_flags(uint32_t written, bool wrap) const;
  uint16_t place() const;  // the next buffer's, as an event index
  void ask_for_notification();
  bool driver_wants_interrupt(uint32_t pushed) const;

  uint16_t load16(memory::Gpa gpa) const { return memory_->load<uint16_t>(gpa).value_or(0); }

  memory::GuestMemory* memory_;
  Setup setup_;
  bool running_ = false;
  bool packed_ = false, event_idx_ = false, indirect_ = false;  // agreed on
  bool notifications_ = true;
  std::optional<uint16_t> asked_at_;  // where the driver has been asked to notify, with event indexes
  // Split: free running. Packed: places in the ring, with their wrap counters.
  uint16_t avail_index_ = 0, used_index_ = 0;
  bool avail_wrap_ = true, used_wrap_ = true;
  uint16_t under_way_ = 0;    // ring entries of the chains that were popped and not pushed
  uint32_t unsignalled_ = 0;  // what was pushed since needs_interrupt(): used entries, or packed, descriptors
  std::string broken_;
  std::vector<iovec> scratch_;
  std::vector<Chain> spare_;
};

}  // namespace skerry::virtio
