// The 8254 interval timer and the port beside it that gates its speaker channel.
//
// Ports 0x40-0x43 and 0x61. Any thread may call any member. Its lock comes before those of PIC and IOAPIC: IRQ 0 is
// pulsed with the lock held.
//
// Channel 0 pulses IRQ 0 at each rise of OUT. Pulses whose time has passed are merged into one, and after a pulse the
// next one comes 20 us later at the earliest: a guest that programs a count of 1 gets 50,000 pulses a second, not a
// million.
#pragma once

#include <mutex>

#include "base/event_loop.hpp"
#include "base/result.hpp"
#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"
#include "irqchip/pit_channel.hpp"

namespace skerry::irqchip {

class Pit final : public bus::Device {
 public:
  static constexpr int64_t kFrequency = 1'193'182;  // Hz
  static constexpr int64_t kMinimumRearm = 20'000;  // ns

  Pit(bus::IrqLine irq0, EventLoop& loop);

  Result<void> attach(bus::AddressSpace& pio);

  std::string_view name() const override { return "pit"; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  struct CounterPorts final : bus::IoHandler {
    explicit CounterPorts(Pit& owner) : pit(owner) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t offset, unsigned size, uint64_t value) override;
    unsigned widest_access() const override { return 1; }
    Pit& pit;
  };
  // "NMI Status and Control" of the chipsets (NSC).
  struct NscPort final : bus::IoHandler {
    explicit NscPort(Pit& owner) : pit(owner) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t offset, unsigned size, uint64_t value) override;
    unsigned widest_access() const override { return 1; }
    Pit& pit;
  };

  int64_t now() const;  // in ticks
  void write_control(uint8_t value);
  void read_back(uint8_t command);
  void schedule();  // the next pulse, after a change of channel 0
  void arm();
  void expired();

  bus::IrqLine irq0_;
  std::mutex lock_;
  PitChannel channels_[3];
  uint8_t nsc_ = 0;         // the writable bits of port 0x61 besides the gate
  bool pulse_due_ = false;  // a pulse is to come, at pulse_at_
  int64_t pulse_at_ = 0;    // ticks
  int64_t not_before_ = 0;  // ns: the last pulse and the minimum interval
  Timer timer_;
  CounterPorts counter_ports_{*this};
  NscPort nsc_port_{*this};
};

}  // namespace skerry::irqchip
