// A packet device of devices/ata (a CD-ROM drive) as a SCSI logical unit: its packets are the same commands.
#pragma once

#include <memory>

#include "devices/ata/device.hpp"
#include "devices/scsi/unit.hpp"

namespace skerry::machine {

class PacketUnit final : public devices::scsi::Unit {
 public:
  explicit PacketUnit(std::unique_ptr<devices::ata::Device> device) : device_(std::move(device)) {}

  devices::scsi::Command begin(const devices::scsi::Cdb& cdb) override;
  Task<void> move(devices::scsi::Command& command, uint64_t done, std::span<const iovec> host) override;
  Task<void> finish(devices::scsi::Command& command) override;
  devices::scsi::Sense take_sense() override;
  void reset() override { device_->reset(devices::ata::Device::Reset::kHardware); }
  void describe(state::Fields& fields) override { device_->describe(fields); }

 private:
  devices::scsi::Command report_luns(const devices::scsi::Cdb& cdb);

  const std::unique_ptr<devices::ata::Device> device_;
};

}  // namespace skerry::machine
