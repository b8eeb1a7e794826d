#include "memory/guest_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>

#include "base/units.hpp"

namespace skerry::memory {
namespace {

std::span<const std::byte> bytes_of(const auto& value) { return std::as_bytes(std::span(&value, 1)); }

class GuestMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(memory_.add_ram(0, 64 * KiB, "low"));
    ASSERT_TRUE(memory_.add_ram(64 * KiB, 64 * KiB, "next"));
    const std::vector<uint8_t> rom(100, 0xaa);
    ASSERT_TRUE(memory_.add_rom(GiB, rom, "rom"));
  }
  GuestMemory memory_;
};

TEST_F(GuestMemoryTest, OverlapsAreRefused) {
  EXPECT_FALSE(memory_.add_ram(60 * KiB, 8 * KiB, "overlap"));
  EXPECT_FALSE(memory_.add_ram(GiB, 4 * KiB, "on the rom"));
  EXPECT_FALSE(memory_.add_ram(1, 4 * KiB, "not a page"));
  EXPECT_FALSE(memory_.add_ram(~uint64_t{0} - 4095, 8 * KiB, "past the end"));
}

TEST_F(GuestMemoryTest, AccessesReachOverNeighbouringRegions) {
  const uint64_t value = 0x1122334455667788;
  ASSERT_TRUE(memory_.write(64 * KiB - 4, bytes_of(value)));
  uint64_t back = 0;
  ASSERT_TRUE(memory_.read(64 * KiB - 4, std::as_writable_bytes(std::span(&back, 1))));
  EXPECT_EQ(back, value);
}

TEST_F(GuestMemoryTest, WritesThatDoNotFitChangeNothing) {
  const uint64_t value = ~uint64_t{0};
  EXPECT_FALSE(memory_.write(128 * KiB - 4, bytes_of(value)));
  EXPECT_EQ(memory_.load<uint32_t>(128 * KiB - 4), 0u);
  EXPECT_FALSE(memory_.write(~uint64_t{0} - 3, bytes_of(value)));
}

TEST_F(GuestMemoryTest, RomIsReadAndNeverWritten) {
  EXPECT_EQ(memory_.load<uint8_t>(GiB), 0xaa);
  EXPECT_EQ(memory_.load<uint8_t>(GiB + 100), 0);
  EXPECT_FALSE(memory_.store<uint8_t>(GiB, 1));
  EXPECT_FALSE(memory_.compare_exchange<uint8_t>(GiB, 0xaa, 1));
  EXPECT_EQ(memory_.load<uint8_t>(GiB), 0xaa);
}

TEST_F(GuestMemoryTest, IntegersMustBeAligned) {
  EXPECT_FALSE(memory_.load<uint32_t>(2));
  EXPECT_FALSE(memory_.store<uint64_t>(4, 0));
}

TEST_F(GuestMemoryTest, EveryWriteMarksItsPagesDirty) {
  EXPECT_FALSE(memory_.dirty(0x3000));
  memory_.store<uint32_t>(0x3ffc, 1);
  EXPECT_TRUE(memory_.dirty(0x3000));
  EXPECT_FALSE(memory_.dirty(0x4000));
  const uint64_t value = 0;
  memory_.write(0x5ffc, bytes_of(value));
  EXPECT_TRUE(memory_.dirty(0x5000));
  EXPECT_TRUE(memory_.dirty(0x6000));
  memory_.compare_exchange<uint32_t>(0x8000, 0, 7);
  EXPECT_TRUE(memory_.dirty(0x8000));
}

TEST_F(GuestMemoryTest, ClearingDirtyPagesChangesTheGeneration) {
  memory_.store<uint32_t>(0, 1);
  const uint64_t before = memory_.map_generation();
  memory_.clear_dirty();
  EXPECT_FALSE(memory_.dirty(0));
  EXPECT_NE(memory_.map_generation(), before);
}

class Recorder final : public WriteWatcher {
 public:
  void written(Gpa gpa, uint64_t size) override { writes.emplace_back(gpa, size); }
  std::vector<std::pair<Gpa, uint64_t>> writes;
};

