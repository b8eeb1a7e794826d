// Order among writes that overlap, where a write has to read and write more than it was given (O_DIRECT and a block
// that is written in part). One thread; takes no system call, and next to nothing while there are only whole blocks.
#pragma once

#include <coroutine>
#include <cstdint>
#include <list>
#include <utility>

namespace skerry::block {

class RangeLock {
  struct Entry {
    uint64_t begin, end;
    bool exclusive;
    bool granted;
    std::coroutine_handle<> waiter;
  };
  using Place = std::list<Entry>::iterator;

 public:
  // Holds the range until it goes.
  class Guard {
   public:
    Guard(Guard&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)), place_(other.place_) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (lock_) lock_->release(place_);
    }

   private:
    friend class RangeLock;
    Guard(RangeLock& lock, Place place) : lock_(&lock), place_(place) {}
    RangeLock* lock_;
    Place place_;
  };

  // Awaitable that gives a Guard of [begin, end): in the order of arrival, beside others that do not overlap it, and
  // beside those that do if neither is exclusive.
  class Acquire {
   public:
    Acquire(RangeLock& lock, Place place) : lock_(lock), place_(place) {}
    bool await_ready() const noexcept { return place_->granted; }
    void await_suspend(std::coroutine_handle<> waiter) noexcept { place_->waiter = waiter; }
    Guard await_resume() const noexcept { return Guard(lock_, place_); }

   private:
    RangeLock& lock_;
    const Place place_;
  };
  [[nodiscard]] Acquire acquire(uint64_t begin, uint64_t end, bool exclusive);

 private:
  bool may_go(Place place);
  void release(Place place);

  std::list<Entry> entries_;  // in the order of arrival
  unsigned exclusive_ = 0, waiting_ = 0;
};

}  // namespace skerry::block
