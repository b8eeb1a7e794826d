#include "irqchip/apic_bus.hpp"

#include "unit/irqchip/apic_rig.hpp"

namespace skerry::irqchip {
namespace {

using Vectors = std::vector<int>;

struct ApicBusTest : ::testing::Test, test::ApicRig {
  ApicBusTest() : ApicRig({0, 1, 2, 3, 17, 18, 40}) { enable_all(); }
  // What each processor got, -1 for nothing.
  Vectors got() {
    Vectors result;
    for (Lapic& lapic : lapics) {
      result.push_back(lapic.acknowledge());
      lapic.init_reset();
      lapic.mmio_write(0xf0, 0x1ff);
      lapic.write_msr(0x80f, 0x1ff);
    }
    enable_all();
    return result;
  }
  Vectors only(std::initializer_list<size_t> cpus, int vector) {
    Vectors result(lapics.size(), -1);
    for (const size_t cpu : cpus) result[cpu] = vector;
    return result;
  }
  void all_x2apic() {
    for (Lapic& lapic : lapics) enter_x2apic(lapic);
  }
};

TEST_F(ApicBusTest, RefusesTwoProcessorsOfOneId) {
  test::Pins more;
  Lapic twin(
      17, false, bus, more, time.loop(), [] { return 0; }, 1);
  EXPECT_FALSE(bus.add(twin));
  Lapic huge(
      1u << 20, false, bus, more, time.loop(), [] { return 0; }, 1);
  EXPECT_FALSE(bus.add(huge));
}

TEST_F(ApicBusTest, PhysicalIpisReachOneOrAll) {
  send_ipi(0, 17, 0x50);
  EXPECT_EQ(got(), only({4}, 0x50));
  send_ipi(0, 16, 0x50);
  EXPECT_EQ(got(), only({}, 0x50));
  send_ipi(0, 0xff, 0x51);
  EXPECT_EQ(got(), only({0, 1, 2, 3, 4, 5, 6}, 0x51));
}

TEST_F(ApicBusTest, AMessageByIdReachesThatOneAlone) {
  EXPECT_TRUE(lapics[0].send_to(17, 0x50));
  EXPECT_FALSE(lapics[0].send_to(16, 0x50));
  EXPECT_FALSE(lapics[0].send_to(0xff, 0x50)) << "no broadcast";
  EXPECT_FALSE(lapics[0].send_to(0xffffffff, 0x50));
  EXPECT_EQ(got(), only({4}, 0x50));
  EXPECT_FALSE(lapics[0].send_to(17, 0x750)) << "ExtINT is no message between processors";
  EXPECT_FALSE(lapics[0].send_to(17, 0x8500)) << "INIT level de-assert";
  EXPECT_EQ(got(), only({}, 0));
  EXPECT_TRUE(lapics[0].send_to(17, 0x400));
  EXPECT_EQ(pins[4].nmis, 1u);
}

TEST_F(ApicBusTest, ShorthandsIgnoreTheDestination) {
  send_ipi(1, 3, 0x40050);
  EXPECT_EQ(got(), only({1}, 0x50));
  send_ipi(1, 3, 0x80051);
  EXPECT_EQ(got(), only({0, 1, 2, 3, 4, 5, 6}, 0x51));
  send_ipi(1, 3, 0xc0052);
  EXPECT_EQ(got(), only({0, 2, 3, 4, 5, 6}, 0x52));
}

TEST_F(ApicBusTest, FlatLogicalDestinationsAreASet) {
  send_ipi(0, 0b0101, 0x850);
  EXPECT_EQ(got(), only({0, 2}, 0x50));
}

TEST_F(ApicBusTest, ClusterLogicalDestinationsAreASetWithinOne) {
  for (size_t i = 0; i < lapics.size(); ++i) {
    lapics[i].mmio_write(0xe0, 0x0fffffff);
    lapics[i].mmio_write(0xd0, static_cast<uint32_t>((i / 4) << 4 | 1u << (i % 4)) << 24);
  }
  send_ipi(0, 0x13, 0x850);
  EXPECT_EQ(got(), only({4, 5}, 0x50));
}

TEST_F(ApicBusTest, X2apicDestinationsAre32BitsWide) {
  all_x2apic();
  lapics[0].write_msr(0x830, uint64_t{40} << 32 | 0x50);
  EXPECT_EQ(got(), only({6}, 0x50));
  lapics[0].write_msr(0x830, uint64_t{0xff} << 32 | 0x50);
  EXPECT_EQ(got(), only({}, 0x50)) << "an ordinary ID here";
  lapics[0].write_msr(0x830, uint64_t{0xffffffff} << 32 | 0x50);
  EXPECT_EQ(got(), only({0, 1, 2, 3, 4, 5, 6}, 0x50));
}

TEST_F(ApicBusTest, X2apicLogicalIdsFollowFromTheId) {
  all_x2apic();
  uint64_t ldr = 0;
  lapics[4].read_msr(0x80d, ldr);
  EXPECT_EQ(ldr, 0x10002u);
  lapics[0].write_msr(0x830, uint64_t{0x1ffff} << 32 | 0x850);
  EXPECT_EQ(got(), only({4, 5}, 0x50));
  lapics[0].write_msr(0x830, uint64_t{0x20100} << 32 | 0x850);
  EXPECT_EQ(got(), only({6}, 0x50));
  lapics[0].write_msr(0x830, uint64_t{0xfffeffff} << 32 | 0x850);
  EXPECT_EQ(got(), only({}, 0x50));
}

TEST_F(ApicBusTest, MsiNamesDestinationVectorAndMode) {
  bus.send_msi(0xfee12000, 0x4066);
  EXPECT_EQ(got(), only({5}, 0x66));
  bus.send_msi(0xfee03004, 0x67);  // logical
  EXPECT_EQ(got(), only({0, 1}, 0x67));
  bus.send_msi(0xfeeff000, 0x68);
  EXPECT_EQ(got(), only({0, 1, 2, 3, 4, 5, 6}, 0x68));
  bus.send_msi(0xfee03000, 0x8069);  // level de-assert
  bus.send_msi(0xfed03000, 0x69);
  bus.send_msi(0x1fee03000, 0x69);
  EXPECT_EQ(got(), only({}, 0));
  bus.send_msi(0xfee02000, 0x0400);
  EXPECT_EQ(pins[2].nmis, 1u);
}

TEST_F(ApicBusTest, RedirectionHintReachesExactlyOne) {
  bus.send_msi(0xfee0700c, 0x66);
  const Vectors result = got();
  EXPECT_EQ(std::count(result.begin(), result.end(), 0x66), 1);
}

TEST_F(ApicBusTest, LowestPrioritySkipsTheDisabledAndSpreadsEqualsByVector) {
  std::vector<unsigned> shares(lapics.size());
  for (uint32_t vector = 0x40; vector < 0x70; ++vector) {
    lapics[0].mmio_write(0xf0, 0xff);
    send_ipi(3, 0b0111, 0x900 | vector);
    const Vectors result = got();
    for (size_t i = 0; i < result.size(); ++i) shares[i] += result[i] >= 0;
  }
  EXPECT_EQ(shares, (std::vector<unsigned>{0, 24, 24, 0, 0, 0, 0}));
}

TEST_F(ApicBusTest, InitAndStartUpToAllOthers) {
  send_ipi(0, 0, 0xc4500);
  send_ipi(0, 0, 0xc4610);
  EXPECT_EQ(pins[0].inits, 0u);
  for (size_t i = 1; i < pins.size(); ++i) {
    EXPECT_EQ(pins[i].inits, 1u);
    EXPECT_EQ(pins[i].sipis, std::vector<uint8_t>{0x10});
  }
}

}  // namespace
}  // namespace skerry::irqchip