TEST(GuestMemory, TellsTheWatcherOfWritesToWatchedPagesOnly) {
  GuestMemory memory;
  ASSERT_TRUE(memory.add_ram(0, 4 * kPageSize, "ram"));
  Recorder recorder;
  memory.set_watcher(&recorder);
  EXPECT_FALSE(memory.watch(kPageSize)) << "nobody has claimed it";
  EXPECT_TRUE(memory.watched(kPageSize + 5));
  memory.store<uint32_t>(0, 1);
  EXPECT_TRUE(recorder.writes.empty());
  memory.store<uint32_t>(kPageSize + 8, 1);
  memory.fill(kPageSize - 4, 8, 0xff);
  memory.compare_exchange<uint64_t>(kPageSize + 8, 1, 2);
  const std::vector<std::pair<Gpa, uint64_t>> expected = {{kPageSize + 8, 4}, {kPageSize - 4, 8}, {kPageSize + 8, 8}};
  EXPECT_EQ(recorder.writes, expected);
  memory.unwatch(kPageSize);
  memory.store<uint32_t>(kPageSize + 8, 1);
  EXPECT_EQ(recorder.writes.size(), 3u);
}

TEST_F(GuestMemoryTest, PagesGivenBackReadAsZeroAndCountAsWritten) {
  ASSERT_TRUE(memory_.fill(60 * KiB, 12 * KiB, 0xee));
  memory_.clear_dirty();
  Recorder recorder;
  memory_.set_watcher(&recorder);
  memory_.watch(60 * KiB);
  ASSERT_TRUE(memory_.give_back(60 * KiB, 8 * KiB)) << "over two regions";
  EXPECT_EQ(memory_.load<uint8_t>(60 * KiB), 0);
  EXPECT_EQ(memory_.load<uint8_t>(68 * KiB - 1), 0);
  EXPECT_EQ(memory_.load<uint8_t>(68 * KiB), 0xee);
  EXPECT_TRUE(memory_.dirty(60 * KiB));
  EXPECT_EQ(recorder.writes.size(), 1u);
  memory_.unwatch(60 * KiB);
  EXPECT_TRUE(memory_.store<uint8_t>(60 * KiB, 1)) << "they may be used again";
  memory_.set_watcher(nullptr);
}

TEST_F(GuestMemoryTest, OnlyWholePagesOfRamAreGivenBack) {
  ASSERT_TRUE(memory_.fill(0, 8 * KiB, 0xee));
  EXPECT_FALSE(memory_.give_back(1, kPageSize));
  EXPECT_FALSE(memory_.give_back(0, kPageSize + 1));
  EXPECT_FALSE(memory_.give_back(0, 0));
  EXPECT_FALSE(memory_.give_back(124 * KiB, 8 * KiB)) << "half of it is nothing";
  EXPECT_FALSE(memory_.give_back(GiB, kPageSize)) << "ROM";
  EXPECT_EQ(memory_.load<uint8_t>(0), 0xee);
  EXPECT_EQ(memory_.load<uint8_t>(GiB), 0xaa);
}

TEST(GuestMemory, APageIsClaimedOrWatched) {
  GuestMemory memory;
  ASSERT_TRUE(memory.add_ram(0, 4 * kPageSize, "ram"));
  EXPECT_TRUE(memory.claim(0));
  EXPECT_TRUE(memory.watch(0)) << "it was claimed: somebody has to be asked";
  memory.unclaim(0);
  EXPECT_FALSE(memory.claim(0)) << "watched";
  memory.unclaim(0);
  EXPECT_FALSE(memory.watch(0));
  memory.unwatch(0);
  EXPECT_TRUE(memory.claim(0));
}

UniqueFd file_with(std::string_view text, uint64_t size) {
  UniqueFd file(::memfd_create("content", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(size)), 0);
  EXPECT_EQ(::pwrite(file.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  return file;
}

TEST_F(GuestMemoryTest, KnowsWhatWasEverUsed) {
  EXPECT_FALSE(memory_.next_data(0));
  EXPECT_TRUE(memory_.fill(8 * KiB, 1, 5));
  EXPECT_TRUE(memory_.fill(12 * KiB, 1, 5));
  EXPECT_TRUE(memory_.fill(40 * KiB, 1, 5));
  const auto first = memory_.next_data(0);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->begin, 8 * KiB);
  EXPECT_EQ(first->end, 16 * KiB);
  const auto second = memory_.next_data(first->end);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->begin, 40 * KiB);
  EXPECT_FALSE(memory_.next_data(second->end));
  EXPECT_FALSE(memory_.next_data(64 * KiB)) << "the next region is another";
  EXPECT_TRUE(memory_.next_data(GiB)) << "a ROM has content";
  EXPECT_FALSE(memory_.next_data(2 * GiB)) << "nothing is there";
}

