#include "accel/interpreter/interpreter_accelerator.hpp"

#include <algorithm>

#include "x86/interp/interpreter.hpp"

namespace skerry::accel {

namespace {

Exit exit_of(x86::StopReason reason) {
  switch (reason) {
    case x86::StopReason::kKicked: return Exit::kKicked;
    case x86::StopReason::kHalted: return Exit::kHalted;
    case x86::StopReason::kTripleFault: return Exit::kTripleFault;
    case x86::StopReason::kBreakpoint: return Exit::kBreakpoint;
    case x86::StopReason::kWatchpoint: return Exit::kWatchpoint;
    case x86::StopReason::kStepped: return Exit::kStepped;
  }
  return Exit::kKicked;
}

class InterpreterVcpu final : public Vcpu {
 public:
  InterpreterVcpu(unsigned index, x86::Environment& environment, AcceleratorParts parts)
      : interpreter_(index, parts.memory, environment, parts.model) {}

  Exit run() override { return exit_of(interpreter_.run()); }
  Exit step() override { return exit_of(interpreter_.step()); }
  void kick() override { interpreter_.set_request(x86::request::kKick); }
  void request_interrupt(bool level) override {
    if (level)
      interpreter_.set_request(x86::request::kInterrupt);
    else
      interpreter_.clear_request(x86::request::kInterrupt);
  }
  void request_nmi() override { interpreter_.set_request(x86::request::kNmi); }
  void clear_requests() override { interpreter_.clear_request(x86::request::kInterrupt | x86::request::kNmi); }

  const x86::CpuState& state() override { return interpreter_.state; }
  x86::CpuState& mutable_state() override { return interpreter_.state; }
  void state_changed() override { interpreter_.state_changed(); }

  std::optional<uint64_t> translate(uint64_t linear) override {
    uint64_t gpa = 0;
    if (!x86::probe(interpreter_.memory, interpreter_.state, linear, gpa)) return std::nullopt;
    return gpa;
  }
  bool read_linear(uint64_t address, std::span<std::byte> to) override {
    return by_page(address, to.size(), [&](uint64_t gpa, size_t done, size_t part) {
      return interpreter_.memory.read(gpa, to.subspan(done, part));
    });
  }
  bool write_linear(uint64_t address, std::span<const std::byte> from) override {
    return by_page(address, from.size(), [&](uint64_t gpa, size_t done, size_t part) {
      return interpreter_.memory.write(gpa, from.subspan(done, part));
    });
  }

  void set_debug(const DebugControls& controls) override {
    std::vector<x86::WatchRange> ranges;
    for (const Watchpoint& watch : controls.watchpoints)
      ranges.push_back({watch.address, watch.length, watch.on_read, watch.on_write});
    interpreter_.set_debug(controls.breakpoints, std::move(ranges));
  }
  uint64_t debug_address() const override { return interpreter_.watch_hit(); }
  std::vector<std::string> recent_instructions() override { return interpreter_.recent_instructions(); }

 private:
  template <typename Access>
  bool by_page(uint64_t address, size_t size, Access access) {
    for (size_t done = 0; done < size;) {
      const auto gpa = translate(address + done);
      const size_t part =
          std::min<size_t>(size - done, memory::kPageSize - ((address + done) & memory::kPageMask));
      if (!gpa || !access(*gpa, done, part)) return false;
      done += part;
    }
    return true;
  }

  x86::Interpreter interpreter_;
};

class InterpreterAccelerator final : public Accelerator {
 public:
  explicit InterpreterAccelerator(AcceleratorParts parts) : parts_(parts) {}
  std::string_view name() const override { return "interpreter"; }
  Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned index, x86::Environment& environment) override {
    return std::unique_ptr<Vcpu>(std::make_unique<InterpreterVcpu>(index, environment, parts_));
  }

 private:
  AcceleratorParts parts_;
};

}  // namespace

std::unique_ptr<Accelerator> make_interpreter_accelerator(AcceleratorParts parts) {
  return std::make_unique<InterpreterAccelerator>(parts);
}

}  // namespace skerry::accel
