// Machines that are saved and go on in others.
#include "migrate/restore.hpp"

#include <gmock/gmock.h>

#include "unit/migrate/machine_rig.hpp"

namespace skerry::migrate::test {
namespace {

using ::testing::HasSubstr;

// Bytes of guest memory that must come back: at region edges, at a chunk's, in a page of their own.
constexpr uint64_t kMarks[] = {0x1000, 0x9f000, 0x100000 + 0x1ff000, 0x400000, 0x7ffff8, 0xfff000};

Rig& with_marks(Rig& rig) {
  uint64_t value = 0x1234;
  for (const uint64_t mark : kMarks) rig.machine->memory().store<uint64_t>(mark, value++);
  return rig;
}

TEST(Restore, GoesOnWhereTheVmWas) {
  Rig first;
  first.start();
  first.run_a_little();
  with_marks(first);
  const auto file = save(first);
  ASSERT_TRUE(file) << file.error().message();

  Rig second;
  ASSERT_EQ(complaint(second, *file), "");
  EXPECT_EQ(second.counter(), first.counter());
  for (const uint64_t mark : kMarks)
    EXPECT_EQ(second.machine->memory().load<uint64_t>(mark), first.machine->memory().load<uint64_t>(mark)) << mark;
  second.machine->start_threads();
  second.run_a_little();
  EXPECT_GT(second.counter(), first.counter());
}

// All but the real-time clock, which follows the host.
TEST(Restore, GivesTheSameStateOfEveryDeviceAndProcessor) {
  Rig first(config_of(2));
  first.start();
  first.run_a_little();
  const auto file = save(first);
  ASSERT_TRUE(file) << file.error().message();
  Rig second(config_of(2));
  ASSERT_EQ(complaint(second, *file), "");
  first.machine->advance_time_of_day(0);
  const auto a = first.state(), b = second.state();
  ASSERT_EQ(a.size(), b.size());
  size_t different = 0;
  for (size_t i = 0; i < a.size(); ++i) different += a[i] != b[i];
  EXPECT_LE(different, 16u) << "more than the two numbers of the real-time clock differ";
}

TEST(Restore, OfARestoredVmWorksAgainAndAgain) {
  Rig original;
  original.start();
  original.run_a_little();
  with_marks(original);
  auto file = save(original);
  ASSERT_TRUE(file) << file.error().message();
  uint32_t counter = original.counter();
  for (uint64_t round = 0; round < 5; ++round) {
    Rig next;
    ASSERT_EQ(complaint(next, *file), "") << round;
    next.machine->start_threads();
    next.run_a_little();
    EXPECT_GT(next.counter(), counter);
    counter = next.counter();
    // What was zero until now, is written; what was something, becomes zero; the rest is as it was.
    next.machine->memory().store<uint64_t>(0x800000 + round * 0x1000, round + 1);
    next.machine->memory().fill(kMarks[0] & ~0xfffull, 0x1000, 0);
    for (uint64_t before = 0; before <= round; ++before)
      EXPECT_EQ(next.machine->memory().load<uint64_t>(0x800000 + before * 0x1000), before + 1) << round;
    EXPECT_EQ(next.machine->memory().load<uint64_t>(kMarks[3]), 0x1234u + 3);
    if (round > 0) {
      EXPECT_EQ(next.machine->memory().load<uint64_t>(kMarks[0]), 0u);
    }
    file = save(next);
    ASSERT_TRUE(file) << file.error().message();
  }
}

TEST(Restore, DoesNotChangeItsFile) {
  Rig first;
  first.start();
  first.run_a_little();
  const auto file = save(first);
  ASSERT_TRUE(file) << file.error().message();
  for (int i = 0; i < 2; ++i) {
    Rig next;
    ASSERT_EQ(complaint(next, *file), "");
    EXPECT_EQ(next.counter(), first.counter());
    next.machine->memory().fill(0x400000, 0x100000, 0xee);
    next.machine->start_threads();
    next.run_a_little();
  }
}

TEST(Save, LeavesHolesWhereMemoryIsZero) {
  Rig rig(config_of(1, 256 * MiB));
  rig.start();
  rig.machine->memory().fill(0x2000000, 0x200000, 0);  // touched, and zero all the same
  const auto file = save(rig);
  ASSERT_TRUE(file) << file.error().message();
  struct stat about {};
  ASSERT_EQ(::fstat(file->get(), &about), 0);
  EXPECT_GT(about.st_size, off_t{255} * 1024 * 1024);
  EXPECT_LT(about.st_blocks * 512, 4 * 1024 * 1024);
}

TEST(Save, DoesNotTouchMemoryThatNobodyUsed) {
  Rig rig(config_of(1, 256 * MiB));
  rig.start();
  ASSERT_TRUE(save(rig));
  uint64_t used = 0;
  for (uint64_t at = 16 * MiB;;) {
    const auto data = rig.machine->memory().next_data(at);
    if (!data) break;
    used += data->end - data->begin;
    at = data->end;
    if (at >= 256 * MiB) break;
  }
  EXPECT_LT(used, 2 * MiB);
}

TEST(Save, WantsAnEmptyRegularFileThatItMayWrite) {
  Rig rig;
  rig.start();
  const auto refusal = [&](UniqueFd file) {
    auto task = SaveTask::start(*rig.machine, rig.config, std::move(file));
    return task ? "" : task.error().message();
  };
  UniqueFd full = new_file();
  ASSERT_EQ(::write(full.get(), "x", 1), 1);
  EXPECT_THAT(refusal(std::move(full)), HasSubstr("not empty"));
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  EXPECT_THAT(refusal(UniqueFd(ends[1])), HasSubstr("no regular file"));
  const UniqueFd file = new_file();
  UniqueFd read_only(::open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(refusal(std::move(read_only)), HasSubstr("not open for writing"));
  UniqueFd appending(::open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  EXPECT_THAT(refusal(std::move(appending)), HasSubstr("O_APPEND"));
}

TEST(Restore, NamesWhatOfTheDescriptionDiffers) {
  Rig first(config_of(2));
  first.start();
  const auto file = save(first);
  ASSERT_TRUE(file) << file.error().message();
  Rig fewer(config_of(1));
  EXPECT_THAT(complaint(fewer, *file), HasSubstr("cpu.count: the VM was saved with 2, and is described with 1"));
  Rig larger(config_of(2, 32 * MiB));
  EXPECT_THAT(complaint(larger, *file), HasSubstr("memory: the VM was saved with"));
}

TEST(Restore, HasTheRealTimeClockOfTheHost) {
  Rig first;
  first.start();
  bus::Device* rtc = nullptr;
  for (bus::Device* device : first.machine->devices())
    if (device->name() == "rtc") rtc = device;
  ASSERT_TRUE(rtc);
  const auto seconds_of = [](bus::Device& device) {
    state::Saver saver;
    device.describe(saver);
    return saver.data();
  };
  const auto before = seconds_of(*rtc);
  first.machine->advance_time_of_day(0);
  EXPECT_EQ(seconds_of(*rtc), before);
  first.machine->advance_time_of_day(uint64_t{3600} * 1'000'000'000);
  EXPECT_NE(seconds_of(*rtc), before);
}

}  // namespace
}  // namespace skerry::migrate::test
