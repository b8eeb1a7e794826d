// A small guest for tests of virtio devices: its memory, its side of the rings, and a driver that sets a device up as a
// transport would, without one. What goes through a PCI function's registers is in pci_driver.hpp.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "virtio/device.hpp"

namespace skerry::virtio::test {

using memory::Gpa;
using Bytes = std::vector<uint8_t>;

// RAM from address 0, handed out from 64 KiB on.
class Guest {
 public:
  explicit Guest(uint64_t size = 16 << 20) { EXPECT_TRUE(memory.add_ram(0, size, "ram")); }

  Gpa allocate(uint64_t size, uint64_t alignment = 64) {
    const Gpa at = (next_ + alignment - 1) & ~(alignment - 1);
    next_ = at + size;
    EXPECT_LE(next_, memory.ram_size()) << "the test needs more guest memory";
    return at;
  }
  // What the device is to read, and where it is to write.
  Buffer put(std::span<const uint8_t> content) {
    const Buffer buffer = room(static_cast<uint32_t>(content.size()));
    EXPECT_TRUE(memory.write(buffer.address, std::as_bytes(content)));
    return buffer;
  }
  Buffer room(uint32_t size) { return {allocate(size), size}; }
  Bytes bytes(Gpa gpa, size_t size) const {
    Bytes content(size);
    EXPECT_TRUE(memory.read(gpa, std::as_writable_bytes(std::span(content))));
    return content;
  }
  // Memory as `other` has it, given out as far.
  void follow(const Guest& other) {
    const Bytes all = other.bytes(0, other.memory.ram_size());
    EXPECT_TRUE(memory.write(0, std::as_bytes(std::span(all))));
    next_ = other.next_;
  }
  Bytes bytes(const Buffer& buffer) const { return bytes(buffer.address, buffer.length); }

  memory::GuestMemory memory;

 private:
  Gpa next_ = 0x10000;
};

// The driver's side of a queue: virtio 1.2, 2.7 (split) and 2.8 (packed), by the features that were agreed on.
class RingDriver {
 public:
  static constexpr unsigned kTableEntries = 64;  // of an indirect table

  RingDriver(Guest& guest, uint16_t size, uint64_t features)
      : memory_(guest.memory),
        size_(size),
        packed_(features & feature::kRingPacked),
        event_idx_(features & feature::kRingEventIdx),
        descriptors(guest.allocate(uint64_t{size} * 16, 4096)),
        driver(guest.allocate(6 + uint64_t{size} * 2, 4096)),
        device(guest.allocate(6 + uint64_t{size} * 8, 4096)),
        tables(guest.allocate(uint64_t{size} * kTableEntries * 16, 4096)) {
    EXPECT_TRUE(memory_.fill(descriptors, tables - descriptors, 0));
    for (uint16_t i = 0; i < size; ++i) free_.push_back(i);
  }

  Queue::Setup setup() const {
    return {.size = size_, .descriptors = descriptors, .driver = driver, .device = device, .enabled = true};
  }
  uint16_t size() const { return size_; }
  size_t free() const { return free_count(); }

  // Makes a buffer list available, by an indirect table if `indirect`; gives its ID. There must be room for it.
  uint16_t add(const std::vector<Buffer>& readable, const std::vector<Buffer>& writable, bool indirect = false) {
    struct Part {
      Buffer buffer;
      uint16_t flags;
    };
    std::vector<Part> parts;
    for (const Buffer& buffer : readable) parts.push_back({buffer, 0});
    for (const Buffer& buffer : writable) parts.push_back({buffer, kWrite});
    const uint16_t id = free_.front();
    if (indirect) {
      EXPECT_LE(parts.size(), kTableEntries);
      const Gpa table = tables + uint64_t{id} * kTableEntries * 16;
      for (uint16_t i = 0; i < parts.size(); ++i) {
        const bool more = i + 1u < parts.size() && !packed_;
        const auto flags = static_cast<uint16_t>(parts[i].flags | (more ? kNext : 0));
        write_descriptor(table + 16 * i, parts[i].buffer, packed_ ? 0 : flags, packed_ ? flags : i + 1);
      }
      parts = {{{table, static_cast<uint32_t>(parts.size() * 16)}, kIndirect}};
    }
    EXPECT_GE(free_count(), parts.size()) << "the ring is full";
    if (packed_) {
      add_packed(id, parts);
    } else {
      std::vector<uint16_t>& taken = taken_[id];
      for (size_t i = 0; i < parts.size(); ++i) take_free(taken);
      for (size_t i = 0; i < parts.size(); ++i) {
        const bool more = i + 1 < parts.size();
        write_descriptor(descriptors + 16 * taken[i], parts[i].buffer,
                         static_cast<uint16_t>(parts[i].flags | (more ? kNext : 0)), more ? taken[i + 1] : 0);
      }
      make_available(id);
    }
    return id;
  }

