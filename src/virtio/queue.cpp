#include "virtio/queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "virtio/device.hpp"

namespace skerry::virtio {

using memory::Gpa;

namespace {
// Descriptor flags (2.7.5, 2.8.1).
constexpr uint16_t VIRTQ_DESC_F_NEXT = 1, VIRTQ_DESC_F_WRITE = 2, VIRTQ_DESC_F_INDIRECT = 4;
constexpr uint16_t VIRTQ_DESC_F_AVAIL = 1 << 7, VIRTQ_DESC_F_USED = 1 << 15;
constexpr uint16_t VIRTQ_AVAIL_F_NO_INTERRUPT = 1;  // 2.7.6
constexpr uint16_t VIRTQ_USED_F_NO_NOTIFY = 1;      // 2.7.8
// Event suppression of packed rings (2.8.14): the flags are the upper half of a dword.
constexpr uint32_t RING_EVENT_FLAGS_DISABLE = 1, RING_EVENT_FLAGS_DESC = 2, kEventFlagsShift = 16;
constexpr uint32_t kEventFlagsMask = 3, kEventOffsetMask = 0x7fff, kEventWrapShift = 15;

constexpr unsigned kDescriptorSize = 16;
// Fields of a packed descriptor that are written alone.
constexpr unsigned kLengthOffset = 8, kIdOffset = 12, kFlagsOffset = 14;
// struct virtq_avail and virtq_used: flags, idx, ring, event.
constexpr unsigned kIdxOffset = 2, kRingOffset = 4, kAvailEntry = 2, kUsedEntry = 8;

constexpr uint64_t kMaxChainBytes = uint64_t{1} << 32;  // 2.7.4
// Drivers may use longer indirect tables than a small queue has entries; what bounds them is the memory they take here.
constexpr unsigned kMaxTableEntries = 1024;
constexpr size_t kMaxSpare = 64;
constexpr uint32_t kMaxUnsignalled = 0x10000;  // more than an index can tell apart
}  // namespace

// --- chains ----------------------------------------------------------------------------------------------------------

namespace {
// Calls `copy` for each piece of [offset, offset + size) of a buffer list; gives how many bytes it lasted for.
template <typename Copy>
size_t for_pieces(std::span<const Buffer> buffers, uint64_t offset, size_t size, Copy copy) {
  size_t done = 0;
  for (const Buffer& buffer : buffers) {
    if (done == size) break;
    if (offset >= buffer.length) {
      offset -= buffer.length;
      continue;
    }
    const size_t here = std::min<uint64_t>(size - done, buffer.length - offset);
    if (!copy(buffer.address + offset, done, here)) break;
    done += here;
    offset = 0;
  }
  return done;
}
}  // namespace

size_t Chain::read(const memory::GuestMemory& memory, uint64_t offset, std::span<uint8_t> to) const {
  return for_pieces(readable, offset, to.size(), [&](Gpa gpa, size_t at, size_t size) {
    return memory.read(gpa, std::as_writable_bytes(to.subspan(at, size)));
  });
}

size_t Chain::write(memory::GuestMemory& memory, uint64_t offset, std::span<const uint8_t> from) const {
  return for_pieces(writable, offset, from.size(), [&](Gpa gpa, size_t at, size_t size) {
    return memory.write(gpa, std::as_bytes(from.subspan(at, size)));
  });
}

// --- life ------------------------------------------------------------------------------------------------------------

bool Queue::fail(std::string why) {
  if (broken_.empty()) broken_ = std::move(why);
  return false;
}

bool Queue::in_memory(Gpa gpa, uint64_t size, bool for_write) {
  scratch_.clear();
  return memory_->host_ranges(gpa, size, for_write, scratch_);
}

// 2.7 and 2.8.10: sizes and alignments of the areas.
bool Queue::check_setup() {
  const unsigned size = setup_.size;
  if (size == 0 || size > kMaxSize) return fail(fmt::format("its size is {}", size));
  if (!packed_ && (size & (size - 1)) != 0) return fail(fmt::format("its size is {}, not a power of two", size));
  const struct {
    const char* name;
    Gpa gpa;
    uint64_t size;
    unsigned alignment;
    bool written;
  } areas[] = {
      {"descriptor", setup_.descriptors, uint64_t{size} * kDescriptorSize, 16, packed_},
      {"driver", setup_.driver, packed_ ? 4u : kRingOffset + size * kAvailEntry + 2, packed_ ? 4u : 2u, false},
      {"device", setup_.device, packed_ ? 4u : kRingOffset + size * kUsedEntry + 2, 4, true},
  };
  for (const auto& area : areas) {
    if (area.gpa % area.alignment != 0)
      return fail(fmt::format("its {} area at {:#x} is not aligned", area.name, area.gpa));
    if (!in_memory(area.gpa, area.size, area.written))
      return fail(fmt::format("its {} area at {:#x} is not in memory", area.name, area.gpa));
  }
  // Of a loaded state.
  if (packed_ && (avail_index_ >= size || used_index_ >= size)) return fail("its state is not one of its size");
  if (under_way_ > size) return fail("its state has more under way than its size");
  return true;
}

void Queue::start(const Setup& setup, uint64_t features) {
  setup_ = setup;
  packed_ = features & feature::kRingPacked;
  event_idx_ = features & feature::kRingEventIdx;
  indirect_ = features & feature::kRingIndirectDesc;
  broken_.clear();
  running_ = check_setup();
  if (running_) enable_notifications();
}

void Queue::stop() {
  memory::GuestMemory& memory = *memory_;
  *this = Queue(memory);
}

void Queue::describe(state::Fields& fields) {
  fields.field("avail_index", avail_index_);
  fields.field("avail_wrap", avail_wrap_);
  fields.field("used_index", used_index_);
  fields.field("used_wrap", used_wrap_);
  fields.field("under_way", under_way_, state::up_to(kMaxSize));
  fields.field("unsignalled", unsignalled_, state::up_to(kMaxUnsignalled));
}

// --- taking ----------------------------------------------------------------------------------------------------------

Queue::Descriptor Queue::load_descriptor(unsigned index) const {
  const Gpa at = setup_.descriptors + uint64_t{index} * kDescriptorSize;
  const uint64_t low = memory_->load<uint64_t>(at).value_or(0), high = memory_->load<uint64_t>(at + 8).value_or(0);
  return {low, static_cast<uint32_t>(high), static_cast<uint16_t>(high >> 32), static_cast<uint16_t>(high >> 48)};
}

// What the driver wrote before it made a buffer available is read after it (2.7.13.2, 2.8.6.1): a load is an acquire.
bool Queue::available() {
  if (packed_) {  // 2.8.1
    const uint16_t flags = load16(setup_.descriptors + uint64_t{avail_index_} * kDescriptorSize + kFlagsOffset);
    const bool avail = flags & VIRTQ_DESC_F_AVAIL, used = flags & VIRTQ_DESC_F_USED;
    return avail != used && avail == avail_wrap_;
  }
  const auto waiting = static_cast<uint16_t>(load16(setup_.driver + kIdxOffset) - avail_index_);
  if (waiting > setup_.size) return fail(fmt::format("{} buffers are available in a ring of {}", waiting, setup_.size));
  return waiting != 0;
}

std::optional<Chain> Queue::pop() {
  if (!running_ || !broken_.empty()) return std::nullopt;
  if (!available()) {
    if (!notifications_ || !event_idx_ || !broken_.empty() || asked_at_ == place()) return std::nullopt;
    if (!enable_notifications()) return std::nullopt;
  }
  Chain chain;
  if (!spare_.empty()) {
    chain = std::move(spare_.back());
    spare_.pop_back();
  }
  if (!(packed_ ? pop_packed(chain) : pop_split(chain))) return std::nullopt;
  // Ring entries come back only with push(): a driver that gives them twice would have no bound.
  if (under_way_ + chain.descriptors > setup_.size) {
    fail("more descriptors are under way than it has");
    return std::nullopt;
  }
  under_way_ = static_cast<uint16_t>(under_way_ + chain.descriptors);
  return chain;
}

bool Queue::pop_split(Chain& chain) {
  const unsigned slot = avail_index_ & (setup_.size - 1u);
  const uint16_t head = load16(setup_.driver + kRingOffset + uint64_t{slot} * kAvailEntry);
  uint16_t index = head, count = 0;
  for (;;) {
    if (index >= setup_.size) return fail(fmt::format("descriptor {} is not in a table of {}", index, setup_.size));
    if (count++ == setup_.size) return fail("a descriptor chain is longer than the queue");
    const Descriptor descriptor = load_descriptor(index);
    const uint16_t flags = descriptor.a;
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      if (!add_indirect(chain, descriptor, flags)) return false;
      break;
    }
    if (!add_buffer(chain, descriptor, flags)) return false;
    if (!(flags & VIRTQ_DESC_F_NEXT)) break;
    index = descriptor.b;
  }
  chain.id = head;
  chain.descriptors = count;
  ++avail_index_;
  return true;
}

