#include <gmock/gmock.h>
#include <linux/input.h>

#include <cstring>

#include "unit/virtio/card_rig.hpp"
#include "virtio/keyboard.hpp"
#include "virtio/tablet.hpp"

namespace skerry::virtio::test {
namespace {

using display::KeyCode;
using testing::ElementsAre;
using testing::IsEmpty;

// struct virtio_input_event, as text.
std::string event(uint16_t type, uint16_t code, int32_t value) { return fmt::format("{} {} {}", type, code, value); }
const std::string kSync = event(EV_SYN, SYN_REPORT, 0);
std::string key_event(uint16_t code, int32_t value) { return event(EV_KEY, code, value); }

template <typename Kind>
struct Rig : TurnedLoop {
  Rig() : device({"input0", *loop, guest.memory, [this] { ++changes; }}), driver(device, guest, 0) {}
  void give_buffers(unsigned count) {
    for (; count > 0; --count) {
      const Buffer room = guest.room(8);
      buffers[driver.ring(0).add({}, {room})] = room;
    }
    driver.notify(0);
  }
  // The events that have come.
  std::vector<std::string> events() {
    turn();
    std::vector<std::string> all;
    for (const auto& used : driver.ring(0).take_all()) {
      EXPECT_EQ(used.written, 8u);
      const Bytes bytes = guest.bytes(buffers.at(used.id));
      all.push_back(event(static_cast<uint16_t>(bytes[0] | bytes[1] << 8), static_cast<uint16_t>(bytes[2] | bytes[3] << 8),
                          static_cast<int32_t>(bytes[4] | bytes[5] << 8 | bytes[6] << 16 | uint32_t{bytes[7]} << 24)));
    }
    return all;
  }
  // With as many buffers as it takes, and a few more.
  std::vector<std::string> all_events() {
    std::vector<std::string> all;
    for (;;) {
      give_buffers(8);
      const std::vector<std::string> some = events();
      all.insert(all.end(), some.begin(), some.end());
      if (some.size() < 8) return all;
    }
  }
  // What the configuration space has for these.
  Bytes config(uint8_t select, uint8_t subsel) {
    device.write_config(0, Bytes{select});
    device.write_config(1, Bytes{subsel});
    Bytes content(config_field<uint8_t>(device, 2));
    if (!content.empty()) device.read_config(8, content);
    return content;
  }
  bool has_code(uint8_t type, unsigned code) {
    const Bytes bits = config(0x11, type);
    return code / 8 < bits.size() && (bits[code / 8] >> code % 8 & 1);
  }

