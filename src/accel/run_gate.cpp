#include "accel/run_gate.hpp"

namespace skerry::accel {

void RunGate::enter() {
  std::unique_lock lock(lock_);
  changed_.wait(lock, [this] { return !closed_; });
  ++inside_;
}

void RunGate::leave() {
  std::lock_guard lock(lock_);
  --inside_;
  changed_.notify_all();
}

void RunGate::exclusive(const std::function<void()>& kick_others, const std::function<void()>& work) {
  std::unique_lock lock(lock_);
  // This vCPU counts as outside while it waits, so that two that want exclusion do not wait for each other.
  --inside_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !closed_; });
  closed_ = true;
  kick_others();
  changed_.wait(lock, [this] { return inside_ == 0; });
  work();
  closed_ = false;
  ++inside_;
  changed_.notify_all();
}

}  // namespace skerry::accel
