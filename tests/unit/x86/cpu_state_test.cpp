#include "x86/cpu_state.hpp"

#include <gtest/gtest.h>

#include "state/stream.hpp"
#include "x86/segmentation.hpp"

namespace skerry::x86 {
namespace {

std::vector<uint8_t> save(CpuState& cpu) {
  state::Saver saver;
  cpu.describe(saver);
  return saver.data();
}

TEST(CpuStateTest, PowerOnValuesAreThoseOfTheManual) {
  CpuState s;
  s.gpr[kRax] = 5;
  s.cr3 = 0x1000;
  s.reset(0x306a9, false);
  EXPECT_EQ(s.seg[kCs].selector, 0xf000);
  EXPECT_EQ(s.seg[kCs].base, 0xffff0000u);
  EXPECT_EQ(s.rip, 0xfff0u);
  EXPECT_EQ(s.rflags, flags::kFixed1);
  EXPECT_EQ(s.cr0, 0x60000010u);
  EXPECT_EQ(s.cr3, 0u);
  EXPECT_EQ(s.gpr[kRax], 0u);
  EXPECT_EQ(s.gpr[kRdx], 0x306a9u);
  EXPECT_EQ(s.dr6, 0xffff0ff0u);
  EXPECT_EQ(s.dr7, 0x400u);
  EXPECT_EQ(s.gdtr.limit, 0xffff);
  EXPECT_EQ(s.x87.fcw, 0x40);
  EXPECT_EQ(s.mxcsr, 0x1f80u);
  EXPECT_EQ(s.cpl(), 0u);
}

TEST(CpuStateTest, InitKeepsTheFpuTheClockAndTheMtrrs) {
  CpuState s;
  s.reset(1, false);
  s.cr0 = cr0::kPe | cr0::kPg;
  s.efer = efer::kLme | efer::kLma;
  s.x87.fcw = 0x37f;
  s.vector[3].bytes[7] = 9;
  s.tsc_offset = 77;
  s.mtrr.def_type = 0xc06;
  s.mcg_ctl = 1;
  s.sti_shadow = true;
  s.reset(1, true);
  EXPECT_EQ(s.cr0, cr0::kEt) << "CD and NW as they were, all others clear";
  EXPECT_EQ(s.efer, 0u);
  EXPECT_EQ(s.x87.fcw, 0x37f);
  EXPECT_EQ(s.vector[3].bytes[7], 9);
  EXPECT_EQ(s.tsc_offset, 77u);
  EXPECT_EQ(s.mtrr.def_type, 0xc06u);
  EXPECT_EQ(s.mcg_ctl, 1u);
  EXPECT_FALSE(s.sti_shadow);
  EXPECT_EQ(s.rip, 0xfff0u);
}

TEST(CpuStateTest, RandomLegalStatesSurviveSavingAndLoading) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CpuState from, to;
    state::Randomizer randomizer(seed);
    from.describe(randomizer);
    EXPECT_TRUE(from.rflags & flags::kFixed1) << "seed " << seed;
    const std::vector<uint8_t> image = save(from);
    state::Loader loader(image);
    to.describe(loader);
    const auto result = loader.finish();
    ASSERT_TRUE(result) << "seed " << seed << ": " << result.error().message();
    EXPECT_EQ(save(to), image) << "seed " << seed;
    EXPECT_EQ(to.gpr[kR15], from.gpr[kR15]);
    EXPECT_EQ(to.mtrr.mask[7], from.mtrr.mask[7]);
    EXPECT_EQ(to.pending.error_code, from.pending.error_code);
  }
}

TEST(CpuStateTest, IllegalValuesAreRefusedByName) {
  CpuState s;
  s.reset(0, false);
  s.seg[kSs].dpl = 4;
  const std::vector<uint8_t> image = save(s);
  CpuState to;
  state::Loader loader(image);
  to.describe(loader);
  const auto result = loader.finish();
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("dpl"), std::string::npos) << result.error().message();
}

TEST(CpuStateTest, ThePrivilegeLevelIsThatOfTheStackSegment) {
  CpuState s;
  s.reset(0, false);
  s.seg[kSs].dpl = 3;
  EXPECT_EQ(s.cpl(), 0u) << "real mode";
  s.cr0 |= cr0::kPe;
  EXPECT_EQ(s.cpl(), 3u);
  s.seg[kSs].dpl = 0;
  s.rflags |= flags::kVm;
  EXPECT_EQ(s.cpl(), 3u) << "virtual-8086 mode";
}

}  // namespace
}  // namespace skerry::x86