TEST_F(GuestMemoryTest, TakesContentFromAFile) {
  const UniqueFd file = file_with("content", 16 * KiB);
  const uint64_t generation = memory_.map_generation();
  ASSERT_TRUE(memory_.map_file(16 * KiB, 8 * KiB, file.get(), 0));
  ASSERT_TRUE(memory_.map_file(24 * KiB, 4 * KiB, file.get(), 0));
  EXPECT_NE(memory_.map_generation(), generation);
  std::array<std::byte, 7> text;
  ASSERT_TRUE(memory_.read(16 * KiB, text));
  EXPECT_EQ(std::memcmp(text.data(), "content", 7), 0);
  const auto data = memory_.next_data(0);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->begin, 16 * KiB);
  EXPECT_EQ(data->end, 28 * KiB) << "neighbours are one range";
  ASSERT_TRUE(memory_.fill(16 * KiB, 7, 'x'));
  char kept[8] = {};
  ASSERT_EQ(::pread(file.get(), kept, 7, 0), 7);
  EXPECT_STREQ(kept, "content") << "the file does not change";
  const auto inside = memory_.next_data(20 * KiB);
  ASSERT_TRUE(inside);
  EXPECT_EQ(inside->begin, 20 * KiB);
}

TEST_F(GuestMemoryTest, TheMachinePutsThingsWhereTheChipsetLetsNobodyWrite) {
  const std::array text{std::byte{'h'}, std::byte{'i'}};
  memory_.set_writable(0, false);
  EXPECT_FALSE(memory_.write(16, text));
  const uint64_t generation = memory_.map_generation();
  ASSERT_TRUE(memory_.put(16, text));
  EXPECT_EQ(memory_.load<uint16_t>(16), 'h' | 'i' << 8);
  EXPECT_EQ(memory_.map_generation(), generation) << "nobody has to look again what may be written";
  EXPECT_FALSE(memory_.put(2 * GiB, text)) << "no memory";
}

struct LastChange final : MapListener {
  std::optional<MappedRegion> last;
  unsigned changes = 0;
  Result<void> added(const MappedRegion&) override { return ok(); }
  Result<void> changed(const MappedRegion& region) override {
    last = region;
    ++changes;
    return ok();
  }
  void removed(Gpa) override {}
};

TEST_F(GuestMemoryTest, ADeviceChangesItsMemoryAndMayTakeReadsForItself) {
  constexpr Gpa kBase = 2 * GiB;
  LastChange listener;
  ASSERT_TRUE(memory_.set_map_listener(&listener));
  ASSERT_TRUE(memory_.add_device_rom(kBase, std::vector<uint8_t>(8 * KiB, 0x11), "flash"));
  const uint32_t value = 0x22222222;
  EXPECT_FALSE(memory_.write(kBase, bytes_of(value))) << "the guest's writes are the device's";
  EXPECT_TRUE(memory_.put(kBase, bytes_of(value)));
  EXPECT_EQ(memory_.load<uint32_t>(kBase), value);
  EXPECT_EQ(memory_.load<uint32_t>(kBase + 4), 0x11111111u);

  const uint64_t generation = memory_.map_generation();
  memory_.set_readable(kBase, false);
  memory_.set_readable(kBase, false);
  EXPECT_NE(memory_.map_generation(), generation);
  EXPECT_EQ(listener.changes, 1u);
  EXPECT_FALSE(listener.last->readable);
  EXPECT_EQ(memory_.page(kBase).host, nullptr);
  EXPECT_FALSE(memory_.load<uint32_t>(kBase));
  EXPECT_TRUE(memory_.put(kBase, bytes_of(uint32_t{0x33333333})));
  EXPECT_EQ(memory_.content({kBase, kBase + 1}).front(), std::byte{0x33});

  memory_.set_readable(kBase, true);
  EXPECT_EQ(listener.changes, 2u);
  EXPECT_EQ(memory_.load<uint32_t>(kBase), 0x33333333u);
  memory_.set_readable(GiB, false);
  EXPECT_NE(memory_.page(GiB).host, nullptr) << "ROM is nobody's";
  ASSERT_TRUE(memory_.set_map_listener(nullptr));
}

// What is where, as a kernel that gives it to a guest knows it.
struct MapInMind final : MapListener {
  std::map<Gpa, uint64_t> there;
  Result<void> added(const MappedRegion& region) override {
    EXPECT_TRUE(there.emplace(region.base, region.size).second);
    return ok();
  }
  Result<void> changed(const MappedRegion&) override { return ok(); }
  void removed(Gpa base) override { EXPECT_EQ(there.erase(base), 1u); }
};

