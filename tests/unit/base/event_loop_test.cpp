#include "base/event_loop.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <future>
#include <limits>
#include <thread>
#include <vector>

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

// A loop whose thread runs until the end of the test.
struct RunningLoop {
  RunningLoop() : loop(std::move(*EventLoop::create(clock))), thread([this] { loop->run(); }) {}
  ~RunningLoop() {
    loop->quit();
    thread.join();
  }
  // When it has fallen asleep, which it does.
  void borrow(const std::function<void()>& work) {
    while (!loop->borrow_turn(work)) std::this_thread::yield();
  }

  VmClock clock;
  std::unique_ptr<EventLoop> loop;
  std::thread thread;
};

TEST(EventLoop, ABorrowedTurnIsDoneOnTheBorrowersThreadWithWhatItPosts) {
  RunningLoop running;
  EventLoop& loop = *running.loop;
  std::vector<std::thread::id> where;
  running.borrow([&] {
    EXPECT_TRUE(loop.in_turn());
    EXPECT_TRUE(loop.turn_is_borrowed());
    where.push_back(std::this_thread::get_id());
    loop.post([&] { where.push_back(std::this_thread::get_id()); });
  });
  EXPECT_FALSE(loop.in_turn());
  EXPECT_EQ(where, std::vector(2, std::this_thread::get_id()));
}

TEST(EventLoop, WhatABorrowedTurnLeavesIsDoneByTheLoop) {
  std::promise<std::thread::id> ended, posted;
  RunningLoop running;
  EventLoop& loop = *running.loop;
  std::function<void(unsigned)> post_again = [&](unsigned more) {
    if (more == 0) return posted.set_value(std::this_thread::get_id());
    loop.post([&, more] { post_again(more - 1); });
  };
  running.borrow([&] { loop.at_turn_end([&] { ended.set_value(std::this_thread::get_id()); }); });
  EXPECT_EQ(ended.get_future().get(), running.thread.get_id());
  running.borrow([&] { post_again(20); });
  EXPECT_EQ(posted.get_future().get(), running.thread.get_id());
}

TEST(EventLoop, NoTurnIsLentByALoopThatIsAwake) {
  VmClock clock;
  auto idle = EventLoop::create(clock);
  ASSERT_TRUE(idle);
  EXPECT_FALSE((*idle)->borrow_turn([] { FAIL() << "nobody runs it"; }));
  std::promise<void> inside, go_on;
  RunningLoop running;
  running.loop->post([&] {
    inside.set_value();
    go_on.get_future().wait();
  });
  inside.get_future().wait();
  EXPECT_FALSE(running.loop->borrow_turn([] { FAIL() << "two turns at once"; }));
  go_on.set_value();
}

TEST(EventLoop, TurnsNeverOverlapAndNothingIsLost) {
  std::promise<void> all;
  RunningLoop running;
  EventLoop& loop = *running.loop;
  constexpr unsigned kThreads = 3, kTimes = 20000;
  unsigned done = 0, left = 0;  // of turns: without a lock
  std::vector<std::thread> borrowers;
  for (unsigned t = 0; t < kThreads; ++t)
    borrowers.emplace_back([&] {
      for (unsigned i = 0; i < kTimes; ++i) {
        const auto work = [&, i] {
          ++done;
          if (i % 16 == 0) loop.at_turn_end([&] { ++left; });
        };
        if (!loop.borrow_turn(work)) loop.post(work);
        if (i % 64 == 0) std::this_thread::yield();
      }
    });
  for (std::thread& borrower : borrowers) borrower.join();
  loop.post([&] { loop.at_turn_end([&] { all.set_value(); }); });  // behind the others
  all.get_future().wait();
  running.borrow([&] {
    EXPECT_EQ(done, kThreads * kTimes);
    EXPECT_EQ(left, kThreads * kTimes / 16);
  });
}

}  // namespace
}  // namespace skerry
