#include "virtio/scsi_tasks.hpp"

#include <algorithm>
#include <utility>

namespace skerry::virtio {

using Attribute = ScsiTask::Attribute;
using Fate = ScsiTask::Fate;

// What is ordered begins after all that came before, and what comes after it, after its end (SAM-5, 8.6).
bool ScsiTaskSet::may_begin(const ScsiTask& task) const {
  switch (task.attribute) {
    case Attribute::kSimple:
      return !ordered_runs_;
    case Attribute::kOrdered:
      return running_ == 0;
    case Attribute::kHeadOfQueue:
      break;
  }
  return true;
}

void ScsiTaskSet::begin(ScsiTask& task) {
  task.begun = true;
  ++running_;
  if (task.attribute == Attribute::kOrdered) ordered_runs_ = true;
}

bool ScsiTaskSet::add(ScsiTask& task) {
  task.place = tasks_.insert(tasks_.end(), &task);
  const bool overtakes = task.attribute == Attribute::kHeadOfQueue;
  if (overtakes || (waiting_.empty() && may_begin(task))) {
    begin(task);
    return true;
  }
  waiting_.push_back(&task);
  return false;
}

void ScsiTaskSet::leave(ScsiTask& task) {
  tasks_.erase(task.place);
  if (task.begun) {
    --running_;
    if (task.attribute == Attribute::kOrdered) ordered_runs_ = false;
  }
  const std::vector<ScsiAbort*> aborts = std::exchange(task.aborts, {});
  begin_waiting();
  for (ScsiAbort* abort : aborts)
    if (--abort->left == 0) abort->waiter.resume();
}

// Those that end at once do not begin the next ones inside of themselves, but leave it to the loop that began them.
void ScsiTaskSet::begin_waiting() {
  if (beginning_) return;
  beginning_ = true;
  while (!waiting_.empty() && may_begin(*waiting_.front())) {
    ScsiTask& task = *waiting_.front();
    waiting_.pop_front();
    begin(task);
    task.waiter.resume();
  }
  beginning_ = false;
}

bool ScsiTaskSet::begin_abort(Abort& abort) {
  for (ScsiTask* task : tasks_) {
    if (abort.id && task->id != *abort.id) continue;
    if (task->fate == Fate::kRuns) task->fate = abort.fate;
    if (!task->begun) continue;
    task->aborts.push_back(&abort);
    ++abort.left;
  }
  wake_doomed();
  return abort.left == 0;
}

void ScsiTaskSet::doom(Fate fate) {
  for (ScsiTask* task : tasks_)
    if (task->fate == Fate::kRuns) task->fate = fate;
  wake_doomed();
}

void ScsiTaskSet::wake_doomed() {
  std::vector<ScsiTask*> doomed;
  std::erase_if(waiting_, [&](ScsiTask* task) {
    if (task->fate == Fate::kRuns) return false;
    doomed.push_back(task);
    return true;
  });
  for (ScsiTask* task : doomed) task->waiter.resume();
}

bool ScsiTaskSet::has(std::optional<uint64_t> id) const {
  return std::any_of(tasks_.begin(), tasks_.end(),
                     [&](const ScsiTask* task) { return task->fate == Fate::kRuns && (!id || task->id == *id); });
}

}  // namespace skerry::virtio
