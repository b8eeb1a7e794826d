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

const AddressSpace::Range* AddressSpace::find(uint64_t address) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                      [](uint64_t at, const Range& range) { return at < range.base; });
  if (after == ranges_.begin()) return nullptr;
  const Range& range = *std::prev(after);
  return address - range.base < range.size ? &range : nullptr;
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
    const Range* range = find(address + done);
    unsigned part = 1;
    uint64_t got = 0xff;
    if (range) {
      const uint64_t offset = address + done - range->base;
      part = piece(*range->handler, range->size, offset, size - done);
      got = low_bytes(range->handler->io_read(offset, part), part);
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
    const Range* range = find(address + done);
    unsigned part = 1;
    if (range) {
      const uint64_t offset = address + done - range->base;
      part = piece(*range->handler, range->size, offset, size - done);
      range->handler->io_write(offset, part, low_bytes(value >> (8 * done), part));
    } else {
      log::debug(log::Category::kIo, "{} write of {:#x} at {:#x}: nothing there", name_, (value >> (8 * done)) & 0xff,
                 address + done);
    }
    done += part;
  }
}

}  // namespace skerry::bus
