// What of accel/kvm can be tested without a guest. The parts with a real /dev/kvm are left out where there is none.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "accel/kvm/cpuid.hpp"
#include "accel/kvm/dirty_ring.hpp"
#include "accel/kvm/kvm_accelerator.hpp"
#include "accel/kvm/rescue.hpp"
#include "accel/kvm/system.hpp"
#include "accel/kvm/vcpu_calls.hpp"
#include "accel/kvm/vcpu_state.hpp"
#include "accel/kvm/vm.hpp"
#include "x86/cpu_features.hpp"

namespace skerry::accel::kvm {
namespace {

x86::CpuModel model() {
  auto made = x86::CpuModel::create("host", 2, 2'000'000'000);
  EXPECT_TRUE(made);
  return std::move(*made);
}

kvm_cpuid_entry2 entry_of(const std::vector<kvm_cpuid_entry2>& entries, uint32_t leaf, uint32_t subleaf = 0) {
  for (const kvm_cpuid_entry2& entry : entries)
    if (entry.function == leaf && entry.index == subleaf) return entry;
  ADD_FAILURE() << "no leaf " << leaf;
  return {};
}

TEST(KvmCpuid, OffersNoFeatureThatKvmDoesNot) {
  kvm_cpuid_entry2 leaf1{}, leaf7{};
  leaf1.function = 1;
  leaf1.edx = 1u << 25;  // SSE alone
  leaf7.function = 7;
  auto cut_model = model();
  ASSERT_TRUE(cut(cut_model, {leaf1, leaf7}, false));
  const auto entries = cpuid_of(cut_model, 0);
  EXPECT_EQ(entry_of(entries, 1).edx & (1u << 25 | 1u << 26), 1u << 25);
  EXPECT_EQ(entry_of(entries, 7).ebx, 1u << 1);  // TSC_ADJUST is Skerry's
  EXPECT_EQ(entry_of(entries, 0x80000001).edx, 0u);
  EXPECT_FALSE(cut_model.has_named("smap"));
}

TEST(KvmCpuid, AModelsNameIsAPromise) {
  auto v1 = x86::CpuModel::create("x86-64-v1", 1, 2'000'000'000).value();
  const auto good = cut(v1, {}, false);
  ASSERT_FALSE(good);
  EXPECT_THAT(good.error().message(), testing::HasSubstr("sse2"));
}

TEST(KvmCpuid, OffersWhatSkerrysOwnDevicesDo) {
  constexpr uint32_t kX2apic = 1u << 21, kDeadline = 1u << 24, kHypervisor = 1u << 31, kApic = 1u << 9;
  auto cut_model = model();
  ASSERT_TRUE(cut(cut_model, {}, false));
  const auto entries = cpuid_of(cut_model, 1);
  EXPECT_EQ(entry_of(entries, 1).ecx, kX2apic | kDeadline | kHypervisor);
  EXPECT_TRUE(entry_of(entries, 1).edx & kApic);
}

std::vector<std::string_view> offered(uint32_t eax) {
  kvm_cpuid_entry2 leaf{};
  leaf.function = 0x40000001;
  leaf.eax = eax;
  std::vector<std::string_view> names;
  for (const x86::Feature* feature : paravirtual_features({leaf})) names.push_back(feature->name);
  return names;
}

TEST(KvmCpuid, ANewGuestIsOfferedWhatTheKernelHas) {
  using testing::ElementsAre;
  EXPECT_TRUE(paravirtual_features({}).empty());
  EXPECT_THAT(offered(~0u), ElementsAre("kvm_steal_time", "kvm_pv_eoi", "kvm_pv_tlb_flush", "kvm_pv_send_ipi"));
  EXPECT_THAT(offered(1u << 9 | 1u << 11), ElementsAre("kvm_pv_send_ipi")) << "no flush without steal time";
  EXPECT_FALSE(model().has_named("kvm_pv_eoi"));
}

TEST(KvmCpuid, ASavedGuestKeepsWhatSkerryDoesInTheKernelsPlace) {
  auto saved = model();
  for (const auto* name : {"kvm_steal_time", "kvm_pv_eoi", "kvm_pv_tlb_flush"}) saved.add(*x86::find_feature(name));
  ASSERT_TRUE(cut(saved, {}, false));
  EXPECT_TRUE(saved.has_named("kvm_pv_tlb_flush"));
  EXPECT_EQ(entry_of(cpuid_of(saved, 0), 0x40000001).eax & 0xae0, 1u << 5 | 1u << 6 | 1u << 9);
  ASSERT_TRUE(cut(saved, {}, true)) << "a kernel that has it not";
  EXPECT_FALSE(saved.has_named("kvm_pv_tlb_flush"));
}

TEST(KvmCpuid, HasTheVcpusNumberWhereGuestsLookForIt) {
  const auto entries = cpuid_of(model(), 1);
  EXPECT_EQ(entry_of(entries, 1).ebx >> 24, 1u);
  EXPECT_EQ(entry_of(entries, 0xb, 1).edx, 1u);
}

constexpr int64_t kMillisecond = 1'000'000;

TEST(Rescue, InterpretsJustTheInstructionWhereFewAreLacking) {
  Rescue rescue(0);
  int64_t now = 0;
  for (int n = 0; n < 5; ++n) {
    rescue.ended(now);
    now += 10 * kMillisecond;
    EXPECT_EQ(rescue.begin(now), 1u);
  }
}

TEST(Rescue, GoesOnLongerAndLongerWhereKvmGetsNowhere) {
  Rescue rescue(0);
  uint64_t last = 1;
  for (int n = 0; n < 10; ++n) {
    rescue.ended(0);
    const uint64_t stretch = rescue.begin(1000);
    EXPECT_EQ(stretch, 2 * last);
    last = stretch;
  }
  for (int n = 0; n < 100; ++n) last = rescue.begin(1000);
  EXPECT_EQ(rescue.begin(1000), last);  // but not for ever
  rescue.ended(0);
  EXPECT_EQ(rescue.begin(10 * kMillisecond), last / 2);
}

TEST(Rescue, CountsByKind) {
  Rescue rescue(0);
  EXPECT_EQ(rescue.summary(), "");
  const std::array<uint8_t, 3> fninit = {0xdb, 0xe3, 0x90}, cpuid = {0x0f, 0xa2, 0x90};
  rescue.count(fninit, x86::CodeSize::k64, 0x1000);
  rescue.count(cpuid, x86::CodeSize::k64, 0x1002);
  rescue.count(fninit, x86::CodeSize::k64, 0x2000);
  EXPECT_EQ(rescue.summary(), "3 rescues: 2 fninit, 1 cpuid");
}

TEST(DirtyRing, GivesEachPageOnceAndTheEntriesBack) {
  std::array<kvm_dirty_gfn, 4> entries{};
  DirtyRing ring(entries);
  std::vector<std::pair<uint32_t, uint64_t>> got;
  const auto harvest = [&] {
    got.clear();
    ring.harvest([&](uint32_t slot, uint64_t page) { got.emplace_back(slot, page); });
    return got;
  };
  using Pages = decltype(got);
  EXPECT_TRUE(harvest().empty());
  entries[0] = {KVM_DIRTY_GFN_F_DIRTY, 1, 7};
  entries[1] = {KVM_DIRTY_GFN_F_DIRTY, 2, 8};
  EXPECT_EQ(harvest(), (Pages{{1, 7}, {2, 8}}));
  EXPECT_EQ(entries[1].flags, uint32_t{KVM_DIRTY_GFN_F_RESET});
  EXPECT_TRUE(harvest().empty());
  for (kvm_dirty_gfn& entry : entries) entry = {KVM_DIRTY_GFN_F_DIRTY, 3, 9};
  EXPECT_EQ(harvest().size(), 4u) << "once around, from the third on";
  entries[2] = {KVM_DIRTY_GFN_F_DIRTY, 4, 1};
  EXPECT_EQ(harvest(), (Pages{{4, 1}}));
}

TEST(KvmSystem, SaysWhatIsWrongWithADescriptorThatIsNoKvm) {
  const auto system = System::open(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)));
  ASSERT_FALSE(system);
  EXPECT_THAT(system.error().message(), testing::HasSubstr("not a KVM device"));
}

// With a real KVM -----------------------------------------------------------------------------------------------------------

// Of a VM that was saved: KVM would answer the hypercall, and find no local APIC.
TEST(KvmAccelerator, RefusesAGuestWhoseMessagesItWouldLose) {
  if (const auto system = System::open(); !system) GTEST_SKIP() << system.error().message();
  using LocalApics = KvmOptions::LocalApics;
  auto saved = model();
  saved.add(*x86::find_feature("kvm_pv_send_ipi"));
  const auto make = [&](LocalApics apics) {
    memory::GuestMemory memory;
    KvmOptions options;
    options.local_apics = apics;
    auto made = make_kvm_accelerator({memory, saved, {.short_rescues = true}}, std::move(options));
    return made ? std::string() : std::string(made.error().message());
  };
  EXPECT_THAT(make(LocalApics::kSkerrys), testing::HasSubstr("use irqchip=split, or --accel bt"));
  EXPECT_THAT(make(LocalApics::kKernels), testing::Not(testing::HasSubstr("messages")));
}

class RealKvm : public testing::Test {
 protected:
  void SetUp() override {
    auto system = System::open();
    if (!system) GTEST_SKIP() << system.error().message();
    ASSERT_TRUE(memory_.add_ram(0, 1 << 20, "ram"));
    auto vm = Vm::create(std::move(*system), memory_, uint64_t{1} << 40, false);
    ASSERT_TRUE(vm) << vm.error().message();
    vm_ = std::move(*vm);
    auto fd = vm_->create_vcpu(0);
    ASSERT_TRUE(fd) << fd.error().message();
    fd_ = std::move(*fd);
    ASSERT_TRUE(cut(model_, vm_->system().supported_cpuid(), false));
    ASSERT_TRUE(set_cpuid(fd_.get(), cpuid_of(model_, 0)));
  }

