// What executes guest instructions: the narrow interface that every accelerator implements.
//
// An accelerator makes vCPUs; each vCPU is run by one thread of its own (VcpuThread in accel/vcpu_thread.hpp).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "accel/debug_options.hpp"
#include "base/result.hpp"
#include "bus/address_space.hpp"
#include "irqchip/foreign_apic.hpp"
#include "x86/cpu_state.hpp"
#include "x86/environment.hpp"

namespace skerry::memory {
class GuestMemory;
}
namespace skerry::x86 {
class CpuModel;
struct Feature;
}

namespace skerry::accel {

// Why run() came back.
enum class Exit : uint8_t {
  kKicked,       // kick() was called
  kHalted,       // HLT, or waiting for SIPI: nothing to do until an interrupt, NMI, INIT or SIPI
  kTripleFault,  // the processor shut down
  kBreakpoint,   // a debugger's breakpoint at RIP, which has not been executed
  kWatchpoint,   // a debugger's watchpoint was hit by the instruction before RIP; see debug_address()
  kStepped,      // one instruction was executed under single_step
  kFailed,       // the accelerator cannot go on, and has logged why
};

struct Watchpoint {
  uint64_t address;  // linear
  uint64_t length;
  bool on_read, on_write;
  bool operator==(const Watchpoint&) const = default;
};

// What a debugger asks of every vCPU. Invisible to the guest.
struct DebugControls {
  std::vector<uint64_t> breakpoints;  // linear addresses
  std::vector<Watchpoint> watchpoints;
};

// One virtual processor. All members but kick() and the request_* ones are called on its own thread, or by another
// thread while its own is at rest.
class Vcpu {
 public:
  virtual ~Vcpu() = default;

  // Executes until there is a reason to come back.
  virtual Exit run() = 0;
  // Executes exactly one instruction (or delivers one event); gives kStepped, or the reason that came first.
  virtual Exit step() = 0;

  // Any thread: makes the current or the next run() come back with kKicked, soon; never lost.
  virtual void kick() = 0;
  // Any thread: the pins. A run() that is under way notices at an instruction boundary.
  virtual void request_interrupt(bool level) = 0;
  virtual void request_nmi() = 0;
  virtual void request_smi() = 0;  // of an accelerator that has SMM
  // Forgets what the request_* members asked for; at rest, for a reset of the machine.
  virtual void clear_requests() = 0;
  // At rest: whether an NMI waits until the guest takes it, as it does while another is handled. Not part of the state.
  virtual bool nmi_waits() = 0;
  virtual void set_nmi_waits(bool waits) = 0;
  // Likewise an SMI, as it does while another is handled.
  virtual bool smi_waits() = 0;
  virtual void set_smi_waits(bool waits) = 0;

  // The whole architectural state. The reference is valid until the next run() or step(); after changing it through
  // the mutable one, call state_changed().
  virtual const x86::CpuState& state() = 0;
  virtual x86::CpuState& mutable_state() = 0;
  virtual void state_changed() = 0;

  // For debuggers: guest memory by linear address, by the current paging mode, without side effects on the guest
  // (no accessed bits, no faults) and without privilege checks. False when a byte is not mapped.
  virtual bool read_linear(uint64_t address, std::span<std::byte> to) = 0;
  virtual bool write_linear(uint64_t address, std::span<const std::byte> from) = 0;
  virtual std::optional<uint64_t> translate(uint64_t linear) = 0;  // to guest-physical

  virtual void set_debug(const DebugControls& controls) = 0;
  virtual uint64_t debug_address() const = 0;  // of the last kWatchpoint

  // Its local APIC, if the accelerator has local APICs.
  virtual irqchip::ForeignApic* local_apic() { return nullptr; }

  // The most recent instructions, oldest first, as lines for a log ("rip  bytes  disassembly").
  virtual std::vector<std::string> recent_instructions() = 0;
};

class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual std::string_view name() const = 0;
  // `index` is also the initial APIC ID. `environment` outlives the vCPU. The state is that after power-on.
  virtual Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned index, x86::Environment& environment) = 0;

  // Whether guests' time-stamp counters go on from where Skerry says. Else they are the host's.
  virtual bool sets_tsc() const { return true; }

  // What the model of a new VM is to have beside what it has by its name. One that was saved keeps what it had.
  virtual std::vector<const x86::Feature*> paravirtual_features() const { return {}; }

  // What an accelerator may have beside processors. Null: it does not, and the machine's own devices do it.
  virtual irqchip::ForeignApics* local_apics() { return nullptr; }
  // It does what guests' writes to doorbells do, without leaving the guest.
  virtual bus::DoorbellListener* doorbell_listener() { return nullptr; }
};

struct AcceleratorParts {
  memory::GuestMemory& memory;
  x86::CpuModel& model;  // who makes the accelerator may take features away that it has not
  DebugOptions options = {};
};

}  // namespace skerry::accel
