#include "devices/vmgenid.hpp"

#include <gtest/gtest.h>

#include "base/units.hpp"
#include "devices/pvpanic.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

constexpr VmGenId::Guid kOld = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
constexpr VmGenId::Guid kNew = {21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36};

struct IdRig {
  memory::GuestMemory memory;
  std::vector<unsigned> gpes;
  VmGenId id{memory, kOld, [this](unsigned gpe) { gpes.push_back(gpe); }};
  IdRig() { EXPECT_TRUE(memory.add_ram(0, 64 * KiB, "ram")); }
  bus::Device& device() { return id; }

  VmGenId::Guid at(uint64_t address) const {
    VmGenId::Guid guid{};
    EXPECT_TRUE(memory.read(address, std::as_writable_bytes(std::span(guid))));
    return guid;
  }
  void say_address(uint64_t address) {
    std::array<uint8_t, 8> content;
    std::memcpy(content.data(), &address, sizeof address);
    id.address_written(content);
  }
};

TEST(VmGenId, ThePageHasTheGuidAtItsPlaceAndZeroesElse) {
  IdRig rig;
  std::vector<uint8_t> page = rig.id.page();
  ASSERT_EQ(page.size(), 4096u);
  EXPECT_TRUE(std::equal(kOld.begin(), kOld.end(), page.begin() + 40));
  std::fill_n(page.begin() + 40, 16, uint8_t{0});
  EXPECT_EQ(page, std::vector<uint8_t>(4096));
}

TEST(VmGenId, AfterARestoreTheGuestFindsAnotherAndIsTold) {
  IdRig rig;
  rig.say_address(0x3028);
  EXPECT_TRUE(rig.gpes.empty());
  rig.id.renew(kNew);
  EXPECT_EQ(rig.at(0x3028), kNew);
  EXPECT_EQ(rig.gpes, std::vector<unsigned>{5});
  EXPECT_EQ(rig.id.guid(), kNew);
}

TEST(VmGenId, TheBoardCanPlaceItToo) {
  IdRig rig;
  rig.id.place(0x4000);
  EXPECT_EQ(rig.at(0x4028), kOld);
  rig.id.renew(kNew);
  EXPECT_EQ(rig.at(0x4028), kNew);
}

TEST(VmGenId, AGuestThatHasNotSaidWhereItIsIsNotTold) {
  IdRig rig;
  rig.id.renew(kNew);
  rig.say_address(0x3028);
  rig.id.reset();
  rig.id.renew(kOld);
  EXPECT_EQ(rig.at(0x3028), VmGenId::Guid{});
  rig.say_address(~uint64_t{0} - 8);
  rig.id.renew(kNew);
  rig.say_address(64 * KiB - 8);
  rig.id.renew(kOld);
  EXPECT_TRUE(rig.gpes.empty());
}

TEST(VmGenId, RandomOnesDiffer) {
  const auto a = VmGenId::random_guid(), b = VmGenId::random_guid();
  ASSERT_TRUE(a && b);
  EXPECT_NE(*a, *b);
}

TEST(VmGenId, StateSurvivesAndRandomAddressesAreHarmless) {
  test::run_state_test<IdRig>(20, [](IdRig& rig, std::mt19937_64& random) {
    test::Trace trace;
    EXPECT_TRUE(rig.memory.fill(0, 64 * KiB, 0));
    rig.gpes.clear();
    for (int i = 0; i < 20; ++i) {
      if (random() % 3 == 0) rig.say_address(random() % (70 * KiB));
      VmGenId::Guid guid = rig.id.guid();
      trace.insert(trace.end(), guid.begin(), guid.end());
      if (random() % 2) guid[0] = static_cast<uint8_t>(random());
      rig.id.renew(guid);
      trace.push_back(rig.gpes.size());
    }
    for (uint64_t address = 0; address < 64 * KiB; address += 8) trace.push_back(*rig.memory.load<uint64_t>(address));
    return trace;
  });
}

TEST(PvPanic, SaysWhichEventsItKnowsAndTellsOfThem) {
  test::PortRig rig;
  std::vector<unsigned> events;
  PvPanic panic([&](PvPanic::Event event) { events.push_back(event); });
  ASSERT_TRUE(panic.attach(rig.pio));
  EXPECT_EQ(rig.in(0x505), 3u);
  rig.out(0x505, 1);
  rig.out(0x505, 2);
  rig.out(0x505, 3);
  rig.out(0x505, 0xfc);
  EXPECT_EQ(events, (std::vector<unsigned>{1, 2, 1})) << "a panic is more than a crash kernel; others are not known";
  EXPECT_TRUE(test::save(panic).empty());
}

}  // namespace
}  // namespace skerry::devices
