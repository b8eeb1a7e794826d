// What a transport of SCSI commands knows of a logical unit: how a command begins, how its data moves, how it ends.
//
// A transport calls begin() with a command's bytes; if the command has data it calls move() until all of it has moved, or as
// much as there is room for; then finish(). Whenever the command has `failed` it is over; take_sense() or the command REQUEST SENSE
// says why.
//
// All members are called in turns of the loop of the unit's node; describe() and reset() at rest too. Several commands may be under
// way at a time, and end in any order; a unit puts no order between them.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/task.hpp"
#include "devices/scsi/primary.hpp"
#include "state/fields.hpp"

namespace skerry::devices::scsi {

constexpr unsigned kMaxCdb = 16;
using Cdb = std::array<uint8_t, kMaxCdb>;  // what is shorter ends in zeroes

// What of a command a unit still has to do, and how its data goes.
struct Command {
  enum class Work : uint8_t {
    kNone,
    kRead,   // the medium's bytes [offset, offset + size)
    kWrite,  // likewise
    kGive,   // `data` is for the host
    kTake,   // `data` comes from the host, for finish()
    kFlush,  // of finish()
  };
  static constexpr uint32_t kMostData = 64 * 1024;          // in `data`
  static constexpr uint32_t kMostTransfer = 256u << 20;     // that a command may ask for

  Work work = Work::kNone;
  bool failed = false;
  bool durable = false;   // of kWrite: forced unit access
  bool unmap = false;     // of WRITE SAME: zeroes may be holes
  uint8_t code = 0;       // the operation
  uint32_t repeats = 0;   // of WRITE SAME: blocks to write
  uint32_t size = 0;      // of the data, in bytes
  uint64_t offset = 0;    // in bytes
  std::vector<uint8_t> data;

  bool to_host() const { return !failed && (work == Work::kRead || work == Work::kGive); }
  bool from_host() const { return !failed && (work == Work::kWrite || work == Work::kTake); }
  void describe(state::Fields& fields) {
    fields.field("work", work, state::up_to(static_cast<uint8_t>(Work::kFlush)));
    fields.field("failed", failed);
    fields.field("durable", durable);
    fields.field("code", code);
    fields.field("size", size, state::up_to(kMostTransfer));
    fields.field("offset", offset);
    fields.blob("data", data, kMostData);
    const bool same = fields.later("write_same", repeats != 0, [&] {
      fields.field("repeats", repeats);
      fields.field("unmap", unmap);
    });
    if (!same) repeats = 0, unmap = false;
    if ((work == Work::kGive || work == Work::kTake) && data.size() != size) data.resize(size = static_cast<uint32_t>(data.size()));
  }
};

class Unit {
 public:
  virtual ~Unit() = default;

  virtual Command begin(const Cdb& cdb) = 0;
  // Bytes [done, done + length of `host`) of the command's data, which lie inside of it, to or from `host`.
  virtual Task<void> move(Command& command, uint64_t done, std::span<const iovec> host) = 0;
  virtual Task<void> finish(Command& command) = 0;
  // What REQUEST SENSE would say of the last command that failed, which is told with it: for transports that give sense together with
  // the status. To be asked in the same turn, before another command begins.
  virtual Sense take_sense() = 0;
  virtual void reset() = 0;
  // Of the unit's own state. What was loaded is safe whatever it is, and so is a command that was.
  virtual void describe(state::Fields& fields) = 0;
};

}  // namespace skerry::devices::scsi
