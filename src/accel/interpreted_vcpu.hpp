// A vCPU whose state is that of an x86::Interpreter: all of Vcpu but how instructions are run.
#pragma once

#include "accel/accelerator.hpp"
#include "x86/interp/interpreter.hpp"

namespace skerry::accel {

Exit exit_of(x86::StopReason reason);

class InterpretedVcpu : public Vcpu {
 public:
  // The interpreter is the derived class's, and is not used before it is there.
  explicit InterpretedVcpu(x86::Interpreter& interpreter) : interpreter_(interpreter) {}

  Exit run() override { return exit_of(interpreter_.run()); }
  Exit step() override { return exit_of(interpreter_.step()); }
  void kick() override { interpreter_.set_request(x86::request::kKick); }
  void request_interrupt(bool level) override;
  void request_nmi() override { interpreter_.set_request(x86::request::kNmi); }
  void request_smi() override { interpreter_.set_request(x86::request::kSmi); }
  void clear_requests() override {
    interpreter_.clear_request(x86::request::kInterrupt | x86::request::kNmi | x86::request::kSmi);
  }

  bool nmi_waits() override { return interpreter_.requests() & x86::request::kNmi; }
  void set_nmi_waits(bool waits) override;
  bool smi_waits() override { return interpreter_.requests() & x86::request::kSmi; }
  void set_smi_waits(bool waits) override;

  const x86::CpuState& state() override { return interpreter_.state; }
  x86::CpuState& mutable_state() override { return interpreter_.state; }
  void state_changed() override { interpreter_.state_changed(); }

  std::optional<uint64_t> translate(uint64_t linear) override;
  bool read_linear(uint64_t address, std::span<std::byte> to) override;
  bool write_linear(uint64_t address, std::span<const std::byte> from) override;

  void set_debug(const DebugControls& controls) override;
  uint64_t debug_address() const override { return interpreter_.watch_hit(); }
  std::vector<std::string> recent_instructions() override { return interpreter_.recent_instructions(); }

 private:
  x86::Interpreter& interpreter_;
};

}  // namespace skerry::accel
