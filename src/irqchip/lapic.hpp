// One processor's local APIC: xAPIC and x2APIC (Intel SDM vol. 3, chapter 11).
//
// Threads: the register accesses (mmio_*, *_msr, *_tpr, acknowledge) are for the processor's own thread; accept(),
// set_lint*() and init_reset() for any. Its lock is the last one: nothing but VcpuInterrupts and the timer is called
// with it held. What goes up (EOI broadcasts, 8259 acknowledge) or sideways (IPIs) goes after it is released.
//
// Decisions: the register page stays at 0xfee00000 (another base in IA32_APIC_BASE is #GP); the xAPIC ID and the BSP
// flag are read-only; suppression of EOI broadcasts, CMCI and SMIs are not offered; lines are logical, so LINT polarity
// is stored and ignored; the bootstrap processor comes out of reset with LINT0 as ExtINT and unmasked, as firmware
// would leave it, so that a kernel can be entered without firmware.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/event_loop.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"
#include "irqchip/apic_bus.hpp"
#include "irqchip/apic_message.hpp"
#include "irqchip/apic_timer.hpp"
#include "irqchip/foreign_apic.hpp"
#include "irqchip/vector_set.hpp"

namespace skerry::irqchip {

enum class MsrAccess : uint8_t {
  kUnknown,  // not a register of the APIC
  kDone,
  kFault,  // #GP(0)
};

class Lapic final : public bus::Device {
 public:
  static constexpr uint64_t kBaseAddress = 0xfee00000, kPageSize = 4096;

  // `id` is the (x2)APIC ID; `bootstrap` marks the BSP. `guest_tsc` gives the VM's TSC before the vCPU's offset, from
  // any thread. The LAPIC adds itself to no bus: see ApicBus::add.
  Lapic(uint32_t id, bool bootstrap, ApicBus& bus, bus::VcpuInterrupts& interrupts, EventLoop& loop,
        std::function<uint64_t()> guest_tsc, uint64_t tsc_hz);

  uint32_t id() const { return id_; }
  // The registers are `apic`'s from now on: reset() and restored() set them there, describe() gets them. Of what is below
  // only the lines are left, and acknowledge(), for the 8259s. Before the first reset().
  void keep_in(ForeignApic& apic) { foreign_ = &apic; }

  // The register page. Anything but an aligned 32-bit register reads as zero and ignores writes. While the page is not
  // there (disabled, x2APIC mode) reads give all ones.
  uint32_t mmio_read(uint32_t offset);
  void mmio_write(uint32_t offset, uint32_t value);

  // IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800-0x8ff.
  MsrAccess read_msr(uint32_t index, uint64_t& value);
  MsrAccess write_msr(uint32_t index, uint64_t value);

  // CR8: the task priority class, 0..15.
  uint8_t read_tpr();
  void write_tpr(uint8_t priority_class);

  // The acknowledge cycle: the vector to deliver, or -1 when nothing is deliverable. ExtINT comes before the LAPIC's
  // own.
  int acknowledge();
  // Whether there is something to acknowledge: the level last given to VcpuInterrupts.
  bool interrupt_pending() const { return output_.load(std::memory_order_acquire); }

  // A message as by the ICR, of whose low half delivery mode and vector count, to the LAPIC with that ID and no other. False when
  // it does not take it.
  bool send_to(uint32_t id, uint32_t icr);

  // A message that names this LAPIC. False when it does not take it.
  bool accept(const ApicMessage& message);
  void set_lint0(bool level);
  void set_lint1(bool level);
  // Local sources: thermal sensor and performance counters.
  void raise_thermal() { raise_local(kLvtThermal); }
  void raise_pmc() { raise_local(kLvtPmc); }

  // What the vCPU's TSC reads above `guest_tsc` (IA32_TSC_ADJUST and writes to the TSC).
  void set_tsc_offset(int64_t offset);

  // To the state after INIT. Messages of that kind do it by themselves; a vCPU's thread may do it once more when it
  // takes the INIT, for what its guest code has still written since.
  void init_reset();

