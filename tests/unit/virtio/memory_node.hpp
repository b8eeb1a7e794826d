// A disk in memory, for tests. It notes what it was asked for, can fail, and can let requests wait.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <coroutine>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "block/node.hpp"

namespace skerry::virtio::test {

class MemoryNode final : public block::Node {
 public:
  explicit MemoryNode(size_t size, bool read_only = false) : content(size), read_only_(read_only) {}

  uint64_t size() const override { return content.size(); }
  bool read_only() const override { return read_only_; }
  block::Limits limits() const override { return limits_; }

  Task<block::Errno> read(uint64_t offset, std::span<const iovec> to) override {
    note("read", offset, length_of(to));
    co_await turn();
    if (error != 0) co_return error;
    for (const iovec& part : to) {
      std::memcpy(part.iov_base, content.data() + offset, part.iov_len);
      offset += part.iov_len;
    }
    co_return 0;
  }
  Task<block::Errno> write(uint64_t offset, std::span<const iovec> from, bool fua) override {
    note(fua ? "write fua" : "write", offset, length_of(from));
    co_await turn();
    if (error != 0) co_return error;
    for (const iovec& part : from) {
      std::memcpy(content.data() + offset, part.iov_base, part.iov_len);
      offset += part.iov_len;
    }
    co_return 0;
  }
  Task<block::Errno> flush() override {
    note("flush", 0, 0);
    co_await turn();
    co_return error;
  }
  Task<block::Errno> discard(uint64_t offset, uint64_t length) override {
    note("discard", offset, length);
    co_await turn();
    co_return error;
  }
  Task<block::Errno> write_zeroes(uint64_t offset, uint64_t length, bool may_unmap) override {
    note(may_unmap ? "zero unmap" : "zero", offset, length);
    co_await turn();
    if (error != 0) co_return error;
    std::fill_n(content.begin() + static_cast<ptrdiff_t>(offset), length, uint8_t{0});
    co_return 0;
  }

  // Lets what waits go on, the latest first if `backwards`.
  void release(bool backwards = false) {
    auto waiting = std::exchange(waiting_, {});
    if (backwards) std::reverse(waiting.begin(), waiting.end());
    for (const auto handle : waiting) handle.resume();
  }
  size_t waiting() const { return waiting_.size(); }

  std::vector<uint8_t> content;
  std::vector<std::string> asked;  // "read 512+1024"
  block::Errno error = 0;
  bool hold = false;  // requests wait for release()
  block::Limits limits_;

 private:
  struct Turn {
    MemoryNode& node;
    bool await_ready() const { return !node.hold; }
    void await_suspend(std::coroutine_handle<> handle) { node.waiting_.push_back(handle); }
    void await_resume() const {}
  };
  Turn turn() { return {*this}; }
  static uint64_t length_of(std::span<const iovec> parts) {
    uint64_t length = 0;
    for (const iovec& part : parts) length += part.iov_len;
    return length;
  }
  void note(const char* what, uint64_t offset, uint64_t length) {
    EXPECT_LE(offset + length, content.size()) << what << " outside of the disk";
    asked.push_back(std::string(what) + " " + std::to_string(offset) + "+" + std::to_string(length));
    if (asked.size() > 1000) asked.clear();
  }

  const bool read_only_;
  std::deque<std::coroutine_handle<>> waiting_;
};

}  // namespace skerry::virtio::test
