// Interrupt lines and messages, as devices see them.
#pragma once

#include <cstdint>
#include <memory>

namespace skerry::bus {

// What interrupt lines end at: the board's routing of global system interrupts (GSI) to PIC and IOAPIC.
// Called from any thread, with the calling device's lock held; takes only interrupt controllers' locks.
class IrqSink {
 public:
  virtual ~IrqSink() = default;
  virtual void set_irq(unsigned gsi, bool level) = 0;
};

// One line of a device. Copyable; unconnected lines go nowhere.
class IrqLine {
 public:
  IrqLine() = default;
  IrqLine(IrqSink& sink, unsigned gsi) : sink_(&sink), gsi_(gsi) {}
  void set(bool level) const {
    if (sink_) sink_->set_irq(gsi_, level);
  }
  void pulse() const {
    set(true);
    set(false);
  }

 private:
  IrqSink* sink_ = nullptr;
  unsigned gsi_ = 0;
};

// An interrupt message that is sent by signalling an event descriptor. Used by one thread at a time.
class MsiEvent {
 public:
  virtual ~MsiEvent() = default;
  // The message from now on. False: it cannot be sent this way.
  virtual bool set(uint64_t address, uint32_t data) = 0;
  virtual int fd() const = 0;  // an eventfd, which any thread may signal
};

// Where message-signalled interrupts go (Intel SDM vol. 3, 11.11): a write of `data` to `address`.
class MsiSink {
 public:
  virtual ~MsiSink() = default;
  virtual void send_msi(uint64_t address, uint32_t data) = 0;
  // Where who takes messages can be signalled without a call; null elsewhere, and where there is no room for one more.
  virtual std::unique_ptr<MsiEvent> make_msi_event() { return nullptr; }
};

// The interrupt inputs of one vCPU, as interrupt controllers drive them. Called from any thread, all but wake() with the
// calling controller's lock held; they only set request bits and wake the vCPU's thread.
class VcpuInterrupts {
 public:
  virtual ~VcpuInterrupts() = default;
  // INTR: a vector can be had by an acknowledge cycle. Who raises it calls wake() when it has let go of its lock: a vCPU
  // that is woken takes that lock at once.
  virtual void interrupt_request(bool level) = 0;
  virtual void wake() = 0;
  virtual void nmi() = 0;
  virtual void smi() = 0;                        // of machines with System Management Mode
  virtual void init() = 0;                       // INIT: to wait-for-SIPI (or reset, for the bootstrap processor)
  virtual void sipi(uint8_t vector) = 0;         // start-up: CS:IP = vector00:0000
};

}  // namespace skerry::bus
