// A channel of a parallel ATA controller: two devices, the registers that they share with the host, data by PIO and by the
// bus master. ATA/ATAPI-7 vol. 2, 5 (registers) and 11 (protocols).
//
// Registers are accessed with the controller's lock held. What devices do they do in turns of the loop: whatever the host
// asks for is a phase that the loop has to end, and BSY until then.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/event_loop.hpp"
#include "base/task.hpp"
#include "bus/interrupt.hpp"
#include "devices/ata/bus_master.hpp"
#include "devices/ata/device.hpp"

namespace skerry::devices::ata {

class IdeChannel {
 public:
  static constexpr unsigned kPorts = 8;  // of the command block; the control block is one port

  // What the controller is to its channels.
  struct Controller {
    EventLoop& loop;
    memory::GuestMemory& memory;
    std::mutex& lock;
    std::function<bool()> may_begin;   // in a turn of the loop
    std::function<bool()> may_master;  // the bus: data by DMA
    std::function<void()> drained;    // nothing is under way any more; in a turn of the loop, without the lock
  };
  IdeChannel(std::string name, const Controller& controller, bus::IrqLine irq)
      : name_(std::move(name)), controller_(controller), irq_(irq) {}

  // While it is made; `drive` 0 is the master.
  void plug_in(unsigned drive, std::unique_ptr<Device> device);

  // With the lock held. write() and write_control(): true if there may be something for serve(), as of all that say so.
  uint8_t read(unsigned offset, bool& for_loop);
  bool write(unsigned offset, uint8_t value);
  uint16_t read_data(bool& for_loop);  // 16 bits at a time
  bool write_data(uint16_t value);
  uint8_t read_alternate_status() const { return status(); }
  bool write_control(uint8_t value);
  uint8_t read_bus_master(unsigned offset) const { return bus_master_.read(offset); }
  bool write_bus_master(unsigned offset, uint8_t value) { return bus_master_.write(offset, value); }
  bool idle() const { return !running_; }

  void serve();  // in a turn of the loop, without the lock

  // At rest.
  void reset();
  void describe(state::Fields& fields);
  void restored();

 private:
  // What the channel waits for: the loop, or the host.
  enum class Phase : uint8_t {
    kIdle,
    kBegin,        // the loop: a command was given
    kPacketOut,    // the host: is to give a packet
    kPacketGiven,  // the loop
    kFill,         // the loop: more data for the host
    kDataIn,       // the host: is to take the block in buffer_
    kDataOut,      // the host: is to give a block
    kDrain,        // the loop: the block is there
    kDma,          // both: the loop moves data when the bus master was started
    kReset,        // the loop: devices are to be reset
  };
  struct Drive {
    std::unique_ptr<Device> device;
    TaskFile task;           // the registers
    bool interrupts = false; // INTRQ
  };
  // The command under way while the loop has it.
  struct Step {
    uint64_t epoch;
    Phase phase;
    Drive* drive;
    TaskFile task;
    memory::Gpa table;
    bool to_memory;
  };

  bool present() const { return drives_[0].device || drives_[1].device; }
  Drive& selected() { return drives_[selected_]; }
  const Drive& selected() const { return drives_[selected_]; }
  uint8_t status() const;
  bool write_command(uint8_t code);
  void give_signatures();
  void set_interrupt(Drive& drive, bool on);
  void update_line();
  void next_block(Drive& drive);
  bool block_ends();
  bool loop_is_wanted() const;

  bool do_reset();
  Task<void> step(Step step);
  Task<void> begin(Step& step);
  Task<void> go_on(Step& step);
  Task<void> fill(Step& step);
  Task<void> drain(Step& step);
  Task<void> dma(Step& step);
  Task<void> end(Step& step);
  template <typename Change>
  void change(const Step& step, Change what);
  void leave();

  const std::string name_;
  const Controller controller_;
  const bus::IrqLine irq_;
  std::array<Drive, 2> drives_;
  BusMaster bus_master_;

  unsigned selected_ = 0;
  uint8_t control_ = 0;  // nIEN, SRST, HOB
  Phase phase_ = Phase::kIdle;
  Command command_;
  uint32_t done_ = 0;       // of its data, what has been to or comes from the device
  uint32_t limit_ = 0;      // of a packet command: the most bytes of a block
  std::vector<uint8_t> buffer_;  // of PIO
  uint32_t position_ = 0, block_end_ = 0;  // in it
  bool line_ = false;       // what it is; derived
  // Not saved: at rest nothing runs.
  uint64_t epoch_ = 0;      // of what runs: a reset begins a new one
  bool running_ = false;
};

}  // namespace skerry::devices::ata
