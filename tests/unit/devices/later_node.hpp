// A disk whose requests do not all end at once.
#pragma once

#include "base/event_loop.hpp"
#include "block/node.hpp"

namespace skerry::test {

// Some requests end at once, some in a later turn.
class LaterNode final : public block::Node {
 public:
  LaterNode(EventLoop& loop, block::Node& behind) : loop_(loop), behind_(behind) {}
  uint64_t size() const override { return behind_.size(); }
  bool read_only() const override { return false; }
  Task<block::Errno> read(uint64_t offset, std::span<const iovec> to) override {
    co_await turn();
    co_return co_await behind_.read(offset, to);
  }
  Task<block::Errno> write(uint64_t offset, std::span<const iovec> from, bool fua) override {
    co_await turn();
    co_return co_await behind_.write(offset, from, fua);
  }
  Task<block::Errno> flush() override { return behind_.flush(); }
  Task<block::Errno> discard(uint64_t offset, uint64_t length) override { return behind_.discard(offset, length); }
  Task<block::Errno> write_zeroes(uint64_t offset, uint64_t length, bool unmap) override {
    return behind_.write_zeroes(offset, length, unmap);
  }

 private:
  struct Turn {
    LaterNode& node;
    bool await_ready() const { return ++node.count_ % 3 == 0; }
    void await_suspend(std::coroutine_handle<> handle) { node.loop_.post([handle] { handle.resume(); }); }
    void await_resume() const {}
  };
  Turn turn() { return {*this}; }
  EventLoop& loop_;
  block::Node& behind_;
  unsigned count_ = 0;
};

}  // namespace skerry::test