bool Queue::pop_packed(Chain& chain) {
  uint16_t index = avail_index_, count = 0;
  for (;;) {
    if (count++ == setup_.size) return fail("a descriptor chain is longer than the queue");
    const Descriptor descriptor = load_descriptor(index);
    const uint16_t flags = descriptor.b;
    chain.id = descriptor.a;  // that of the last counts (2.8.6)
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      if (!add_indirect(chain, descriptor, flags)) return false;
      break;
    }
    if (!add_buffer(chain, descriptor, flags)) return false;
    if (!(flags & VIRTQ_DESC_F_NEXT)) break;
    index = static_cast<uint16_t>(index + 1 == setup_.size ? 0 : index + 1);
  }
  chain.descriptors = count;
  advance(avail_index_, avail_wrap_, count);
  return true;
}

bool Queue::add_buffer(Chain& chain, const Descriptor& descriptor, uint16_t flags) {
  const bool writable = flags & VIRTQ_DESC_F_WRITE;
  if (descriptor.length == 0) return fail("a descriptor has the length 0");
  if (!writable && !chain.writable.empty()) return fail("a device-readable descriptor follows a device-writable one");
  if (!in_memory(descriptor.address, descriptor.length, writable))
    return fail(
        fmt::format("a descriptor's buffer {:#x}+{:#x} is not in memory", descriptor.address, descriptor.length));
  (writable ? chain.writable_size : chain.readable_size) += descriptor.length;
  if (chain.readable_size + chain.writable_size > kMaxChainBytes) return fail("a descriptor chain has more than 4 GiB");
  (writable ? chain.writable : chain.readable).push_back({descriptor.address, descriptor.length});
  return true;
}

