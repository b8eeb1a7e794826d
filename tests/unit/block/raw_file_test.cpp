#include "block/raw_file.hpp"

#include <gmock/gmock.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <random>

#include "unit/block/support.hpp"

namespace skerry::block {
namespace {

using testing::HasSubstr;

constexpr uint64_t kSize = 1 * MiB;
constexpr unsigned kRounds = 40, kRequestsPerRound = 8;

// Requests against a disk and against a copy of it in memory. Those of one round run at the same time, next to each
// other, in pieces of any size: neighbours share blocks and pages.
class Model {
 public:
  Model(EventLoop& loop, Node& node, unsigned seed) : loop_(loop), node_(node), random_(seed), bytes_(node.size()) {}

  void round() {
    struct Running {
      std::vector<uint8_t> memory;
      std::vector<iovec> buffers;
      std::optional<Errno> result;
      uint64_t offset, length;
      bool reads = false;
    };
    std::vector<Running> running(kRequestsPerRound);
    uint64_t at = pick(0, bytes_.size() / 2);
    for (Running& request : running) {
      request.offset = at;
      request.length = a_length(bytes_.size() - at);
      at += request.length;
      request.memory.resize(request.length + 4096);
      fill_buffers(request.memory, request.length, request.buffers);
      const unsigned what = pick(0, 9);
      request.reads = what < 3;
      spawn(keep(start(what, request.offset, request.length, request.buffers), request.result));
    }
    for (Running& request : running) {
      while (!request.result) loop_.poll(1000);
      ASSERT_EQ(*request.result, 0);
      if (request.reads) compare(request.offset, request.length, request.buffers);
    }
  }

  void read_all() {
    std::vector<uint8_t> all(bytes_.size());
    const iovec to{all.data(), all.size()};
    ASSERT_EQ(wait_for(loop_, node_.read(0, {&to, 1})), 0);
    compare(0, all.size(), {{to}});
  }

 private:
  unsigned pick(uint64_t least, uint64_t most) {
    return static_cast<unsigned>(std::uniform_int_distribution<uint64_t>(least, most)(random_));
  }
  uint64_t a_length(uint64_t most) {
    const uint64_t unit = std::vector<uint64_t>{1, 1, 512, 4096}[pick(0, 3)];
    return std::min<uint64_t>(most, unit * pick(1, unit == 1 ? 9000 : 12));
  }
  // One buffer or several, at an address that is aligned or not.
  void fill_buffers(std::vector<uint8_t>& memory, uint64_t length, std::vector<iovec>& buffers) {
    uint8_t* start = reinterpret_cast<uint8_t*>(align_up(reinterpret_cast<uintptr_t>(memory.data()), 4096));
    if (pick(0, 2) == 0) start = memory.data() + pick(0, 4095);
    start = std::min(start, memory.data() + memory.size() - length);
    for (uint8_t* end = start + length; start != end; start += buffers.back().iov_len)
      buffers.push_back(
          {start, std::min<uint64_t>(static_cast<uint64_t>(end - start), pick(0, 1) ? length : pick(1, 4096))});
  }

  Task<Errno> start(unsigned what, uint64_t offset, uint64_t length, const std::vector<iovec>& buffers) {
    if (what < 3) return node_.read(offset, buffers);
    if (what == 8) {
      std::fill_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), length, kUnknown);
      return node_.discard(offset, length);
    }
    if (what == 9) {
      std::fill_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), length, 0);
      return node_.write_zeroes(offset, length, pick(0, 1));
    }
    for (uint64_t done = 0; const iovec& buffer : buffers)
      for (uint64_t i = 0; i < buffer.iov_len; ++i, ++done)
        bytes_[offset + done] = static_cast<uint8_t*>(buffer.iov_base)[i] = static_cast<uint8_t>(random_());
    return what == 7 ? then_flush(offset, buffers) : node_.write(offset, buffers, what == 6);
  }
  Task<Errno> then_flush(uint64_t offset, std::span<const iovec> buffers) {
    const Errno failure = co_await node_.write(offset, buffers, false);
    if (failure) co_return failure;
    co_return co_await node_.flush();
  }

  void compare(uint64_t offset, uint64_t length, const std::vector<iovec>& buffers) {
    uint64_t done = 0;
    for (const iovec& buffer : buffers)
      for (uint64_t i = 0; i < buffer.iov_len; ++i, ++done) {
        const int expected = bytes_[offset + done];
        if (expected == kUnknown) continue;
        ASSERT_EQ(static_cast<uint8_t*>(buffer.iov_base)[i], expected) << "at byte " << offset + done;
      }
    ASSERT_EQ(done, length);
  }

  static constexpr int kUnknown = -1;  // has been discarded
  EventLoop& loop_;
  Node& node_;
  std::mt19937 random_;
  std::vector<int> bytes_;
};

