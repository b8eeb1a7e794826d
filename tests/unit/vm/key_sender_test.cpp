#include "vm/key_sender.hpp"

#include <gtest/gtest.h>

#include <string>

namespace skerry::vm {
namespace {

using display::KeyCode;

struct Keyboard final : display::Input {
  void key(KeyCode key, bool down) override { typed += (down ? '+' : '-') + std::string(display::key_name(key)) + ' '; }
  bool wants_absolute() const override { return false; }
  void pointer_absolute(uint16_t, uint16_t, display::Buttons) override {}
  void pointer_relative(int32_t, int32_t, display::Buttons) override {}
  void wheel(int32_t, int32_t, display::Buttons) override {}
  std::string typed;
};

class KeySenderTest : public testing::Test {
 protected:
  KeySenderTest() {
    auto made = EventLoop::create(clock);
    EXPECT_TRUE(made);
    loop = std::move(*made);
    sender = std::make_unique<KeySender>(*loop, keyboard);
    clock.start();
  }
  // Until the keyboard has got so much.
  void run_until(std::string_view typed) {
    Timer patience(*loop, [this] { loop->quit(); });
    patience.set(clock.now() + 20'000'000'000);
    Timer poll(*loop, [&] {
      if (keyboard.typed.size() >= typed.size()) return loop->quit();
      poll.set(clock.now() + 1'000'000);
    });
    poll.set(clock.now());
    loop->run();
    EXPECT_EQ(keyboard.typed, typed);
  }
  VmClock clock;
  std::unique_ptr<EventLoop> loop;
  Keyboard keyboard;
  std::unique_ptr<KeySender> sender;
};

TEST_F(KeySenderTest, PressesInOrderAndReleasesInTheOther) {
  ASSERT_TRUE(sender->send({KeyCode::kCtrl, KeyCode::kAlt, KeyCode::kDelete}, 1));
  EXPECT_EQ(keyboard.typed, "+ctrl +alt +delete ") << "at once";
  run_until("+ctrl +alt +delete -delete -alt -ctrl ");
}

TEST_F(KeySenderTest, OnePressComesAfterTheOther) {
  ASSERT_TRUE(sender->send({KeyCode::kA}, 2));
  ASSERT_TRUE(sender->send({KeyCode::kB}, 0));
  EXPECT_EQ(keyboard.typed, "+a ");
  ASSERT_TRUE(sender->send({KeyCode::kA}, 0));
  run_until("+a -a +b -b +a -a ");
}

TEST_F(KeySenderTest, RefusesWhatIsTooMuch) {
  EXPECT_FALSE(sender->send({}, 1));
  EXPECT_FALSE(sender->send(std::vector<KeyCode>(KeySender::kMaxKeys + 1, KeyCode::kA), 1));
  size_t taken = 0;
  while (taken < 2 * KeySender::kMaxWaiting && sender->send({KeyCode::kA}, 1)) ++taken;
  EXPECT_EQ(taken, KeySender::kMaxWaiting);
  sender->forget();
  keyboard.typed.clear();
  EXPECT_TRUE(sender->send({KeyCode::kB}, 0));
  EXPECT_EQ(keyboard.typed, "+b ") << "nothing waits any more";
}

}  // namespace
}  // namespace skerry::vm
