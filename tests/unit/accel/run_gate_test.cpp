#include "accel/run_gate.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace skerry::accel {
namespace {

// Threads that play vCPUs: each runs until it is kicked, and now and then wants exclusion.
TEST(RunGate, NobodyIsInsideDuringExclusiveWork) {
  constexpr int kThreads = 4, kRounds = 300;
  RunGate gate;
  std::atomic<bool> kicked[kThreads] = {};
  std::atomic<int> running{0}, exclusive_now{0}, done{0}, violations{0};
  std::vector<std::thread> threads;
  for (int me = 0; me < kThreads; ++me) {
    threads.emplace_back([&, me] {
      for (int round = 0; round < kRounds;) {
        gate.enter();
        ++running;
        if (exclusive_now.load() != 0) ++violations;
        if (round % 3 == me % 3) {
          --running;
          gate.exclusive(
              [&] {
                for (auto& flag : kicked) flag = true;
              },
              [&] {
                if (++exclusive_now != 1 || running.load() != 0) ++violations;
                --exclusive_now;
              });
          ++running;
        } else {
          for (int spin = 0; spin < 1000 && !kicked[me].exchange(false); ++spin) std::this_thread::yield();
        }
        ++round;
        --running;
        gate.leave();
      }
      ++done;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(done.load(), kThreads);
  EXPECT_EQ(violations.load(), 0);
}

}  // namespace
}  // namespace skerry::accel