void compare_with_model(EventLoop& loop, Node& node) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::printf("seed %u\n", seed);
  Model model(loop, node, seed);
  for (unsigned round = 0; round < kRounds && !testing::Test::HasFatalFailure(); ++round) model.round();
  if (!testing::Test::HasFatalFailure()) model.read_all();
}

struct Way {
  AioOptions::Driver driver;
  Cache cache;
};
constexpr std::string_view kCacheNames[] = {"Writeback", "None", "Writethrough", "Directsync", "Unsafe"};

class RawFileOfEachKind : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override { faults::none(); }
  void TearDown() override { faults::none(); }
};

TEST_P(RawFileOfEachKind, DoesWhatAModelInMemoryDoes) {
  Bench bench(GetParam().driver);
  if (!bench.aio) GTEST_SKIP() << bench.problem;
  const TempFile file(kSize);
  auto disk = RawFile::open(*bench.aio, file.path(), {.cache = GetParam().cache});
  if (!disk && disk.error().message().find("no O_DIRECT") != std::string::npos) GTEST_SKIP() << disk.error().message();
  ASSERT_TRUE(disk) << disk.error().message();
  EXPECT_EQ((*disk)->size(), kSize);
  compare_with_model(*bench.loop, **disk);
  EXPECT_EQ(file.content().size(), kSize) << "no request makes the file longer";
}

// A loop device over a file, for those who may have one.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& file) {
    const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const int number = control ? ::ioctl(control.get(), LOOP_CTL_GET_FREE) : -1;
    if (number < 0) return;
    path_ = fmt::format("/dev/loop{}", number);
    fd_ = UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd backing(::open(file.c_str(), O_RDWR | O_CLOEXEC));
    loop_config config{};
    config.fd = static_cast<uint32_t>(backing.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;  // goes with its last descriptor
    if (!fd_ || ::ioctl(fd_.get(), LOOP_CONFIGURE, &config) != 0) fd_.reset();
  }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  UniqueFd fd_;
};

TEST_P(RawFileOfEachKind, ABlockDeviceDoesTheSame) {
  Bench bench(GetParam().driver);
  if (!bench.aio) GTEST_SKIP() << bench.problem;
  const TempFile file(kSize);
  const LoopDevice device(file.path());
  if (!device) GTEST_SKIP() << "no loop device may be made here";
  auto disk = RawFile::open(*bench.aio, device.path(), {.cache = GetParam().cache});
  ASSERT_TRUE(disk) << disk.error().message();
  bench.aio->start();  // a thread for discards
  EXPECT_EQ((*disk)->size(), kSize);
  compare_with_model(*bench.loop, **disk);
}

std::vector<Way> all_ways() {
  std::vector<Way> ways;
  for (const auto driver : {AioOptions::Driver::kUring, AioOptions::Driver::kThreads})
    for (unsigned cache = 0; cache < std::size(kCacheNames); ++cache)
      ways.push_back({driver, static_cast<Cache>(cache)});
  return ways;
}
INSTANTIATE_TEST_SUITE_P(Kinds, RawFileOfEachKind, testing::ValuesIn(all_ways()), [](const auto& about) {
  return driver_name(about.param.driver) + std::string(kCacheNames[static_cast<unsigned>(about.param.cache)]);
});

class RawFileTest : public testing::Test {
 protected:
  void SetUp() override { faults::none(); }
  void TearDown() override { faults::none(); }
  std::unique_ptr<RawFile> open(RawFileOptions options = {}) {
    auto disk = RawFile::open(*bench_.aio, file_.path(), options);
    EXPECT_TRUE(disk) << disk.error().message();
    return disk ? std::move(*disk) : nullptr;
  }
  Errno wait(Task<Errno> task) { return wait_for(*bench_.loop, std::move(task)); }

