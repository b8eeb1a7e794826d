// Intel High Definition Audio: the controller of the ICH9 (8086:293e), one codec, an input stream and an output stream,
// which is heard at a sound::Outlet. High Definition Audio Specification, revision 1.0a; Intel I/O Controller Hub 9
// Datasheet, chapter 18.
//
// Absent: power states, wake-up, streams of more than two channels that are heard, and what the codec's header names.
//
// Threads: registers on vCPUs' threads, time on the loop's, all under its one lock, under which the outlet is called.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include "base/event_loop.hpp"
#include "bus/pci.hpp"
#include "devices/hda/codec.hpp"
#include "devices/hda/command_rings.hpp"
#include "devices/hda/dma.hpp"
#include "devices/hda/player.hpp"
#include "devices/hda/registers.hpp"
#include "devices/hda/stream.hpp"

namespace skerry::devices::hda {

class Hda final : public bus::PciFunction, private bus::IoHandler {
 public:
  // They outlive the card. `loop` is driven by the thread that brings the VM to rest: then nothing of the card is under
  // way.
  Hda(std::string name, EventLoop& loop, memory::GuestMemory& memory, sound::Outlet& outlet);

  // With the VM at rest.
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  static constexpr unsigned kInput = 0, kOutput = 1, kStreams = 2;  // 3.3.2: input streams are the first

  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 4; }

  // With the lock held.
  uint32_t read_register(uint32_t offset);
  uint32_t read_alias(uint32_t offset);
  void write_register(uint32_t offset, uint32_t value, uint32_t mask);
  void write_control(uint32_t value, uint32_t mask);
  void reset_registers();
  bool in_reset() const { return !(control_ & gctl::CRST); }
  uint32_t wall_clock() const;
  uint32_t causes() const;
  uint32_t pending_interrupts() const;

  bool held(unsigned stream) const { return sync_ >> stream & 1; }
  bool heard() const;
  void move();
  uint32_t position_of(unsigned stream);
  void write_positions();
  void settle();
  void update_interrupt();
  void set_timer();

  std::mutex lock_;
  Timer timer_;
  const Dma dma_;
  Codec codec_;
  CommandRings rings_;
  std::array<Stream, kStreams> streams_;
  Player player_;
  uint32_t control_ = 0;            // GCTL
  uint16_t wake_ = 0, states_ = 0;  // WAKEEN, STATESTS
  bool flushed_ = false;            // GSTS.FSTS
  uint32_t interrupt_control_ = 0;
  uint32_t sync_ = 0;              // SSYNC
  uint64_t positions_ = 0;         // DPLBASE, DPUBASE
  int64_t wall_from_ = 0;          // of the VM's clock, when WALCLK was 0
  uint32_t told_ = 0;              // interrupts that were sent; derived
  std::vector<std::byte> played_;  // in a move only
};

}  // namespace skerry::devices::hda
