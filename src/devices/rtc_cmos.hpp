// The PC's real-time clock and CMOS memory: Motorola MC146818A at ports 0x70 and 0x71, IRQ 8.
//
// The time of day is a start time (of the host, by default) plus VmClock: it stands still while the VM is paused. The time
// that a VM spends in a file is added by advance().
#pragma once

#include <array>
#include <mutex>
#include <optional>

#include "base/event_loop.hpp"
#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"

namespace skerry::devices {

class RtcCmos final : public bus::Device, private bus::IoHandler {
 public:
  static constexpr uint16_t kPort = 0x70;
  static constexpr unsigned kIrq = 8;
  static constexpr unsigned kSize = 128;

  static int64_t host_utc();  // nanoseconds since 1970
  // `now_ns`: the time of day at this moment, as nanoseconds since 1970. For a guest that keeps its clock in local
  // time, the board adds the zone's offset.
  RtcCmos(bus::IrqLine irq, EventLoop& loop, int64_t now_ns = host_utc());
  Result<void> attach(bus::AddressSpace& pio);

  // The time of day goes on by `ns` at once: the VM was at rest so long, in a file. At rest. An alarm in between goes off.
  void advance(uint64_t ns);

  // The memory beside the clock, for the board to describe the machine to its firmware. Not for clock registers.
  void set_cmos(uint8_t index, uint8_t value);
  uint8_t cmos(uint8_t index);

  std::string_view name() const override { return "rtc"; }
  void reset() override;  // time and memory have a battery
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 1; }

  // Everything below with lock_ held. `now` is VmClock time.
  uint8_t read_register(int64_t now);
  void write_register(uint8_t value, int64_t now);
  void write_a(uint8_t value, int64_t now);
  void write_b(uint8_t value, int64_t now);
  bool counting() const;
  uint64_t run_time(int64_t now) const;   // nanoseconds since the second base_seconds_ began
  int64_t seconds_at(int64_t now) const;  // the time of day, while counting
  void put_time(int64_t seconds);         // into the registers
  int64_t written_time() const;           // what the registers say
  void take_time(int64_t now);
  uint8_t encode(unsigned value) const;
  unsigned decode(uint8_t value) const;
  uint8_t encode_hour(unsigned hour) const;
  unsigned decode_hour(uint8_t value) const;
  bool update_in_progress(int64_t now) const;
  uint64_t periodic_ticks() const;  // of 32768 Hz; 0: off
  std::optional<int64_t> next_alarm(int64_t after) const;
  void account(int64_t now);
  void raise_flags(uint8_t flags);
  void rearm(int64_t now);
  void expired();

  const bus::IrqLine irq_;
  std::mutex lock_;
  Timer timer_;
  std::array<uint8_t, kSize> cmos_{};  // the clock's own: only while it does not count (SET)
  uint8_t index_ = 0;
  uint8_t register_a_, register_b_, register_c_ = 0;
  int64_t base_seconds_;   // since 1970
  uint64_t base_clock_;    // VmClock at that second, plus one second (it may be before the VM began)
  int64_t accounted_ = 0;  // VmClock up to which events are in register C
};

}  // namespace skerry::devices
