// What a processor needs from the machine around it. Implemented by the accelerator on top of the board.
#pragma once

#include <cstdint>
#include <functional>

namespace skerry::x86 {

enum class MsrResult : uint8_t {
  kUnknown,  // not this environment's register
  kDone,
  kFault,  // the access raises #GP(0)
};

// Called on the vCPU's thread, with no lock held.
class Environment {
 public:
  virtual ~Environment() = default;

  virtual uint64_t pio_read(uint16_t port, unsigned size) = 0;
  virtual void pio_write(uint16_t port, unsigned size, uint64_t value) = 0;
  // For guest-physical addresses that are no RAM; size 1, 2, 4 or 8.
  virtual uint64_t mmio_read(uint64_t gpa, unsigned size) = 0;
  virtual void mmio_write(uint64_t gpa, unsigned size, uint64_t value) = 0;

  // The interrupt acknowledge cycle: the vector to deliver, or -1 when none is pending any more.
  virtual int acknowledge_interrupt() = 0;
  // CR8 and the registers of the local APIC and the paravirtual clock.
  virtual uint8_t read_tpr() = 0;                // the priority class, 0..15
  virtual void write_tpr(uint8_t priority) = 0;  // likewise
  virtual MsrResult read_msr(uint32_t index, uint64_t& value) = 0;
  virtual MsrResult write_msr(uint32_t index, uint64_t value) = 0;

  // A message to the local APIC with that ID, of the delivery mode and vector that `icr` has in its place; false if none took it.
  virtual bool send_ipi(uint32_t apic_id, uint32_t icr) = 0;

  // The VM's time-stamp counter before the vCPU's own offset.
  virtual uint64_t tsc() = 0;
  // What it reads above the host's, as long as the vCPU runs, and its rate: for processors that count by themselves.
  struct TscRate {
    uint64_t offset;
    uint64_t hz;  // the guest's
    bool as_hosts = false;  // it counts as fast as the host's
    bool operator==(const TscRate&) const = default;
  };
  virtual TscRate tsc_rate() = 0;
  // The vCPU's own offset is another from now on: timers by it follow.
  virtual void tsc_offset_changed(uint64_t offset) = 0;

  // Runs `work` while no other vCPU of the VM is inside an instruction: for a locked access that crosses a page or
  // goes to a device, where the host has no atomic operation.
  virtual void exclusive(const std::function<void()>& work) = 0;

  // The processor is in System Management Mode from now on, or no longer, and sees what is there for it then.
  virtual void smm_changed(bool) {}

  // The x87 error line (FERR#, IRQ 13), for CR0.NE = 0.
  virtual void raise_ferr() = 0;
  // PAUSE in a loop: lets the host run another thread.
  virtual void spin_hint() = 0;
};

}  // namespace skerry::x86
