// One channel's part of a bus master IDE function: registers, and regions for data in guest memory. Programming Interface
// for Bus Master IDE Controller 1.0. Parts of a controller: its lock covers the registers.
#pragma once

#include <cstdint>

#include "devices/ata/regions.hpp"
#include "memory/guest_memory.hpp"
#include "state/fields.hpp"

namespace skerry::devices::ata {

class BusMaster {
 public:
  static constexpr unsigned kSize = 8;  // of its registers

  uint8_t read(unsigned offset) const;
  // True: it was started.
  bool write(unsigned offset, uint8_t value);
  void reset() { *this = {}; }
  void describe(state::Fields& fields);

  bool started() const { return command_ & kStart; }
  bool active() const { return status_ & kActive; }
  bool to_memory() const { return command_ & kToMemory; }
  memory::Gpa table() const { return table_; }
  void interrupt() { status_ |= kInterrupt; }
  void exhausted() { status_ &= static_cast<uint8_t>(~kActive); }
  void failed() { status_ = static_cast<uint8_t>((status_ & ~kActive) | kError); }

  // Of the table's regions as many as hold `size` bytes; fewer bytes if there are no more. `ends`: all of the table has been
  // used. False: something is not memory.
  static bool read_regions(const memory::GuestMemory& memory, memory::Gpa table, uint64_t size, bool for_write, Regions& to,
                           bool& ends);

 private:
  static constexpr uint8_t kStart = 1 << 0, kToMemory = 1 << 3;                                     // BMICx
  static constexpr uint8_t kActive = 1 << 0, kError = 1 << 1, kInterrupt = 1 << 2, kCapable = 3 << 5;  // BMISx

  uint8_t command_ = 0, status_ = 0;
  uint32_t table_ = 0;  // BMIDTPx
};

}  // namespace skerry::devices::ata