  // Split: puts a descriptor's number into the available ring, whatever it is.
  void make_available(uint16_t head) {
    store<uint16_t>(driver + 4 + 2 * (avail_ % size_), head);
    store<uint16_t>(driver + 2, ++avail_);
    ++added_;
  }

  struct Used {
    uint16_t id;
    uint32_t written;
  };
  // The next buffer list that came back.
  std::optional<Used> take() {
    if (packed_) return take_packed();
    if (load<uint16_t>(device + 2) == used_) return std::nullopt;
    const Gpa entry = device + 4 + 8 * (used_ % size_);
    const Used used{static_cast<uint16_t>(load<uint32_t>(entry)), load<uint32_t>(entry + 4)};
    ++used_;
    for (const uint16_t index : taken_[used.id]) free_.push_back(index);
    taken_.erase(used.id);
    return used;
  }
  std::vector<Used> take_all() {
    std::vector<Used> all;
    while (const auto used = take()) all.push_back(*used);
    return all;
  }

  // Whether the device is to be notified of what was added since the last call.
  bool should_notify() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const unsigned added = std::exchange(added_, 0);
    if (added == 0) return false;
    if (!packed_) {
      if (!event_idx_) return !(load<uint16_t>(device) & 1);
      return static_cast<uint16_t>(avail_ - load<uint16_t>(device + 4 + 8 * size_) - 1) < added;
    }
    const uint32_t event = load<uint32_t>(device);
    if (event >> 16 != 2) return event >> 16 == 0;
    const unsigned wanted = (event & 0x7fff) + (event >> 15 & 1 ? 0u : size_);
    return (avail_ + (avail_wrap_ ? 0u : size_) + 2u * size_ - 1 - wanted) % (2 * size_) < added;
  }

