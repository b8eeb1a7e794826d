// A keyboard and a pointing device that write down what they get.
#pragma once

#include <fmt/format.h>

#include <mutex>
#include <set>
#include <string>

#include "display/input.hpp"

namespace skerry::display::test {

// Events are words: "+a", "-a", "at:X,Y", "by:DX,DY", "wheel:V,H", and behind the latter three the buttons held ("/LMR").
class Recorder final : public Input {
 public:
  std::atomic<bool> absolute{true};

  void key(KeyCode key, bool down) override {
    add(fmt::format("{}{}", down ? '+' : '-', key_name(key)));
    std::lock_guard guard(lock_);
    down ? (void)held_.insert(key) : (void)held_.erase(key);
  }
  bool wants_absolute() const override { return absolute; }
  void pointer_absolute(uint16_t x, uint16_t y, Buttons buttons) override {
    add(fmt::format("at:{},{}{}", x, y, held_buttons(buttons)));
  }
  void pointer_relative(int32_t dx, int32_t dy, Buttons buttons) override {
    add(fmt::format("by:{},{}{}", dx, dy, held_buttons(buttons)));
  }
  void wheel(int32_t vertical, int32_t horizontal, Buttons buttons) override {
    add(fmt::format("wheel:{},{}{}", vertical, horizontal, held_buttons(buttons)));
  }

  std::string text() const {
    std::lock_guard guard(lock_);
    return text_;
  }
  size_t held() const {
    std::lock_guard guard(lock_);
    return held_.size();
  }
  void clear() {
    std::lock_guard guard(lock_);
    text_.clear();
  }

 private:
  static std::string held_buttons(Buttons buttons) {
    if (buttons == Buttons{}) return "";
    return fmt::format("/{}{}{}", buttons.left ? "L" : "", buttons.middle ? "M" : "", buttons.right ? "R" : "");
  }
  void add(std::string word) {
    std::lock_guard guard(lock_);
    if (text_.size() < 100000) text_ += (text_.empty() ? "" : " ") + word;
  }
  mutable std::mutex lock_;
  std::string text_;
  std::set<KeyCode> held_;
};

}  // namespace skerry::display::test
