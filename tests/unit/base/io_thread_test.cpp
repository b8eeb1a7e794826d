#include "base/io_thread.hpp"

#include <gtest/gtest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <string>

namespace skerry {
namespace {

std::unique_ptr<IoThread> started(VmClock& clock) {
  auto thread = IoThread::create(clock, "disks of vm");
  EXPECT_TRUE(thread);
  (*thread)->start();
  return std::move(*thread);
}

TEST(IoThread, RunsWorkUnderItsNameAndWaitsForIt) {
  VmClock clock;
  const auto thread = started(clock);
  std::array<char, 16> name{};
  std::thread::id where;
  thread->call([&] {
    where = std::this_thread::get_id();
    ::pthread_getname_np(::pthread_self(), name.data(), name.size());
    EXPECT_TRUE(thread->is_current());
  });
  EXPECT_NE(where, std::this_thread::get_id());
  EXPECT_EQ(std::string(name.data()), "disks of vm");
  EXPECT_FALSE(thread->is_current());
}

TEST(IoThread, ACallOnItselfDoesNotWaitForItself) {
  VmClock clock;
  const auto thread = started(clock);
  int depth = 0;
  thread->call([&] { thread->call([&] { ++depth; }); });
  EXPECT_EQ(depth, 1);
}

TEST(IoThread, CallsAreMadeDirectlyWhileThereIsNoThread) {
  VmClock clock;
  auto thread = IoThread::create(clock, "t");
  ASSERT_TRUE(thread);
  std::thread::id where;
  const auto ask = [&] { where = std::this_thread::get_id(); };
  (*thread)->call(ask);
  EXPECT_EQ(where, std::this_thread::get_id());
  (*thread)->start();
  (*thread)->call(ask);
  EXPECT_NE(where, std::this_thread::get_id());
  (*thread)->stop();
  (*thread)->call(ask);
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST(IoThread, NoPostIsLostWhereverTheLoopFallsAsleep) {
  VmClock clock;
  const auto thread = started(clock);
  constexpr unsigned kPosts = 20000, kThreads = 3;
  std::atomic<unsigned> ran{0};
  std::vector<std::thread> posters;
  for (unsigned t = 0; t < kThreads; ++t)
    posters.emplace_back([&, t] {
      for (unsigned i = 0; i < kPosts; ++i) {
        thread->loop().post([&] { ++ran; });
        if (i % (64 + t) == 0) std::this_thread::yield();
      }
    });
  for (std::thread& poster : posters) poster.join();
  thread->call([] {});
  EXPECT_EQ(ran, kPosts * kThreads);
  for (unsigned i = 0; i < 2000; ++i) thread->call([&] { ++ran; });  // each finds it asleep, or nearly
  EXPECT_EQ(ran, kPosts * kThreads + 2000);
}

TEST(IoThread, WhatIsPostedAfterTheEndDoesNotRun) {
  VmClock clock;
  bool ran = false;
  {
    const auto thread = started(clock);
    thread->stop();
    thread->loop().post([&] { ran = true; });
  }
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace skerry
