#include "block/range_lock.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/task.hpp"

namespace skerry::block {
namespace {

// Takes ranges, says in `log` when it got them, and holds them until told.
class Holder {
 public:
  Holder(RangeLock& lock, uint64_t begin, uint64_t end, bool exclusive) { spawn(hold(lock, begin, end, exclusive)); }
  bool has() const { return guard_ != nullptr; }
  void let_go() { guard_.reset(); }

 private:
  Task<void> hold(RangeLock& lock, uint64_t begin, uint64_t end, bool exclusive) {
    guard_ = std::make_unique<RangeLock::Guard>(co_await lock.acquire(begin, end, exclusive));
  }
  std::unique_ptr<RangeLock::Guard> guard_;
};

TEST(RangeLock, SharedRangesMayOverlapAndExclusiveOnesMayNot) {
  RangeLock lock;
  Holder a(lock, 0, 10, false), b(lock, 5, 15, false), beside(lock, 20, 30, true), c(lock, 9, 20, true);
  EXPECT_TRUE(a.has() && b.has() && beside.has());
  EXPECT_FALSE(c.has());
  a.let_go();
  EXPECT_FALSE(c.has());
  b.let_go();
  EXPECT_TRUE(c.has());
}

TEST(RangeLock, NobodyOvertakesOneThatWaits) {
  RangeLock lock;
  Holder first(lock, 0, 10, false), waits(lock, 0, 10, true), later(lock, 5, 6, false), apart(lock, 10, 11, false);
  EXPECT_FALSE(waits.has());
  EXPECT_FALSE(later.has()) << "the exclusive one would wait for ever if others of its range kept coming";
  EXPECT_TRUE(apart.has());
  first.let_go();
  EXPECT_TRUE(waits.has());
  EXPECT_FALSE(later.has());
  waits.let_go();
  EXPECT_TRUE(later.has());
}

}  // namespace
}  // namespace skerry::block