  Guest guest;
  unsigned changes = 0;
  Kind device;
  DirectDriver driver;
  std::map<uint16_t, Buffer> buffers;
};

TEST(VirtioKeyboard, SaysWhatItIs) {
  Rig<Keyboard> rig;
  EXPECT_EQ(rig.device.config_size(), 136u);
  EXPECT_EQ(text_of(rig.config(1, 0)), "Skerry virtio keyboard");
  EXPECT_EQ(rig.config(3, 0), (Bytes{BUS_VIRTUAL, 0, 0xf4, 0x1a, 1, 0, 1, 0}));
  EXPECT_TRUE(rig.has_code(EV_KEY, KEY_A));
  EXPECT_TRUE(rig.has_code(EV_KEY, KEY_BOOKMARKS));
  EXPECT_FALSE(rig.has_code(EV_KEY, BTN_LEFT));
  EXPECT_TRUE(rig.has_code(EV_LED, LED_SCROLLL));
  EXPECT_TRUE(rig.has_code(EV_REP, REP_PERIOD));
  EXPECT_THAT(rig.config(0x11, EV_ABS), IsEmpty());
  EXPECT_THAT(rig.config(0x12, ABS_X), IsEmpty());
  EXPECT_THAT(rig.config(2, 0), IsEmpty()) << "no serial";
  EXPECT_THAT(rig.config(0xff, 0xff), IsEmpty());
}

TEST(VirtioKeyboard, KeysAreEventsOfWhichEachHasABuffer) {
  Rig<Keyboard> rig;
  rig.give_buffers(3);
  rig.device.key(KeyCode::kA, true);
  rig.device.key(KeyCode::kA, true);  // it repeats
  rig.device.key(KeyCode::kA, false);
  EXPECT_THAT(rig.events(), ElementsAre(key_event(KEY_A, 1), kSync, key_event(KEY_A, 0)));
  EXPECT_EQ(rig.driver.transport.interrupts[0], 1u);
  rig.give_buffers(5);
  EXPECT_THAT(rig.events(), ElementsAre(kSync));
}

TEST(VirtioKeyboard, ItIsInUseWhileADriverHasIt) {
  Rig<Keyboard> rig;
  EXPECT_TRUE(rig.device.in_use());
  EXPECT_EQ(rig.changes, 1u);
  rig.driver.deactivate();
  EXPECT_FALSE(rig.device.in_use());
  EXPECT_EQ(rig.changes, 2u);
  rig.device.key(KeyCode::kA, true);
  rig.driver.activate();
  rig.give_buffers(4);
  EXPECT_THAT(rig.events(), IsEmpty()) << "nobody listened";
}

TEST(VirtioKeyboard, WhatIsNotFetchedIsLostButNoKeyStaysDown) {
  Rig<Keyboard> rig;
  for (int i = 0; i < 100; ++i) {
    rig.device.key(KeyCode::kA, true);
    rig.device.key(KeyCode::kA, false);
  }
  rig.device.key(KeyCode::kB, true);
  rig.device.key(KeyCode::kC, true);
  rig.device.key(KeyCode::kC, false);
  std::vector<std::string> all = rig.all_events();
  ASSERT_EQ(all.size(), 258u);
  all.erase(all.begin(), all.end() - 4);
  EXPECT_THAT(all, ElementsAre(key_event(KEY_A, 0), kSync, key_event(KEY_B, 1), kSync)) << "in the end it is as it is";
  rig.device.key(KeyCode::kB, false);
  EXPECT_THAT(rig.events(), ElementsAre(key_event(KEY_B, 0), kSync));
}

TEST(VirtioKeyboard, TheGuestSetsItsLamps) {
  Rig<Keyboard> rig;
  const auto set = [&](uint16_t type, uint16_t code, uint16_t value) {
    rig.driver.ring(1).add({rig.guest.put(bytes_of_value(std::array<uint16_t, 4>{type, code, value, 0}))}, {});
    rig.driver.notify(1);
    EXPECT_TRUE(rig.driver.ring(1).take());
  };
  set(EV_LED, LED_CAPSL, 1);
  EXPECT_EQ(rig.device.leds(), (display::Leds{.caps = true}));
  EXPECT_EQ(rig.changes, 2u);
  set(EV_LED, LED_NUML, 1);
  set(EV_LED, LED_CAPSL, 0);
  EXPECT_EQ(rig.device.leds(), (display::Leds{.num = true}));
  set(EV_REP, REP_DELAY, 5);
  set(EV_LED, LED_MUTE, 1);
  EXPECT_EQ(rig.device.leds(), (display::Leds{.num = true}));
  EXPECT_EQ(rig.changes, 4u);
}

TEST(VirtioKeyboard, ABufferThatIsTooSmallIsTold) {
  Rig<Keyboard> rig;
  rig.driver.ring(0).add({}, {rig.guest.room(7)});
  rig.device.key(KeyCode::kA, true);
  rig.turn();
  EXPECT_NE(rig.driver.transport.why.find("less than 8 bytes"), std::string::npos);
}

TEST(VirtioTablet, SaysWhatItIs) {
  Rig<Tablet> rig;
  EXPECT_EQ(text_of(rig.config(1, 0)), "Skerry virtio tablet");
  EXPECT_EQ(rig.config(0x12, ABS_Y), (Bytes{0, 0, 0, 0, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_THAT(rig.config(0x12, 2), IsEmpty());
  EXPECT_TRUE(rig.has_code(EV_KEY, BTN_MIDDLE));
  EXPECT_TRUE(rig.has_code(EV_REL, REL_WHEEL));
}

TEST(VirtioTablet, TellsWhatHasChanged) {
  Rig<Tablet> rig;
  rig.give_buffers(32);
  rig.device.pointer_absolute(100, 40'000, {.left = true});
  EXPECT_THAT(rig.events(), ElementsAre(event(EV_ABS, ABS_X, 100), event(EV_ABS, ABS_Y, 32767), key_event(BTN_LEFT, 1), kSync));
  rig.device.pointer_absolute(101, 40'000, {.left = true});
  EXPECT_THAT(rig.events(), ElementsAre(event(EV_ABS, ABS_X, 101), kSync));
  rig.device.pointer_absolute(101, 40'000, {.left = true});
  EXPECT_THAT(rig.events(), IsEmpty());
  rig.device.pointer_absolute(101, 40'000, {.middle = true, .right = true});
  EXPECT_THAT(rig.events(), ElementsAre(key_event(BTN_LEFT, 0), key_event(BTN_RIGHT, 1), key_event(BTN_MIDDLE, 1), kSync));
  rig.device.wheel(1, -2, {});
  EXPECT_THAT(rig.events(), ElementsAre(key_event(BTN_RIGHT, 0), key_event(BTN_MIDDLE, 0), event(EV_REL, REL_WHEEL, -1),
                                        event(EV_REL, REL_HWHEEL, -2), kSync));
  rig.device.wheel(INT32_MIN, 0, {});
  EXPECT_THAT(rig.events(), ElementsAre(event(EV_REL, REL_WHEEL, 127), kSync));
}

TEST(VirtioTablet, ItIsWhereItWasLastAlsoIfNobodyLooked) {
  Rig<Tablet> rig;
  for (uint16_t i = 1; i < 1000; ++i) rig.device.pointer_absolute(i, i, {});
  std::vector<std::string> all = rig.all_events();
  ASSERT_EQ(all.size(), 258u);
  all.erase(all.begin(), all.end() - 3);
  EXPECT_THAT(all, ElementsAre(event(EV_ABS, ABS_X, 999), event(EV_ABS, ABS_Y, 999), kSync));
}

template <typename Kind>
struct StateRig : TurnedLoop {
  StateRig() { clock.stop(); }
  ~StateRig() { kind.deactivate(); }
  bus::Device& device() { return adapter; }

  Guest guest;
  Kind kind{Input::Options{"input0", *loop, guest.memory, {}}};
  AsBusDevice adapter{kind};
  std::unique_ptr<LoadedDriver> driver;
};

void act(Keyboard& keyboard, std::mt19937_64& random) { keyboard.key(static_cast<KeyCode>(1 + random() % 20), random() % 2); }
void act(Tablet& tablet, std::mt19937_64& random) {
  const display::Buttons buttons{.left = random() % 2 != 0, .right = random() % 2 != 0};
  if (random() % 4)
    tablet.pointer_absolute(static_cast<uint16_t>(random()), static_cast<uint16_t>(random()), buttons);
  else
    tablet.wheel(static_cast<int32_t>(random() % 3), 0, buttons);
}

template <typename Kind>
skerry::test::Trace drive(StateRig<Kind>& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.driver = std::make_unique<LoadedDriver>(rig.kind, rig.guest, feature::kVersion1);
  std::vector<Buffer> rooms;
  for (unsigned step = 0; step < 60; ++step) {
    for (uint64_t i = random() % 8; i > 0; --i) act(rig.kind, random);
    if (random() % 2 && rig.driver->rings[0]->free() > 0) {
      rooms.push_back(rig.guest.room(8));
      rig.driver->rings[0]->add({}, {rooms.back()});
      rig.kind.notified(0);
    }
    if (random() % 8 == 0) {
      rig.driver->rings[1]->add(
          {rig.guest.put(Bytes{EV_LED, 0, static_cast<uint8_t>(random() % 4), 0, static_cast<uint8_t>(random() % 2), 0, 0, 0})}, {});
      rig.kind.notified(1);
    }
    if (random() % 8 == 0) rig.kind.write_config(random() % 2, Bytes{static_cast<uint8_t>(random() % 0x14)});
    rig.turn();
    note_used(rig.guest, *rig.driver, {}, trace);
    const display::Leds leds = rig.kind.leds();
    trace.push_back(leds.num + 2u * leds.caps + 4u * leds.scroll);
    trace.push_back(config_field<uint8_t>(rig.kind, 2));
  }
  note_used(rig.guest, *rig.driver, rooms, trace);
  rig.driver->quiesce();
  return trace;
}

TEST(VirtioKeyboard, StateSurvives) { skerry::test::run_state_test<StateRig<Keyboard>>(20, drive<Keyboard>); }
TEST(VirtioTablet, StateSurvives) { skerry::test::run_state_test<StateRig<Tablet>>(20, drive<Tablet>); }

}  // namespace
}  // namespace skerry::virtio::test
