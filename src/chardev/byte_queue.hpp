// A bounded queue of bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace skerry::chardev {

// Memory grows with what is in it, up to about twice the capacity.
class ByteQueue {
 public:
  explicit ByteQueue(size_t capacity) : capacity_(capacity) {}

  size_t size() const { return bytes_.size() - head_; }
  bool empty() const { return size() == 0; }
  size_t room() const { return capacity_ - std::min(capacity_, size()); }
  size_t capacity() const { return capacity_; }

  // Appends what there is room for and says how much that was.
  size_t push(std::span<const uint8_t> from) {
    const size_t count = std::min(from.size(), room());
    bytes_.insert(bytes_.end(), from.begin(), from.begin() + static_cast<ptrdiff_t>(count));
    return count;
  }
  // Appends all of it; the oldest bytes make room.
  void push_dropping_oldest(std::span<const uint8_t> from) {
    if (from.size() > capacity_) from = from.last(capacity_);
    if (from.size() > room()) drop(from.size() - room());
    push(from);
  }

  std::span<const uint8_t> front(size_t most) const { return std::span(bytes_).subspan(head_, std::min(most, size())); }
  void drop(size_t count) {
    head_ += std::min(count, size());
    if (head_ == bytes_.size()) {
      bytes_.clear();
      head_ = 0;
    } else if (head_ >= capacity_) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(head_));
      head_ = 0;
    }
  }

 private:
  size_t capacity_;
  size_t head_ = 0;
  std::vector<uint8_t> bytes_;
};

}  // namespace skerry::chardev
