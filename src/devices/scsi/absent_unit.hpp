// What answers for the numbers of a target that no logical unit has (SPC-4, 6.6.1 and SAM-5, 4.8.4). LUN 0 is there.
#pragma once

#include "devices/scsi/unit.hpp"

namespace skerry::devices::scsi {

class AbsentUnit final : public Unit {
 public:
  Command begin(const Cdb& cdb) override;
  Task<void> move(Command& command, uint64_t done, std::span<const iovec> host) override;
  Task<void> finish(Command&) override { co_return; }
  Sense take_sense() override { return kNotSupportedUnit; }
  void reset() override {}
  void describe(state::Fields&) override {}
};

}  // namespace skerry::devices::scsi