  Bench bench_{AioOptions::Driver::kThreads};
  TempFile file_{64 * KiB};
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(4096, 0xcd);
  const iovec buffer_{memory_.data(), memory_.size()};
  const std::span<const iovec> buffers_{&buffer_, 1};
};

TEST_F(RawFileTest, WhatLiesOutsideIsRefused) {
  const auto disk = open();
  EXPECT_EQ(wait(disk->read(64 * KiB - 4095, buffers_)), EINVAL);
  EXPECT_EQ(wait(disk->write(UINT64_MAX - 100, buffers_, false)), EINVAL);
  EXPECT_EQ(wait(disk->discard(64 * KiB, 1)), EINVAL);
  EXPECT_EQ(wait(disk->write_zeroes(1, UINT64_MAX, true)), EINVAL);
  EXPECT_EQ(wait(disk->write(60 * KiB, buffers_, false)), 0);
  EXPECT_EQ(wait(disk->write_zeroes(64 * KiB, 0, true)), 0);
}

TEST_F(RawFileTest, AReadOnlyDiskIsNotWritten) {
  const auto disk = open({.read_only = true});
  EXPECT_EQ(wait(disk->write(0, buffers_, false)), EPERM);
  EXPECT_EQ(wait(disk->discard(0, 512)), EPERM);
  EXPECT_EQ(wait(disk->write_zeroes(0, 512, true)), EPERM);
  EXPECT_EQ(wait(disk->flush()), 0);
  EXPECT_EQ(wait(disk->read(0, buffers_)), 0);
  EXPECT_EQ(memory_[0], 0);
}

TEST_F(RawFileTest, CacheModesDifferInWhatIsDurableWhen) {
  struct Expected {
    Cache cache;
    unsigned plain, forced, syncs;  // of a write, of one with fua, of a flush
  };
  for (const Expected& expected : {Expected{Cache::kWriteback, 0, 1, 1}, Expected{Cache::kWritethrough, 1, 1, 1},
                                   Expected{Cache::kUnsafe, 0, 0, 0}}) {
    SCOPED_TRACE(kCacheNames[static_cast<unsigned>(expected.cache)]);
    const auto disk = open({.cache = expected.cache});
    faults::none();
    EXPECT_EQ(wait(disk->write(0, buffers_, false)), 0);
    EXPECT_EQ(faults::durable_writes, expected.plain);
    faults::none();
    EXPECT_EQ(wait(disk->write(0, buffers_, true)), 0);
    EXPECT_EQ(faults::durable_writes, expected.forced);
    EXPECT_EQ(wait(disk->flush()), 0);
    EXPECT_EQ(faults::syncs, expected.syncs);
  }
}

TEST_F(RawFileTest, AFlushThatFailedOnceNeverSucceedsAgain) {
  const auto disk = open();
  faults::sync_error = EIO;
  EXPECT_EQ(wait(disk->flush()), EIO);
  faults::sync_error = 0;
  EXPECT_EQ(wait(disk->flush()), EIO) << "the kernel has forgotten what it lost";
}

TEST_F(RawFileTest, ZeroesAreWrittenWhereTheFileSystemCannotMakeThem) {
  const auto disk = open();
  for (uint64_t at = 0; at < 64 * KiB; at += 4096) ASSERT_EQ(wait(disk->write(at, buffers_, false)), 0);
  faults::allocate_error = EOPNOTSUPP;
  EXPECT_EQ(wait(disk->discard(0, 64 * KiB)), 0) << "a hint";
  EXPECT_EQ(wait(disk->write_zeroes(100, 50000, true)), 0);
  const auto content = file_.content();
  EXPECT_EQ(std::count(content.begin(), content.begin() + 100, 0xcd), 100);
  EXPECT_EQ(std::count(content.begin() + 100, content.begin() + 50100, 0), 50000);
  EXPECT_EQ(std::count(content.begin() + 50100, content.end(), 0xcd), 64 * 1024 - 50100);
}

