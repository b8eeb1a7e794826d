#include "vm/save_job.hpp"

#include "base/log.hpp"

namespace skerry::vm {

Result<void> SaveJob::start(machine::Machine& machine, const config::VmConfig& config, UniqueFd file) {
  auto task = migrate::SaveTask::start(machine, config, std::move(file));
  if (!task) return std::move(task).error();
  task_ = std::move(*task);
  ++number_;
  started_ = VmClock::host_now();
  last_ = {};
  last_.state = SaveStatus::State::kActive;
  log::debug(log::Category::kVm, "saving");
  changed_();
  post_step();
  return ok();
}

void SaveJob::post_step() {
  loop_.post([this, number = number_] {
    if (task_ && number == number_) step();
  });
}

void SaveJob::step() {
  auto done = task_->step();
  if (!done) return end(SaveStatus::State::kFailed, done.error().message());
  if (*done) return end(SaveStatus::State::kCompleted, "");
  post_step();
}

void SaveJob::abandon(SaveStatus::State as, std::string why) {
  if (task_) end(as, std::move(why));
}

void SaveJob::end(SaveStatus::State as, std::string why) {
  last_ = status();
  last_.state = as;
  last_.error = std::move(why);
  task_.reset();
  log::debug(log::Category::kVm, "the save has ended ({}){}{}", name(as), last_.error.empty() ? "" : ": ", last_.error);
  changed_();
}

SaveStatus SaveJob::status() const {
  SaveStatus status = last_;
  if (!task_) return status;
  const migrate::SaveProgress& progress = task_->progress();
  status.total = progress.total;
  status.done = progress.done;
  status.written = progress.written;
  status.milliseconds = (VmClock::host_now() - started_) / 1'000'000;
  return status;
}

}  // namespace skerry::vm
