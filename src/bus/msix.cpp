#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "bus/pci.hpp"

namespace skerry::bus {

namespace {

// PCI 6.8.2.6 to 6.8.2.9: an entry of the table.
constexpr unsigned kEntrySize = 16;
constexpr uint32_t kEntryMasked = 1;
constexpr uint64_t kPage = 4096;

uint64_t pages(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

uint64_t power_of_two(uint64_t at_least) {
  uint64_t size = kPage;
  while (size < at_least) size *= 2;
  return size;
}

}  // namespace

Msix::Msix(unsigned vectors)
    : entries_(vectors), events_(vectors), pending_((vectors + 63) / 64), pba_offset_(power_of_two(pages(uint64_t{vectors} * kEntrySize))) {
  assert(vectors >= 1 && vectors <= kMaxVectors);
}

void Msix::notify(unsigned vector) {
  std::lock_guard guard(lock_);
  if (vector >= entries_.size() || !enabled()) return;
  const Entry& entry = entries_[vector];
  if ((control_.load(std::memory_order_relaxed) & kFunctionMask) || (entry.control & kEntryMasked))
    pending_[vector / 64] |= uint64_t{1} << (vector % 64);
  else
    send(vector);
}

void Msix::send(size_t vector) {
  if (!sink_) return;
  const Entry& entry = entries_[vector];
  Event& at = events_[vector];
  if (!std::exchange(at.tried, true)) at.event = sink_->make_msi_event();
  if (at.event && (!at.works || at.address != entry.address || at.data != entry.data)) {
    at.works = at.event->set(entry.address, entry.data);
    at.address = entry.address;
    at.data = entry.data;
  }
  if (!at.event || !at.works) return sink_->send_msi(entry.address, entry.data);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(at.event->fd(), &one, sizeof one);
}

void Msix::send_pending() {
  const uint16_t control = control_.load(std::memory_order_relaxed);
  if (!(control & kEnable) || (control & kFunctionMask)) return;
  for (size_t vector = 0; vector < entries_.size(); ++vector) {
    const uint64_t bit = uint64_t{1} << (vector % 64);
    const Entry& entry = entries_[vector];
    if (!(pending_[vector / 64] & bit) || (entry.control & kEntryMasked)) continue;
    pending_[vector / 64] &= ~bit;
    send(vector);
  }
}

void Msix::set_control(uint16_t control) {
  std::lock_guard guard(lock_);
  control_.store(control, std::memory_order_release);
  send_pending();
}

void Msix::reset() {
  std::lock_guard guard(lock_);
  control_.store(0, std::memory_order_release);
  std::fill(entries_.begin(), entries_.end(), Entry{});
  std::fill(pending_.begin(), pending_.end(), 0);
}

void Msix::describe(state::Fields& fields) {
  fields.list("entries", entries_.size(), [&](size_t i) {
    fields.field("address", entries_[i].address);
    fields.field("data", entries_[i].data);
    fields.field("control", entries_[i].control, state::up_to(kEntryMasked));
  });
  fields.list("pending", pending_.size(), [&](size_t i) { fields.field("", pending_[i]); });
}

uint64_t Msix::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  uint64_t word = 0;
  const uint64_t at = offset & ~uint64_t{7};
  if (at < entries_.size() * kEntrySize) {
    const Entry& entry = entries_[at / kEntrySize];
    word = at % kEntrySize == 0 ? entry.address : entry.data | uint64_t{entry.control} << 32;
  } else if (at >= pba_offset_ && (at - pba_offset_) / 8 < pending_.size()) {
    word = pending_[(at - pba_offset_) / 8];
  }
  return word >> (8 * (offset & 7)) & (size == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * size)) - 1);
}

// "Software is permitted to use aligned dword or qword accesses"; others do nothing.
void Msix::io_write(uint64_t offset, unsigned size, uint64_t value) {
  if ((size != 4 && size != 8) || offset % size != 0) return;
  std::lock_guard guard(lock_);
  for (unsigned done = 0; done < size; done += 4, value >>= 32) {
    const uint64_t at = offset + done;
    if (at >= entries_.size() * kEntrySize) return;
    Entry& entry = entries_[at / kEntrySize];
    const auto word = static_cast<uint32_t>(value);
    switch (at % kEntrySize) {
      case 0: entry.address = (entry.address & ~uint64_t{0xffff'ffff}) | (word & ~3u); break;
      case 4: entry.address = (entry.address & 0xffff'ffff) | uint64_t{word} << 32; break;
      case 8: entry.data = word; break;
      default: entry.control = word & kEntryMasked; break;
    }
  }
  send_pending();
}

}  // namespace skerry::bus
