// One of the three counters of an 8254, as a function of time: nothing runs between accesses.
//
// Time is in ticks of the counter's clock. A count is taken to be loaded with its write; the real chip needs one tick
// (838 ns) more. Not thread-safe: used under the PIT's lock.
#pragma once

#include <cstdint>
#include <optional>

#include "state/fields.hpp"

namespace skerry::irqchip {

class PitChannel {
 public:
  // Control word (8254 data sheet, "Control Word Format"): RW 1..3, mode 0..7, BCD.
  void write_control(uint8_t control, int64_t now);
  void write_count_byte(uint8_t value, int64_t now);
  uint8_t read(int64_t now);
  void latch_count(int64_t now);
  void latch_status(int64_t now);
  void set_gate(bool level, int64_t now);

  bool gate() const { return gate_; }
  bool out(int64_t now);
  // The first tick after `after` at which OUT rises, if nothing else happens.
  std::optional<int64_t> next_rise(int64_t after);

  void reset(bool gate, int64_t now);
  void describe(state::Fields& fields);
  void restored(int64_t now);

 private:
  // The RW field of the control word; also what the next bytes of a count are.
  enum class Access : uint8_t { kLow = 1, kHigh = 2, kLowThenHigh = 3 };

  bool periodic() const { return mode_ == 2 || mode_ == 3; }
  bool triggered_by_gate() const { return mode_ == 1 || mode_ == 5; }
  uint32_t modulus() const { return bcd_ ? 10000 : 65536; }
  int64_t period() const { return count_ < 2 ? 2 : count_; }  // 1 is illegal in the periodic modes
  int64_t high_half() const { return (period() + 1) / 2; }    // mode 3: OUT is high so long, for odd counts one more
  int64_t elapsed(int64_t now) const;
  int64_t next_boundary(int64_t now) const;
  bool reload_pending() const { return periodic() && running_ && null_count_; }
  void settle(int64_t now);
  void load_count(uint16_t value, int64_t now);
  void start(int64_t now);
  uint16_t counter(int64_t now);
  uint8_t status(int64_t now);

  uint8_t mode_ = 0;  // 0..5
  Access access_ = Access::kLowThenHigh;
  bool bcd_ = false;
  bool gate_ = true;

  uint32_t programmed_ = 65536;  // the count register: 1..65536
  uint32_t count_ = 65536;       // what the counter was last loaded with
  bool null_count_ = true;       // programmed_ has not been loaded yet
  bool count_written_ = false;   // since the control word
  bool started_ = false;         // the counter has been loaded since the control word
  bool running_ = false;         // it counts; else it stands at held_
  int64_t start_ = 0;            // while running: the tick at which it was loaded
  int64_t held_ = 0;             // while standing: ticks counted so far
  int64_t reload_at_ = 0;        // while reload_pending(): the tick at which programmed_ is loaded

  uint8_t write_low_ = 0;  // the first byte of two
  bool write_high_next_ = false, read_high_next_ = false;
  bool count_latched_ = false, status_latched_ = false;
  uint16_t latched_count_ = 0;
  uint8_t latched_status_ = 0;
};

}  // namespace skerry::irqchip
