// A SCSI unit as a USB device: Universal Serial Bus Mass Storage Class, Bulk-Only Transport, 1.0 (BOT). A SuperSpeed device
// with one logical unit.
#pragma once

#include <memory>
#include <string>

#include "devices/scsi/unit.hpp"
#include "devices/usb/device.hpp"

namespace skerry::devices::usb {

class Storage final : public Device {
 public:
  static constexpr uint8_t kBulkIn = 1 | kIn, kBulkOut = 2;
  // `serial`: hexadecimal digits, of which guests want twelve or more (BOT, 4.1.1).
  Storage(std::unique_ptr<scsi::Unit> unit, std::string serial);

  Speed speed() const override { return Speed::kSuper; }

 private:
  enum class Phase : uint8_t { kCommand, kDataOut, kDataIn, kStatus, kBroken };  // kBroken: until a reset (BOT, 6.6.1)
  enum class Status : uint8_t { kPassed, kFailed, kPhaseError };

  bool class_control(const Setup& setup, Bytes& data) override;
  Task<Transfer> class_transfer(uint8_t endpoint, std::span<const iovec> data) override;
  bool may_clear(uint8_t) const override { return phase_ != Phase::kBroken; }
  void class_reset() override;
  void describe_class(state::Fields& fields) override;

  Task<Transfer> out(std::span<const iovec> data);
  Task<Transfer> in(std::span<const iovec> data);
  Task<void> begin(std::span<const uint8_t> wrapper);
  Task<void> move(std::span<const iovec> data, uint64_t length);
  Task<void> finish();
  Transfer give_status(std::span<const iovec> data);
  Transfer break_off();
  void enter(Phase phase);

  const std::unique_ptr<scsi::Unit> unit_;
  Phase phase_ = Phase::kCommand;
  Status status_ = Status::kPassed;
  uint32_t tag_ = 0;
  uint32_t left_ = 0;     // of what the host has said that it transfers
  uint32_t moved_ = 0, most_ = 0;  // of the command's data; of that, what is transferred
  uint32_t residue_ = 0;
  scsi::Command command_;
  uint64_t epoch_ = 0;    // not saved: a reset began another; what is under way then ends unseen
};

}  // namespace skerry::devices::usb
