#include "devices/cfi_flash.hpp"

#include <gtest/gtest.h>

#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

constexpr uint64_t kBase = 0xffc00000, kSize = 16 * CfiFlash::kBlock;
constexpr uint8_t kProgram = 0x10, kErase = 0x20, kConfirm = 0xd0, kClearStatus = 0x50, kReadStatus = 0x70, kReadId = 0x90, kReadQuery = 0x98,
                  kReadArray = 0xff;

std::vector<uint8_t> pattern() {
  std::vector<uint8_t> bytes(kSize);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
  return bytes;
}

// With what the guest's processor does: memory where there is some that it may use so, else an access on the bus.
struct FlashRig {
  memory::GuestMemory memory;
  bus::AddressSpace mmio{"memory"};
  unsigned kicks = 0;
  std::vector<uint8_t> file = pattern();
  unsigned stores = 0;
  bool can_store = true;
  std::unique_ptr<CfiFlash> flash;

  FlashRig() {
    auto made = CfiFlash::create("flash", memory, {mmio}, kBase, file,
                                 {.kick_all = [this] { ++kicks; },
                                  .store =
                                      [this](uint64_t offset, std::span<const std::byte> bytes) {
                                        ++stores;
                                        if (can_store) std::memcpy(file.data() + offset, bytes.data(), bytes.size());
                                        return can_store;
                                      }});
    EXPECT_TRUE(made) << (made ? "" : made.error().message());
    flash = std::move(*made);
  }
  bus::Device& device() { return *flash; }
  // What lies in memory is saved with it.
  void follow(FlashRig& other) { memory.put(kBase, other.memory.content({kBase, kBase + kSize})); }

  uint64_t get(uint64_t offset, unsigned size = 1) {
    uint64_t value = 0;
    if (memory.read(kBase + offset, std::as_writable_bytes(std::span(&value, 1)).first(size))) return value;
    return mmio.read(kBase + offset, size);
  }
  void set(uint64_t offset, uint64_t value, unsigned size = 1) {
    EXPECT_FALSE(memory.write(kBase + offset, std::as_bytes(std::span(&value, 1)).first(size)));
    mmio.write(kBase + offset, size, value);
  }
  void program(uint64_t offset, uint64_t value, unsigned size = 1) {
    set(offset, kProgram);
    set(offset, value, size);
  }
};

TEST(CfiFlash, IsMemoryUntilItGetsACommand) {
  FlashRig rig;
  const std::vector<uint8_t> expected = pattern();
  for (const uint64_t offset : {uint64_t{0}, uint64_t{4097}, kSize - 8}) {
    uint64_t value = 0;
    std::memcpy(&value, expected.data() + offset, 8);
    EXPECT_EQ(rig.get(offset, 8), value);
  }
  EXPECT_NE(rig.memory.page(kBase).host, nullptr);
  rig.set(0, kReadStatus);
  EXPECT_EQ(rig.memory.page(kBase).host, nullptr);
  EXPECT_EQ(rig.kicks, 1u);
  rig.set(0, kReadArray);
  EXPECT_NE(rig.memory.page(kBase).host, nullptr);
  EXPECT_EQ(rig.kicks, 2u);
}

// What OVMF does to find out whether there is flash, or RAM, or ROM.
TEST(CfiFlash, IsTakenForFlashByOvmf) {
  FlashRig rig;
  const auto original = static_cast<uint8_t>(rig.get(16));
  rig.set(16, kClearStatus);
  EXPECT_EQ(rig.get(16), original);
  rig.set(16, kReadStatus);
  EXPECT_EQ(rig.get(16), 0u);
  rig.set(16, kReadArray);
  EXPECT_EQ(rig.get(16), original);
}

TEST(CfiFlash, ProgrammingClearsBits) {
  FlashRig rig;
  rig.set(0, kErase);
  rig.set(0, kConfirm);
  rig.program(3, 0xf0);
  rig.program(3, 0x3c);
  EXPECT_EQ(rig.get(3), 0x80u) << "the status, ready";
  rig.set(3, kReadArray);
  EXPECT_EQ(rig.get(3), 0x30u);
  rig.program(8, 0x1122334455667788, 8);
  rig.set(8, kReadArray);
  EXPECT_EQ(rig.get(8, 8), 0x1122334455667788u);
}

TEST(CfiFlash, ErasesTheBlockAroundAnAddress) {
  FlashRig rig;
  const std::vector<uint8_t> before = pattern();
  rig.set(CfiFlash::kBlock + 100, kErase);
  rig.set(CfiFlash::kBlock + 100, kConfirm);
  rig.set(0, kReadArray);
  EXPECT_EQ(rig.get(CfiFlash::kBlock - 1), before[CfiFlash::kBlock - 1]);
  for (uint64_t offset = CfiFlash::kBlock; offset < 2 * CfiFlash::kBlock; ++offset) ASSERT_EQ(rig.get(offset), 0xffu);
  EXPECT_EQ(rig.get(2 * CfiFlash::kBlock), before[2 * CfiFlash::kBlock]);
}

TEST(CfiFlash, AnUnconfirmedEraseDoesNothingAndSaysSo) {
  FlashRig rig;
  rig.set(0, kErase);
  rig.set(0, 0x12);
  EXPECT_EQ(rig.get(0), 0xb0u);
  rig.set(0, kClearStatus);
  EXPECT_EQ(rig.get(0), 0u);
  rig.set(0, kReadArray);
  EXPECT_EQ(rig.get(1), pattern()[1]);
}

