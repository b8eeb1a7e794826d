// The translator where instruction sequences do not reach: code that changes, edges, requests, the instruction copier.
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "accel/bt/bt_accelerator.hpp"
#include "accel/bt/context.hpp"
#include "accel/bt/rewriter.hpp"
#include "base/units.hpp"
#include "memory/guest_memory.hpp"
#include "unit/x86/system_rig.hpp"

namespace skerry::accel {
namespace {

using namespace x86;
using x86::test::FakeEnvironment;

// One vCPU in flat 32-bit code without paging, at 0x8000.
class BtTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kStart = 0x8000, kStackTop = 0x20000;
  BtTest() : model(CpuModel::create("host", 1, 2'000'000'000).value()) {
    EXPECT_TRUE(memory.add_ram(0, MiB, "ram"));
    DebugOptions options;
    options.cache_size = MiB;
    accelerator = make_bt_accelerator({memory, model, options}).value();
    vcpu = accelerator->create_vcpu(0, environment).value();
  }
  void put(uint64_t at, std::vector<uint8_t> bytes) { ASSERT_TRUE(memory.write(at, std::as_bytes(std::span(bytes)))); }
  // From kStart to HLT. The registers that it begins with may be set in `state` before.
  Exit run() {
    CpuState& s = vcpu->mutable_state();
    const CpuState before = s;
    s.reset(0, false);
    std::copy(std::begin(before.gpr), std::end(before.gpr), std::begin(s.gpr));
    s.cr0 = cr0::kPe | cr0::kEt | cr0::kNe;
    for (Segment& segment : s.seg) segment = flat(0x3);
    s.seg[kCs] = flat(0xb);
    s.gpr[kRsp] = kStackTop;
    s.rip = kStart;
    vcpu->state_changed();
    return vcpu->run();
  }
  static Segment flat(uint8_t type) {
    Segment s;
    s.limit = 0xffffffff;
    s.type = type;
    s.code_or_data = s.present = s.granular = s.big = true;
    s.unusable = false;
    return s;
  }
  uint64_t reg(unsigned n) { return static_cast<uint32_t>(vcpu->state().gpr[n]); }

  memory::GuestMemory memory;
  FakeEnvironment environment;
  CpuModel model;
  std::unique_ptr<Accelerator> accelerator;
  std::unique_ptr<Vcpu> vcpu;
};

TEST_F(BtTest, RunsALoop) {
  // mov ecx, 1000; xor eax, eax; l: add eax, ecx; dec ecx; jnz l; hlt
  put(kStart, {0xb9, 0xe8, 3, 0, 0, 0x31, 0xc0, 0x01, 0xc8, 0x49, 0x75, 0xfb, 0xf4});
  EXPECT_EQ(run(), Exit::kHalted);
  EXPECT_EQ(reg(kRax), 500500u);
}

TEST_F(BtTest, SeesWhatADeviceWrote) {
  put(kStart, {0xb8, 1, 0, 0, 0, 0xf4});
  run();
  EXPECT_EQ(reg(kRax), 1u);
  put(kStart + 1, {2});
  run();
  EXPECT_EQ(reg(kRax), 2u);
}

TEST_F(BtTest, SeesWhatTheGuestWroteIntoTheNextInstruction) {
  // mov byte [next + 1], 7; next: mov eax, 1; hlt
  put(kStart, {0xc6, 0x05, 0x08, 0x80, 0, 0, 7, 0xb8, 1, 0, 0, 0, 0xf4});
  for (unsigned round = 0; round < 3; ++round) {
    put(kStart + 8, {1});
    EXPECT_EQ(run(), Exit::kHalted);
    EXPECT_EQ(reg(kRax), 7u);
  }
}

// mov ecx, 200; l: mov [next + 1], cl; next: mov al, 0; add edx, eax; loop by dec and jnz; hlt
TEST_F(BtTest, SeesEachChangeOfALoopThatWritesToItself) {
  put(kStart, {0xb9, 200, 0, 0, 0, 0x31, 0xd2, 0x31, 0xc0, 0x88, 0x0d, 0x10, 0x80, 0, 0, 0xb0, 0, 0x01, 0xc2, 0x49, 0x75, 0xf3, 0xf4});
  EXPECT_EQ(run(), Exit::kHalted);
  EXPECT_EQ(reg(kRdx), 200u * 201 / 2);
}

// Data beside code, in the same page: jmp over it; the counter is incremented a thousand times.
TEST_F(BtTest, DataBesideCodeIsOnlySlow) {
  put(kStart, {0xb9, 0xe8, 3, 0, 0, 0xff, 0x05, 0, 0x8f, 0, 0, 0x49, 0x75, 0xf7, 0xf4});
  put(0x8f00, {0, 0, 0, 0});
  EXPECT_EQ(run(), Exit::kHalted);
  EXPECT_EQ(memory.load<uint32_t>(0x8f00), 1000u);
}

TEST_F(BtTest, ALoopWithoutEndLooksForRequests) {
  put(kStart, {0xeb, 0xfe});
  std::thread kicker([&] { vcpu->kick(); });
  EXPECT_EQ(run(), Exit::kKicked);
  kicker.join();
}

TEST_F(BtTest, AForwardChainOfLiveFlagsEndsInALoopThatLooks) {
  // l: cmp eax, eax; je a; nop; a: je l
  put(kStart, {0x39, 0xc0, 0x74, 0x01, 0x90, 0x74, 0xf9});
  std::thread kicker([&] { vcpu->kick(); });
  EXPECT_EQ(run(), Exit::kKicked);
  kicker.join();
}

// More code than the cache holds: nothing but time is lost. Each round changes the code, so that it is translated anew.
TEST_F(BtTest, SurvivesManyTranslations) {
  for (unsigned round = 0; round < 20'000; ++round) {
    put(kStart, {0xb8, static_cast<uint8_t>(round), static_cast<uint8_t>(round >> 8), 0, 0, 0xf4});
    ASSERT_EQ(run(), Exit::kHalted);
    ASSERT_EQ(reg(kRax), round & 0xffff);
  }
}

// l: dec ecx; jz end; call l; inc eax; end: ret. Deeper than the host's stack has room for.
TEST_F(BtTest, CallsThatAreDeeperThanTheHostsStackReturn) {
  put(kStart, {0xe8, 1, 0, 0, 0, 0xf4, 0x49, 0x74, 0x06, 0xe8, 0xf8, 0xff, 0xff, 0xff, 0x40, 0xc3});
  CpuState& s = vcpu->mutable_state();
  s.gpr[kRcx] = 15'000;
  s.gpr[kRax] = 0;
  EXPECT_EQ(run(), Exit::kHalted);
  EXPECT_EQ(reg(kRax), 14'999u);
  EXPECT_EQ(reg(kRsp), kStackTop);
}

// push a; ret, to somewhere else than the call came from: l: pop edx; push end; ret
TEST_F(BtTest, AReturnToAnotherPlaceThanTheCallGoesThere) {
  // mov ecx, 100; a: call l; hlt; l: pop edx; push b; ret; b: loop a by dec and jnz; hlt
  put(kStart, {0xb9, 100, 0, 0, 0, 0xe8, 1, 0, 0, 0, 0xf4, 0x5a, 0x68, 0x12, 0x80, 0, 0, 0xc3, 0x49, 0x75, 0xf0, 0xb8, 7, 0, 0, 0, 0xf4});
  vcpu->mutable_state().gpr[kRax] = 0;
  EXPECT_EQ(run(), Exit::kHalted);
  EXPECT_EQ(reg(kRax), 7u);
  EXPECT_EQ(reg(kRcx), 0u);
}

// The copier -----------------------------------------------------------------------------------------------------------------

std::vector<uint8_t> copy(std::vector<uint8_t> bytes, CodeSize size = CodeSize::k64) {
  Decoded decoded;
  EXPECT_EQ(decode(bytes, size, decoded), DecodeStatus::kOk);
  std::array<uint8_t, 16> registers;
  for (uint8_t n = 0; n < 16; ++n) registers[n] = n == kRsp ? 13 : n >= 13 ? 15 : n;
  bt::HostInsn host;
  if (!bt::rewrite(decoded, bytes, registers, {.base = 14}, host)) return {};
  return {host.code().begin(), host.code().end()};
}

// How much of `size` bytes from `start` is in memory.
size_t resident(void* start, size_t size) {
  std::vector<unsigned char> pages(size / memory::kPageSize);
  EXPECT_EQ(::mincore(start, size, pages.data()), 0);
  return static_cast<size_t>(std::ranges::count_if(pages, [](unsigned char page) { return page & 1; })) * memory::kPageSize;
}

TEST(BtContext, GivesBackItsTables) {
  memory::GuestMemory memory;
  FakeEnvironment environment;
  const CpuModel model = CpuModel::create("host", 1, 2'000'000'000).value();
  const auto context = std::make_unique<bt::Context>(0, memory, environment, model);
  context->interpreter.set_second_tlbs(context->second_tlbs);
  bt::JumpEntry* const ends[] = {&context->jumps[0][0], &context->jumps[bt::kModeSlots - 1][bt::kJumpCount - 1], &context->sites[0][0],
                                 &context->sites[bt::kModeSlots - 1][bt::kSiteCount - 1]};
  for (bt::JumpEntry* entry : ends) *entry = {1, 2};
  constexpr uint64_t kPage = 0x7f0000000000;
  for (SecondTlb& tlb : context->second_tlbs) std::ranges::fill(tlb.entries, SecondTlb::Entry{kPage | tlb.key, 0, 0, 4});
  context->site = 5;
  EXPECT_EQ(resident(context->jumps, sizeof context->jumps), 2 * memory::kPageSize);

  context->give_back_jumps();
  context->give_back_second_tlbs();
  EXPECT_EQ(resident(context->jumps, sizeof context->jumps), 0u);
  EXPECT_EQ(resident(context->sites, sizeof context->sites), 0u);
  for (const bt::JumpEntry* entry : ends) EXPECT_EQ(entry->tag, 0u);
  EXPECT_EQ(context->site, 5u);
  for (const SecondTlb& tlb : context->second_tlbs) {
    EXPECT_NE(tlb.key, 0u);
    // One that is in two pages of the host may have kept its tag and lost the rest.
    EXPECT_TRUE(std::ranges::none_of(tlb.entries, [&](const SecondTlb::Entry& entry) { return entry.read == (kPage | tlb.key) && entry.host_page != 4; }));
    const auto kept = std::ranges::count_if(tlb.entries, [](const SecondTlb::Entry& entry) { return entry.read != 0; });
    EXPECT_LE(static_cast<size_t>(kept), 2 * memory::kPageSize / sizeof(SecondTlb::Entry));
  }
}

TEST(BtRewriter, PutsTheAddressInARegister) {
  EXPECT_EQ(copy({0x8b, 0x44, 0x8b, 0x10}), (std::vector<uint8_t>{0x41, 0x8b, 0x06})) << "mov eax, [rbx+rcx*4+16]";
  EXPECT_EQ(copy({0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0}), (std::vector<uint8_t>{0x49, 0x03, 0x06})) << "add rax, fs:[0]";
  EXPECT_EQ(copy({0xf0, 0x83, 0x05, 1, 0, 0, 0, 5}), (std::vector<uint8_t>{0xf0, 0x41, 0x83, 0x06, 5})) << "an immediate stays";
}

TEST(BtRewriter, ReplacesRegisters) {
  EXPECT_EQ(copy({0x48, 0x89, 0xe0}), (std::vector<uint8_t>{0x4c, 0x89, 0xe8})) << "mov rax, rsp";
  EXPECT_EQ(copy({0x41, 0xff, 0xc6}), (std::vector<uint8_t>{0x41, 0xff, 0xc7})) << "inc r14d";
  EXPECT_EQ(copy({0x41, 0x0f, 0xcd}), (std::vector<uint8_t>{0x41, 0x0f, 0xcf})) << "bswap r13d";
  EXPECT_EQ(copy({0xc4, 0xe2, 0x08, 0xf2, 0xc3}), (std::vector<uint8_t>{0xc4, 0xe2, 0x00, 0xf2, 0xc3})) << "andn eax, r14d, ebx";
}

TEST(BtRewriter, CannotNameAhBesideARegisterOfTheUpperHalf) {
  EXPECT_TRUE(copy({0x88, 0x23}).empty()) << "mov [rbx], ah";
  EXPECT_EQ(copy({0x88, 0xe3}), (std::vector<uint8_t>{0x88, 0xe3})) << "mov bl, ah";
}

}  // namespace
}  // namespace skerry::accel
