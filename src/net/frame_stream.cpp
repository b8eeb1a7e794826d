#include "net/frame_stream.hpp"

#include <cstring>

#include "net/frame.hpp"

namespace skerry::net {

std::span<uint8_t> FrameReader::space() {
  if (begin_ == end_) begin_ = end_ = 0;
  // Moved only when a whole frame might not fit behind: once in many reads.
  if (buffer_.size() - begin_ < kStreamLength + kMaxFrame) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return std::span(buffer_).subspan(end_);
}

FrameReader::Got FrameReader::next(std::span<uint8_t>& frame) {
  const size_t there = end_ - begin_;
  if (there < kStreamLength) return Got::kNothing;
  const size_t length = load_be32(buffer_.data() + begin_);
  if (length > kMaxFrame) return Got::kBroken;
  if (there < kStreamLength + length) return Got::kNothing;
  frame = std::span(buffer_).subspan(begin_ + kStreamLength, length);
  begin_ += kStreamLength + length;
  return Got::kFrame;
}

void FrameRest::keep(std::span<const iovec> parts, size_t done) {
  bytes_.clear();
  done_ = 0;
  for (const iovec& part : parts) {
    const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
    if (done < part.iov_len) bytes_.insert(bytes_.end(), bytes + done, bytes + part.iov_len);
    done = done < part.iov_len ? 0 : done - part.iov_len;
  }
}

}  // namespace skerry::net
