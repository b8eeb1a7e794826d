// The local APIC's timer: one-shot, periodic, TSC deadline (Intel SDM vol. 3, 11.5.4).
//
// Its input clock is 1 GHz, a tick a nanosecond of VM time, on every Skerry machine: CPUID leaf 0x15 and the
// hypervisor's timing leaf may say so. Used under its LAPIC's lock; no locks of its own.
//
// The period of the periodic mode is at least 100 us, whatever the guest programs; shorter ones count, but fire that
// often only. Periods that have been missed are merged into one interrupt.
#pragma once

#include <cstdint>
#include <functional>

#include "base/event_loop.hpp"
#include "state/fields.hpp"

namespace skerry::irqchip {

class ApicTimer {
 public:
  enum class Mode : uint8_t { kOneShot, kPeriodic, kTscDeadline, kReserved };  // LVT timer register, bits 18:17

  static constexpr int64_t kInputFrequency = 1'000'000'000;
  static constexpr int64_t kMinimumPeriod = 100'000;  // ns

  // `expired` is called on the loop's thread without a lock and ends in a call of expire(). `guest_tsc` may be called
  // from any thread.
  ApicTimer(EventLoop& loop, std::function<void()> expired, std::function<uint64_t()> guest_tsc, uint64_t tsc_hz);

  void set_mode(Mode mode);
  void set_initial_count(uint32_t value);
  uint32_t initial_count() const { return initial_count_; }
  uint32_t current_count() const;
  void set_divide_configuration(uint32_t value);
  uint32_t divide_configuration() const { return divide_configuration_; }
  // True when the deadline has passed already: the interrupt is due now.
  [[nodiscard]] bool set_tsc_deadline(uint64_t deadline);
  uint64_t tsc_deadline() const { return tsc_deadline_; }
  // What the processor's TSC reads above guest_tsc(). True as above.
  [[nodiscard]] bool set_tsc_offset(int64_t offset);

  bool mode_is_counting() const { return mode_ != Mode::kTscDeadline && counting_; }

  // After expiry: true when an interrupt is due. Arms the next period.
  [[nodiscard]] bool expire();

  // The values of another that has counted until now. This one does not run.
  void load(Mode mode, uint32_t initial_count, uint32_t current_count, uint32_t divide_configuration, uint64_t tsc_deadline);

  void reset();
  void describe(state::Fields& fields);
  // `mode` is the LVT register's, as restored before.
  void restored(Mode mode);

 private:
  int64_t divisor() const;
  int64_t period() const;  // ns
  uint64_t tsc() const { return guest_tsc_() + static_cast<uint64_t>(tsc_offset_); }
  [[nodiscard]] bool arm_tsc_deadline();
  void stop();

  std::function<uint64_t()> guest_tsc_;
  uint64_t tsc_hz_;
  int64_t tsc_offset_ = 0;  // the vCPU's state, not the timer's: not saved here

  Mode mode_ = Mode::kOneShot;  // the LVT timer register's
  uint32_t initial_count_ = 0;
  uint32_t divide_configuration_ = 0;
  bool counting_ = false;      // one-shot, periodic: until deadline_
  int64_t deadline_ = 0;       // VmClock ns
  uint64_t tsc_deadline_ = 0;  // TSC deadline mode: 0 is disarmed
  Timer timer_;
};

}  // namespace skerry::irqchip