// 2.7.5.3, 2.8.7. The table ends the chain; its own write flag means nothing.
bool Queue::add_indirect(Chain& chain, const Descriptor& descriptor, uint16_t flags) {
  if (!indirect_) return fail("an indirect descriptor, which was not agreed on");
  if (flags & VIRTQ_DESC_F_NEXT) return fail("a descriptor follows an indirect one");
  if (descriptor.length == 0 || descriptor.length % kDescriptorSize != 0)
    return fail(fmt::format("an indirect table has {} bytes", descriptor.length));
  const unsigned entries = descriptor.length / kDescriptorSize;
  if (entries > std::max<unsigned>(kMaxTableEntries, setup_.size))
    return fail(fmt::format("an indirect table has {} entries", entries));
  if (!in_memory(descriptor.address, descriptor.length, false))
    return fail(fmt::format("an indirect table at {:#x} is not in memory", descriptor.address));
  return packed_ ? add_table_packed(chain, descriptor.address, entries)
                 : add_table_split(chain, descriptor.address, entries);
}

bool Queue::add_table_split(Chain& chain, Gpa table, unsigned entries) {
  unsigned index = 0;
  for (unsigned count = 0; count < entries; ++count) {
    Descriptor descriptor;
    memory_->read(table + uint64_t{index} * kDescriptorSize, std::as_writable_bytes(std::span(&descriptor, 1)));
    const uint16_t flags = descriptor.a;
    if (flags & VIRTQ_DESC_F_INDIRECT) return fail("an indirect table has an indirect descriptor");
    if (!add_buffer(chain, descriptor, flags)) return false;
    if (!(flags & VIRTQ_DESC_F_NEXT)) return true;
    index = descriptor.b;
    if (index >= entries) return fail(fmt::format("descriptor {} is not in an indirect table of {}", index, entries));
  }
  return fail("the chain in an indirect table has a loop");
}

