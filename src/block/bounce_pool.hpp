// Aligned buffers for requests whose own are not: a few, for which requests queue. One thread.
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "block/aligned_buffer.hpp"

namespace skerry::block {

class BouncePool {
 public:
  static constexpr size_t kBufferSize = 256 * KiB;
  static constexpr size_t kMostBuffers = 16;

  explicit BouncePool(size_t alignment) : alignment_(alignment) {}

  // A buffer, until it goes. What is in it is left from earlier requests of the same disk.
  class Lease {
   public:
    Lease(BouncePool& pool, AlignedBuffer buffer) : pool_(&pool), buffer_(std::move(buffer)) {}
    Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), buffer_(std::move(other.buffer_)) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (pool_) pool_->give_back(std::move(buffer_));
    }
    std::span<uint8_t> bytes() { return buffer_.bytes(); }

   private:
    BouncePool* pool_;
    AlignedBuffer buffer_;
  };

  // Awaitable that gives a Lease, in the order of arrival.
  class Take {
   public:
    explicit Take(BouncePool& pool) : pool_(pool) {}
    bool await_ready() { return pool_.make_one_free(); }
    void await_suspend(std::coroutine_handle<> waiter) { pool_.waiters_.push_back(waiter); }
    Lease await_resume() { return Lease(pool_, pool_.take_free()); }

   private:
    BouncePool& pool_;
  };
  [[nodiscard]] Take take() { return Take(*this); }

 private:
  bool make_one_free() {
    if (!free_.empty()) return true;
    if (made_ == kMostBuffers) return false;
    ++made_;
    free_.emplace_back(kBufferSize, alignment_);
    return true;
  }
  AlignedBuffer take_free() {
    AlignedBuffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void give_back(AlignedBuffer buffer) {
    free_.push_back(std::move(buffer));
    if (waiters_.empty()) return;
    const std::coroutine_handle<> waiter = waiters_.front();
    waiters_.pop_front();
    waiter.resume();  // takes it at once
  }

  const size_t alignment_;
  size_t made_ = 0;
  std::vector<AlignedBuffer> free_;
  std::deque<std::coroutine_handle<>> waiters_;
};

}  // namespace skerry::block