TEST_F(RawFileTest, AnErrorOfTheHostIsReportedAndNotTakenForInability) {
  const auto disk = open();
  faults::allocate_error = ENOSPC;
  EXPECT_EQ(wait(disk->write_zeroes(0, 4096, false)), ENOSPC);
  EXPECT_EQ(wait(disk->discard(0, 4096)), ENOSPC);
  faults::allocate_error = 0;
  EXPECT_EQ(wait(disk->write_zeroes(0, 4096, false)), 0);
}

TEST_F(RawFileTest, DiscardGivesSpaceBack) {
  const auto disk = open();
  for (uint64_t at = 0; at < 64 * KiB; at += 4096) ASSERT_EQ(wait(disk->write(at, buffers_, true)), 0);
  struct stat before, after;
  ASSERT_EQ(::stat(file_.path().c_str(), &before), 0);
  ASSERT_EQ(wait(disk->discard(0, 64 * KiB)), 0);
  ASSERT_EQ(::stat(file_.path().c_str(), &after), 0);
  if (after.st_blocks == before.st_blocks) GTEST_SKIP() << "the file system has no holes";
  EXPECT_LT(after.st_blocks, before.st_blocks);
  EXPECT_EQ(after.st_size, before.st_size);
}

TEST(RawFileThatShrinks, ReadsZeroesAndTakesWrites) {
  for (const Cache cache : {Cache::kWriteback, Cache::kNone})
    for (const auto driver : {AioOptions::Driver::kUring, AioOptions::Driver::kThreads}) {
      Bench bench(driver);
      if (!bench.aio) continue;
      const TempFile file(64 * KiB);
      auto disk = RawFile::open(*bench.aio, file.path(), {.cache = cache});
      if (!disk) GTEST_SKIP() << disk.error().message();
      std::vector<uint8_t> memory(8192, 0xab);
      const iovec buffer{memory.data(), memory.size()};
      ASSERT_EQ(wait_for(*bench.loop, (*disk)->write(0, {&buffer, 1}, false)), 0);
      ASSERT_EQ(::truncate(file.path().c_str(), 5000), 0);
      ASSERT_EQ(wait_for(*bench.loop, (*disk)->read(0, {&buffer, 1})), 0);
      EXPECT_EQ(std::count(memory.begin(), memory.begin() + 5000, 0xab), 5000);
      EXPECT_EQ(std::count(memory.begin() + 5000, memory.end(), 0), 3192);
      ASSERT_EQ(wait_for(*bench.loop, (*disk)->read(32 * KiB, {&buffer, 1})), 0);
      EXPECT_EQ(std::count(memory.begin(), memory.end(), 0), 8192);
      EXPECT_EQ(wait_for(*bench.loop, (*disk)->write(32 * KiB, {&buffer, 1}, false)), 0);
    }
}

TEST(RawFileWithODirect, WritesOfPartsOfOneBlockDoNotLoseEachOther) {
  for (const auto driver : {AioOptions::Driver::kUring, AioOptions::Driver::kThreads}) {
    Bench bench(driver);
    if (!bench.aio) continue;
    const TempFile file(64 * KiB);
    auto disk = RawFile::open(*bench.aio, file.path(), {.cache = Cache::kNone});
    if (!disk) GTEST_SKIP() << disk.error().message();
    constexpr unsigned kPieces = 500, kPiece = 64;  // more than there are buffers
    std::vector<uint8_t> memory(kPieces * kPiece);
    for (unsigned i = 0; i < memory.size(); ++i) memory[i] = static_cast<uint8_t>(i / kPiece * 7 + 1);
    std::vector<iovec> buffers(kPieces);
    std::vector<std::optional<Errno>> results(kPieces);
    for (unsigned i = 0; i < kPieces; ++i) {
      const unsigned piece = i * 211 % kPieces;
      buffers[piece] = {memory.data() + piece * kPiece, kPiece};
      spawn(keep((*disk)->write(piece * kPiece, {&buffers[piece], 1}, false), results[piece]));
    }
    for (const auto& result : results) {
      while (!result) bench.loop->poll(1000);
      ASSERT_EQ(*result, 0);
    }
    const auto content = file.content();
    EXPECT_TRUE(std::equal(memory.begin(), memory.end(), content.begin()));
  }
}

}  // namespace
}  // namespace skerry::block