TEST_F(GuestMemoryTest, RamOfADeviceIsWhereItIsPlaced) {
  constexpr Gpa kHome = Gpa{1} << 48, kHere = 2 * GiB, kThere = 3 * GiB;
  constexpr uint64_t kSize = 64 * KiB;
  MapInMind listener;
  const uint64_t ram = memory_.ram_size();
  ASSERT_TRUE(memory_.add_device_ram(kHome, kSize, "vram"));
  ASSERT_TRUE(memory_.set_map_listener(&listener));
  EXPECT_FALSE(listener.there.contains(kHome));
  EXPECT_EQ(memory_.ram_size(), ram) << "it is not the guest's";
  EXPECT_EQ(memory_.page(kHere).host, nullptr);

  uint64_t generation = memory_.map_generation();
  memory_.place(kHome, kHere);
  EXPECT_NE(memory_.map_generation(), generation);
  EXPECT_EQ(listener.there[kHere], kSize);
  ASSERT_TRUE(memory_.store<uint32_t>(kHere + 8, 0x12345678));
  EXPECT_EQ(memory_.load<uint32_t>(kHome + 8), 0x12345678u) << "for the host it is at home too";
  EXPECT_EQ(memory_.content({kHome, kHome + kSize}).size(), kSize);
  EXPECT_TRUE(memory_.dirty(kHome));
  EXPECT_EQ(memory_.gpa_of(memory_.page(kHere + 4 * KiB).host), kHere + 4 * KiB);
  EXPECT_EQ(memory_.page(kHere + kSize).host, nullptr);
  EXPECT_EQ(memory_.page(kHere - 1).host, nullptr);

  generation = memory_.map_generation();
  memory_.place(kHome, kHere);
  EXPECT_EQ(memory_.map_generation(), generation) << "where it was";
  memory_.place(kHome, kThere);
  EXPECT_EQ(memory_.load<uint32_t>(kThere + 8), 0x12345678u);
  EXPECT_FALSE(memory_.load<uint32_t>(kHere + 8));
  EXPECT_FALSE(listener.there.contains(kHere));
  EXPECT_TRUE(listener.there.contains(kThere));

  memory_.place(kHome, std::nullopt);
  EXPECT_FALSE(memory_.load<uint32_t>(kThere + 8));
  EXPECT_FALSE(listener.there.contains(kThere));
  EXPECT_EQ(memory_.load<uint32_t>(kHome + 8), 0x12345678u);
  ASSERT_TRUE(memory_.set_map_listener(nullptr));
}

TEST_F(GuestMemoryTest, RamOfADeviceIsNowhereWhereOtherMemoryIs) {
  constexpr Gpa kHome = Gpa{1} << 48;
  ASSERT_TRUE(memory_.store<uint32_t>(0, 0x11111111));
  ASSERT_TRUE(memory_.add_device_ram(kHome, 64 * KiB, "vram"));
  for (const Gpa where : {Gpa{0}, Gpa{60 * KiB}, 2 * GiB + 1, ~Gpa{0} - 4095}) {
    memory_.place(kHome, 3 * GiB);
    memory_.place(kHome, where);
    EXPECT_FALSE(memory_.load<uint32_t>(3 * GiB)) << where;
    EXPECT_EQ(memory_.load<uint32_t>(0), 0x11111111u) << where;
  }
  memory_.place(2 * GiB, 3 * GiB);
  memory_.place(0, 3 * GiB);
  EXPECT_FALSE(memory_.load<uint32_t>(3 * GiB)) << "only a device's is moved";
}

TEST_F(GuestMemoryTest, CodeInRamOfADeviceIsForgottenWhenItMoves) {
  struct Watcher final : WriteWatcher {
    std::vector<std::pair<Gpa, uint64_t>> told;
    void written(Gpa gpa, uint64_t size) override { told.emplace_back(gpa, size); }
  } watcher;
  constexpr Gpa kHome = Gpa{1} << 48;
  ASSERT_TRUE(memory_.add_device_ram(kHome, 64 * KiB, "vram"));
  memory_.set_watcher(&watcher);
  memory_.place(kHome, 2 * GiB);
  EXPECT_TRUE(watcher.told.empty());
  memory_.place(kHome, 3 * GiB);
  EXPECT_THAT(watcher.told, testing::ElementsAre(testing::Pair(2 * GiB, 64 * KiB)));
  EXPECT_FALSE(memory_.claim(2 * GiB)) << "who has a page of the old place must tell of writes";
  memory_.set_watcher(nullptr);
}