  // For ApicBus; no locks. May be stale by as much as the message would be late on a real bus.
  bool matches_logical(uint32_t destination) const;
  bool accepts_fixed() const { return routing().mode != Mode::kDisabled && routing().software_enabled; }
  uint8_t processor_priority() const { return routing().priority; }

  std::string_view name() const override { return name_; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  enum class Mode : uint8_t { kDisabled, kXapic, kX2apic };
  enum Lvt : unsigned { kLvtTimer, kLvtThermal, kLvtPmc, kLvtLint0, kLvtLint1, kLvtError, kLvtCount };
  static const std::array<uint32_t, kLvtCount> kLvtWritable;

  // What other threads need to know for routing, in one atomic.
  struct alignas(8) Routing {
    uint32_t ldr = 0;
    uint8_t priority = 0;  // PPR
    Mode mode = Mode::kDisabled;
    uint8_t dfr_model = 15;
    bool software_enabled = false;
  };
  static_assert(sizeof(Routing) == 8);
  Routing routing() const { return routing_.load(std::memory_order_acquire); }

  // What a register access wants done after the lock is released.
  struct Later {
    std::optional<uint8_t> eoi;   // broadcast to IOAPICs
    std::optional<uint64_t> icr;  // send
  };
  void carry_out(const Later& later);

  // lapic.cpp; with the lock held unless said otherwise
  bool accept_locked(const ApicMessage& message);
  bool accept_fixed(uint8_t vector, bool level_triggered);
  bool extint_requested() const;
  uint8_t priority() const;
  uint32_t logical_id() const;
  void update();
  void drive_intr(bool level);
  void raise_error(uint32_t esr_bit);
  void raise_local(Lvt which);  // takes the lock
  void fire_lvt(Lvt which);
  void lint_changed(Lvt which, bool rising, bool level);
  void end_of_interrupt(Later& later);
  void reset_registers();
  void timer_expired();  // takes the lock
  LapicRegisters registers() const;
  void set_registers(const LapicRegisters& from);
  bool sendable(uint64_t icr);
  void send_ipi(uint64_t icr);  // without the lock

  // lapic_registers.cpp; with the lock held. Registers are known by their page offset divided by 16.
  uint32_t read_register(unsigned reg) const;
  void write_register(unsigned reg, uint32_t value, Later& later);
  void write_lvt(Lvt which, uint32_t value);
  void write_svr(uint32_t value);
  void write_icr(uint64_t value, Later& later);
  uint64_t apic_base() const;
  MsrAccess write_apic_base(uint64_t value);
  MsrAccess read_x2apic(unsigned reg, uint64_t& value);
  MsrAccess write_x2apic(unsigned reg, uint64_t value, Later& later);

  const uint32_t id_;
  const bool bootstrap_;
  const std::string name_;
  ApicBus& bus_;
  bus::VcpuInterrupts& interrupts_;
  ForeignApic* foreign_ = nullptr;

  // Holds the lock. The vCPU is woken when that is free again.
  class Hold {
   public:
    explicit Hold(Lapic& lapic) : lapic_(lapic) { lapic_.lock_.lock(); }
    ~Hold() {
      const bool wake = std::exchange(lapic_.wake_due_, false);
      lapic_.lock_.unlock();
      if (wake) lapic_.interrupts_.wake();
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Lapic& lapic_;
  };

  std::mutex lock_;
  bool wake_due_ = false;  // INTR has been raised
  Mode mode_ = Mode::kXapic;
  uint32_t tpr_ = 0, svr_ = 0;
  uint32_t ldr_ = 0;        // as xAPIC software wrote it; see logical_id()
  uint8_t dfr_model_ = 15;  // DFR bits 31:28
  uint64_t icr_ = 0;
  uint32_t esr_ = 0;          // as last latched by a write
  uint32_t esr_pending_ = 0;  // errors since
  std::array<uint32_t, kLvtCount> lvt_{};
  VectorSet irr_, isr_, tmr_;
  bool lint0_ = false, lint1_ = false;  // the inputs
  bool extint_latched_ = false;         // an ExtINT message has come
  ApicTimer timer_;
  std::atomic<bool> output_{false};
  std::atomic<Routing> routing_{};
};

}  // namespace skerry::irqchip
