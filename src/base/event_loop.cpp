#include "base/event_loop.hpp"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace skerry {

namespace {

constexpr size_t kEventsPerTurn = 64;
// Work at the end of a turn may ask for more of it. What is beyond this comes at the end of the next turn, so that
// descriptors and timers have theirs.
constexpr unsigned kWorkPerTurnEnd = 256;
// Who borrows a turn has other things to do: what goes on for longer than this is the loop's.
constexpr unsigned kBorrowedRounds = 2;

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create(VmClock& clock) {
  std::unique_ptr<EventLoop> loop(new EventLoop(clock));
  loop->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_) return errno_error(errno, "cannot create an epoll descriptor");
  loop->wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->wake_) return errno_error(errno, "cannot create an eventfd");
  loop->timerfd_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!loop->timerfd_) return errno_error(errno, "cannot create a timerfd");

  EventLoop* raw = loop.get();
  // Edge-triggered: each write wakes the loop, and none has to be read.
  if (auto added = loop->add(loop->wake_.get(), EPOLLIN | EPOLLET, [](uint32_t) {}); !added)
    return std::move(added).error();
  if (auto added = loop->add(loop->timerfd_.get(), EPOLLIN, [raw](uint32_t) { raw->expire_timers(); }); !added)
    return std::move(added).error();
  return loop;
}

EventLoop::~EventLoop() = default;

Result<void> EventLoop::add(int fd, uint32_t epoll_events, Callback callback) {
  std::lock_guard guard(lock_);
  epoll_event event{};
  event.events = epoll_events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    return errno_error(errno, "cannot watch a file descriptor");
  watched_[fd] = std::make_shared<Callback>(std::move(callback));
  return ok();
}

