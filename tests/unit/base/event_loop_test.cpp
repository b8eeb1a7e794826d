#include "base/event_loop.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <limits>
#include <thread>

#include "base/log.hpp"

namespace skerry {
namespace {

TEST(VmClock, StandsStillWhileStopped) {
  VmClock clock;
  clock.stop();
  const int64_t then = clock.now();
  EXPECT_EQ(clock.now(), then);
  clock.restore(5'000);
  EXPECT_EQ(clock.now(), 5'000);
  clock.start();
  EXPECT_GE(clock.now(), 5'000);
}

TEST(VmClock, CanGoSlowerThanTheHosts) {
  VmClock clock;
  clock.stop();
  clock.restore(1'000'000'000);
  clock.slow_down(10);
  const int64_t before = VmClock::host_now();
  clock.start();
  const int64_t started = VmClock::host_now(), deadline = clock.to_host(2'000'000'000);
  EXPECT_GE(deadline, before + 10'000'000'000);
  EXPECT_LE(deadline, started + 10'000'000'000);
  const int64_t now = clock.now(), after = VmClock::host_now();
  EXPECT_GE(now, 1'000'000'000);
  EXPECT_LE(now, 1'000'000'000 + (after - before) / 10);
}

TEST(VmClock, TakesEverySavedTime) {
  VmClock clock;
  clock.stop();
  clock.slow_down(1000);
  clock.restore(int64_t{1} << 62);
  clock.start();
  EXPECT_GE(clock.now(), 0);
  EXPECT_EQ(clock.to_host(std::numeric_limits<int64_t>::max()), std::numeric_limits<int64_t>::max());
}

TEST(EventLoop, TimersFireInOrderAndOnlyOnce) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  std::vector<int> order;
  Timer late(**loop, [&] { order.push_back(2); }), early(**loop, [&] { order.push_back(1); });
  Timer cancelled(**loop, [&] { order.push_back(3); });
  const int64_t now = clock.now();
  late.set(now + 2'000'000);
  early.set(now + 1'000'000);
  cancelled.set(now + 500'000);
  cancelled.cancel();
  while (order.size() < 2) (*loop)->poll(100);
  (*loop)->poll(0);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(EventLoop, TimersWaitWhileTheClockIsStopped) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  bool fired = false;
  Timer timer(**loop, [&] { fired = true; });
  clock.stop();
  (*loop)->clock_changed();
  timer.set(clock.now() - 1);
  (*loop)->poll(20);
  EXPECT_FALSE(fired);
  clock.start();
  (*loop)->clock_changed();
  while (!fired) (*loop)->poll(100);
}

TEST(EventLoop, ATimerMaySetItselfAgain) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  int count = 0;
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(**loop, [&] {
    if (++count < 5) timer->set(clock.now() + 1000);
  });
  timer->set(clock.now());
  while (count < 5) (*loop)->poll(100);
  EXPECT_EQ(count, 5);
}

TEST(EventLoop, PostedWorkRunsOnTheLoopsThread) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  std::thread::id ran_on;
  std::thread runner([&] { (*loop)->run(); });
  const std::thread::id expected = runner.get_id();
  (*loop)->post([&] {
    ran_on = std::this_thread::get_id();
    (*loop)->quit();
  });
  runner.join();
  EXPECT_EQ(ran_on, expected);
}

TEST(EventLoop, ACallbackMayRemoveItsOwnDescriptor) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  int calls = 0;
  ASSERT_TRUE((*loop)->add(read_end.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    (*loop)->remove(read_end.get());
  }));
  ASSERT_EQ(::write(write_end.get(), "x", 1), 1);
  (*loop)->poll(1000);
  (*loop)->poll(0);
  EXPECT_EQ(calls, 1);
}

TEST(Log, UnknownCategoriesAreRefusedWithTheList) {
  const auto refused = log::enable("cpu,nonsense");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("'nonsense'"), std::string::npos);
  EXPECT_NE(refused.error().message().find("debugcon"), std::string::npos);
}

TEST(EventLoop, TheEndOfATurnComesAfterAllOfTheTurn) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  std::vector<int> order;
  (*loop)->post([&] {
    (*loop)->at_turn_end([&] {
      order.push_back(3);
      (*loop)->at_turn_end([&] { order.push_back(4); });
    });
    order.push_back(1);
  });
  (*loop)->post([&] { order.push_back(2); });
  (*loop)->poll(0);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

TEST(EventLoop, DoesNotSleepBeforeTheEndOfATurnThatIsWanted) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  bool ran = false;
  (*loop)->at_turn_end([&] { ran = true; });
  (*loop)->poll(-1);
  EXPECT_TRUE(ran);
}

TEST(EventLoop, WorkThatAlwaysWantsMoreDoesNotKeepTheLoopFromOthers) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  bool stop = false;
  std::function<void()> again_at_end = [&] { if (!stop) (*loop)->at_turn_end(again_at_end); };
  std::function<void()> again_posted = [&] { if (!stop) (*loop)->post(again_posted); };
  Timer timer(**loop, [&] { stop = true; });
  timer.set(clock.now() + 1'000'000);
  again_at_end();
  again_posted();
  while (!stop) (*loop)->poll(-1);
}

TEST(EventLoop, ACallbackThatPollsFindsWhatWasPostedAfterIt) {
  VmClock clock;
  auto loop = EventLoop::create(clock);
  ASSERT_TRUE(loop);
  bool later = false, seen = false;
  (*loop)->post([&] {
    while (!later) (*loop)->poll(-1);
    seen = true;
  });
  (*loop)->post([&] { later = true; });
  (*loop)->poll(-1);
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace skerry
