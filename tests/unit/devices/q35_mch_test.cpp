#include "devices/q35_mch.hpp"

#include <gtest/gtest.h>

#include "base/units.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

using memory::View;

struct NoLines final : bus::PciHost::IntxSink {
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool) override {}
};

// 64 MiB of memory, and the chip at 00:00.0.
struct MchRig {
  static constexpr uint64_t kLowEnd = 64 * MiB;
  memory::GuestMemory memory;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  test::FakeInterrupts interrupts;
  NoLines lines;
  bus::PciHost host{pio, mmio, interrupts, lines};
  unsigned kicks = 0;
  Q35Mch mch{host, memory, Q35Mch::Smram{kLowEnd}, [this] { ++kicks; }};

  MchRig() {
    EXPECT_TRUE(memory.add_ram(1 * MiB, kLowEnd - 1 * MiB, "ram"));
    EXPECT_TRUE(memory.add_ram(0, 0xa0000, "low"));
    EXPECT_TRUE(memory.add_ram(Q35Mch::kCompatibleSmram, Q35Mch::kCompatibleSmramSize, "smram"));
    EXPECT_TRUE(host.root().add(mch, 0));
    mch.reset();
  }
  bus::Device& device() { return mch; }
  uint32_t get(unsigned offset, unsigned size = 1) { return host.config_read(0, 0, offset, size); }
  void set(unsigned offset, uint32_t value, unsigned size = 1) { host.config_write(0, 0, offset, size, value); }
  bool seen(memory::Gpa gpa, View view = View::kOrdinary) { return memory.page(gpa, view).host != nullptr; }
};

TEST(Q35Mch, CompatibleSmramIsThereForSmmOrWhileItIsOpen) {
  MchRig rig;
  EXPECT_EQ(rig.get(0x9d), 0x02u);
  EXPECT_EQ(rig.get(0x9e), 0x38u);
  for (const memory::Gpa gpa : {0xa0000, 0xbf000}) {
    rig.set(0x9d, 0x02);
    EXPECT_FALSE(rig.seen(gpa) || rig.seen(gpa, View::kSmm)) << "not enabled";
    rig.set(0x9d, 0x0a);
    EXPECT_TRUE(!rig.seen(gpa) && rig.seen(gpa, View::kSmm));
    rig.set(0x9d, 0x4a);
    EXPECT_TRUE(rig.seen(gpa) && rig.seen(gpa, View::kSmm)) << "open";
  }
  EXPECT_GT(rig.kicks, 5u);
  rig.mch.reset();
  EXPECT_FALSE(rig.seen(0xa0000) || rig.seen(0xa0000, View::kSmm));
}

TEST(Q35Mch, TsegIsAtTheEndOfMemoryInFourSizes) {
  MchRig rig;
  rig.set(0x9d, 0x0a);
  for (const auto& [bits, size] : {std::pair{0u, 1 * MiB}, {1u, 2 * MiB}, {2u, 8 * MiB}, {3u, 16 * MiB}}) {
    rig.set(0x9e, bits << 1 | 1);
    EXPECT_EQ(rig.get(0x9e), 0x39u | bits << 1);
    EXPECT_TRUE(rig.seen(MchRig::kLowEnd - size - 1)) << size;
    EXPECT_FALSE(rig.seen(MchRig::kLowEnd - size)) << size;
    EXPECT_FALSE(rig.seen(MchRig::kLowEnd - 1)) << size;
    EXPECT_TRUE(rig.seen(MchRig::kLowEnd - size, View::kSmm)) << size;
    rig.set(0x9d, 0x4a);
    EXPECT_TRUE(rig.seen(MchRig::kLowEnd - 1)) << "open";
    rig.set(0x9d, 0x02);
    EXPECT_TRUE(rig.seen(MchRig::kLowEnd - 1)) << "no SMRAM at all";
    rig.set(0x9d, 0x0a);
  }
  rig.set(0x9e, 6);
  EXPECT_TRUE(rig.seen(MchRig::kLowEnd - 1));
}

TEST(Q35Mch, FirmwareMayAskHowLargeTsegCanBe) {
  MchRig rig;
  EXPECT_EQ(rig.get(0x50, 2), 0xffffu);
  rig.set(0x50, 0xffff, 2);
  EXPECT_EQ(rig.get(0x50, 2), 16u);
}

