#include "accel/halt_poll.hpp"

#include <gtest/gtest.h>

namespace skerry::accel {
namespace {

TEST(HaltPoll, DoesNotLookAtFirst) { EXPECT_EQ(HaltPoll{}.window(), 0); }

TEST(HaltPoll, LooksAsLongAsItTakesToBeWoken) {
  HaltPoll poll;
  int64_t before = 0;
  for (unsigned rounds = 0; poll.window() < 100'000; ++rounds) {
    ASSERT_LT(rounds, 10u);
    poll.woken_after(100'000);
    EXPECT_GT(poll.window(), before);
    EXPECT_LE(poll.window(), HaltPoll::kMost);
    before = poll.window();
  }
  poll.woken_after(100'000);  // while it looked
  EXPECT_EQ(poll.window(), before);
  for (unsigned n = 0; n < 10; ++n) poll.woken_after(HaltPoll::kMost);
  EXPECT_EQ(poll.window(), HaltPoll::kMost);
}

TEST(HaltPoll, StopsWhereTheGuestSleeps) {
  HaltPoll poll;
  poll.woken_after(5'000);
  EXPECT_EQ(poll.window(), HaltPoll::kLeast);
  poll.woken_after(HaltPoll::kMost + 1);
  EXPECT_EQ(poll.window(), 0);
}

TEST(HaltPoll, StopsWhereOthersWantTheProcessor) {
  HaltPoll poll;
  for (unsigned n = 0; n < 10; ++n) poll.woken_after(100'000);
  poll.taken_away();
  EXPECT_EQ(poll.window(), 0);
}

}  // namespace
}  // namespace skerry::accel
