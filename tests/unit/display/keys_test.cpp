#include <gtest/gtest.h>

#include <set>

#include "display/keysym.hpp"
#include "display/rfb/keyboard.hpp"
#include "unit/display/recorder.hpp"

namespace skerry::display::test {
namespace {

std::vector<KeyCode> all_keys() {
  std::vector<KeyCode> keys;
  for (unsigned n = 1; n < static_cast<unsigned>(KeyCode::kCount); ++n) keys.push_back(static_cast<KeyCode>(n));
  return keys;
}

TEST(KeyCode, IsFoundAgainByNameAndNumbers) {
  std::set<std::string_view> names;
  for (const KeyCode key : all_keys()) {
    SCOPED_TRACE(key_name(key));
    EXPECT_TRUE(names.insert(key_name(key)).second) << "two have this name";
    EXPECT_EQ(key_by_name(key_name(key)), key);
    const bool second = key == KeyCode::kAsterisk || key == KeyCode::kSysrq;  // of two names for a number
    EXPECT_EQ(evdev_code(key_by_evdev(evdev_code(key))), evdev_code(key));
    EXPECT_EQ(key_by_evdev(evdev_code(key)) == key, !second);
    EXPECT_EQ(set1_code(key_by_set1(set1_code(key))), set1_code(key));
    EXPECT_EQ(key_by_set1(set1_code(key)) == key, key != KeyCode::kAsterisk);
    EXPECT_EQ(key_by_qnum(qnum(key)) == key, !second);
    EXPECT_EQ(set1_code(key) & 0x80, 0) << "the bit of a release";
    EXPECT_TRUE(set1_code(key) < 0x80 || set1_code(key) >> 8 == 0xe0);
  }
  EXPECT_EQ(key_by_name("unmapped"), KeyCode::kUnmapped);
  EXPECT_EQ(key_by_name(""), KeyCode::kUnmapped);
  EXPECT_EQ(key_by_name("A"), KeyCode::kUnmapped);
  EXPECT_EQ(key_by_set1(0), KeyCode::kUnmapped);
  EXPECT_EQ(key_by_evdev(0), KeyCode::kUnmapped);
  EXPECT_EQ(key_by_qnum(0), KeyCode::kUnmapped);
  EXPECT_EQ(key_by_qnum(0x11d), KeyCode::kUnmapped);
  EXPECT_EQ(key_by_qnum(0xffffffff), KeyCode::kUnmapped);
}

// From QEMU's documentation of QKeyCode, Linux's input-event-codes.h and the tables of scan codes: numbers that are in none
// of the code's own tables in this form.
TEST(KeyCode, HasTheNumbersOfTheOthers) {
  struct Known {
    const char* name;
    unsigned set1, evdev, qnum;
  };
  constexpr Known kKnown[] = {
      {"esc", 1, 1, 1},          {"1", 2, 2, 2},           {"a", 30, 30, 30},         {"z", 44, 44, 44},
      {"ret", 28, 28, 28},       {"spc", 57, 57, 57},      {"shift_r", 54, 54, 54},   {"f10", 68, 68, 68},
      {"f12", 88, 88, 88},       {"less", 86, 86, 86},     {"up", 0xe048, 103, 0xc8}, {"delete", 0xe053, 111, 0xd3},
      {"ctrl_r", 0xe01d, 97, 0x9d}, {"alt_r", 0xe038, 100, 0xb8}, {"meta_l", 0xe05b, 125, 0xdb}, {"compose", 0xe05d, 127, 0xdd},
      {"kp_enter", 0xe01c, 96, 0x9c}, {"kp_divide", 0xe035, 98, 0xb5}, {"pause", 0xe046, 119, 0xc6}, {"pgdn", 0xe051, 109, 0xd1},
      {"num_lock", 69, 69, 69},  {"scroll_lock", 70, 70, 70}, {"ro", 0x73, 89, 0x73}, {"yen", 0x7d, 124, 0x7d},
  };
  for (const Known& known : kKnown) {
    SCOPED_TRACE(known.name);
    const KeyCode key = key_by_name(known.name);
    ASSERT_NE(key, KeyCode::kUnmapped);
    EXPECT_EQ(set1_code(key), known.set1);
    EXPECT_EQ(evdev_code(key), known.evdev);
    EXPECT_EQ(qnum(key), known.qnum);
  }
  EXPECT_EQ(key_by_qnum(0x54), KeyCode::kPrint) << "as viewers send it";
  EXPECT_EQ(key_by_qnum(0xb7), KeyCode::kPrint);
}

// What a US keyboard makes of keys, written down row by row.
TEST(Keysym, IsTypedByTheKeyThatMeansIt) {
  constexpr std::string_view kPlain = "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./ ";
  constexpr std::string_view kShifted = "~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:\"ZXCVBNM<>? ";
  constexpr uint16_t kRow[] = {0x29, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 0x2b,
                               30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 57};
  ASSERT_EQ(kPlain.size(), std::size(kRow));
  for (size_t n = 0; n < kPlain.size(); ++n) {
    SCOPED_TRACE(kPlain[n]);
    for (const bool shift : {false, true}) {
      const auto key = key_for_keysym(static_cast<uint8_t>((shift ? kShifted : kPlain)[n]));
      ASSERT_TRUE(key);
      EXPECT_EQ(set1_code(key->key), kRow[n]);
      const auto needs = key->shift;
      EXPECT_EQ(needs == KeysymKey::Shift::kAny || (needs == KeysymKey::Shift::kWith || needs == KeysymKey::Shift::kUpper) == shift,
                true);
    }
  }
  for (uint32_t keysym = 0x21; keysym < 0x7f; ++keysym) EXPECT_TRUE(key_for_keysym(keysym)) << keysym;
  for (const uint32_t keysym : {0u, 0x7fu, 0xe9u, 0xdfu, 0x20acu, 0x10020acu, 0xffffffffu}) EXPECT_FALSE(key_for_keysym(keysym));
  EXPECT_EQ(key_for_keysym(0xff0d)->key, KeyCode::kRet);
  EXPECT_EQ(key_for_keysym(0xfe03)->key, KeyCode::kAltR);
  EXPECT_EQ(key_for_keysym(0xffff)->key, KeyCode::kDelete);
}

// --- a viewer's keys -------------------------------------------------------------------------------------------------

constexpr uint32_t kShiftL = 0xffe1, kCapsLock = 0xffe5;

struct Typing {
  Recorder recorder;
  rfb::GuestLeds leds;
  rfb::Keyboard keyboard{recorder, leds};

