// The AHCI controller of the ICH9 (8086:2922, 00:1f.2 on its boards): six ports, 32 commands each, queued ones too.
// Serial ATA AHCI 1.3.1; Intel I/O Controller Hub 9 Family Datasheet, chapter 15. There are no port multipliers, no staggered
// spin-up, no enclosure management, and no power states of the link.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>

#include "bus/pci.hpp"
#include "devices/ata/ahci_port.hpp"
#include "devices/ata/loop_side.hpp"

namespace skerry::devices::ata {

class Ahci final : public bus::PciFunction, private bus::IoHandler {
 public:
  static constexpr unsigned kPorts = ahci::kPorts;
  static constexpr unsigned kSlot = 31;  // its place on the root bus; the function is the board's to say

  // `loop` is that of the devices' nodes. Both outlive it.
  Ahci(std::string name, EventLoop& loop, memory::GuestMemory& memory);

  // While it is made.
  void plug_in(unsigned port, std::unique_ptr<ata::Device> device);

  // As those of LoopSide.
  void quiesce(std::function<void()> at_rest) { loop_side_.quiesce(std::move(at_rest)); }
  void resume() { loop_side_.resume(); }

  // With the VM at rest, after quiesce() or before anything ran.
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 4; }

  // With lock_ held.
  uint32_t read_register(uint32_t offset) const;
  bool write_register(uint32_t offset, uint32_t value);
  void begin_reset();
  void update(bool again = false);

  // In turns of the loop.
  void serve();
  bool idle();
  void finish_reset();

  std::mutex lock_;
  std::array<std::unique_ptr<ahci::Port>, ahci::kPorts> ports_;
  bool enabled_ = false;    // GHC.IE
  bool resetting_ = false;  // GHC.HR
  uint32_t interrupts_ = 0;  // IS
  bool level_ = false;      // what the line is; derived

  LoopSide loop_side_;
};

}  // namespace skerry::devices::ata
