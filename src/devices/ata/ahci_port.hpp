// A port of an AHCI controller: its registers, and the engine that takes commands from the list in guest memory. Serial ATA
// AHCI 1.3.1, 3.3 and 5.
//
// Registers are accessed with the controller's lock held. The engine works in turns of the loop; of its own state what the
// registers show of it is under the lock too. It writes guest memory with no lock held.
//
// A command is of an epoch. When the driver stops the port, or resets it, a new one begins: what is under way then ends
// unseen, and until it has (PxCMD.CR stays set) nothing new begins.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "base/event_loop.hpp"
#include "base/task.hpp"
#include "devices/ata/ahci_command.hpp"
#include "devices/ata/ahci_layout.hpp"
#include "devices/ata/device.hpp"

namespace skerry::devices::ata::ahci {

class Port {
 public:
  // What the controller is to its ports.
  struct Controller {
    EventLoop& loop;
    memory::GuestMemory& memory;
    std::mutex& lock;
    std::function<bool()> may_begin;  // commands; in a turn of the loop
    std::function<void()> changed;    // pending(); with the lock held
    std::function<void()> drained;    // nothing is under way any more; in a turn of the loop, without the lock
  };
  Port(std::string name, const Controller& controller) : name_(std::move(name)), controller_(controller) {}

  // While it is made. None: nothing is plugged in.
  void plug_in(std::unique_ptr<Device> device);
  Device* device() { return device_.get(); }

  // With the lock held.
  uint32_t read(uint32_t offset) const;
  // True: there may be something for serve().
  bool write(uint32_t offset, uint32_t value);
  bool pending() const { return (interrupts() & ie_) != 0; }
  bool idle() const { return under_way_ == 0; }
  // The controller is being reset: what is under way is nobody's. When it is idle, power_on().
  void abandon();
  void power_on();  // everything but the device

  // In a turn of the loop, without the lock.
  void serve();

  // At rest.
  void reset();
  void describe(state::Fields& fields);

 private:
  enum class Wanted : uint8_t { kNone, kSoftReset, kHardReset };
  // A command under way.
  struct Run {
    unsigned slot;
    uint64_t epoch;
    memory::Gpa list, received;  // PxCLB, PxFB
  };

  uint32_t interrupts() const;
  bool link_up() const { return device_ && (control_ & kDetect) == 0; }
  void write_command(uint32_t value);
  void write_control(uint32_t value);
  void new_epoch();
  void stop();
  void set_task(const TaskFile& task) { task_file_ = static_cast<uint16_t>(task.status | task.error << 8); }

  bool do_what_is_wanted();
  void give_signature();
  std::optional<Run> take();
  Task<void> run(Run run);
  Task<bool> move(const CommandReader& reader, Command& command, TaskFile& task, Regions& regions);
  Command begin(const CommandReader& reader, TaskFile& task, bool& good);
  void control(const Run& run, const HostFis& fis);
  void accepted(const Run& run);
  void complete(const Run& run, const CommandReader& reader, const Command& command, const TaskFile& task, const Regions& regions);
  void complete_queued(const Run& run, const Command& command, const TaskFile& task);
  void fail(const Run& run, uint32_t interrupt, const char* why);
  void tell();
  void leave(unsigned runs);
  std::optional<memory::Gpa> receive_area(uint64_t epoch);
  void receive(memory::Gpa area, unsigned at, std::span<const uint8_t> fis);
  bool current(uint64_t epoch) const { return epoch == epoch_; }

  const std::string name_;
  const Controller controller_;
  std::unique_ptr<Device> device_;

  // Registers, and what is under the lock with them.
  uint64_t list_ = 0, received_ = 0;            // PxCLB, PxFB
  uint32_t interrupts_ = 0, ie_ = 0, command_ = 0;  // PxIS without what reflects PxSERR; PxIE; what is kept of PxCMD
  uint8_t slot_ = 0;                            // PxCMD.CCS
  uint16_t task_file_ = kNoDevice;              // PxTFD
  uint32_t signature_ = kNoSignature, control_ = 0, errors_ = 0, active_ = 0, issued_ = 0;  // PxSIG, PxSCTL, PxSERR, PxSACT, PxCI
  bool fatal_ = false;             // an error that holds the engine until the driver stops it (6.2.2)
  bool signature_wanted_ = false;  // the device has one for the driver
  bool soft_reset_ = false;        // SRST is set
  Wanted wanted_ = Wanted::kNone;
  // Not saved: at rest nothing is under way.
  uint64_t epoch_ = 0;
  uint32_t fetched_ = 0;     // of issued_, what has begun
  bool busy_ = false;        // with a command that is not queued
  unsigned under_way_ = 0, stale_ = 0;  // commands; of those the ones of before
  uint32_t done_ = 0;        // tags of queued commands, to be told at the end of the turn
  unsigned untold_ = 0;      // how many those are; they count as under way

  // The loop's.
  bool serving_ = false, telling_ = false;
  size_t regions_ = 0;  // that commands of this turn have
  bool warned_ = false;
};

}  // namespace skerry::devices::ata::ahci