// All of the table, in its order (2.8.7).
bool Queue::add_table_packed(Chain& chain, Gpa table, unsigned entries) {
  for (unsigned index = 0; index < entries; ++index) {
    Descriptor descriptor;
    memory_->read(table + uint64_t{index} * kDescriptorSize, std::as_writable_bytes(std::span(&descriptor, 1)));
    const uint16_t flags = descriptor.b;
    if (flags & VIRTQ_DESC_F_INDIRECT) return fail("an indirect table has an indirect descriptor");
    if (!add_buffer(chain, descriptor, flags)) return false;
  }
  return true;
}

void Queue::unpop(const Chain& chain) {
  if (!running_ || !broken_.empty()) return;
  under_way_ = static_cast<uint16_t>(under_way_ - std::min(under_way_, chain.descriptors));
  if (!packed_) {
    --avail_index_;
    return;
  }
  if (avail_index_ < chain.descriptors) {
    avail_index_ = static_cast<uint16_t>(avail_index_ + setup_.size);
    avail_wrap_ = !avail_wrap_;
  }
  avail_index_ = static_cast<uint16_t>(avail_index_ - chain.descriptors);
}

void Queue::recycle(Chain&& chain) {
  if (spare_.size() >= kMaxSpare) return;
  chain.readable.clear();
  chain.writable.clear();
  chain.readable_size = chain.writable_size = 0;
  spare_.push_back(std::move(chain));
}

// --- giving back -----------------------------------------------------------------------------------------------------

void Queue::advance(uint16_t& index, bool& wrap, unsigned by) const {
  unsigned next = index + by;
  if (next >= setup_.size) {
    next -= setup_.size;
    wrap = !wrap;
  }
  index = static_cast<uint16_t>(next);
}

uint16_t Queue::used_flags(uint32_t written, bool wrap) const {  // 2.8.6, 2.8.9
  return static_cast<uint16_t>((wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0) |
                               (written > 0 ? VIRTQ_DESC_F_WRITE : 0));
}

// All but the flags.
void Queue::write_used_packed(const Chain& chain, uint32_t written, uint16_t index) const {
  const Gpa at = setup_.descriptors + uint64_t{index} * kDescriptorSize;
  memory_->store<uint32_t>(at + kLengthOffset, written);
  memory_->store<uint16_t>(at + kIdOffset, chain.id);
}

void Queue::push(const Chain& chain, uint32_t written) { push_all({&chain, 1}, {&written, 1}); }

