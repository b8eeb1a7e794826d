// Devices that have a life of their own beside the vCPUs', in the loop of the I/O thread: all of them are brought to rest before
// anybody looks at the machine's state, and go on afterwards.
//
// Of the main thread.
#pragma once

#include <functional>
#include <vector>

namespace skerry::machine {

class Workers {
 public:
  // A device with quiesce(at_rest), which calls back on any thread once nothing is under way, and resume(). It outlives this, or this is
  // not used any more.
  template <typename Device>
  void add(Device& device) {
    workers_.push_back({[&device](std::function<void()> at_rest) { device.quiesce(std::move(at_rest)); }, [&device] { device.resume(); }});
  }

  // With every vCPU at rest. After it, and until resume(), no device touches guest memory, and none's state changes.
  void quiesce();
  void resume();
  // A state has been loaded: at rest until resume().
  void restored() { at_rest_ = true; }

 private:
  struct Worker {
    std::function<void(std::function<void()> at_rest)> quiesce;
    std::function<void()> resume;
  };
  std::vector<Worker> workers_;
  bool at_rest_ = false;
};

}  // namespace skerry::machine
