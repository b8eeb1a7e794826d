// Frames on a byte stream: each after its length in 32 bits, big endian. It is what QEMU's `-netdev stream` speaks, and
// its older `-netdev socket`.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "net/backend.hpp"

namespace skerry::net {

constexpr size_t kStreamLength = 4;

// Finds the frames in what has been read, in whatever pieces. The peer is not trusted.
class FrameReader {
 public:
  FrameReader() : buffer_(2 * (kStreamLength + kMaxFrame)) {}

  // Where to read to, never empty if next() has said that there is nothing; then say how much was read.
  std::span<uint8_t> space();
  void filled(size_t size) { end_ += size; }

  enum class Got { kFrame, kNothing, kBroken };
  // `frame` is good until the next space(). kBroken: a length that no frame has; nothing more can be found.
  Got next(std::span<uint8_t>& frame);
  void reset() { begin_ = end_ = 0; }

 private:
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what is there
};

// What a socket has not taken yet of a frame that was begun.
class FrameRest {
 public:
  // Keeps what follows the first `done` bytes of `parts`.
  void keep(std::span<const iovec> parts, size_t done);
  std::span<const uint8_t> left() const { return std::span(bytes_).subspan(done_); }
  void sent(size_t size) { done_ += size; }
  bool empty() const { return done_ == bytes_.size(); }
  void reset() { bytes_.clear(), done_ = 0; }

 private:
  std::vector<uint8_t> bytes_;
  size_t done_ = 0;
};

}  // namespace skerry::net
