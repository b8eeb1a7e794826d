#include "devices/kvm_clock.hpp"

#include <gtest/gtest.h>

#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

constexpr uint64_t kHz = 2'899'886'000;
constexpr uint64_t kRam = 1 << 20;

// What a guest finds in its memory and makes of it (Linux, arch/x86/kernel/pvclock.c).
struct TimeInfo {
  uint32_t version, pad0;
  uint64_t tsc_timestamp, system_time;
  uint32_t mul;
  int8_t shift;
  uint8_t flags, pad[2];
  uint64_t at(uint64_t tsc) const { return system_time + KvmClock::nanoseconds(tsc - tsc_timestamp, {mul, shift}); }
};

struct ClockRig {
  test::TestTime time;
  memory::GuestMemory memory;
  uint64_t tsc = 1'000'000;
  int64_t wall = 1'700'000'000'000'000'123;
  std::unique_ptr<KvmClock> clock;
  ClockRig() {
    EXPECT_TRUE(memory.add_ram(0, kRam, "ram"));
    clock = std::make_unique<KvmClock>(
        time.clock(), memory, 2, kHz, [this] { return tsc; }, [this] { return wall; });
  }
  bus::Device& device() { return *clock; }
  void follow(ClockRig& other) {
    time.set(other.time.now());
    tsc = other.tsc;
    std::vector<std::byte> bytes(kRam);
    EXPECT_TRUE(other.memory.read(0, bytes));
    EXPECT_TRUE(memory.write(0, bytes));
  }
  TimeInfo info(uint64_t gpa) {
    TimeInfo info{};
    EXPECT_TRUE(memory.read(gpa, std::as_writable_bytes(std::span(&info, 1))));
    return info;
  }
};