TEST(CfiFlash, IsKeptOnceForARunOfBytes) {
  FlashRig rig;
  rig.set(0, kErase);
  rig.set(0, kConfirm);
  rig.set(0, kReadArray);
  EXPECT_EQ(rig.stores, 1u);
  for (unsigned n = 0; n < 100; ++n) rig.program(10 + n, n);
  EXPECT_EQ(rig.stores, 1u);
  rig.set(109, kReadArray);
  EXPECT_EQ(rig.stores, 2u);
  const auto there = rig.memory.content({kBase, kBase + kSize});
  EXPECT_EQ(std::memcmp(rig.file.data(), there.data(), kSize), 0);
  EXPECT_EQ(rig.file[109], 99);
}

TEST(CfiFlash, IsKeptWhenTheVmEndsInTheMidst) {
  FlashRig rig;
  rig.set(0, kErase);
  rig.set(0, kConfirm);
  rig.program(5, 0x55);
  rig.flash.reset();
  EXPECT_EQ(rig.file[5], 0x55);
  EXPECT_EQ(rig.file[6], 0xff);
}

TEST(CfiFlash, TellsTheGuestThatNothingCouldBeKept) {
  FlashRig rig;
  rig.can_store = false;
  rig.program(5, 0);
  rig.set(5, kReadArray);
  rig.set(5, kReadStatus);
  EXPECT_EQ(rig.get(5), 0x90u);
}

TEST(CfiFlash, DescribesItself) {
  FlashRig rig;
  rig.set(0, kReadQuery);
  EXPECT_EQ(rig.get(0x10), 'Q');
  EXPECT_EQ(rig.get(0x11), 'R');
  EXPECT_EQ(rig.get(0x12), 'Y');
  EXPECT_EQ(rig.get(0x13, 2), 1u);
  EXPECT_EQ(rig.get(0x27), 16u) << "64 KiB";
  EXPECT_EQ(rig.get(0x2d, 2) + 1, kSize / CfiFlash::kBlock);
  EXPECT_EQ(rig.get(0x2f, 2) * 256, CfiFlash::kBlock);
  EXPECT_EQ(rig.get(0xfff), 0u);
  rig.set(0, kReadId);
  EXPECT_EQ(rig.get(0), 0x89u);
}

TEST(CfiFlash, AResetShowsTheContent) {
  FlashRig rig;
  rig.set(0, kProgram);
  rig.flash->reset();
  EXPECT_EQ(rig.get(7), pattern()[7]);
  rig.set(0, 0);  // no data for the program command of before
  EXPECT_EQ(rig.get(0), pattern()[0]);
}

TEST(CfiFlash, ARestoredOneIsKept) {
  FlashRig from, to;
  from.program(5, 0);
  const auto saved = test::save(*from.flash);
  to.follow(from);  // memory comes first
  ASSERT_TRUE(test::load(*to.flash, saved));
  EXPECT_EQ(to.file[5], 0);
  EXPECT_EQ(to.get(5), 0x80u) << "still the status";
}

test::Trace drive(FlashRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  constexpr std::array<uint8_t, 9> kCommands = {kProgram, kErase, kConfirm, kClearStatus, kReadStatus, kReadId, kReadQuery, kReadArray, 0x33};
  for (unsigned n = 0; n < 200; ++n) {
    const unsigned size = 1u << random() % 4;
    const uint64_t offset = random() % (kSize / size) * size;
    const uint64_t value = random() % 2 ? kCommands[random() % kCommands.size()] : random();
    if (random() % 2)
      rig.set(offset, value, size);
    else
      trace.push_back(rig.get(offset, size));
  }
  return trace;
}

TEST(CfiFlash, OfAMachineWithSmmObeysProcessorsInSmmAlone) {
  memory::GuestMemory memory;
  bus::AddressSpace mmio{"memory"}, smm_mmio{"memory in SMM", &mmio};
  std::vector<uint8_t> content = pattern();
  const auto stored = [](uint64_t, std::span<const std::byte>) { return true; };
  auto flash = CfiFlash::create("flash", memory, {mmio, &smm_mmio}, kBase, content, {.kick_all = [] {}, .store = stored});
  ASSERT_TRUE(flash);
  mmio.write(kBase, 1, kReadId);
  EXPECT_NE(memory.page(kBase).host, nullptr);
  mmio.write(kBase + 5, 1, kProgram);
  mmio.write(kBase + 5, 1, 0);
  EXPECT_EQ(memory.load<uint8_t>(kBase + 5), content[5]);
  smm_mmio.write(kBase, 1, kReadStatus);
  EXPECT_EQ(memory.page(kBase).host, nullptr);
  EXPECT_EQ(smm_mmio.read(kBase + 5, 1), 0x80u);
  EXPECT_EQ(mmio.read(kBase + 4, 2), content[4] | content[5] << 8) << "others see what is in it";
  mmio.write(kBase, 1, kReadArray);
  EXPECT_EQ(smm_mmio.read(kBase + 5, 1), 0x80u) << "and change nothing";
  smm_mmio.write(kBase + 5, 1, kProgram);
  mmio.write(kBase + 5, 1, 0xff);
  smm_mmio.write(kBase + 5, 1, 0);
  smm_mmio.write(kBase, 1, kReadArray);
  EXPECT_EQ(memory.load<uint8_t>(kBase + 5), 0);
}

TEST(CfiFlash, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<FlashRig>(60, drive); }

}  // namespace
}  // namespace skerry::devices