  memory::GuestMemory memory_;
  x86::CpuModel model_ = model();
  std::unique_ptr<Vm> vm_;
  UniqueFd fd_;
};

// A state of 64-bit mode with something else in every register.
x86::CpuState long_mode_state(std::mt19937_64& random, uint64_t xcr0) {
  x86::CpuState state;
  state.reset(0x306c3, false);
  for (uint64_t& gpr : state.gpr) gpr = random();
  state.rip = random() & 0x7fff'ffff'ffff;
  state.rflags = x86::flags::kFixed1 | (random() & (x86::flags::kStatus | x86::flags::kIf | x86::flags::kDf));
  state.cr0 = x86::cr0::kPe | x86::cr0::kPg | x86::cr0::kNe | x86::cr0::kEt | x86::cr0::kWp;
  state.cr2 = random();
  state.cr3 = 0x1000;
  state.cr4 = x86::cr4::kPae | x86::cr4::kOsfxsr | (xcr0 > 1 ? x86::cr4::kOsxsave : 0);
  state.efer = x86::efer::kLme | x86::efer::kLma | x86::efer::kSce;
  for (x86::Segment& segment : state.seg) segment = {.selector = 0x10, .base = 0, .limit = 0xffffffff, .type = 3, .code_or_data = true, .present = true, .big = true, .granular = true, .unusable = false};
  state.seg[x86::kCs].type = 11;
  state.seg[x86::kCs].big = false;
  state.seg[x86::kCs].long_mode = true;
  state.seg[x86::kFs].base = random() & 0x7fff'ffff'ffff;
  state.gdtr = {random() & 0x7fff'ffff'ffff, static_cast<uint16_t>(random())};
  state.idtr = {random() & 0x7fff'ffff'ffff, static_cast<uint16_t>(random())};
  state.tr = {.selector = 0x20, .base = 0x3000, .limit = 0x67, .type = 11, .present = true, .unusable = false};
  state.xcr0 = xcr0;
  for (unsigned n = 0; n < 16; ++n)
    for (unsigned i = 0; i < (xcr0 & 4 ? 32u : 16u); ++i) state.vector[n].bytes[i] = static_cast<uint8_t>(random());
  state.x87.fcw = 0x27f;
  state.x87.ftw = 0xff;
  for (auto& st : state.x87.st) st = {random() | uint64_t{1} << 63, static_cast<uint16_t>(random() & 0x7ffe)};
  state.mxcsr = 0x1f80 | (random() & 0x3f);
  state.star = random();
  state.lstar = random() & 0x7fff'ffff'ffff;
  state.kernel_gs_base = random() & 0x7fff'ffff'ffff;
  state.sysenter_esp = random() & 0x7fff'ffff'ffff;
  state.mtrr.base[3] = 0x80000006;
  state.mtrr.fixed[5] = 0x0606060606060606;
  return state;
}

TEST_F(RealKvm, GivesBackTheStateThatItWasGiven) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  VcpuState registers(fd_.get(), vm_->system(), model_, false);
  const x86::CpuState wanted = long_mode_state(random, model_.xcr0_allowed() ? model_.xcr0_allowed() : 1);
  const VcpuState::Beside beside{.apic_base = 0xfee00900, .cr8 = 5, .nmi_waits = true};
  auto set = registers.set(wanted, beside);
  ASSERT_TRUE(set) << set.error().message();
  x86::CpuState got;
  VcpuState::Beside got_beside;
  auto gotten = registers.get(got, got_beside);
  ASSERT_TRUE(gotten) << gotten.error().message();

