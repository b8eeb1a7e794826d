// A vCPU that runs translated code, and leaves to the interpreter what is rare: events, modes that are not translated,
// privileged instructions, accesses that cross a page or go to a device.
#pragma once

#include <memory>
#include <random>

#include "accel/bt/engine.hpp"
#include "accel/bt/lockstep.hpp"

namespace skerry::accel::bt {

class Runner {
 public:
  Runner(unsigned index, x86::Environment& environment, Engine& engine);
  ~Runner();

  x86::Interpreter& interpreter() { return context_->interpreter; }
  x86::StopReason run();

 private:
  // Runs translated code from state.rip on. False: there is none for it.
  bool run_translated(Mode mode);
  bool run_in_lockstep(Mode mode);
  void stress();
  const uint8_t* code_at(uint64_t rip, Mode mode);
  const uint8_t* follow(Edge& edge);  // null: an exception came
  bool left(Exit exit, const uint8_t*& code);
  void forget_jumps();
  void before_interpreter();
  void after_interpreter();
  uint64_t address_of(uint32_t offset) const;
  bool fill();
  bool interpret();

  Engine& engine_;
  std::unique_ptr<Context> context_;
  x86::CpuState& state_;
  Mode mode_;  // while in translated code
  uint64_t jump_epoch_ = 0;
  std::minstd_rand random_;  // stress
  std::unique_ptr<Lockstep> lockstep_;
  struct {
    uint64_t exits[5], fills, interpreted, lookups;
  } counts_ = {};
};

}  // namespace skerry::accel::bt
