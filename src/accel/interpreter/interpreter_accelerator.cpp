#include "accel/interpreter/interpreter_accelerator.hpp"

#include "accel/interpreted_vcpu.hpp"

namespace skerry::accel {

namespace {

struct WithInterpreter {
  x86::Interpreter made;
};

class InterpreterVcpu final : private WithInterpreter, public InterpretedVcpu {
 public:
  InterpreterVcpu(unsigned index, x86::Environment& environment, AcceleratorParts parts)
      : WithInterpreter{{index, parts.memory, environment, parts.model}}, InterpretedVcpu(made) {}
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
