// An ATA disk (ACS-3) over a node of the storage graph.
//
// Sectors have 512 bytes. Feature sets: general, 48-bit address, power management, native command queueing (where the
// controller has it), general purpose logging (the NCQ error log), TRIM. Security, SMART and the host protected area are
// absent: their commands are aborted, as of any command that is not known.
#pragma once

#include <optional>
#include <string>

#include "block/node.hpp"
#include "devices/ata/device.hpp"

namespace skerry::devices::ata {

class Disk final : public Device {
 public:
  struct Options {
    std::string serial;       // of at most 20 bytes of ASCII; what is longer is cut
    bool read_only = false;   // a node that is read-only makes it so as well
    bool serial_ata = true;   // behind a controller that queues; else parallel ATA
  };
  // `node` outlives it.
  Disk(std::string name, block::Node& node, Options options);

  bool is_packet_device() const override { return false; }
  TaskFile signature() const override;
  Command begin(TaskFile& task) override;
  Task<void> move(Command& command, uint64_t done, std::span<const iovec> host, TaskFile& task) override;
  Task<void> finish(Command& command, TaskFile& task) override;
  void reset(Reset kind) override;
  void describe(state::Fields& fields) override;

  uint64_t sectors() const { return sectors_; }

 private:
  // CHECK POWER MODE's answers (ACS-3, 7.3.3).
  enum class PowerMode : uint8_t { kStandby = 0x00, kActive = 0xff };
  struct Geometry {
    uint16_t cylinders = 0;
    uint8_t heads = 0, sectors = 0;
  };

  Command transfer(const TaskFile& task, Command::Work work, bool extended);
  Command begin_media(TaskFile& task, Command::Work work);
  Command begin_verify(TaskFile& task);
  Command begin_queued(TaskFile& task);
  Command begin_trim(TaskFile& task);
  Command begin_log(TaskFile& task);
  Command begin_simple(TaskFile& task);
  Command give(std::vector<uint8_t> data);
  void set_features(TaskFile& task);
  void set_transfer_mode(TaskFile& task);
  void set_multiple(TaskFile& task);
  void set_geometry(TaskFile& task);
  void native_max(TaskFile& task, bool extended);
  std::vector<uint8_t> identity() const;
  std::optional<uint64_t> first_sector(const TaskFile& task, bool extended) const;
  bool in_range(uint64_t first, uint64_t count) const { return first < sectors_ && count <= sectors_ - first; }
  void check(block::Errno result, const char* doing, const Command& command, TaskFile& task);
  void note_queue_error(const Command& command, const TaskFile& task);
  Task<void> trim(const Command& command, TaskFile& task);

  const std::string name_;
  block::Node& node_;
  const Options options_;
  const bool read_only_;
  const uint64_t sectors_;
  const Geometry default_geometry_;

  Geometry geometry_;           // INITIALIZE DEVICE PARAMETERS
  uint8_t multiple_ = 0;        // sectors of a DRQ data block of READ MULTIPLE; 0: not set
  bool write_cache_ = true, look_ahead_ = true;
  bool keeps_settings_ = false; // a soft reset reverts nothing
  uint8_t dma_mode_ = 0;        // as SET FEATURES has it: 0x20 + n multiword, 0x40 + n ultra
  PowerMode power_ = PowerMode::kActive;
  // What log 10h tells (ACS-3, A.12); until then a queued command that has failed keeps all others out.
  bool queue_error_ = false, queue_error_is_queued_ = false;
  uint8_t queue_error_tag_ = 0;
  TaskFile queue_error_task_;
};

}  // namespace skerry::devices::ata
