#include "bus/address_space.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace skerry::bus {

Result<void> AddressSpace::add(uint64_t base, uint64_t size, IoHandler& handler, std::string owner) {
  const auto position = std::upper_bound(ranges_.begin(), ranges_.end(), base,
                                         [](uint64_t at, const Range& range) { return at < range.base; });
  if (position != ranges_.end() && base + size > position->base)
    return error("{} range {:#x}+{:#x} of {} overlaps {}", name_, base, size, owner, position->owner);
  if (position != ranges_.begin() && std::prev(position)->base + std::prev(position)->size > base)
    return error("{} range {:#x}+{:#x} of {} overlaps {}", name_, base, size, owner, std::prev(position)->owner);
  ranges_.insert(position, Range{base, size, &handler, std::move(owner)});
  return ok();
}

std::optional<AddressSpace::Movable> AddressSpace::find(uint64_t address) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                      [](uint64_t at, const Range& range) { return at < range.base; });
  if (after != ranges_.begin()) {
    const Range& range = *std::prev(after);
    if (address - range.base < range.size) return Movable{range.base, range.size, range.handler};
  }
  return find_movable(address);
}

std::optional<AddressSpace::Movable> AddressSpace::find_movable(uint64_t address) const {
  for (;;) {
    const uint32_t sequence = movable_sequence_.load(std::memory_order_acquire);
    std::optional<Movable> found;
    const size_t count = movable_count_.load(std::memory_order_relaxed);
    for (size_t i = 0; i < count && !found; ++i) {
      const Movable range{movable_[i].base.load(std::memory_order_relaxed), movable_[i].size.load(std::memory_order_relaxed),
                          movable_[i].handler.load(std::memory_order_relaxed)};
      if (address - range.base < range.size) found = range;
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (!(sequence & 1) && movable_sequence_.load(std::memory_order_relaxed) == sequence) return found;
  }
}

void AddressSpace::replace_movable(std::span<const Movable> ranges) {
  const auto overlap = [](const auto& a, const Movable& b) { return a.base < b.base + b.size && b.base < a.base + a.size; };
  std::vector<Movable> placed;
  for (const Movable& range : ranges) {
    const auto in_the_way = [&](const auto& other) { return overlap(other, range); };
    if (range.size == 0 || range.base + range.size < range.base || placed.size() == kMaxMovable ||
        std::any_of(ranges_.begin(), ranges_.end(), in_the_way) || std::any_of(placed.begin(), placed.end(), in_the_way)) {
      log::debug(log::Category::kIo, "{} range {:#x}+{:#x} overlaps another: not there", name_, range.base, range.size);
      continue;
    }
    placed.push_back(range);
  }
  const uint32_t sequence = movable_sequence_.load(std::memory_order_relaxed);
  movable_sequence_.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  for (size_t i = 0; i < placed.size(); ++i) {
    movable_[i].base.store(placed[i].base, std::memory_order_relaxed);
    movable_[i].size.store(placed[i].size, std::memory_order_relaxed);
    movable_[i].handler.store(placed[i].handler, std::memory_order_relaxed);
  }
  movable_count_.store(placed.size(), std::memory_order_relaxed);
  movable_sequence_.store(sequence + 2, std::memory_order_release);
  place_doorbells();
}

void AddressSpace::set_doorbell_listener(DoorbellListener* listener) {
  doorbell_listener_ = listener;
  place_doorbells();
}

void AddressSpace::place_doorbells() {
  if (!doorbell_listener_) return;
  std::vector<Doorbell> all;
  for (size_t i = 0; i < movable_count_.load(std::memory_order_relaxed); ++i)
    for (Doorbell bell : movable_[i].handler.load(std::memory_order_relaxed)->doorbells()) {
      bell.offset += movable_[i].base.load(std::memory_order_relaxed);
      all.push_back(bell);
    }
  doorbell_listener_->place_doorbells(all);
}

namespace {
// How much of an access at `offset` one call of the handler takes.
unsigned piece(const IoHandler& handler, uint64_t range_size, uint64_t offset, unsigned size) {
  unsigned part = std::min(size, handler.widest_access());
  while (offset + part > range_size) part /= 2;
  return part;
}
uint64_t low_bytes(uint64_t value, unsigned size) { return size == 8 ? value : value & ((uint64_t{1} << (8 * size)) - 1); }
}  // namespace

uint64_t AddressSpace::read(uint64_t address, unsigned size) {
  uint64_t value = 0;
  for (unsigned done = 0; done < size;) {
    const std::optional<Movable> range = find(address + done);
    unsigned part = 1;
    uint64_t got = 0xff;
    if (range) {
      const uint64_t offset = address + done - range->base;
      part = piece(*range->handler, range->size, offset, size - done);
      got = low_bytes(range->handler->io_read(offset, part), part);
    } else if (behind_) {
      if (done == 0) part = size;
      got = behind_->read(address + done, part);
    } else {
      log::debug(log::Category::kIo, "{} read at {:#x}: nothing there", name_, address + done);
    }
    value |= got << (8 * done);
    done += part;
  }
  return value;
}

void AddressSpace::write(uint64_t address, unsigned size, uint64_t value) {
  for (unsigned done = 0; done < size;) {
    const std::optional<Movable> range = find(address + done);
    unsigned part = 1;
    if (range) {
      const uint64_t offset = address + done - range->base;
      part = piece(*range->handler, range->size, offset, size - done);
      range->handler->io_write(offset, part, low_bytes(value >> (8 * done), part));
    } else if (behind_) {
      if (done == 0) part = size;
      behind_->write(address + done, part, low_bytes(value >> (8 * done), part));
    } else {
      log::debug(log::Category::kIo, "{} write of {:#x} at {:#x}: nothing there", name_, (value >> (8 * done)) & 0xff,
                 address + done);
    }
    done += part;
  }
}

}  // namespace skerry::bus
