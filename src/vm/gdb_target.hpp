// What the gdb stub needs of a VM. Everything here is called on the main thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "accel/accelerator.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::vm {

class DebugTarget {
 public:
  virtual ~DebugTarget() = default;
  virtual unsigned vcpu_count() const = 0;
  virtual bool running() const = 0;  // stepping too

  // Returns with every vCPU at rest.
  virtual void halt() = 0;
  virtual void resume() = 0;
  // One vCPU executes one instruction while the others rest or run; at its end the VM tells the stub, as it does for
  // breakpoints and watchpoints, with everything halted.
  virtual void step(unsigned vcpu, bool others_run) = 0;

  // These only while halted.
  virtual const x86::CpuState& state(unsigned vcpu) = 0;
  virtual void set_state(unsigned vcpu, const x86::CpuState& state) = 0;
  // By linear address and that vCPU's paging. False when a byte is not mapped.
  virtual bool read_memory(unsigned vcpu, uint64_t address, std::span<std::byte> to) = 0;
  virtual bool write_memory(unsigned vcpu, uint64_t address, std::span<const std::byte> from) = 0;
  virtual void set_debug(const accel::DebugControls& controls) = 0;  // of every vCPU
  virtual uint64_t watch_address(unsigned vcpu) = 0;                 // of its last watchpoint

  virtual void reset_machine() = 0;
  virtual void kill() = 0;
};

}  // namespace skerry::vm
