// A CD-ROM drive as an ATAPI device (ACS-3, packet feature set; MMC-5) over a node of the storage graph. Discs have one track
// of data in blocks of 2048 bytes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "block/node.hpp"
#include "devices/ata/device.hpp"
#include "devices/ata/mmc.hpp"

namespace skerry::devices::ata {

class Cdrom final : public Device {
 public:
  struct Options {
    std::string serial;      // of at most 20 bytes of ASCII; what is longer is cut
    bool serial_ata = true;  // else parallel ATA
  };
  // `medium` may be null: the tray is empty. It outlives the drive, or its being changed.
  Cdrom(std::string name, block::Node* medium, Options options);

  // In a turn of the node's loop: puts another disc in, or none; the tray is closed. Whatever the guest has locked: this is
  // the person with the paper clip. `old_is_free` is called when nothing reads the disc of before any more, perhaps at once.
  void change_medium(block::Node* medium, std::function<void()> old_is_free);
  bool locked() const { return locked_; }

  bool is_packet_device() const override { return true; }
  TaskFile signature() const override;
  Command begin(TaskFile& task) override;
  Command begin_packet(const Packet& packet, TaskFile& task) override;
  Task<void> move(Command& command, uint64_t done, std::span<const iovec> host, TaskFile& task) override;
  Task<void> finish(Command& command, TaskFile& task) override;
  void reset(Reset kind) override;
  void describe(state::Fields& fields) override;

 private:
  using Sense = mmc::Sense;

  // A disc, and who waits for it to be free: told when the last read of it has ended.
  struct Medium {
    block::Node* node;
    std::function<void()> free;
    ~Medium() {
      if (free) free();
    }
  };

  bool readable() const { return medium_->node && !tray_open_; }
  uint32_t blocks() const;
  mmc::Drive drive() const;
  std::vector<uint8_t> identity() const;
  void set_features(TaskFile& task);
  void fail_packet(TaskFile& task, Sense sense);
  void succeed_packet(TaskFile& task);
  Command answer(std::optional<mmc::Answer> data, uint32_t room, TaskFile& task, Sense otherwise = mmc::kInvalidField);
  Command about_drive(const Packet& packet, TaskFile& task);
  Command about_disc(const Packet& packet, TaskFile& task);
  Command request_sense(const Packet& packet, TaskFile& task);
  Command read(uint32_t first, uint32_t count, TaskFile& task);
  Command read_cd(const Packet& packet, TaskFile& task);
  void start_stop(const Packet& packet, TaskFile& task);

  const std::string name_;
  const Options options_;
  std::shared_ptr<Medium> medium_;  // never null; its node may be

  bool tray_open_ = false, locked_ = false;
  Sense sense_, attention_;          // what REQUEST SENSE says; what the next command is told of
  uint8_t event_ = mmc::kNoEvent;    // of the medium, for who polls
  uint8_t dma_mode_ = 0;
};

}  // namespace skerry::devices::ata
