// The 16550A serial port (National Semiconductor PC16550D data sheet), a COM port of the PC.
//
// Bytes leave as fast as the host takes them, whatever the divisor says; where the host is slow, THRE stays clear.
// Registers may be accessed from any thread; the chardev's callbacks come on the event loop's thread.
#pragma once

#include <array>
#include <mutex>
#include <string>

#include "base/event_loop.hpp"
#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"
#include "chardev/chardev.hpp"

namespace skerry::devices {

class Serial16550 final : public bus::Device, private bus::IoHandler {
 public:
  static constexpr uint16_t kCom1 = 0x3f8, kCom2 = 0x2f8, kCom3 = 0x3e8, kCom4 = 0x2e8;
  static constexpr unsigned kCom1Irq = 4, kCom2Irq = 3;

  // `name` is unique on the board, such as "serial0". `chardev` and `loop` outlive the port.
  Serial16550(std::string name, bus::IrqLine irq, EventLoop& loop, chardev::Chardev& chardev);
  ~Serial16550() override;
  Result<void> attach(bus::AddressSpace& pio, uint16_t base);

  std::string_view name() const override { return name_; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  static constexpr unsigned kFifoSize = 16;
  // A FIFO whose oldest byte is at the front of the array.
  struct Fifo {
    std::array<uint8_t, kFifoSize> data{};
    uint8_t count = 0;
    bool push(uint8_t byte, unsigned depth);
    uint8_t pop();
    void drop(size_t bytes);
    void describe(state::Fields& fields, std::string_view name);
  };

  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 1; }

  // Everything below with lock_ held.
  uint8_t read_rbr();
  uint8_t read_iir();
  uint8_t read_lsr();
  uint8_t read_msr();
  void write_thr(uint8_t value);
  void write_ier(uint8_t value);
  void write_fcr(uint8_t value);
  void write_mcr(uint8_t value);
  bool fifos_enabled() const;
  unsigned depth() const { return fifos_enabled() ? kFifoSize : 1; }
  unsigned trigger_level() const;
  uint64_t character_ns() const;
  bool loopback() const;
  uint8_t modem_inputs() const;
  void update_modem_inputs();
  uint8_t pending_interrupt() const;
  void update_irq();
  void received(uint8_t byte);
  void restart_timeout();
  void transmit();
  size_t receive_room() const;

  // The chardev's and the timer's side; these take the lock.
  size_t can_receive();
  void receive(std::span<const uint8_t> bytes);
  void receive_break();
  void writable();
  void timeout();

  const std::string name_;
  const bus::IrqLine irq_;
  chardev::Chardev& chardev_;
  std::mutex lock_;
  Timer timeout_timer_;

  uint8_t ier_ = 0, fcr_ = 0, lcr_ = 0, mcr_ = 0, msr_ = 0, scr_ = 0;
  uint8_t line_errors_ = 0;  // the bits of LSR that reading it clears
  uint16_t divisor_ = 0;     // DLM:DLL
  Fifo receive_fifo_, transmit_fifo_;
  bool thre_pending_ = false;     // the transmitter-empty interrupt, which reading IIR clears
  bool timeout_pending_ = false;  // the character-timeout interrupt
  bool timeout_running_ = false;
  int64_t timeout_at_ = 0;  // VmClock
};

}  // namespace skerry::devices