void Queue::push_all(std::span<const Chain> chains, std::span<const uint32_t> written) {
  if (!running_ || chains.empty()) return;
  // Packed: the driver looks at the first of them; its flags, which are written last, show them all.
  const Gpa first_flags = setup_.descriptors + uint64_t{used_index_} * kDescriptorSize + kFlagsOffset;
  const uint16_t first = used_flags(written[0], used_wrap_);
  for (size_t i = 0; i < chains.size(); ++i) {
    const uint16_t entries = chains[i].descriptors;
    under_way_ = static_cast<uint16_t>(under_way_ - std::min(under_way_, entries));
    if (packed_) {
      const Gpa at = setup_.descriptors + uint64_t{used_index_} * kDescriptorSize;
      write_used_packed(chains[i], written[i], used_index_);
      if (i > 0) memory_->store<uint16_t>(at + kFlagsOffset, used_flags(written[i], used_wrap_));
      advance(used_index_, used_wrap_, std::min(entries, setup_.size));
      unsignalled_ += entries;
    } else {
      const Gpa at = setup_.device + kRingOffset + uint64_t{used_index_ & (setup_.size - 1u)} * kUsedEntry;
      memory_->store<uint32_t>(at, chains[i].id);
      memory_->store<uint32_t>(at + 4, written[i]);
      ++used_index_;
      ++unsignalled_;
    }
  }
  unsignalled_ = std::min(unsignalled_, kMaxUnsignalled);
  // The used entries, and what the device wrote into the buffers, are there before this (2.7.14, 2.8.6.1): a store is a release.
  if (packed_)
    memory_->store<uint16_t>(first_flags, first);
  else
    memory_->store<uint16_t>(setup_.device + kIdxOffset, used_index_);
}

bool Queue::needs_interrupt() {
  if (!running_ || unsignalled_ == 0) return false;
  // The driver writes what it wants and then looks for used buffers; here it is the other way round (2.7.7.2, 2.8.14).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return driver_wants_interrupt(std::exchange(unsignalled_, 0));
}

bool Queue::driver_wants_interrupt(uint32_t pushed) const {
  const unsigned size = setup_.size;
  if (!packed_) {
    if (!event_idx_) return !(load16(setup_.driver) & VIRTQ_AVAIL_F_NO_INTERRUPT);
    const uint16_t used_event = load16(setup_.driver + kRingOffset + uint64_t{size} * kAvailEntry);
    return static_cast<uint16_t>(used_index_ - used_event - 1) < pushed;
  }
  const uint32_t event = memory_->load<uint32_t>(setup_.driver).value_or(0);
  const uint32_t flags = event >> kEventFlagsShift & kEventFlagsMask;
  if (flags == RING_EVENT_FLAGS_DISABLE) return false;
  const uint32_t offset = event & kEventOffsetMask;
  if (flags != RING_EVENT_FLAGS_DESC || !event_idx_ || offset >= size) return true;
  // Places on a circle of two rounds, one for each value of the wrap counter.
  const bool wrap = event >> kEventWrapShift & 1;
  const uint32_t now = used_index_ + (used_wrap_ ? 0 : size), wanted = offset + (wrap ? 0 : size);
  return (now + 2 * size - 1 - wanted) % (2 * size) < pushed;
}

// --- notifications ---------------------------------------------------------------------------------------------------

uint16_t Queue::place() const {
  return packed_ ? static_cast<uint16_t>(avail_index_ | avail_wrap_ << kEventWrapShift) : avail_index_;
}

void Queue::ask_for_notification() {
  if (packed_) {
    uint32_t event = 0;  // RING_EVENT_FLAGS_ENABLE
    if (event_idx_) event = place() | RING_EVENT_FLAGS_DESC << kEventFlagsShift;
    memory_->store<uint32_t>(setup_.device, event);
  } else if (event_idx_) {
    memory_->store<uint16_t>(setup_.device + kRingOffset + uint64_t{setup_.size} * kUsedEntry, avail_index_);
  } else {
    memory_->store<uint16_t>(setup_.device, 0);
  }
  asked_at_ = place();
}

bool Queue::enable_notifications() {
  notifications_ = true;
  if (!running_ || !broken_.empty()) return false;
  ask_for_notification();
  // A driver that has not seen the wish has made its buffer available before: it is seen now (2.7.10, 2.8.14).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return available();
}

void Queue::disable_notifications() {
  notifications_ = false;
  asked_at_.reset();
  if (!running_) return;
  if (packed_)
    memory_->store<uint32_t>(setup_.device, RING_EVENT_FLAGS_DISABLE << kEventFlagsShift);
  else if (!event_idx_)  // with event indexes the one asked for last is passed soon
    memory_->store<uint16_t>(setup_.device, VIRTQ_USED_F_NO_NOTIFY);
}

}  // namespace skerry::virtio
