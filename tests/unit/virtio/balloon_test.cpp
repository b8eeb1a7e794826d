#include "virtio/balloon.hpp"

#include "base/units.hpp"
#include "unit/virtio/card_rig.hpp"

namespace skerry::virtio::test {
namespace {

constexpr uint64_t kStats = 1 << 1, kReporting = 1 << 5;
constexpr unsigned kInflate = 0, kDeflate = 1, kStatsQueue = 2;
constexpr uint64_t kPage = 4096;

struct Rig : TurnedLoop {
  explicit Rig(uint64_t features = kStats | kReporting)
      : balloon("balloon0", *loop, guest.memory), driver(balloon, guest, features) {}
  void inflate(const std::vector<uint32_t>& pfns) {
    Bytes bytes(pfns.size() * 4);
    std::memcpy(bytes.data(), pfns.data(), bytes.size());
    driver.ring(kInflate).add({guest.put(bytes)}, {});
    driver.notify(kInflate);
  }
  Gpa marked_page() {
    const Gpa page = guest.allocate(kPage, kPage);
    guest.memory.fill(page, kPage, 0xee);
    return page;
  }
  uint8_t byte(Gpa gpa) { return guest.bytes(gpa, 1)[0]; }
  void give_statistics(uint64_t free) {
    Bytes stat = {4, 0};
    const Bytes value = bytes_of_value(free);
    stat.insert(stat.end(), value.begin(), value.end());
    stat.insert(stat.end(), {0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8});  // a tag that nobody knows
    driver.ring(kStatsQueue).add({guest.put(stat)}, {});
    driver.notify(kStatsQueue);
  }

