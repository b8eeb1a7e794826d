#include "vm/key_sender.hpp"

namespace skerry::vm {

Result<void> KeySender::send(std::vector<display::KeyCode> keys, int64_t milliseconds) {
  if (keys.empty() || keys.size() > kMaxKeys) return error("{} keys cannot be pressed at a time; give 1 to {}", keys.size(), kMaxKeys);
  if (waiting_.size() >= kMaxWaiting) return error("{} presses of keys wait already; send the next when the guest has got some", waiting_.size());
  waiting_.push_back({std::move(keys), milliseconds * 1'000'000});
  if (!busy_) next();
  return ok();
}

void KeySender::next() {
  busy_ = false;
  if (waiting_.empty()) return;
  const Press& press = waiting_.front();
  int64_t wait = press.hold;
  if (!down_) {
    for (const display::KeyCode key : press.keys) input_.key(key, true);
  } else {
    for (auto key = press.keys.rbegin(); key != press.keys.rend(); ++key) input_.key(*key, false);
    waiting_.pop_front();
    wait = kPause;
  }
  down_ = !down_;
  busy_ = true;
  timer_.set(timer_.now() + wait);
}

void KeySender::forget() {
  timer_.cancel();
  waiting_.clear();
  down_ = busy_ = false;
}

}  // namespace skerry::vm
