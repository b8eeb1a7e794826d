#include "devices/ata/bus_master.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace skerry::devices::ata {

namespace {
constexpr unsigned kCommand = 0, kStatus = 2, kTable = 4;
constexpr unsigned kEntrySize = 8, kMostEntries = 0x10000 / kEntrySize;  // a table does not cross 64 KiB
constexpr uint8_t kEndOfTable = 0x80;                                    // in the last byte of an entry
}  // namespace

uint8_t BusMaster::read(unsigned offset) const {
  if (offset == kCommand) return command_;
  if (offset == kStatus) return status_;
  return offset >= kTable ? static_cast<uint8_t>(table_ >> (8 * (offset - kTable))) : 0;
}

bool BusMaster::write(unsigned offset, uint8_t value) {
  if (offset == kCommand) {
    const bool starts = !(command_ & kStart) && (value & kStart);
    if (starts) status_ |= kActive;
    if (!(value & kStart)) status_ &= static_cast<uint8_t>(~kActive);
    command_ = value & (kStart | kToMemory);
    return starts;
  }
  if (offset == kStatus) {
    status_ = static_cast<uint8_t>((status_ & kActive) | (value & kCapable) | (status_ & ~value & (kError | kInterrupt)));
  } else if (offset >= kTable) {
    const unsigned shift = 8 * (offset - kTable);
    table_ = ((table_ & ~(0xffu << shift)) | uint32_t{value} << shift) & ~3u;
  }
  return false;
}

void BusMaster::describe(state::Fields& fields) {
  fields.field("command", command_, state::in_mask(kStart | kToMemory));
  fields.field("status", status_, state::in_mask(kActive | kError | kInterrupt | kCapable));
  fields.field("table", table_, state::in_mask(~uint64_t{3}));
}

// An entry (1.2): address, count of bytes (0: 64 KiB), end of table.
bool BusMaster::read_regions(const memory::GuestMemory& memory, memory::Gpa table, uint64_t size, bool for_write, Regions& to,
                             bool& ends) {
  ends = false;
  for (unsigned i = 0; i < kMostEntries && !ends && to.size < size; ++i) {
    std::array<uint8_t, kEntrySize> entry;
    if (!memory.read(table + i * kEntrySize, std::as_writable_bytes(std::span(entry)))) return false;
    const uint32_t address = (entry[0] | uint32_t{entry[1]} << 8 | uint32_t{entry[2]} << 16 | uint32_t{entry[3]} << 24) & ~1u;
    const uint32_t count = (entry[4] | uint32_t{entry[5]} << 8) & ~1u, bytes = count ? count : 0x10000;
    const auto here = static_cast<uint32_t>(std::min<uint64_t>(bytes, size - to.size));
    if (!to.add(memory, address, here, for_write)) return false;
    ends = (entry[7] & kEndOfTable) && here == bytes;
    if ((entry[7] & kEndOfTable) && !ends) break;
  }
  return true;
}

}  // namespace skerry::devices::ata
