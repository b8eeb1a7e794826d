// A SCSI disk (SPC-4, SBC-3) over a node of the storage graph, in blocks of 512 bytes.
//
// It has a write cache. Some drivers (Linux's usb-storage) never ask for it, take it for absent and never flush: until the
// driver has asked for the caching page, or has synchronized the cache, each write is as one with forced unit access.
//
// Absent: MODE SELECT, reservations, protection information, READ FORMAT CAPACITIES, comparing. Who asks is told so.
#pragma once

#include <string>
#include <utility>

#include "block/node.hpp"
#include "devices/scsi/disk_answers.hpp"
#include "devices/scsi/unit.hpp"

namespace skerry::devices::scsi {

class Disk final : public Unit {
 public:
  struct Options {
    std::string serial;      // of at most 20 bytes of ASCII
    bool read_only = false;  // a node that is read-only makes it so as well
    bool queueing = false;   // the transport gives several commands at a time
  };
  // `node` outlives it.
  Disk(std::string name, block::Node& node, Options options);

  Command begin(const Cdb& cdb) override;
  Task<void> move(Command& command, uint64_t done, std::span<const iovec> host) override;
  Task<void> finish(Command& command) override;
  Sense take_sense() override { return std::exchange(sense_, kNoSense); }
  void reset() override;
  void describe(state::Fields& fields) override;

 private:
  Command dispatch(const Cdb& cdb);
  Command fail(Sense sense);
  Command answer(std::optional<Answer> data, uint64_t room);
  Command about_modes(const Cdb& cdb);
  Command request_sense(const Cdb& cdb);
  Command media(const Cdb& cdb, Command::Work work, uint64_t first, uint64_t count);
  Command verify(const Cdb& cdb, uint64_t first, uint64_t count);
  Command synchronize();
  Command begin_unmap(const Cdb& cdb);
  Command begin_write_same(const Cdb& cdb, uint64_t first, uint64_t count);
  Task<void> unmap(Command& command);
  Task<void> write_same(Command& command);
  Task<void> repeat(uint64_t first, Command& command);
  DiskFacts facts() const;
  bool in_range(uint64_t first, uint64_t count) const { return first <= blocks_ && count <= blocks_ - first; }
  void check(block::Errno result, const char* doing, Command& command);

  const std::string name_;
  block::Node& node_;
  const Options options_;
  const bool read_only_;
  const uint64_t blocks_;

  Sense sense_, attention_;    // what REQUEST SENSE says; what the next command is told of
  bool knows_cache_ = false;   // the driver does
};

}  // namespace skerry::devices::scsi