  Guest guest;
  Balloon balloon;
  DirectDriver driver;
};

TEST(Balloon, AsksForATargetAndReadsWhatTheGuestHas) {
  Rig rig;
  EXPECT_EQ(rig.balloon.actual(), 16 * MiB);
  rig.balloon.set_target(12 * MiB);
  rig.turn();
  EXPECT_EQ(config_field<uint32_t>(rig.balloon, 0), 1024u) << "num_pages";
  EXPECT_EQ(rig.driver.transport.config_interrupts, 1u);
  rig.balloon.write_config(4, bytes_of_value(uint32_t{512}));
  EXPECT_EQ(rig.balloon.actual(), 14 * MiB);
  rig.balloon.write_config(0, bytes_of_value(uint32_t{7}));
  EXPECT_EQ(rig.balloon.target(), 12 * MiB) << "the target is not the driver's";
  rig.balloon.set_target(1 * GiB);
  EXPECT_EQ(rig.balloon.target(), 16 * MiB);
}

TEST(Balloon, PagesInItAreGivenBack) {
  Rig rig;
  const Gpa first = rig.marked_page(), second = rig.marked_page(), other = rig.marked_page();
  rig.inflate({static_cast<uint32_t>(second / kPage), static_cast<uint32_t>(first / kPage)});
  EXPECT_EQ(rig.byte(first), 0);
  EXPECT_EQ(rig.byte(second + 4095), 0);
  EXPECT_EQ(rig.byte(other), 0xee);
  EXPECT_TRUE(rig.driver.ring(kInflate).take());
  EXPECT_EQ(rig.driver.transport.interrupts[kInflate], 1u);
}

TEST(Balloon, PagesThatAreNoMemoryAreLeftAlone) {
  Rig rig;
  const Gpa last = 16 * MiB - kPage;
  rig.guest.memory.fill(last, kPage, 0xee);
  rig.inflate({0xffff'ffff, static_cast<uint32_t>(last / kPage), static_cast<uint32_t>(last / kPage + 1)});
  EXPECT_EQ(rig.byte(last), 0) << "the one that is memory goes";
  EXPECT_TRUE(rig.driver.ring(kInflate).take());
  EXPECT_EQ(rig.driver.transport.why, "");
}

TEST(Balloon, ALongListIsWorkedOnTurnByTurn) {
  Rig rig;
  const Gpa last = rig.marked_page();
  std::vector<uint32_t> pfns(5000, 0xffff'ffff);
  pfns.back() = static_cast<uint32_t>(last / kPage);
  rig.inflate(pfns);
  EXPECT_EQ(rig.byte(last), 0xee);
  rig.turn();
  EXPECT_EQ(rig.byte(last), 0);
  EXPECT_TRUE(rig.driver.ring(kInflate).take());
}

TEST(Balloon, DeflatingIsAcknowledged) {
  Rig rig;
  rig.driver.ring(kDeflate).add({rig.guest.put(Bytes(8))}, {});
  rig.driver.notify(kDeflate);
  EXPECT_TRUE(rig.driver.ring(kDeflate).take());
}

TEST(Balloon, ReportedPagesAreGivenBackFromEachQueueThatDriversUse) {
  for (const unsigned queue : {3u, 4u}) {
    Rig rig;
    const Gpa page = rig.marked_page(), other = rig.marked_page();
    rig.driver.ring(queue).add({}, {{page, kPage}, {other, 4000}});
    rig.driver.notify(queue);
    EXPECT_EQ(rig.byte(page), 0);
    EXPECT_EQ(rig.byte(other), 0xee) << "not a whole page";
    EXPECT_TRUE(rig.driver.ring(queue).take());
  }
}

TEST(Balloon, StatisticsComeOnRequest) {
  Rig rig;
  EXPECT_FALSE(rig.balloon.statistics().at);
  rig.give_statistics(1000);
  EXPECT_EQ(rig.balloon.statistics().values[Balloon::kFree], 1000u);
  EXPECT_FALSE(rig.balloon.statistics().values[Balloon::kTotal]);
  EXPECT_TRUE(rig.balloon.statistics().at);
  EXPECT_FALSE(rig.driver.ring(kStatsQueue).take()) << "the buffer stays until somebody asks";
  rig.balloon.poll_statistics();
  rig.turn();
  ASSERT_TRUE(rig.driver.ring(kStatsQueue).take());
  rig.give_statistics(2000);
  EXPECT_EQ(rig.balloon.statistics().values[Balloon::kFree], 2000u);
}

struct StateRig : TurnedLoop {
  StateRig() : balloon("balloon0", *loop, guest.memory), adapter(balloon) { clock.stop(); }
  ~StateRig() { balloon.deactivate(); }
  void follow(StateRig& other) { clock.restore(other.clock.now()); }
  bus::Device& device() { return adapter; }

  Guest guest{64 << 20};
  Balloon balloon;
  AsBusDevice adapter;
  std::unique_ptr<LoadedDriver> driver;
};

skerry::test::Trace drive(StateRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.driver = std::make_unique<LoadedDriver>(rig.balloon, rig.guest, kStats | kReporting | feature::kVersion1);
  for (unsigned step = 0; step < 30; ++step) {
    const auto queue = static_cast<unsigned>(random() % 5);
    RingDriver& ring = *rig.driver->rings[queue];
    if (ring.free() > 0) {
      if (queue > 2) {
        ring.add({}, {{rig.guest.allocate(kPage, kPage), kPage}});
      } else {
        Bytes content(10 * (1 + random() % 3));
        for (uint8_t& byte : content) byte = static_cast<uint8_t>(random() % 12 | 0x80 * (queue < 2));
        ring.add({rig.guest.put(content)}, {});
      }
    }
    rig.balloon.notified(queue);
    if (random() % 8 == 0) rig.balloon.poll_statistics();
    if (random() % 8 == 0) rig.balloon.set_target(random() % (64 << 20));
    if (random() % 8 == 0) rig.balloon.write_config(4, bytes_of_value(static_cast<uint32_t>(random())));
    rig.turn();
  }
  note_used(rig.guest, *rig.driver, {}, trace);
  trace.push_back(rig.balloon.target());
  trace.push_back(rig.balloon.actual());
  for (const auto& value : rig.balloon.statistics().values) trace.push_back(value.value_or(~uint64_t{0}));
  rig.driver->quiesce();
  return trace;
}

TEST(Balloon, StateSurvives) { skerry::test::run_state_test<StateRig>(10, drive); }

}  // namespace
}  // namespace skerry::virtio::test