  EXPECT_THAT(got.gpr, testing::ElementsAreArray(wanted.gpr));
  EXPECT_EQ(got.rip, wanted.rip);
  EXPECT_EQ(got.rflags, wanted.rflags);
  EXPECT_EQ(got.cr0, wanted.cr0);
  EXPECT_EQ(got.cr2, wanted.cr2);
  EXPECT_EQ(got.cr4, wanted.cr4);
  EXPECT_EQ(got.efer, wanted.efer);
  EXPECT_EQ(got.seg[x86::kCs].long_mode, true);
  EXPECT_EQ(got.seg[x86::kFs].base, wanted.seg[x86::kFs].base);
  EXPECT_EQ(got.gdtr.base, wanted.gdtr.base);
  EXPECT_EQ(got.idtr.limit, wanted.idtr.limit);
  EXPECT_EQ(got.xcr0, wanted.xcr0);
  for (unsigned n = 0; n < 16; ++n) EXPECT_EQ(got.vector[n].bytes, wanted.vector[n].bytes) << n;
  EXPECT_EQ(got.x87.fcw, wanted.x87.fcw);
  EXPECT_EQ(got.x87.ftw, wanted.x87.ftw);
  for (unsigned n = 0; n < 8; ++n) {
    EXPECT_EQ(got.x87.st[n].significand, wanted.x87.st[n].significand) << n;
    EXPECT_EQ(got.x87.st[n].sign_exponent, wanted.x87.st[n].sign_exponent) << n;
  }
  EXPECT_EQ(got.mxcsr, wanted.mxcsr);
  EXPECT_EQ(got.star, wanted.star);
  EXPECT_EQ(got.lstar, wanted.lstar);
  EXPECT_EQ(got.kernel_gs_base, wanted.kernel_gs_base);
  EXPECT_EQ(got.sysenter_esp, wanted.sysenter_esp);
  EXPECT_EQ(got.mtrr.base[3], wanted.mtrr.base[3]);
  EXPECT_EQ(got.mtrr.fixed[5], wanted.mtrr.fixed[5]);
  EXPECT_TRUE(got_beside.nmi_waits);
  EXPECT_EQ(got_beside.apic_base, beside.apic_base);
}

TEST_F(RealKvm, FollowsTheMapOfMemory) {
  ASSERT_TRUE(memory_.add_ram(0x10'0000, 0x1000, "more"));
  memory_.set_writable(0x10'0000, false);
  memory_.set_writable(0x10'0000, true);
  EXPECT_TRUE(memory_.remove(0x10'0000));
  ASSERT_TRUE(memory_.add_ram(0x10'0000, 0x2000, "again"));
  vm_->shadow_is_stale();
  vm_->entering();
  vm_->shadow_is_stale();
  vm_->left();
}

TEST_F(RealKvm, LogsNothingThatNobodyHasWritten) {
  ASSERT_TRUE(vm_->log_dirty(true));
  memory_.clear_dirty();
  ASSERT_TRUE(vm_->collect_dirty());
  EXPECT_FALSE(memory_.dirty(0));
  ASSERT_TRUE(vm_->log_dirty(false));
}

// What the kernel shares is writable for who maps it.
TEST_F(RealKvm, ABrokenEntryOfTheDirtyRingMarksNothing) {
  if (!vm_->system().check(KVM_CAP_DIRTY_LOG_RING)) GTEST_SKIP() << "this kernel has no dirty rings";
  const off_t offset = KVM_DIRTY_LOG_PAGE_OFFSET * ::sysconf(_SC_PAGESIZE);
  void* const at = ::mmap(nullptr, DirtyRing::kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), offset);
  ASSERT_NE(at, MAP_FAILED);
  ASSERT_TRUE(vm_->log_dirty(true));
  memory_.clear_dirty();
  auto* const entries = static_cast<kvm_dirty_gfn*>(at);
  entries[0] = {KVM_DIRTY_GFN_F_DIRTY, 999, 0};
  entries[1] = {KVM_DIRTY_GFN_F_DIRTY, 1, 256};  // the slot has as many pages
  entries[2] = {KVM_DIRTY_GFN_F_DIRTY, 1, ~uint64_t{0}};
  entries[3] = {KVM_DIRTY_GFN_F_DIRTY, ~0u, 5};
  entries[4] = {KVM_DIRTY_GFN_F_DIRTY, 1, 3};
  EXPECT_TRUE(vm_->collect_dirty());
  for (uint64_t page = 0; page < 256; ++page) EXPECT_EQ(memory_.dirty(page << 12), page == 3) << page;
  ::munmap(at, DirtyRing::kSize);
}

}  // namespace
}  // namespace skerry::accel::kvm
