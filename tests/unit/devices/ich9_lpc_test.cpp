#include "devices/ich9_lpc.hpp"

#include <gtest/gtest.h>

#include "devices/cpu_registers.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

constexpr uint16_t kSmiEnable = 0x630, kSmiStatus = 0x634, kApmControl = 0xb2, kApmStatus = 0xb3;

struct LpcRig {
  bus::AddressSpace pio{"port"};
  test::FakeInterrupts interrupts;
  std::vector<bool> smis;  // for all, or for the one that wrote
  Ich9Lpc lpc{interrupts, [this](bool all) { smis.push_back(all); }};

  LpcRig() { EXPECT_TRUE(lpc.attach(pio)); }
  bus::Device& device() { return lpc; }
};

TEST(Ich9Lpc, AWriteToApmControlMakesAnSmiIfBothEnablesAreSet) {
  LpcRig rig;
  EXPECT_EQ(rig.pio.read(kSmiEnable, 4), 0u);
  for (const uint32_t enables : {0x00, 0x01, 0x20, 0x21}) {
    rig.pio.write(kSmiEnable, 4, enables);
    EXPECT_EQ(rig.pio.read(kSmiEnable, 4), enables);
    rig.pio.write(kApmControl, 1, 0x44);
    EXPECT_EQ(rig.smis.size(), enables == 0x21 ? 1u : 0u);
  }
  EXPECT_EQ(rig.pio.read(kApmControl, 1), 0x44u);
  EXPECT_EQ(rig.pio.read(kSmiStatus, 4), 0x20u);
  rig.pio.write(kApmStatus, 1, 0x55);
  EXPECT_EQ(rig.smis.size(), 1u);
  EXPECT_EQ(rig.pio.read(kApmStatus, 1), 0x55u);
  rig.pio.write(kSmiStatus, 1, 0xdf);
  EXPECT_EQ(rig.pio.read(kSmiStatus, 4), 0x20u);
  rig.pio.write(kSmiStatus, 1, 0x20);
  EXPECT_EQ(rig.pio.read(kSmiStatus, 4), 0u);
  EXPECT_FALSE(rig.smis[0]);
}

TEST(Ich9Lpc, TheGlobalEnableCanBeLocked) {
  LpcRig rig;
  rig.pio.write(kSmiEnable, 4, 0x21);
  rig.lpc.config_write(0xa0, 2, 0xffff);
  EXPECT_EQ(rig.lpc.config_read(0xa0, 2), 0x10u);
  rig.lpc.config_write(0xa0, 2, 0);
  EXPECT_EQ(rig.lpc.config_read(0xa0, 2), 0x10u);
  rig.pio.write(kSmiEnable, 4, 0);
  EXPECT_EQ(rig.pio.read(kSmiEnable, 4), 0x01u);
  rig.lpc.reset();
  EXPECT_EQ(rig.lpc.config_read(0xa0, 2), 0u);
  rig.pio.write(kSmiEnable, 4, 0x21);
  rig.pio.write(kSmiEnable, 4, 0);
  EXPECT_EQ(rig.pio.read(kSmiEnable, 4), 0u);
}

TEST(Ich9Lpc, FirmwareMayHaveSmisGoToAll) {
  LpcRig rig;
  EXPECT_FALSE(rig.lpc.agree_on_smi_features(2)) << "there is no such feature";
  EXPECT_FALSE(rig.lpc.smi_features_agreed());
  EXPECT_TRUE(rig.lpc.agree_on_smi_features(Ich9Lpc::kSmiBroadcast));
  EXPECT_TRUE(rig.lpc.smi_features_agreed());
  EXPECT_FALSE(rig.lpc.agree_on_smi_features(0)) << "once";
  rig.pio.write(kSmiEnable, 1, 0x21);
  rig.pio.write(kApmControl, 1, 0);
  EXPECT_EQ(rig.smis, std::vector<bool>{true});
  rig.lpc.reset();
  EXPECT_FALSE(rig.lpc.smi_features_agreed());
  EXPECT_TRUE(rig.lpc.agree_on_smi_features(0));
}

TEST(Ich9Lpc, WithoutSmmApmcIsEnabledAndDoesNothing) {
  bus::AddressSpace pio{"port"};
  test::FakeInterrupts interrupts;
  Ich9Lpc lpc(interrupts);
  ASSERT_TRUE(lpc.attach(pio));
  pio.write(kSmiEnable, 4, 0);
  EXPECT_EQ(pio.read(kSmiEnable, 4), 0x20u);
  pio.write(kApmControl, 1, 7);
  EXPECT_EQ(pio.read(kSmiStatus, 4), 0u);
  lpc.config_write(0xa0, 2, 0xffff);
  EXPECT_EQ(lpc.config_read(0xa0, 2), 0u);
}

test::Trace drive(LpcRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  constexpr uint16_t kPorts[] = {kSmiEnable, kSmiEnable + 1, kSmiStatus, kApmControl, kApmStatus};
  for (unsigned n = 0; n < 20; ++n) {
    const uint16_t port = kPorts[random() % 5];
    const unsigned size = port < kSmiEnable || port % 4 ? 1 : 1u << random() % 3;
    switch (random() % 4) {
      case 0: trace.push_back(rig.pio.read(port, size)); break;
      case 1: rig.lpc.config_write(0xa0, 1, static_cast<uint8_t>(random())); break;
      case 2: trace.push_back(rig.lpc.agree_on_smi_features(random() % 3)); break;
      default: rig.pio.write(port, size, random());
    }
  }
  for (const bool smi : rig.smis) trace.push_back(smi);
  rig.smis.clear();
  return trace;
}

TEST(Ich9Lpc, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<LpcRig>(60, drive); }

struct CpuRig {
  bus::AddressSpace pio{"port"};
  CpuRegisters cpus{3};
  CpuRig() { EXPECT_TRUE(cpus.attach(pio)); }
  bus::Device& device() { return cpus; }
  uint64_t get(unsigned offset, unsigned size) { return pio.read(CpuRegisters::kPort + offset, size); }
  void set(unsigned offset, unsigned size, uint64_t value) { pio.write(CpuRegisters::kPort + offset, size, value); }
};

TEST(CpuRegisters, TellWhichProcessorsThereAre) {
  CpuRig rig;
  rig.set(0, 4, 0);
  rig.set(5, 1, 0);
  EXPECT_EQ(rig.get(0, 4), 0u) << "the interface is the modern one";
  for (unsigned index = 0; index < 5; ++index) {
    rig.set(0, 4, index);
    EXPECT_EQ(rig.get(4, 1), index < 3 ? 1u : 0u);
    rig.set(5, 1, 3);
    EXPECT_EQ(rig.get(8, 4), index < 3 ? index : 0u) << "its APIC ID";
    rig.set(5, 1, 0);
    EXPECT_EQ(rig.get(8, 4), index < 3 ? index : 0u) << "no event takes the selector elsewhere";
    rig.set(5, 1, 1);
    EXPECT_EQ(rig.get(8, 4), 0u);
    rig.set(5, 1, 0);
  }
}

test::Trace drive_cpus(CpuRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  for (unsigned n = 0; n < 20; ++n) {
    const unsigned size = 1u << random() % 3, offset = random() % (CpuRegisters::kPorts - size + 1);
    if (random() % 2) rig.set(offset, size, random() % 5);
    else trace.push_back(rig.get(offset, size));
  }
  return trace;
}

TEST(CpuRegisters, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<CpuRig>(60, drive_cpus); }

}  // namespace
}  // namespace skerry::devices