TEST_F(GuestMemoryTest, ContentIsOfOneRegion) {
  EXPECT_EQ(memory_.content({0, 64 * KiB}).size(), 64 * KiB);
  EXPECT_TRUE(memory_.content({0, 64 * KiB + 1}).empty());
  EXPECT_TRUE(memory_.content({4, 3}).empty());
  EXPECT_TRUE(memory_.content({3 * GiB, 3 * GiB + 1}).empty());
}

TEST_F(GuestMemoryTest, RefusesToMapWhereItIsNot) {
  const UniqueFd file = file_with("", 1 * MiB);
  EXPECT_FALSE(memory_.map_file(0, 0, file.get(), 0));
  EXPECT_FALSE(memory_.map_file(1, 4 * KiB, file.get(), 0));
  EXPECT_FALSE(memory_.map_file(0, 4 * KiB, file.get(), 1));
  EXPECT_FALSE(memory_.map_file(60 * KiB, 8 * KiB, file.get(), 0)) << "over two regions";
  EXPECT_FALSE(memory_.map_file(2 * GiB, 4 * KiB, file.get(), 0));
  EXPECT_FALSE(memory_.map_file(0, 4 * KiB, -1, 0));
}

TEST_F(GuestMemoryTest, WhatIsForSmmAloneIsNoMemoryForOthers) {
  ASSERT_TRUE(memory_.store<uint64_t>(0x3000, 0x1234));
  const uint64_t generation = memory_.map_generation();
  memory_.set_smm_only(std::array{GuestMemory::Range{0x3000, 0x5000}, GuestMemory::Range{64 * KiB, 68 * KiB}});
  EXPECT_NE(memory_.map_generation(), generation);
  uint64_t value = 0;
  const auto bytes = std::as_writable_bytes(std::span(&value, 1));
  std::vector<iovec> ranges;
  for (const Gpa gpa : {0x3000, 0x4ff8, 0x10000, 0x2ffc}) {
    EXPECT_EQ(memory_.page(gpa + 4).host, nullptr);
    EXPECT_FALSE(memory_.load<uint32_t>(gpa + 4));
    EXPECT_FALSE(memory_.store<uint32_t>(gpa + 4, 1));
    EXPECT_FALSE(memory_.compare_exchange<uint32_t>(gpa + 4, 0, 1));
    EXPECT_FALSE(memory_.read(gpa, bytes));
    EXPECT_FALSE(memory_.write(gpa, bytes));
    EXPECT_FALSE(memory_.fill(gpa, 8, 1));
    EXPECT_FALSE(memory_.host_ranges(gpa, 8, false, ranges));
    EXPECT_TRUE(memory_.read(gpa, bytes, View::kSmm));
  }
  EXPECT_FALSE(memory_.give_back(0x4000, 0x2000));
  EXPECT_FALSE(memory_.read(0x2000, std::as_writable_bytes(std::span(std::vector<uint64_t>(0x800).data(), 0x800)))) << "with it in the midst";
  EXPECT_TRUE(ranges.empty());
  for (const Gpa gpa : {0x2ff8, 0x5000, 0xfff8, 0x11000}) EXPECT_TRUE(memory_.write(gpa, bytes)) << gpa;
  EXPECT_EQ(memory_.load<uint64_t>(0x3000, View::kSmm), 0x1234u);
  EXPECT_TRUE(memory_.compare_exchange<uint64_t>(0x3000, 0x1234, 0x5678, View::kSmm));
  EXPECT_TRUE(memory_.page(0x3000, View::kSmm).writable);
  EXPECT_TRUE(memory_.put(0x10000, bytes));
  memory_.set_smm_only({});
  EXPECT_EQ(memory_.load<uint64_t>(0x3000), 0x5678u);
  EXPECT_TRUE(memory_.load<uint64_t>(0x10000));
}

TEST_F(GuestMemoryTest, RamThatIsNotReadableIsNotThere) {
  memory_.set_readable(64 * KiB, false);
  EXPECT_EQ(memory_.page(64 * KiB).host, nullptr);
  EXPECT_EQ(memory_.page(64 * KiB, View::kSmm).host, nullptr);
  const uint64_t value = 1;
  EXPECT_FALSE(memory_.write(64 * KiB, bytes_of(value)));
  memory_.set_readable(64 * KiB, true);
  EXPECT_TRUE(memory_.write(64 * KiB, bytes_of(value)));
}

}  // namespace
}  // namespace skerry::memory
