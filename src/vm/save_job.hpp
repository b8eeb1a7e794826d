// A save under way: its steps are taken by the event loop between everything else, so that the monitor goes on answering.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.hpp"
#include "migrate/save.hpp"
#include "vm/vm_control.hpp"

namespace skerry::vm {

// Main thread only. The machine stays at rest from start() to the end that `changed` tells of.
class SaveJob {
 public:
  // `changed` is called with each new state of status(); from the loop, or from within start() and abandon().
  SaveJob(EventLoop& loop, std::function<void()> changed) : loop_(loop), changed_(std::move(changed)) {}

  // An error: nothing has begun, and nothing is told.
  Result<void> start(machine::Machine& machine, const config::VmConfig& config, UniqueFd file);
  // Ends what is under way, if anything is.
  void abandon(SaveStatus::State as, std::string why);
  bool active() const { return task_ != nullptr; }
  SaveStatus status() const;

 private:
  void post_step();
  void step();
  void end(SaveStatus::State as, std::string why);

  EventLoop& loop_;
  const std::function<void()> changed_;
  std::unique_ptr<migrate::SaveTask> task_;
  uint64_t number_ = 0;  // of the save: steps of an earlier one may still be posted
  int64_t started_ = 0;  // CLOCK_MONOTONIC, ns
  SaveStatus last_;      // progress is in task_, while there is one
};

}  // namespace skerry::vm
