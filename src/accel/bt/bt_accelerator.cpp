#include "accel/bt/bt_accelerator.hpp"

#include "accel/bt/engine.hpp"
#include "accel/bt/vcpu.hpp"
#include "accel/interpreted_vcpu.hpp"

namespace skerry::accel {

namespace {

struct WithRunner {
  bt::Runner runner;
};

class BtVcpu final : private WithRunner, public InterpretedVcpu {
 public:
  BtVcpu(unsigned index, x86::Environment& environment, bt::Engine& engine)
      : WithRunner{{index, environment, engine}}, InterpretedVcpu(runner.interpreter()) {}
  Exit run() override { return exit_of(runner.run()); }
};

class BtAccelerator final : public Accelerator {
 public:
  explicit BtAccelerator(std::unique_ptr<bt::Engine> engine) : engine_(std::move(engine)) {}
  std::string_view name() const override { return "bt"; }
  Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned index, x86::Environment& environment) override {
    return std::unique_ptr<Vcpu>(std::make_unique<BtVcpu>(index, environment, *engine_));
  }

 private:
  std::unique_ptr<bt::Engine> engine_;
};

}  // namespace

Result<std::unique_ptr<Accelerator>> make_bt_accelerator(AcceleratorParts parts) {
  auto engine = bt::Engine::create(parts);
  if (!engine) return std::move(engine).error();
  return std::unique_ptr<Accelerator>(std::make_unique<BtAccelerator>(std::move(*engine)));
}

}  // namespace skerry::accel