  std::string type(std::initializer_list<std::pair<uint32_t, bool>> events) {
    recorder.clear();
    for (const auto& [keysym, down] : events) keyboard.keysym(keysym, down);
    return recorder.text();
  }
};

TEST(Keyboard, PassesOnWhatNeedsNoShift) {
  Typing t;
  EXPECT_EQ(t.type({{'a', true}, {'a', false}}), "+a -a");
  EXPECT_EQ(t.type({{kShiftL, true}, {'A', true}, {'A', false}, {kShiftL, false}}), "+shift +a -a -shift");
  EXPECT_EQ(t.type({{kShiftL, true}, {0xff0d, true}, {0xff0d, false}, {kShiftL, false}}), "+shift +ret -ret -shift");
}

TEST(Keyboard, TakesShiftForTheMomentWhereTheMeaningNeedsIt) {
  Typing t;
  EXPECT_EQ(t.type({{'!', true}, {'!', false}}), "+shift +1 -shift -1");
  EXPECT_EQ(t.type({{'A', true}, {'A', false}}), "+shift +a -shift -a");
  EXPECT_EQ(t.type({{kShiftL, true}, {'/', true}, {'/', false}, {kShiftL, false}}), "+shift -shift +slash +shift -slash -shift");
}

TEST(Keyboard, LetsGoOfTheKeyThatWasPressedWhateverShiftIsByThen) {
  Typing t;
  EXPECT_EQ(t.type({{kShiftL, true}, {'A', true}, {kShiftL, false}, {'A', false}}), "+shift +a -shift -a");
  EXPECT_EQ(t.type({{'b', false}}), "") << "never pressed";
}

TEST(Keyboard, KnowsWhatCapsLockDoesToLetters) {
  Typing t;
  EXPECT_EQ(t.type({{kCapsLock, true}, {kCapsLock, false}}), "+caps_lock -caps_lock");
  EXPECT_EQ(t.type({{'A', true}, {'A', false}}), "+a -a");
  EXPECT_EQ(t.type({{'a', true}, {'a', false}}), "+shift +a -shift -a");
  EXPECT_EQ(t.type({{'1', true}, {'1', false}}), "+1 -1");
  t.leds = {{.caps = false}, true};  // the guest says otherwise
  EXPECT_EQ(t.type({{'A', true}, {'A', false}}), "+shift +a -shift -a");
  t.type({{kCapsLock, true}, {kCapsLock, false}});
  EXPECT_FALSE(t.leds.shown.caps) << "it is for the guest to say";
}

TEST(Keyboard, SendsExtendedKeysAsTheyAre) {
  Typing t;
  t.keyboard.extended(0x1e, 'A', true);
  t.keyboard.extended(0x1e, 'A', false);
  t.keyboard.extended(0xc8, 0xff52, true);
  t.keyboard.extended(0xc8, 0xff52, false);
  EXPECT_EQ(t.recorder.text(), "+a -a +up -up");
  t.recorder.clear();
  t.keyboard.extended(0, 'x', true);  // a viewer that does not know the key
  t.keyboard.extended(0, 'x', false);
  EXPECT_EQ(t.recorder.text(), "+x -x");
}

TEST(Keyboard, LetsGoOfEverythingAtTheEnd) {
  Recorder recorder;
  rfb::GuestLeds leds;
  {
    rfb::Keyboard keyboard(recorder, leds);
    keyboard.keysym(0xffe3, true);
    keyboard.extended(0x2e, 'c', true);
    for (uint32_t keysym = 'a'; keysym < 'a' + 200; ++keysym) keyboard.keysym(keysym, true);
    recorder.clear();
  }
  EXPECT_NE(recorder.text().find("-ctrl"), std::string::npos);
  EXPECT_NE(recorder.text().find("-c"), std::string::npos);
  EXPECT_EQ(recorder.held(), 0u);
}

}  // namespace
}  // namespace skerry::display::test
