#include "block/aio.hpp"

#include <gmock/gmock.h>
#include <liburing.h>
#include <limits.h>
#include <linux/falloc.h>
#include <sys/eventfd.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <numeric>
#include <thread>

#include "unit/block/support.hpp"

namespace skerry::block {
namespace {

constexpr size_t kMoreThanShort = 256 * KiB;

class AioOfEachDriver : public testing::TestWithParam<AioOptions::Driver> {
 protected:
  void SetUp() override {
    faults::none();
    if (!bench_.aio) GTEST_SKIP() << bench_.problem;
    fd_ = UniqueFd(::open(file_.path().c_str(), O_RDWR));
    auto added = bench_.aio->add_file(fd_.get(), {});
    ASSERT_TRUE(added);
    slot_ = *added;
  }
  Errno write(uint64_t offset, std::span<const iovec> from, bool durable = false) {
    return wait_for(*bench_.loop, bench_.aio->write(slot_, offset, from, durable));
  }
  Errno read(uint64_t offset, std::span<const iovec> to) {
    return wait_for(*bench_.loop, bench_.aio->read(slot_, offset, to));
  }

  Bench bench_{GetParam()};
  TempFile file_{64 * KiB};
  UniqueFd fd_;
  unsigned slot_ = 0;
};

TEST_P(AioOfEachDriver, ReadsWhatItWrote) {
  std::vector<uint8_t> out(10000), in(10000);
  std::iota(out.begin(), out.end(), uint8_t{1});
  const iovec from[] = {{out.data(), 1}, {out.data() + 1, 0}, {out.data() + 1, 9999}};
  const iovec to[] = {{in.data(), 7777}, {in.data() + 7777, 2223}};
  EXPECT_EQ(write(123, from, true), 0);
  EXPECT_EQ(wait_for(*bench_.loop, bench_.aio->sync(slot_)), 0);
  EXPECT_EQ(read(123, to), 0);
  EXPECT_EQ(in, out);
}

TEST_P(AioOfEachDriver, TakesMoreBuffersThanTheKernelDoes) {
  std::vector<uint8_t> out(3 * IOV_MAX), in(3 * IOV_MAX, 0xee);
  std::iota(out.begin(), out.end(), uint8_t{0});
  std::vector<iovec> from(2 * IOV_MAX, iovec{out.data(), 0}), to;  // many that are empty come first
  for (uint8_t& byte : out) from.push_back({&byte, 1});
  for (uint8_t& byte : in) to.push_back({&byte, 1});
  EXPECT_EQ(write(5, from), 0);
  EXPECT_EQ(read(5, to), 0);
  EXPECT_EQ(in, out);
}

TEST_P(AioOfEachDriver, WhatIsBehindTheEndReadsAsZeroes) {
  std::vector<uint8_t> in(4096, 0xee);
  const iovec to[] = {{in.data(), 1000}, {in.data() + 1000, 3096}};
  ASSERT_EQ(::ftruncate(fd_.get(), 100), 0);
  ASSERT_EQ(::pwrite(fd_.get(), "abc", 3, 97), 3);
  EXPECT_EQ(read(98, to), 0);
  EXPECT_EQ(in[0], 'b');
  EXPECT_EQ(in[1], 'c');
  EXPECT_EQ(std::count(in.begin() + 2, in.end(), 0), 4094);
  EXPECT_EQ(read(1 << 20, to), 0);
  EXPECT_EQ(std::count(in.begin(), in.end(), 0), 4096);
}

TEST_P(AioOfEachDriver, PunchesHoles) {
  std::vector<uint8_t> out(8192, 0xaa), in(8192);
  const iovec from{out.data(), out.size()}, to{in.data(), in.size()};
  ASSERT_EQ(write(0, {&from, 1}), 0);
  const Errno punched =
      wait_for(*bench_.loop, bench_.aio->allocate(slot_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
  if (punched == EOPNOTSUPP) GTEST_SKIP() << "the file system has no holes";
  EXPECT_EQ(punched, 0);
  ASSERT_EQ(read(0, {&to, 1}), 0);
  EXPECT_EQ(std::count(in.begin(), in.begin() + 4096, 0xaa), 4096);
  EXPECT_EQ(std::count(in.begin() + 4096, in.end(), 0), 4096);
}

TEST_P(AioOfEachDriver, ErrorsAreErrnos) {
  uint8_t byte = 0;
  const iovec one{&byte, 1};
  const UniqueFd read_only(::open(file_.path().c_str(), O_RDONLY));
  const auto slot = bench_.aio->add_file(read_only.get(), {});
  ASSERT_TRUE(slot);
  EXPECT_EQ(wait_for(*bench_.loop, bench_.aio->write(*slot, 0, {&one, 1}, false)), EBADF);
  EXPECT_EQ(wait_for(*bench_.loop, bench_.aio->allocate(*slot, 0, 0, 1)), EBADF);
  EXPECT_NE(wait_for(*bench_.loop, bench_.aio->discard(slot_, 0, 512)), 0) << "it is no block device";
}

TEST_P(AioOfEachDriver, ManyMoreRequestsThanTheRingHasEntries) {
  constexpr unsigned kRequests = 3000;
  std::vector<uint8_t> out(kRequests);
  std::iota(out.begin(), out.end(), uint8_t{0});
  std::vector<iovec> buffers(kRequests);
  std::vector<std::optional<Errno>> results(kRequests);
  for (unsigned i = 0; i < kRequests; ++i) {
    buffers[i] = {&out[i], 1};
    spawn(keep(bench_.aio->write(slot_, i, {&buffers[i], 1}, false), results[i]));
  }
  while (std::count(results.begin(), results.end(), std::nullopt) != 0) bench_.loop->poll(1000);
  EXPECT_EQ(std::count(results.begin(), results.end(), 0), kRequests);
  const auto content = file_.content();
  EXPECT_TRUE(std::equal(out.begin(), out.end(), content.begin()));
}

TEST_P(AioOfEachDriver, SlotsAreUsedAgainAndTheirNumberIsBounded) {
  std::vector<unsigned> slots;
  for (;;) {
    const auto slot = bench_.aio->add_file(fd_.get(), {});
    if (!slot) break;
    slots.push_back(*slot);
    ASSERT_LT(slots.size(), 1000U);
  }
  bench_.aio->remove_file(slots.back());
  EXPECT_TRUE(bench_.aio->add_file(fd_.get(), {}));
}

// What the page cache has is there when a borrowed turn ends; what is more than a short read, when the loop has had its own.
TEST_P(AioOfEachDriver, ReadsInABorrowedTurn) {
  std::vector<uint8_t> out(kMoreThanShort), in(kMoreThanShort);
  std::iota(out.begin(), out.end(), uint8_t{1});
  const iovec from{out.data(), out.size()};
  ASSERT_EQ(write(0, {&from, 1}), 0);
  std::promise<Errno> short_read, long_read;
  std::thread runner([&] { bench_.loop->run(); });
  for (std::promise<Errno>* result : {&short_read, &long_read}) {
    const size_t size = result == &short_read ? 4096 : in.size();
    std::fill(in.begin(), in.end(), uint8_t{0});
    const iovec to{in.data(), size};
    const auto tell = [](Task<Errno> task, std::promise<Errno>& to_whom) -> Task<void> {
      to_whom.set_value(co_await task);
    };
    while (!bench_.loop->borrow_turn([&] { spawn(tell(bench_.aio->read(slot_, 0, {&to, 1}), *result)); }))
      std::this_thread::yield();
    EXPECT_EQ(result->get_future().get(), 0);
    EXPECT_TRUE(std::equal(in.begin(), in.begin() + static_cast<ptrdiff_t>(size), out.begin()));
  }
  bench_.loop->quit();
  runner.join();
}

// A short one goes to the page cache; one that has to reach the disk, and a long one, wait for the loop.
TEST_P(AioOfEachDriver, WritesInABorrowedTurn) {
  std::vector<uint8_t> out(kMoreThanShort), in(kMoreThanShort);
  std::iota(out.begin(), out.end(), uint8_t{1});
  const struct {
    size_t size;
    bool durable, at_once;
  } cases[] = {{4096, false, true}, {4096, true, false}, {kMoreThanShort, false, false}};
  std::thread runner([&] { bench_.loop->run(); });
  for (const auto& each : cases) {
    std::promise<Errno> ended;
    std::future<Errno> future = ended.get_future();
    const auto tell = [](Task<Errno> task, std::promise<Errno>& to_whom) -> Task<void> { to_whom.set_value(co_await task); };
    const iovec from{out.data(), each.size};
    bool at_once = false;
    while (!bench_.loop->borrow_turn([&] {
      spawn(tell(bench_.aio->write(slot_, 0, {&from, 1}, each.durable), ended));
      at_once = future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    }))
      std::this_thread::yield();
    if (each.at_once || GetParam() == AioOptions::Driver::kUring) {
      EXPECT_EQ(at_once, each.at_once);
    }
    EXPECT_EQ(future.get(), 0);
  }
  bench_.loop->quit();
  runner.join();
  const iovec to{in.data(), in.size()};
  EXPECT_EQ(read(0, {&to, 1}), 0);
  EXPECT_EQ(in, out);
}

INSTANTIATE_TEST_SUITE_P(Drivers, AioOfEachDriver,
                         testing::Values(AioOptions::Driver::kUring, AioOptions::Driver::kThreads),
                         [](const auto& about) { return driver_name(about.param); });

class AioWithFaults : public testing::Test {
 protected:
  void SetUp() override { faults::none(); }
  void TearDown() override { faults::none(); }
  Bench bench_{AioOptions::Driver::kThreads};
  TempFile file_{64 * KiB};
  UniqueFd fd_{::open(file_.path().c_str(), O_RDWR)};
  unsigned slot_ = *bench_.aio->add_file(fd_.get(), {});
};

TEST_F(AioWithFaults, ShortTransfersAreContinuedAndInterruptedOnesRepeated) {
  std::vector<uint8_t> out(5000), in(5000);
  std::iota(out.begin(), out.end(), uint8_t{3});
  const iovec from[] = {{out.data(), 2500}, {out.data() + 2500, 2500}}, to{in.data(), in.size()};
  faults::most_bytes = 777;
  faults::interruptions = 5;
  EXPECT_EQ(wait_for(*bench_.loop, bench_.aio->write(slot_, 1, from, true)), 0);
  EXPECT_EQ(faults::durable_writes, 7U + 5U) << "each piece is durable";
  faults::interruptions = 5;
  EXPECT_EQ(wait_for(*bench_.loop, bench_.aio->read(slot_, 1, {&to, 1})), 0);
  EXPECT_EQ(in, out);
}

TEST_F(AioWithFaults, AKernelThatInterruptsForEverGetsAnErrorReported) {
  uint8_t byte = 0;
  const iovec one{&byte, 1};
  faults::interruptions = INT_MAX;
  EXPECT_EQ(wait_for(*bench_.loop, bench_.aio->read(slot_, 0, {&one, 1})), EINTR);
}

TEST(AioRing, IsRestrictedBeforeAnybodyCouldMisuseIt) {
  Bench bench(AioOptions::Driver::kUring);
  if (!bench.aio) GTEST_SKIP() << bench.problem;
  std::optional<unsigned> ring;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry, gone).string().find("io_uring") != std::string::npos)
      ring = static_cast<unsigned>(std::stoul(entry.path().filename()));
  }
  ASSERT_TRUE(ring);
  int event = ::eventfd(0, EFD_CLOEXEC);
  EXPECT_EQ(::io_uring_register(*ring, IORING_REGISTER_EVENTFD, &event, 1), -EACCES);
  io_uring_restriction open_files{};
  open_files.opcode = IORING_RESTRICTION_SQE_OP;
  open_files.sqe_op = IORING_OP_OPENAT;
  EXPECT_LT(::io_uring_register(*ring, IORING_REGISTER_RESTRICTIONS, &open_files, 1), 0);
  ::close(event);
}

}  // namespace
}  // namespace skerry::block
