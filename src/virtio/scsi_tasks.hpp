// The task set of a logical unit (SAM-5, 8): when each command may begin beside the others, and how commands are
// aborted.
//
// On one thread. What the host's kernel has begun cannot be called back: an abort waits for it.
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <vector>

namespace skerry::virtio {

struct ScsiAbort;

struct ScsiTask {
  enum class Attribute : uint8_t { kSimple, kOrdered, kHeadOfQueue };  // 8.6
  enum class Fate : uint8_t { kRuns, kAborted, kReset };
  uint64_t id = 0;  // the driver's
  Attribute attribute = Attribute::kSimple;
  Fate fate = Fate::kRuns;

  // The set's.
  std::list<ScsiTask*>::iterator place;
  std::coroutine_handle<> waiter;  // while it may not begin
  bool begun = false;
  std::vector<ScsiAbort*> aborts;  // those that wait for it
};

struct ScsiAbort {
  size_t left = 0;
  std::coroutine_handle<> waiter;
};

class ScsiTaskSet {
 public:
  struct Enter {
    ScsiTaskSet& set;
    ScsiTask& task;
    bool await_ready() { return set.add(task); }
    void await_suspend(std::coroutine_handle<> handle) { task.waiter = handle; }
    void await_resume() const {}
  };
  struct Abort : ScsiAbort {
    Abort(ScsiTaskSet& of, std::optional<uint64_t> number, ScsiTask::Fate what) : set(of), id(number), fate(what) {}
    ScsiTaskSet& set;
    std::optional<uint64_t> id;
    ScsiTask::Fate fate;
    bool await_ready() { return set.begin_abort(*this); }
    void await_suspend(std::coroutine_handle<> handle) { waiter = handle; }
    void await_resume() const {}
  };

  // Awaited: until the task may begin, or has another fate. It stays where it is, and in the set until leave().
  Enter enter(ScsiTask& task) { return {*this, task}; }
  // After its end has been told. Others may begin, and go on, before this returns.
  void leave(ScsiTask& task);
  // Awaited: gives all tasks of this number, or all, that fate, until they have left.
  Abort abort(std::optional<uint64_t> id, ScsiTask::Fate fate) { return {*this, id, fate}; }
  // The same, with nobody who waits.
  void doom(ScsiTask::Fate fate);
  bool has(std::optional<uint64_t> id) const;

 private:
  bool add(ScsiTask& task);
  bool begin_abort(Abort& abort);
  bool may_begin(const ScsiTask& task) const;
  void begin(ScsiTask& task);
  void begin_waiting();
  void wake_doomed();

  std::list<ScsiTask*> tasks_;
  std::deque<ScsiTask*> waiting_;  // in the order in which they came
  unsigned running_ = 0;
  bool ordered_runs_ = false;
  bool beginning_ = false;  // in begin_waiting()
};

}  // namespace skerry::virtio