  // Asks for an interrupt with the next buffer list, or the one that comes `later` ring entries after it; or for none.
  void want_interrupt(unsigned later = 0) {
    if (packed_) {
      const unsigned place = used_ + later;
      const bool wrap = place >= size_ ? !used_wrap_ : used_wrap_;
      store<uint32_t>(driver, event_idx_ ? place % size_ | unsigned{wrap} << 15 | 2u << 16 : 0);
    } else if (event_idx_) {
      store<uint16_t>(driver + 4 + 2 * size_, static_cast<uint16_t>(used_ + later));
    } else {
      store<uint16_t>(driver, 0);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void want_no_interrupt() {
    if (packed_)
      store<uint32_t>(driver, 1u << 16);
    else if (event_idx_)  // the index that comes last
      store<uint16_t>(driver + 4 + 2 * size_, static_cast<uint16_t>(used_ - 1));
    else
      store<uint16_t>(driver, 1);
  }

  // `a` and `b` are the last two words: split: flags, next; packed: ID, flags.
  void write_descriptor(Gpa at, const Buffer& buffer, uint16_t a, unsigned b) {
    store<uint64_t>(at, buffer.address);
    store<uint32_t>(at + 8, buffer.length);
    store<uint16_t>(at + 12, a);
    store<uint16_t>(at + 14, static_cast<uint16_t>(b));
  }
  template <typename T>
  void store(Gpa at, T value) {
    EXPECT_TRUE(memory_.store<T>(at, value));
  }
  template <typename T>
  T load(Gpa at) const {
    return memory_.load<T>(at).value_or(0);
  }

  static constexpr uint16_t kNext = 1, kWrite = 2, kIndirect = 4, kAvail = 1 << 7, kUsed = 1 << 15;

 private:
  size_t free_count() const { return packed_ ? size_ - packed_entries_ : free_.size(); }
  void take_free(std::vector<uint16_t>& taken) {
    taken.push_back(free_.front());
    free_.pop_front();
  }
  template <typename Parts>
  void add_packed(uint16_t id, const Parts& parts) {
    free_.pop_front();
    entries_[id] = static_cast<uint16_t>(parts.size());
    packed_entries_ += parts.size();
    const Gpa first = descriptors + 16 * avail_ + 14;
    uint16_t first_flags = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto flags =
          static_cast<uint16_t>(parts[i].flags | (i + 1 < parts.size() ? kNext : 0) | (avail_wrap_ ? kAvail : kUsed));
      const Gpa at = descriptors + 16 * avail_;
      store<uint64_t>(at, parts[i].buffer.address);
      store<uint32_t>(at + 8, parts[i].buffer.length);
      store<uint16_t>(at + 12, id);
      if (i == 0)
        first_flags = flags;
      else
        store<uint16_t>(at + 14, flags);
      if (++avail_ == size_) {
        avail_ = 0;
        avail_wrap_ = !avail_wrap_;
      }
    }
    store<uint16_t>(first, first_flags);
    added_ += static_cast<unsigned>(parts.size());
  }
  std::optional<Used> take_packed() {
    const Gpa at = descriptors + 16 * used_;
    const uint16_t flags = load<uint16_t>(at + 14);
    const bool avail = flags & kAvail, used = flags & kUsed;
    if (avail != used || used != used_wrap_) return std::nullopt;
    const Used result{load<uint16_t>(at + 12), load<uint32_t>(at + 8)};
    const uint16_t entries = entries_[result.id];
    EXPECT_GT(entries, 0) << "an ID that is not under way came back: " << result.id;
    entries_.erase(result.id);
    packed_entries_ -= entries;
    free_.push_back(result.id);
    used_ = static_cast<uint16_t>(used_ + entries);
    if (used_ >= size_) {
      used_ = static_cast<uint16_t>(used_ - size_);
      used_wrap_ = !used_wrap_;
    }
    return result;
  }

  memory::GuestMemory& memory_;
  const uint16_t size_;
  const bool packed_, event_idx_;
  uint16_t avail_ = 0, used_ = 0;  // split: free running; packed: places
  bool avail_wrap_ = true, used_wrap_ = true;
  unsigned added_ = 0;
  std::deque<uint16_t> free_;                        // descriptors; packed: IDs
  std::map<uint16_t, std::vector<uint16_t>> taken_;  // split: the descriptors of each head
  std::map<uint16_t, uint16_t> entries_;             // packed: the ring entries of each ID
  size_t packed_entries_ = 0;

 public:
  const Gpa descriptors, driver, device, tables;
};

// Notes what a device asks of its transport.
class FakeTransport final : public Transport {
 public:
  void queue_interrupt(unsigned queue) override { ++interrupts[queue]; }
  void config_interrupt() override { ++config_interrupts; }
  void needs_reset(std::string_view reason) override { why = reason; }

  std::map<unsigned, unsigned> interrupts;
  unsigned config_interrupts = 0;
  std::string why;  // why the device is broken; empty: it is not
};

// Sets a device up with these features and a ring for each of its queues, on the calling thread, which is the loop's.
class DirectDriver {
 public:
  DirectDriver(Device& device, Guest& guest, uint64_t features, uint16_t max_size = 64)
      : device_(device), features_(features | feature::kVersion1) {
    for (const uint16_t size : device.queue_sizes())
      rings_.push_back(std::make_unique<RingDriver>(guest, std::min(size, max_size), features));
    queues.assign(rings_.size(), Queue(guest.memory));
    activate();
  }
  ~DirectDriver() {
    if (active_) device_.deactivate();
  }
  void activate() {
    for (size_t i = 0; i < rings_.size(); ++i) queues[i].start(rings_[i]->setup(), features_);
    device_.activate(features_, queues, transport);
    active_ = true;
  }
  void deactivate() {
    device_.deactivate();
    active_ = false;
  }

  RingDriver& ring(size_t index) { return *rings_[index]; }
  void notify(unsigned index) { device_.notified(index); }

  FakeTransport transport;
  std::vector<Queue> queues;

 private:
  Device& device_;
  const uint64_t features_;
  std::vector<std::unique_ptr<RingDriver>> rings_;
  bool active_ = false;
};

template <typename T>
T config_field(Device& device, uint32_t offset) {
  std::array<uint8_t, sizeof(T)> bytes{};
  device.read_config(offset, bytes);
  T value = 0;
  for (unsigned i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | static_cast<T>(T{bytes[i]} << (8 * i)));
  return value;
}

}  // namespace skerry::virtio::test
