// The IDE controller of the PIIX3 (8086:7010, 00:01.1 on its boards): two channels at the ports and interrupts of a PC/AT, and
// a bus master. Intel 82371FB/82371SB (PIIX/PIIX3) datasheet, 2.3 and 3.3.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "bus/pci.hpp"
#include "devices/ata/ide_channel.hpp"
#include "devices/ata/loop_side.hpp"
#include "devices/io_window.hpp"

namespace skerry::devices::ata {

class PiixIde final : public bus::PciFunction {
 public:
  static constexpr unsigned kSlot = 1, kFunction = 1;  // its place on the root bus
  static constexpr unsigned kChannels = 2;
  static constexpr std::array<unsigned, kChannels> kIrqs = {14, 15};  // of the ISA bus

  // `loop` is that of the devices' nodes. Both outlive it.
  PiixIde(std::string name, EventLoop& loop, memory::GuestMemory& memory, bus::IrqLine primary, bus::IrqLine secondary);
  Result<void> attach(bus::AddressSpace& pio);

  // While it is made. Parallel ATA: `device` is one that does not queue.
  void plug_in(unsigned channel, unsigned drive, std::unique_ptr<ata::Device> device);
  // As firmware leaves it, for a machine that has none: the channels answer at their ports. At rest.
  void set_up();

  // As those of LoopSide.
  void quiesce(std::function<void()> at_rest) { loop_side_.quiesce(std::move(at_rest)); }
  void resume() { loop_side_.resume(); }

  // With the VM at rest, after quiesce() or before anything ran.
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  bool decodes(unsigned channel) const { return decoded_.load(std::memory_order_acquire) & 1u << channel; }
  void update_decoded();
  uint64_t read_block(unsigned channel, uint64_t offset, unsigned size);
  void write_block(unsigned channel, uint64_t offset, unsigned size, uint64_t value);
  uint64_t read_control(unsigned channel);
  void write_control(unsigned channel, uint8_t value);
  uint64_t read_bus_master(uint64_t offset, unsigned size);
  void write_bus_master(uint64_t offset, unsigned size, uint64_t value);
  bool idle();

  std::mutex lock_;
  std::array<std::unique_ptr<IdeChannel>, kChannels> channels_;
  std::array<std::unique_ptr<IoWindow>, kChannels> blocks_, controls_;
  IoWindow bus_master_;
  std::atomic<unsigned> decoded_{0};  // channels whose ports are on; derived

  LoopSide loop_side_;
};

}  // namespace skerry::devices::ata
