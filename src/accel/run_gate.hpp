// Lets one vCPU do something while no other vCPU of the VM is inside an instruction.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

namespace skerry::accel {

// Every vCPU thread brackets Vcpu::run() with enter() and leave(). A running guest does not touch the gate's lock: it is
// taken only between runs and for exclusive work.
class RunGate {
 public:
  void enter();
  void leave();
  // Called by a vCPU thread between its enter() and leave(), in the midst of an instruction that has had no effect yet.
  // `kick_others` must make every other vCPU come out of run(). Several callers take turns.
  void exclusive(const std::function<void()>& kick_others, const std::function<void()>& work);

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  unsigned inside_ = 0;  // vCPUs in run() that may be in an instruction
  bool closed_ = false;
};

}  // namespace skerry::accel
