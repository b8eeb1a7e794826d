// A request of FUSE as a parser sees it: taken apart from the front, every size checked. And where its answer goes.
#pragma once

#include <linux/fuse.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace skerry::share {

// What came of a request: an answer of `size` bytes, or an errno value.
struct Outcome {
  int error = 0;
  size_t size = 0;

  static Outcome failed(int error) { return {error, 0}; }
  static Outcome failed_by_errno() { return {errno, 0}; }
};

class Request {
 public:
  // `bytes` is the request, a copy that nobody changes, at least a header long: as much of it as is ever looked at. `shared`
  // is all of it, which others may change.
  Request(std::span<const uint8_t> bytes, std::span<const uint8_t> shared) : bytes_(bytes), shared_(shared) {
    std::memcpy(&header_, bytes.data(), sizeof header_);
    at_ = sizeof header_;
  }
  const fuse_in_header& header() const { return header_; }

  // The next fixed part. False: the request is too short.
  template <typename T>
  bool take(T& value) {
    if (bytes_.size() - at_ < sizeof value) return false;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return true;
  }
  // The next NUL-terminated text, at most `most` bytes long; null if there is none.
  const char* take_text(size_t most) {
    const auto* text = reinterpret_cast<const char*>(bytes_.data()) + at_;
    const size_t length = ::strnlen(text, bytes_.size() - at_);
    if (length == bytes_.size() - at_ || length > most) return nullptr;
    at_ += length + 1;
    return text;
  }
  std::span<const uint8_t> take_rest() { return bytes_.subspan(at_); }
  // The same, of any length, but for data only: what is in it may change.
  std::span<const uint8_t> shared_rest() const { return shared_.subspan(at_); }

 private:
  fuse_in_header header_;
  std::span<const uint8_t> bytes_, shared_;
  size_t at_;
};

// Room for an answer, in memory that others may look at and change. It is written to from the front.
class Answer {
 public:
  explicit Answer(std::span<uint8_t> room) : room_(room) {}

  size_t size() const { return size_; }
  std::span<uint8_t> left() const { return room_.subspan(size_); }
  void add(size_t written) { size_ += written; }  // into left()
  template <typename T>
  bool put(const T& value) {
    return put_bytes({reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  bool put_bytes(std::span<const uint8_t> bytes) {
    if (left().size() < bytes.size()) return false;
    if (!bytes.empty()) std::memcpy(room_.data() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
    return true;
  }
  // The whole answer is `value`.
  template <typename T>
  Outcome is(const T& value) {
    return put(value) ? Outcome{0, size_} : Outcome::failed(EIO);  // no driver gives less room
  }

 private:
  std::span<uint8_t> room_;
  size_t size_ = 0;
};

}  // namespace skerry::share