TEST(KvmClock, ScaleIsExact) {
  for (const uint64_t hz :
       {uint64_t{1}, uint64_t{999'999'999}, uint64_t{1'000'000'000}, uint64_t{1'000'000'001}, kHz,
        uint64_t{2'000'000'000}, uint64_t{4'294'967'296}, uint64_t{5'700'000'000}, uint64_t{25'000'000}}) {
    const auto scale = KvmClock::scale_for(hz);
    EXPECT_GE(scale.mul, 0x80000000u) << hz;
    const uint64_t day = KvmClock::nanoseconds(hz * 86'400, scale);
    const double ppb = (static_cast<double>(day) - 86'400e9) / 86'400e9 * 1e9;
    EXPECT_LT(std::abs(ppb), 0.25) << hz;
  }
}

TEST(KvmClock, TellsTheTimeOfTheVm) {
  ClockRig rig;
  ASSERT_TRUE(rig.clock->write_msr(0, 0x4b564d01, 0x1000 | 1));
  const TimeInfo info = rig.info(0x1000);
  EXPECT_EQ(info.version % 2, 0u);
  EXPECT_NE(info.version, 0u);
  EXPECT_EQ(info.flags, 1);
  EXPECT_EQ(info.at(1'000'000), 1'000'000'000u);
  EXPECT_NEAR(static_cast<double>(info.at(1'000'000 + kHz)), 2e9, 1);
  EXPECT_EQ(rig.clock->read_msr(0, 0x4b564d01), 0x1001u);
  EXPECT_EQ(rig.clock->read_msr(0, 0x12), 0x1001u);
  EXPECT_EQ(rig.clock->read_msr(1, 0x12), 0u);
}

TEST(KvmClock, AllVcpusGetTheSameInstant) {
  ClockRig rig;
  rig.clock->write_msr(0, 0x4b564d01, 0x1001);
  rig.tsc += 12345;
  rig.time.advance(7777);
  rig.clock->write_msr(1, 0x12, 0x2001);
  EXPECT_EQ(rig.info(0x1000).tsc_timestamp, rig.info(0x2000).tsc_timestamp);
  EXPECT_EQ(rig.info(0x1000).system_time, rig.info(0x2000).system_time);
}

TEST(KvmClock, ResumeSaysSoAndNeverGoesBack) {
  ClockRig rig;
  rig.clock->write_msr(0, 0x4b564d01, 0x1001);
  const TimeInfo before = rig.info(0x1000);
  rig.tsc += 10 * kHz;  // ten seconds by the TSC, but VmClock says a bit less
  rig.time.advance(9'999'900'000);
  rig.clock->resumed();
  const TimeInfo after = rig.info(0x1000);
  EXPECT_EQ(after.flags, 3);
  EXPECT_NE(after.version, before.version);
  EXPECT_GE(after.at(rig.tsc), before.at(rig.tsc));
  rig.time.advance(3'000'000'000);  // a restore on a host whose TSC counts from elsewhere
  rig.tsc = 5;
  rig.clock->resumed();
  EXPECT_GE(rig.info(0x1000).at(5), after.at(after.tsc_timestamp));
}

TEST(KvmClock, WallClockIsTheTimeAtSystemTimeZero) {
  ClockRig rig;
  rig.clock->write_msr(0, 0x4b564d00, 0x3000);
  uint32_t wall[3];
  ASSERT_TRUE(rig.memory.read(0x3000, std::as_writable_bytes(std::span(wall))));
  EXPECT_EQ(wall[0], 2u);
  EXPECT_EQ(wall[1], 1'699'999'999u);
  EXPECT_EQ(wall[2], 123u);
  rig.clock->write_msr(1, 0x11, 0x3000);
  ASSERT_TRUE(rig.memory.read(0x3000, std::as_writable_bytes(std::span(wall))));
  EXPECT_EQ(wall[0], 4u);
}

TEST(KvmClock, DisabledWritesNothing) {
  ClockRig rig;
  rig.clock->write_msr(0, 0x4b564d01, 0x1000);
  rig.clock->resumed();
  EXPECT_EQ(rig.info(0x1000).mul, 0u);
}

TEST(KvmClock, HostileAddressesAreHarmless) {
  ClockRig rig;
  for (const uint64_t gpa :
       {kRam - 1, kRam - 4, kRam - 31, kRam, ~uint64_t{0}, ~uint64_t{0} - 2, uint64_t{0xfee00000}, uint64_t{0x1ffe}}) {
    EXPECT_TRUE(rig.clock->write_msr(0, 0x4b564d01, gpa | 1));
    EXPECT_TRUE(rig.clock->write_msr(0, 0x4b564d00, gpa));
    rig.clock->resumed();
  }
  EXPECT_FALSE(rig.clock->write_msr(2, 0x4b564d01, 1));
  EXPECT_FALSE(rig.clock->write_msr(0, 0x4b564d02, 1));
  EXPECT_FALSE(rig.clock->read_msr(0, 0x10).has_value());
}

TEST(KvmClock, StructureMayCrossAPage) {
  ClockRig rig;
  rig.clock->write_msr(0, 0x4b564d01, 0x1ff0 | 1);
  EXPECT_EQ(rig.info(0x1ff0).at(rig.tsc), 1'000'000'000u);
  EXPECT_TRUE(rig.memory.dirty(0x2000));
}

test::Trace drive(ClockRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  constexpr std::array<uint32_t, 4> kMsrs = {0x11, 0x12, 0x4b564d00, 0x4b564d01};
  for (int i = 0; i < 100; ++i) {
    const unsigned vcpu = static_cast<unsigned>(random() % 2);
    const uint32_t msr = kMsrs[random() % 4];
    switch (random() % 4) {
      case 0:
        rig.tsc += random() % kHz;
        break;
      case 1:
        rig.clock->resumed();
        break;
      case 2:
        rig.clock->write_msr(vcpu, msr, random() % (kRam + 4096));
        break;
      default:
        trace.push_back(*rig.clock->read_msr(vcpu, msr));
        break;
    }
  }
  std::vector<std::byte> bytes(kRam);
  EXPECT_TRUE(rig.memory.read(0, bytes));
  trace.push_back(std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  return trace;
}

TEST(KvmClock, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<ClockRig>(40, drive); }

}  // namespace
}  // namespace skerry::devices
