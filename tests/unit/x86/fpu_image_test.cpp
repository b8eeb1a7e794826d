// What FXSAVE, FNSTENV and XSAVE write: where each field is, and what their headers say.
#include <gtest/gtest.h>

#include "unit/x86/system_rig.hpp"

namespace skerry::x86 {
namespace {

using namespace test;

class FpuImageTest : public ::testing::Test {
 protected:
  FpuImageTest() {
    rig.long_mode();
    rig.s.cr4 |= cr4::kOsfxsr | cr4::kOsxmmexcpt | cr4::kOsxsave;
    rig.s.xcr0 = 7;
    rig.s.gpr[kRdi] = kData;
    X87& x87 = rig.s.x87;
    x87.fcw = 0x27f;
    x87.fsw = 0x3800;  // TOP is 7: one value on the stack
    x87.ftw = 0x80;
    x87.fip = 0x7fff12345678;
    x87.fdp = 0x7ffe87654321;
    x87.fop = 0x123;
    x87.st[0] = {0xc90fdaa22168c235, 0x4000};
    rig.s.mxcsr = 0x1fa0;
    for (unsigned n = 0; n < 16; ++n)
      for (unsigned i = 0; i < 32; ++i) rig.s.vector[n].bytes[i] = static_cast<uint8_t>(16 * n + i);
  }
  template <typename T>
  T field(unsigned offset) {
    return rig.get<T>(kData + offset);
  }
  Rig rig;
};

// Intel SDM vol. 1, table 10-2 and vol. 2, FXSAVE.
TEST_F(FpuImageTest, FxsaveOf64Bits) {
  ASSERT_TRUE(succeeds(rig, {0x48, 0x0f, 0xae, 0x07}));
  EXPECT_EQ(field<uint16_t>(0), 0x27f);
  EXPECT_EQ(field<uint16_t>(2), 0x3800);
  EXPECT_EQ(field<uint8_t>(4), 0x80);
  EXPECT_EQ(field<uint16_t>(6), 0x123);
  EXPECT_EQ(field<uint64_t>(8), 0x7fff12345678u);
  EXPECT_EQ(field<uint64_t>(16), 0x7ffe87654321u);
  EXPECT_EQ(field<uint32_t>(24), 0x1fa0u);
  EXPECT_EQ(field<uint32_t>(28), 0xffffu) << "MXCSR_MASK";
  EXPECT_EQ(field<uint64_t>(32), 0xc90fdaa22168c235u);
  EXPECT_EQ(field<uint16_t>(40), 0x4000);
  EXPECT_EQ(field<uint8_t>(160 + 16 * 15 + 3), 0xf3);
}

TEST_F(FpuImageTest, FxsaveOf32BitsCutsPointers) {
  ASSERT_TRUE(succeeds(rig, {0x0f, 0xae, 0x07}));
  EXPECT_EQ(field<uint32_t>(8), 0x12345678u);
  EXPECT_EQ(field<uint32_t>(12), 0u) << "no selectors: CPUID.7.EBX[13]";
  EXPECT_EQ(field<uint32_t>(16), 0x87654321u);
}

// SDM vol. 1, figure 8-9.
TEST_F(FpuImageTest, EnvironmentOf32Bits) {
  ASSERT_TRUE(succeeds(rig, {0xd9, 0x37}));
  EXPECT_EQ(field<uint16_t>(0), 0x27f);
  EXPECT_EQ(field<uint16_t>(4), 0x3800);
  EXPECT_EQ(field<uint16_t>(8), 0x3fff) << "register 7 is valid, the others are empty";
  EXPECT_EQ(field<uint32_t>(12), 0x12345678u);
  EXPECT_EQ(field<uint32_t>(16), 0x123u << 16);
  EXPECT_EQ(field<uint32_t>(20), 0x87654321u);
  EXPECT_EQ(rig.s.x87.fcw & 0x3f, 0x3f) << "all exceptions are masked afterwards";
}

// SDM vol. 1, 13.4.2 and 13.7.
TEST_F(FpuImageTest, XsaveWritesWhatIsAskedFor) {
  rig.put<uint64_t>(kData + 512, 0x10);
  rig.s.gpr[kRax] = 6;
  rig.s.gpr[kRdx] = 0;
  ASSERT_TRUE(succeeds(rig, {0x48, 0x0f, 0xae, 0x27}));
  EXPECT_EQ(field<uint64_t>(512), 0x16u) << "XSTATE_BV keeps the bits of others";
  EXPECT_EQ(field<uint16_t>(0), 0) << "x87 was not asked for";
  EXPECT_EQ(field<uint32_t>(24), 0x1fa0u);
  EXPECT_EQ(field<uint8_t>(160 + 5), 5);
  EXPECT_EQ(field<uint8_t>(576 + 16 * 2 + 1), 2 * 16 + 17) << "the upper half of YMM2";
}

TEST_F(FpuImageTest, XrstorInitialisesWhatIsNotInTheImage) {
  rig.s.gpr[kRax] = 7;
  rig.s.gpr[kRdx] = 0;
  ASSERT_TRUE(succeeds(rig, {0x48, 0x0f, 0xae, 0x27}));
  rig.put<uint64_t>(kData + 512, 2);  // SSE only
  ASSERT_TRUE(succeeds(rig, {0x48, 0x0f, 0xae, 0x2f}));
  EXPECT_EQ(rig.s.x87.fcw, 0x37f);
  EXPECT_EQ(rig.s.x87.ftw, 0);
  EXPECT_EQ(rig.s.vector[3].bytes[4], 3 * 16 + 4);
  EXPECT_EQ(rig.s.vector[3].bytes[20], 0);
}

TEST_F(FpuImageTest, XrstorRefusesABadHeader) {
  rig.s.gpr[kRax] = 7;
  rig.s.gpr[kRdx] = 0;
  rig.put<uint64_t>(kData + 512, 8);
  EXPECT_TRUE(raises(rig, {0x48, 0x0f, 0xae, 0x2f}, kGeneralProtection)) << "a component that XCR0 does not have";
  rig.put<uint64_t>(kData + 512, 0);
  rig.put<uint64_t>(kData + 520, uint64_t{1} << 63);
  EXPECT_TRUE(raises(rig, {0x48, 0x0f, 0xae, 0x2f}, kGeneralProtection)) << "the compacted form";
  rig.put<uint64_t>(kData + 520, 0);
  rig.put<uint32_t>(kData + 24, 0x10000);
  EXPECT_TRUE(raises(rig, {0x48, 0x0f, 0xae, 0x2f}, kGeneralProtection)) << "a reserved bit of MXCSR";
}

// DIVPS of 1 by 0 with the exception unmasked. SDM vol. 3, 6.15, interrupt 19.
TEST_F(FpuImageTest, SimdExceptionOnlyWhereTheSystemSaysItTakesIt) {
  const std::vector<uint8_t> divps = {0x0f, 0x5e, 0xc1};
  const std::array<float, 4> ones = {1, 1, 1, 1}, zeroes = {};
  std::memcpy(rig.s.vector[0].bytes.data(), ones.data(), 16);
  std::memcpy(rig.s.vector[1].bytes.data(), zeroes.data(), 16);
  rig.s.mxcsr = 0x1f80 & ~0x200;
  EXPECT_TRUE(raises(rig, divps, kSimdError));
  EXPECT_EQ(rig.s.mxcsr & 0x3f, 4u) << "the flag tells which";
  EXPECT_EQ(std::memcmp(rig.s.vector[0].bytes.data(), ones.data(), 16), 0) << "the destination is as it was";
  rig.long_mode();
  rig.s.cr4 |= cr4::kOsfxsr;
  std::memcpy(rig.s.vector[0].bytes.data(), ones.data(), 16);
  std::memcpy(rig.s.vector[1].bytes.data(), zeroes.data(), 16);
  rig.s.mxcsr = 0x1f80 & ~0x200;
  EXPECT_TRUE(raises(rig, divps, kInvalidOpcode));
}

}  // namespace
}  // namespace skerry::x86
