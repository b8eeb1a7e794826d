// The watchdog of the 6300ESB (8086:25ab): two stages, of which the first interrupts and the second is the end. Intel 6300ESB I/O
// Controller Hub Datasheet, chapter 16. An interrupt by SMI is not made.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "base/event_loop.hpp"
#include "bus/pci.hpp"

namespace skerry::devices {

class I6300Esb final : public bus::PciFunction, private bus::IoHandler {
 public:
  // `expired` is called on the loop's thread, with no lock held, when the second stage has ended; it only posts.
  I6300Esb(std::string name, EventLoop& loop, std::function<void()> expired);

  // With the VM at rest. That the watchdog has expired stays known after a reset.
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  enum class Unlock : uint8_t { kNone, kHalf, kUnlocked };
  enum class Stage : uint8_t { kStopped, kFirst, kSecond };

  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 4; }

  // With the lock held.
  void begin(Stage stage, int64_t from);
  void stop();
  int64_t tick() const;
  bool free_running() const { return lock_register_ & 1 << 2; }
  void end_of_first();
  void timer_due();

  const std::function<void()> expired_;
  std::mutex mutex_;
  Timer timer_;
  // Copies of the two registers in configuration space, which has a lock of its own; derived.
  uint16_t config_register_ = 0;
  uint8_t lock_register_ = 0;
  uint32_t preload_[2];
  Unlock unlock_ = Unlock::kNone;
  Stage stage_ = Stage::kStopped;
  int64_t deadline_ = 0;  // of the VM's clock, of the stage under way
  bool interrupted_ = false;  // General Interrupt Status
  bool timed_out_ = false;    // WDT_TIMEOUT
};

}  // namespace skerry::devices
