// The interrupt causes of the card and how they become interrupts (82574 datasheet, 7.4 and 10.2.4): one line or message for all,
// or with MSI-X a message for each of five causes, throttled by ITR and EITR.
//
// Owned by the card's lock, which its timers take themselves. The delays of RDTR, RADV, TIDV and TADV, which only put interrupts
// together that throttling puts together too, are not made.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>

#include "base/event_loop.hpp"
#include "devices/e1000e/registers.hpp"
#include "state/fields.hpp"

namespace skerry::devices::e1000e {

// What interrupts come out of.
class InterruptPins {
 public:
  virtual ~InterruptPins() = default;
  virtual bool has_msix() = 0;             // the guest has enabled it
  virtual void send_msix(unsigned vector) = 0;
  virtual void send_message() = 0;         // by MSI, if the guest has enabled it
  virtual void set_line(bool level) = 0;   // INTx
};

class Interrupts {
 public:
  Interrupts(EventLoop& loop, std::mutex& lock, InterruptPins& pins);

  // True if `offset` is one of its registers.
  bool read(uint32_t offset, uint32_t& value);
  bool write(uint32_t offset, uint32_t value);
  void raise(uint32_t causes);
  // IVAR's bit 31: what sends writes back all descriptors, not only those that ask for it.
  bool on_all_write_backs() const { return ivar_ >> 31; }
  void set_extended_control(uint32_t ctrl_ext) { ctrl_ext_ = ctrl_ext; }

  void reset();
  void describe(state::Fields& fields);
  void restored();

 private:
  // One interrupt, and for how long it must not come again.
  struct Throttle {
    uint16_t interval = 0;   // in 256 ns
    int64_t until = 0;       // of the VM's clock
    bool postponed = false;  // one is due then
    std::unique_ptr<Timer> timer;
  };
  static constexpr unsigned kThrottles = 1 + kVectors, kOfAll = kVectors;  // ITR's is the last

  uint32_t pending() const { return causes_ & mask_; }
  uint32_t read_causes();
  void clear(uint32_t causes);
  void mask(uint32_t causes);
  void update();
  void notify(unsigned cause);
  void request(unsigned throttle);
  void send(unsigned throttle);
  void expired(unsigned throttle);

  std::mutex& lock_;
  InterruptPins& pins_;
  uint32_t causes_ = 0;      // ICR, without INT_ASSERTED
  uint32_t mask_ = 0;        // IMS
  uint32_t told_ = 0;        // what is pending and was made known
  uint32_t auto_mask_ = 0;   // IAM
  uint32_t auto_clear_ = 0;  // EIAC
  uint32_t ivar_ = 0;
  uint32_t ctrl_ext_ = 0;
  std::array<Throttle, kThrottles> throttles_;
};

}  // namespace skerry::devices::e1000e
