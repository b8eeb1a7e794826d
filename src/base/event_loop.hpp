// One thread's loop over file descriptors, timers and posted work (epoll, timerfd, eventfd).
//
// run() is called by the owning thread. add/remove, post and Timer may be used from any thread; callbacks run on the
// loop's thread, one at a time. After remove() returns on the loop's thread no further callback of that descriptor runs.
//
// The loop goes in turns: it waits until something is ready, handles it, runs what was posted, then what asked for the
// end of the turn. Who batches (submissions to the kernel, interrupts to a guest) collects during a turn and acts at its
// end.
//
// While the loop sleeps another thread may borrow a turn for something short: nobody has to be woken for it. Turns never
// overlap, so what belongs to the loop needs no lock against it.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <thread>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry {

class Timer;

class EventLoop {
 public:
  using Callback = std::function<void(uint32_t epoll_events)>;

  // Timers follow `clock`: they do not expire while it is stopped.
  static Result<std::unique_ptr<EventLoop>> create(VmClock& clock);
  ~EventLoop();

  // Calls back for `epoll_events` (EPOLLIN, ...) on `fd`, level-triggered. The descriptor stays the caller's.
  Result<void> add(int fd, uint32_t epoll_events, Callback callback);
  void modify(int fd, uint32_t epoll_events);
  void remove(int fd);

  // Runs `work` in a later turn, soon. Costs a system call only if the loop sleeps.
  void post(std::function<void()> work);
  // Runs `work` once, at the end of the turn that is under way; the loop does not sleep before. Always on the loop's
  // thread: from a borrowed turn it comes in the one that follows. During a turn, or while nobody else uses the loop.
  void at_turn_end(std::function<void()> work);

  // Any thread but the loop's: does `work`, and what that posts, in a turn on the calling thread. False: not done, as the
  // loop does not sleep, or somebody else has borrowed a turn. `work` is short and does not call poll().
  bool borrow_turn(const std::function<void()>& work);
  bool turn_is_borrowed() const { return borrowed_; }  // during a turn only
  // Whether the turn that is under way is on this thread.
  bool in_turn() const { return holder_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

  void run();   // until quit()
  void quit();
  // One turn, waiting at most `timeout_ms` (-1: without limit). A callback on the loop's thread may call it, to wait for
  // something that other callbacks bring.
  void poll(int timeout_ms);

  VmClock& clock() { return clock_; }
  // To be called after the clock has been started or stopped, so that timers are armed anew.
  void clock_changed();

 private:
  friend class Timer;
  explicit EventLoop(VmClock& clock) : clock_(clock) {}
  void arm(Timer& timer, int64_t deadline);
  void disarm(Timer& timer);
  void program_timerfd();  // with timers_lock_ held
  void expire_timers();
  bool must_not_sleep();
  int wait(epoll_event* events, int capacity, int timeout_ms);
  void call_back(std::span<const epoll_event> events);
  void run_posted();
  void run_left(size_t count);
  void run_turn_end();
  void begin_turn(bool borrowed);
  bool end_turn();
  void wake();

  VmClock& clock_;
  UniqueFd epoll_, wake_, timerfd_;
  std::mutex turn_;  // held during a turn; the first to be taken
  std::atomic<std::thread::id> holder_{};
  bool borrowed_ = false;                       // with turn_
  std::deque<std::function<void()>> left_;      // with turn_: what was posted in a turn
  std::deque<std::function<void()>> turn_end_;  // with turn_
  std::mutex lock_;  // watched_, posted_
  std::map<int, std::shared_ptr<Callback>> watched_;
  std::deque<std::function<void()>> posted_;  // from outside of a turn
  std::atomic<bool> unfinished_{false};       // the last turn has left something
  std::atomic<bool> asleep_{false};           // who posts has to wake the loop
  std::mutex timers_lock_;  // armed_, Timer::deadline_; a leaf lock
  std::set<std::pair<int64_t, Timer*>> armed_;
  std::atomic<bool> quit_{false};
};

// Calls back once on the loop's thread when the VM clock reaches a deadline. set() and cancel() may be called from any
// thread, with the device's lock held: the callback takes that lock itself and must check that its deadline is still
// due, because it may already be on its way when cancel() is called. Destroyed only on the loop's thread or after run().
class Timer {
 public:
  Timer(EventLoop& loop, std::function<void()> callback) : loop_(loop), callback_(std::move(callback)) {}
  ~Timer() { loop_.disarm(*this); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void set(int64_t deadline_ns) { loop_.arm(*this, deadline_ns); }  // VmClock time; replaces an earlier deadline
  void cancel() { loop_.disarm(*this); }
  VmClock& clock() { return loop_.clock(); }
  int64_t now() const { return loop_.clock().now(); }

 private:
  friend class EventLoop;
  EventLoop& loop_;
  std::function<void()> callback_;
  int64_t deadline_ = 0;
  bool armed_ = false;
};

}  // namespace skerry
