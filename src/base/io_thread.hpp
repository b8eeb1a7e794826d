// A thread that does input and output: an event loop of its own under a name that `ps` and `perf` show.
//
// Created before the sandbox closes and started after rights are dropped, because a thread keeps the rights that its
// maker has; what the loop drives (disks, queues of devices) is made in between. Owned, started and destroyed by one
// thread; loop().post() and call() may be used from any once it has been started.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/event_loop.hpp"

namespace skerry {

class IoThread {
 public:
  // `name`: at most 15 bytes are shown, pthread_setname_np(3).
  static Result<std::unique_ptr<IoThread>> create(VmClock& clock, std::string name);
  // Ends the loop after the turn that is under way, and waits for that. What is still posted does not run.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  void start();
  // The same as destruction, but that loop() stays: call() then runs what it is given on the calling thread. For taking
  // down what the loop drove.
  void stop();
  EventLoop& loop() { return *loop_; }
  const std::string& name() const { return name_; }
  // In a turn of its loop: on the thread, or on one that has borrowed the turn.
  bool is_current() const { return loop_->in_turn(); }

  // Runs `work` on the thread and returns when it has ended. In a turn of its loop, and while there is no thread (before
  // start() and after stop()), directly. No lock may be held that callbacks on the thread take.
  void call(const std::function<void()>& work);

 private:
  IoThread(std::unique_ptr<EventLoop> loop, std::string name) : loop_(std::move(loop)), name_(std::move(name)) {}

  const std::unique_ptr<EventLoop> loop_;
  const std::string name_;
  std::thread thread_;
};

}  // namespace skerry
