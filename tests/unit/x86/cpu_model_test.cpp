#include "x86/cpu_model.hpp"

#include <gtest/gtest.h>

#include "unit/x86/system_rig.hpp"
#include "x86/cpu_features.hpp"

namespace skerry::x86 {
namespace {

using test::Rig;
constexpr uint64_t kTscHz = 2'495'998'000;

CpuModel model(std::string_view name, unsigned vcpus = 1) {
  auto made = CpuModel::create(name, vcpus, kTscHz);
  EXPECT_TRUE(made) << made.error().message();
  return std::move(*made);
}

bool host_lacks(std::string_view name) { return !CpuModel::create(name, 1, kTscHz); }

TEST(CpuModelTest, AnUnknownNameIsAnsweredWithThoseThereAre) {
  const auto made = CpuModel::create("pentium", 1, kTscHz);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("x86-64-v2"), std::string::npos) << made.error().message();
}

TEST(CpuModelTest, EachLevelHasWhatTheOneBelowHas) {
  if (host_lacks("x86-64-v3")) GTEST_SKIP() << "this processor is no x86-64-v3";
  const CpuModel v1 = model("x86-64-v1"), v2 = model("x86-64-v2"), v3 = model("x86-64-v3"), host = model("host");
  for (const Feature& feature : known_features()) {
    EXPECT_LE(v1.has_feature(feature), v2.has_feature(feature)) << feature.name;
    EXPECT_LE(v2.has_feature(feature), v3.has_feature(feature)) << feature.name;
    EXPECT_LE(v3.has_feature(feature), host.has_feature(feature)) << feature.name;
  }
  for (const auto* name : {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})
    EXPECT_TRUE(v2.has_named(name)) << name;
  for (const auto* name : {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})
    EXPECT_TRUE(v3.has_named(name)) << name;
  EXPECT_FALSE(v2.has_named("avx"));
}

TEST(CpuModelTest, Avx512IsForProcessorsOnly) {
  EXPECT_FALSE(model("host").for_processors());
  EXPECT_EQ(model("host").xcr0_allowed() & 0xe0, 0u);
  const auto v4 = CpuModel::create("x86-64-v4", 1, kTscHz);
  if (!v4) {
    EXPECT_NE(v4.error().message().find("avx512"), std::string::npos);
    GTEST_SKIP() << v4.error().message();
  }
  EXPECT_TRUE(v4->for_processors());
  EXPECT_EQ(v4->xcr0_allowed() & 0xe0, 0xe0u);
  EXPECT_TRUE(v4->has_named("avx512vl") && v4->has_named("avx2"));
  CpuModel::Dynamic dynamic;
  dynamic.xcr0 = 0xe7;
  const CpuidResult sizes = v4->cpuid(0xd, 0, dynamic), last = v4->cpuid(0xd, 7, dynamic);
  EXPECT_EQ(sizes.ebx, sizes.ecx);
  EXPECT_EQ(last.ebx + last.eax, sizes.ecx);
}

TEST(CpuModelTest, FeaturesCanBeTakenAway) {
  CpuModel v1 = model("x86-64-v1"), host = model("host");
  EXPECT_TRUE(v1.keep([](const Feature&) { return true; }).empty());
  EXPECT_EQ(v1.keep([](const Feature& feature) { return feature.name != "sse2" && feature.name != "smap"; }),
            std::vector<std::string_view>{"sse2"});
  EXPECT_FALSE(v1.has_named("smap") || v1.has_named("sse2"));
  EXPECT_TRUE(v1.has_named("sse"));
  EXPECT_TRUE(host.keep([](const Feature& feature) { return feature.name != "sse2"; }).empty()) << "it promises nothing";
}

TEST(CpuModelTest, KvmsFeaturesAreAddedToAModel) {
  constexpr uint32_t kLeaf = 0x40000001, kSendIpi = 1u << 11;
  CpuModel host = model("host");
  const uint32_t before = host.cpuid(kLeaf, 0, {}).eax;
  EXPECT_EQ(before & (1u << 5 | 1u << 6 | 1u << 9 | kSendIpi), 0u);
  host.add(*find_feature("kvm_pv_send_ipi"));
  EXPECT_EQ(host.cpuid(kLeaf, 0, {}).eax, before | kSendIpi);
  EXPECT_TRUE(host.has_named("kvm_pv_send_ipi"));
  EXPECT_TRUE(host.keep([](const Feature& feature) { return feature.provided != Provided::kByKernel; }).empty());
  EXPECT_EQ(host.cpuid(kLeaf, 0, {}).eax, before);
}

TEST(CpuModelTest, EveryModelHasWhatKernelsNeed) {
  const CpuModel v1 = model("x86-64-v1");
  for (const auto* name : {"apic",       "x2apic",   "tsc_deadline_timer",
                           "pge",        "pae",      "pse",
                           "pse36",      "nx",       "lm",
                           "syscall",    "sep",      "pat",
                           "mtrr",       "mca",      "mce",
                           "cx8",        "clflush",  "fxsr",
                           "hypervisor", "rdtscp",   "pdpe1gb",
                           "smep",       "smap",     "pcid",
                           "invpcid",    "fsgsbase", "erms",
                           "umip",       "lahf_lm"})
    EXPECT_TRUE(v1.has_named(name)) << name;
}

// GCC's functions for "arch=haswell" and "arch=broadwell" are chosen by the model number alone.
TEST(CpuModelTest, TheModelNumberPromisesNothingThatIsNotOffered) {
  constexpr uint32_t kHaswell = 0x000306c3, kBroadwell = 0x000306d4, kNone = 0x00000f61;
  for (const std::string_view name : CpuModel::names()) {
    if (host_lacks(name)) continue;
    const CpuModel made = model(name);
    const CpuidResult vendor = made.cpuid(0, 0, {});
    if (vendor.ebx != 0x756e6547) continue;  // "Genu"
    if (made.signature() == kNone) continue;
    ASSERT_TRUE(made.signature() == kHaswell || made.signature() == kBroadwell) << name;
    for (const auto* feature : {"avx2", "fma", "bmi1", "bmi2", "abm", "movbe", "f16c", "rdrand", "pclmulqdq", "fsgsbase"})
      EXPECT_TRUE(made.has_named(feature)) << name << " lacks " << feature;
    if (made.signature() == kHaswell) continue;
    for (const auto* feature : {"adx", "rdseed", "3dnowprefetch"}) EXPECT_TRUE(made.has_named(feature)) << name << " lacks " << feature;
  }
}

TEST(CpuModelTest, FrequenciesGiveExactlyTheTscRate) {
  const CpuModel m = model("host");
  const CpuidResult ratio = m.cpuid(0x15, 0, {});
  EXPECT_EQ(uint64_t{ratio.ecx} * ratio.ebx / ratio.eax, kTscHz);
  EXPECT_EQ(m.cpuid(0x40000010, 0, {}).eax, kTscHz / 1000);
  EXPECT_EQ(m.cpuid(0x40000010, 0, {}).ebx, 1'000'000u);
}

TEST(CpuModelTest, TheHypervisorSaysItIsLikeKvm) {
  const CpuModel m = model("host");
  const CpuidResult r = m.cpuid(0x40000000, 0, {});
  EXPECT_EQ(r.ebx, 0x4b4d564bu);  // "KVMK"
  EXPECT_EQ(r.ecx, 0x564b4d56u);  // "VMKV"
  EXPECT_EQ(r.edx, 0x4du);        // "M"
  EXPECT_EQ(m.cpuid(0x40000001, 0, {}).eax, 0x0100000bu);
}

TEST(CpuModelTest, TopologyNumbersTheProcessors) {
  const CpuModel m = model("host", 6);
  CpuModel::Dynamic dynamic;
  dynamic.apic_id = 5;
  EXPECT_EQ(m.cpuid(1, 0, dynamic).ebx >> 24, 5u);
  EXPECT_EQ(m.cpuid(1, 0, dynamic).ebx >> 16 & 0xff, 8u);
  EXPECT_EQ(m.cpuid(0xb, 1, dynamic).eax, 3u) << "bits to shift out of the APIC ID";
  EXPECT_EQ(m.cpuid(0xb, 1, dynamic).ebx, 6u);
  EXPECT_EQ(m.cpuid(0xb, 1, dynamic).edx, 5u);
  EXPECT_EQ(m.cpuid(0xb, 2, dynamic).ecx, 2u) << "level type 0 ends the list";
}

TEST(CpuModelTest, SizesOfXsaveFollowXcr0) {
  const CpuModel m = model("host");
  if (!(m.xcr0_allowed() & 4)) GTEST_SKIP() << "this processor has no AVX";
  CpuModel::Dynamic dynamic;
  dynamic.xcr0 = 3;
  EXPECT_EQ(m.cpuid(0xd, 0, dynamic).ebx, 576u);
  EXPECT_EQ(m.cpuid(0xd, 0, dynamic).ecx, 832u);
  dynamic.xcr0 = 7;
  EXPECT_EQ(m.cpuid(0xd, 0, dynamic).ebx, 832u);
  EXPECT_EQ(m.cpuid(0xd, 2, dynamic).eax, 256u);
  EXPECT_EQ(m.cpuid(0xd, 2, dynamic).ebx, 576u);
}

TEST(CpuModelTest, OsxsaveAndApicFollowTheirSwitches) {
  const CpuModel m = model("host");
  CpuModel::Dynamic dynamic;
  EXPECT_FALSE(m.cpuid(1, 0, dynamic).ecx & 1u << 27);
  EXPECT_TRUE(m.cpuid(1, 0, dynamic).edx & 1u << 9);
  dynamic.cr4 = cr4::kOsxsave;
  dynamic.apic_enabled = false;
  EXPECT_TRUE(m.cpuid(1, 0, dynamic).ecx & 1u << 27);
  EXPECT_FALSE(m.cpuid(1, 0, dynamic).edx & 1u << 9);
}

TEST(CpuModelTest, LeavesBeyondTheHighestGiveTheHighest) {
  const CpuModel m = model("host");
  EXPECT_EQ(m.cpuid(0, 0, {}).eax, 0x16u);
  EXPECT_EQ(m.cpuid(0x1234, 0, {}).eax, m.cpuid(0x16, 0, {}).eax);
}

struct Encoding {
  std::string_view feature;
  std::vector<uint8_t> bytes;
};
// For each feature that brings instructions some of them, in 64-bit code with all operands at [RAX].
const std::vector<Encoding>& encodings() {
  static const std::vector<Encoding> kEncodings = {
      {"cmov", {0x0f, 0x44, 0xc1}},
      {"cx8", {0x0f, 0xc7, 0x08}},
      {"cx16", {0x48, 0x0f, 0xc7, 0x08}},
      {"clflush", {0x0f, 0xae, 0x38}},
      {"mmx", {0x0f, 0xfc, 0xc1}},
      {"fxsr", {0x0f, 0xae, 0x00}},
      {"sse", {0x0f, 0x58, 0xc1}},
      {"sse2", {0x66, 0x0f, 0x58, 0xc1}},
      {"syscall", {0x0f, 0x05}},
      {"rdtscp", {0x0f, 0x01, 0xf9}},
      {"fsgsbase", {0xf3, 0x0f, 0xae, 0xc0}},
      {"invpcid", {0x66, 0x0f, 0x38, 0x82, 0x08}},
      {"smap", {0x0f, 0x01, 0xca}},
      {"xsave", {0x0f, 0xae, 0x20}},
      {"xsaveopt", {0x0f, 0xae, 0x30}},
      {"pni", {0xf2, 0x0f, 0x7c, 0xc1}},
      {"pni", {0xdb, 0x08}},
      {"ssse3", {0x66, 0x0f, 0x38, 0x00, 0xc1}},
      {"sse4_1", {0x66, 0x0f, 0x38, 0x17, 0xc1}},
      {"sse4_2", {0x66, 0x0f, 0x38, 0x37, 0xc1}},
      {"sse4_2", {0xf2, 0x0f, 0x38, 0xf1, 0xc1}},
      {"popcnt", {0xf3, 0x0f, 0xb8, 0xc1}},
      {"lahf_lm", {0x9f}},
      {"fma", {0xc4, 0xe2, 0x71, 0x98, 0xc2}},
      {"movbe", {0x0f, 0x38, 0xf0, 0x08}},
      {"avx", {0xc5, 0xf0, 0x58, 0xc2}},
      {"avx", {0xc5, 0xfc, 0x77}},
      {"f16c", {0xc4, 0xe2, 0x79, 0x13, 0xc1}},
      {"bmi1", {0xc4, 0xe2, 0x70, 0xf2, 0xc2}},
      {"bmi2", {0xc4, 0xe2, 0x70, 0xf5, 0xc2}},
      {"avx2", {0xc5, 0xf5, 0xfc, 0xc2}},
      {"avx2", {0xc4, 0xe2, 0x69, 0x90, 0x0c, 0x18}},
      {"pclmulqdq", {0x66, 0x0f, 0x3a, 0x44, 0xc1, 0x00}},
      {"aes", {0x66, 0x0f, 0x38, 0xdc, 0xc1}},
      {"aes", {0xc4, 0xe2, 0x71, 0xdc, 0xc2}},
      {"rdrand", {0x0f, 0xc7, 0xf1}},
      {"rdseed", {0x0f, 0xc7, 0xf9}},
      {"adx", {0x66, 0x0f, 0x38, 0xf6, 0xc1}},
      {"clflushopt", {0x66, 0x0f, 0xae, 0x38}},
      {"clwb", {0x66, 0x0f, 0xae, 0x30}},
      {"sha_ni", {0x0f, 0x38, 0xc8, 0xc1}},
      {"rdpid", {0xf3, 0x0f, 0xc7, 0xf9}},
  };
  return kEncodings;
}

bool is_undefined(Rig& rig, const std::vector<uint8_t>& bytes) {
  rig.long_mode();
  rig.s.cr4 |= rig.model.cr4_allowed() & (cr4::kOsfxsr | cr4::kOsxmmexcpt | cr4::kOsxsave | cr4::kFsgsbase);
  rig.s.xcr0 = rig.model.xcr0_allowed() | 1;
  rig.s.gpr[kRax] = test::kData;
  rig.s.gpr[kRbx] = 0;
  rig.s.lstar = 0x100;
  const auto fault = rig.run(bytes);
  return fault && fault->vector == kInvalidOpcode;
}

TEST(CpuModelTest, AnInstructionIsThereIfAndOnlyIfItsFeatureIs) {
  for (const std::string_view name : CpuModel::names()) {
    if (host_lacks(name)) continue;
    Rig rig(name);
    for (const Encoding& encoding : encodings())
      EXPECT_EQ(!is_undefined(rig, encoding.bytes), rig.model.has_named(encoding.feature))
          << name << ": " << encoding.feature << ::testing::PrintToString(encoding.bytes);
  }
}

TEST(CpuModelTest, WhatTheEngineDoesNotDoIsUndefined) {
  Rig rig;
  const std::vector<Encoding> absent = {
      {"monitor", {0x0f, 0x01, 0xc8}},
      {"mwait", {0x0f, 0x01, 0xc9}},
      {"vmx", {0x0f, 0x01, 0xc4}},
      {"svm", {0x0f, 0x01, 0xd8}},
      {"rtm", {0x0f, 0x01, 0xd5}},
      {"smx", {0x0f, 0x37}},
      {"avx512", {0x62, 0xf1, 0x74, 0x48, 0x58, 0xc2}},
      {"xsavec", {0x0f, 0xc7, 0x20}},
      {"xsaves", {0x0f, 0xc7, 0x28}},
      {"pku", {0x0f, 0x01, 0xee}},
      {"3dnow", {0x0f, 0x0f, 0xc1, 0x9e}},
      {"sgx", {0x0f, 0x01, 0xcf}},
      {"rsm", {0x0f, 0xaa}},
      {"ud2", {0x0f, 0x0b}},
      {"gfni", {0x66, 0x0f, 0x38, 0xcf, 0xc1}},
      {"sse4a", {0x66, 0x0f, 0x79, 0xc1}},
      {"waitpkg", {0xf3, 0x0f, 0xae, 0xf1}},
      {"movdiri", {0x0f, 0x38, 0xf9, 0x08}},
      {"fma4", {0xc4, 0xe3, 0xf1, 0x68, 0xc2, 0x30}},
  };
  for (const Encoding& encoding : absent) EXPECT_TRUE(is_undefined(rig, encoding.bytes)) << encoding.feature;
}

TEST(CpuModelTest, HintsAreNothingWithoutTheirFeature) {
  Rig rig("x86-64-v1");
  const std::vector<Encoding> hints = {
      {"endbr64", {0xf3, 0x0f, 0x1e, 0xfa}}, {"nopl", {0x0f, 0x1f, 0x40, 0x00}},
      {"prefetchw", {0x0f, 0x0d, 0x08}},     {"pause", {0xf3, 0x90}},
      {"bndmk", {0xf3, 0x0f, 0x1b, 0x00}},   {"prefetcht0", {0x0f, 0x18, 0x08}},
  };
  for (const Encoding& encoding : hints) EXPECT_FALSE(is_undefined(rig, encoding.bytes)) << encoding.feature;
}

}  // namespace
}  // namespace skerry::x86