TEST(Q35Mch, ALockHoldsUntilTheReset) {
  MchRig rig;
  rig.set(0xac, 0x03f00000, 4);
  rig.set(0x9e, 0x01);
  rig.set(0x9d, 0x5a);
  EXPECT_EQ(rig.get(0x9d), 0x1au) << "it is closed by the lock";
  EXPECT_FALSE(rig.seen(0xa0000) || rig.seen(MchRig::kLowEnd - 1));
  for (const uint8_t value : {0x00, 0x4a, 0x40, 0xff}) {
    rig.set(0x9d, value);
    rig.set(0x9e, value);
    rig.set(0x9c, value | 0x4a00u | 0x380000u, 4);
    rig.set(0xac, 0x12300000, 4);
    EXPECT_EQ(rig.get(0x9d), 0x1au);
    EXPECT_EQ(rig.get(0x9e), 0x39u);
    EXPECT_EQ(rig.get(0xac, 4), 0x03f00000u);
    EXPECT_FALSE(rig.seen(0xa0000) || rig.seen(MchRig::kLowEnd - 1));
  }
  rig.mch.reset();
  EXPECT_EQ(rig.get(0x9d), 0x02u);
  EXPECT_TRUE(rig.seen(MchRig::kLowEnd - 1));
}

TEST(Q35Mch, MemoryAtTheFirstSmbaseIsHiddenOnceThatIsLocked) {
  MchRig rig;
  EXPECT_EQ(rig.get(0x9c), 0u);
  rig.set(0x9c, 0x02);
  EXPECT_EQ(rig.get(0x9c), 0u) << "not without the query";
  rig.set(0x9c, 0xff);
  EXPECT_EQ(rig.get(0x9c), 0x01u);
  EXPECT_TRUE(rig.seen(0x30000));
  rig.set(0x9c, 0x02);
  EXPECT_EQ(rig.get(0x9c), 0x02u);
  EXPECT_TRUE(rig.seen(0x2f000) && !rig.seen(0x30000) && !rig.seen(0x4f000) && rig.seen(0x50000));
  EXPECT_TRUE(rig.seen(0x30000, View::kSmm));
  for (const uint8_t value : {0x00, 0x01, 0xff}) {
    rig.set(0x9c, value);
    EXPECT_EQ(rig.get(0x9c), 0x02u);
    EXPECT_FALSE(rig.seen(0x30000));
  }
  rig.mch.reset();
  EXPECT_TRUE(rig.seen(0x30000));
}

TEST(Q35Mch, WithoutSmmThereIsNothingOfThis) {
  memory::GuestMemory memory;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  test::FakeInterrupts interrupts;
  NoLines lines;
  bus::PciHost host{pio, mmio, interrupts, lines};
  Q35Mch mch(host, memory, std::nullopt, [] {});
  ASSERT_TRUE(memory.add_ram(0, 1 * MiB, "ram"));
  ASSERT_TRUE(host.root().add(mch, 0));
  for (const unsigned offset : {0x50, 0x9c, 0x9d, 0x9e, 0xac}) {
    host.config_write(0, 0, offset, 1, 0xff);
    EXPECT_EQ(host.config_read(0, 0, offset, 1), 0u);
  }
  EXPECT_NE(memory.page(0x30000).host, nullptr);
}

test::Trace drive(MchRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  for (unsigned n = 0; n < 20; ++n) {
    const unsigned offsets[] = {0x50, 0x9c, 0x9d, 0x9e, 0xa4, 0xac};
    const unsigned size = 1u << random() % 3, offset = offsets[random() % 6] & ~(size - 1);
    if (random() % 2) rig.set(offset, static_cast<uint32_t>(random()), size);
    else trace.push_back(rig.get(offset, size));
    for (const memory::Gpa gpa : {uint64_t{0x30000}, uint64_t{0xa0000}, MchRig::kLowEnd - 1, MchRig::kLowEnd - 3 * MiB, MchRig::kLowEnd - 15 * MiB})
      trace.push_back(rig.seen(gpa) | rig.seen(gpa, View::kSmm) << 1);
  }
  return trace;
}

TEST(Q35Mch, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<MchRig>(60, drive); }

}  // namespace
}  // namespace skerry::devices