void EventLoop::modify(int fd, uint32_t epoll_events) {
  epoll_event event{};
  event.events = epoll_events;
  event.data.fd = fd;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::remove(int fd) {
  std::lock_guard guard(lock_);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  watched_.erase(fd);
}

void EventLoop::post(std::function<void()> work) {
  if (in_turn()) return left_.push_back(std::move(work));  // nobody sleeps before it has been done
  {
    std::lock_guard guard(lock_);
    posted_.push_back(std::move(work));
  }
  wake();
}

void EventLoop::wake() {
  if (!asleep_.exchange(false)) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void EventLoop::at_turn_end(std::function<void()> work) {
  turn_end_.push_back(std::move(work));
  if (!in_turn()) unfinished_.store(true);
}

// With turn_ held.
void EventLoop::begin_turn(bool borrowed) {
  borrowed_ = borrowed;
  holder_.store(std::this_thread::get_id(), std::memory_order_relaxed);
}

// True if there is something that the loop has to do before it sleeps.
bool EventLoop::end_turn() {
  const bool more = !left_.empty() || !turn_end_.empty();
  unfinished_.store(more);
  borrowed_ = false;
  holder_.store({}, std::memory_order_relaxed);
  return more;
}

bool EventLoop::borrow_turn(const std::function<void()>& work) {
  // A loop that is awake, or being woken, comes to it by itself.
  if (!asleep_.load(std::memory_order_relaxed)) return false;
  std::unique_lock turn(turn_, std::try_to_lock);
  if (!turn) return false;
  begin_turn(true);
  work();
  for (unsigned rounds = 0; rounds < kBorrowedRounds && !left_.empty(); ++rounds) run_left(left_.size());
  const bool more = end_turn();
  turn.unlock();
  if (more) wake();
  return true;
}

void EventLoop::quit() {
  quit_.store(true, std::memory_order_release);
  post([] {});
}

void EventLoop::run() {
  while (!quit_.load(std::memory_order_acquire)) poll(-1);
}

bool EventLoop::must_not_sleep() {
  if (in_turn() ? !left_.empty() || !turn_end_.empty() : unfinished_.load()) return true;
  std::lock_guard guard(lock_);
  return !posted_.empty();
}

int EventLoop::wait(epoll_event* events, int capacity, int timeout_ms) {
  if (timeout_ms == 0 || must_not_sleep()) return ::epoll_wait(epoll_.get(), events, capacity, 0);
  // Who leaves or posts work does that and then looks at asleep_; here it is the other way round, so one sees the other.
  asleep_.store(true);
  const int count = ::epoll_wait(epoll_.get(), events, capacity, must_not_sleep() ? 0 : timeout_ms);
  asleep_.store(false);
  return count;
}

void EventLoop::poll(int timeout_ms) {
  std::array<epoll_event, kEventsPerTurn> events;
  const int count = wait(events.data(), events.size(), timeout_ms);
  const std::span ready(events.data(), static_cast<size_t>(std::max(count, 0)));
  const auto work = [&] {
    call_back(ready);
    run_posted();
    run_turn_end();
  };
  if (in_turn()) return work();  // a callback waits for something
  std::lock_guard turn(turn_);
  begin_turn(false);
  work();
  end_turn();
}

void EventLoop::call_back(std::span<const epoll_event> events) {
  for (const epoll_event& event : events) {
    std::shared_ptr<Callback> callback;
    {
      std::lock_guard guard(lock_);
      const auto found = watched_.find(event.data.fd);
      if (found == watched_.end()) continue;
      callback = found->second;
    }
    (*callback)(event.events);
  }
}

// Item by item: one that calls poll() finds the rest in the queue. What is posted meanwhile comes in the next turn.
void EventLoop::run_posted() {
  const size_t left = left_.size();
  size_t count;
  {
    std::lock_guard guard(lock_);
    count = posted_.size();
  }
  for (; count != 0; --count) {
    std::function<void()> work;
    {
      std::lock_guard guard(lock_);
      if (posted_.empty()) break;
      work = std::move(posted_.front());
      posted_.pop_front();
    }
    work();
  }
  run_left(left);
}

void EventLoop::run_left(size_t count) {
  for (; count != 0 && !left_.empty(); --count) {
    const std::function<void()> work = std::move(left_.front());
    left_.pop_front();
    work();
  }
}

void EventLoop::run_turn_end() {
  for (unsigned count = 0; count < kWorkPerTurnEnd && !turn_end_.empty(); ++count) {
    const std::function<void()> work = std::move(turn_end_.front());
    turn_end_.pop_front();
    work();
  }
}

void EventLoop::arm(Timer& timer, int64_t deadline) {
  std::lock_guard guard(timers_lock_);
  if (timer.armed_) armed_.erase({timer.deadline_, &timer});
  timer.deadline_ = deadline;
  timer.armed_ = true;
  const auto position = armed_.insert({deadline, &timer}).first;
  if (position == armed_.begin()) program_timerfd();
}

void EventLoop::disarm(Timer& timer) {
  std::lock_guard guard(timers_lock_);
  if (!timer.armed_) return;
  timer.armed_ = false;
  armed_.erase({timer.deadline_, &timer});
  // The descriptor may now fire early; expire_timers() then finds nothing due and sets it again.
}

void EventLoop::program_timerfd() {
  itimerspec when{};
  if (!armed_.empty() && clock_.running()) {
    const int64_t host = std::max<int64_t>(clock_.to_host(armed_.begin()->first), 1);
    when.it_value.tv_sec = host / 1'000'000'000;
    when.it_value.tv_nsec = host % 1'000'000'000;
  }
  ::timerfd_settime(timerfd_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void EventLoop::expire_timers() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(timerfd_.get(), &count, sizeof count);
  for (;;) {
    Timer* due = nullptr;
    {
      std::lock_guard guard(timers_lock_);
      if (armed_.empty() || !clock_.running() || armed_.begin()->first > clock_.now()) {
        program_timerfd();
        return;
      }
      due = armed_.begin()->second;
      armed_.erase(armed_.begin());
      due->armed_ = false;
    }
    due->callback_();
  }
}

void EventLoop::clock_changed() {
  std::lock_guard guard(timers_lock_);
  program_timerfd();
}

}  // namespace skerry
