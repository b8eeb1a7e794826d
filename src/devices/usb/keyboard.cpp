#include "devices/usb/keyboard.hpp"

#include <algorithm>
#include <utility>

namespace skerry::devices::usb {

using display::KeyCode;

namespace {
constexpr uint8_t kBootInterface = 1, kKeyboardProtocol = 1;  // HID, 4.2 and 4.3
constexpr uint8_t kNumLed = 1, kCapsLed = 2, kScrollLed = 4, kAllLeds = 0x1f;
constexpr uint8_t kRollOver = 0x01, kFirstModifier = 0xe0, kLastModifier = 0xe7;

// HID, appendix B.1; the array reaches to usage 255.
const Device::Bytes kReportDescriptor = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,                                                  // generic desktop, keyboard, application
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08,  // modifiers: 8 bits
    0x81, 0x02,                                                                          // input
    0x95, 0x01, 0x75, 0x08, 0x81, 0x01,                                                  // a reserved byte
    0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x95, 0x05, 0x75, 0x01, 0x91, 0x02,              // LEDs: output, 5 bits
    0x95, 0x01, 0x75, 0x03, 0x91, 0x01,                                                  // and three of nothing
    0x05, 0x07, 0x19, 0x00, 0x2a, 0xff, 0x00, 0x15, 0x00, 0x26, 0xff, 0x00, 0x95, 0x06, 0x75, 0x08,  // six keys
    0x81, 0x00, 0xc0,
};

struct Usage {
  KeyCode key;
  uint8_t usage;
};
// Two keys of a PC may be one here.
constexpr Usage kUsages[] = {
    {KeyCode::kA, 0x04}, {KeyCode::kB, 0x05}, {KeyCode::kC, 0x06}, {KeyCode::kD, 0x07}, {KeyCode::kE, 0x08}, {KeyCode::kF, 0x09},
    {KeyCode::kG, 0x0a}, {KeyCode::kH, 0x0b}, {KeyCode::kI, 0x0c}, {KeyCode::kJ, 0x0d}, {KeyCode::kK, 0x0e}, {KeyCode::kL, 0x0f},
    {KeyCode::kM, 0x10}, {KeyCode::kN, 0x11}, {KeyCode::kO, 0x12}, {KeyCode::kP, 0x13}, {KeyCode::kQ, 0x14}, {KeyCode::kR, 0x15},
    {KeyCode::kS, 0x16}, {KeyCode::kT, 0x17}, {KeyCode::kU, 0x18}, {KeyCode::kV, 0x19}, {KeyCode::kW, 0x1a}, {KeyCode::kX, 0x1b},
    {KeyCode::kY, 0x1c}, {KeyCode::kZ, 0x1d}, {KeyCode::k1, 0x1e}, {KeyCode::k2, 0x1f}, {KeyCode::k3, 0x20}, {KeyCode::k4, 0x21},
    {KeyCode::k5, 0x22}, {KeyCode::k6, 0x23}, {KeyCode::k7, 0x24}, {KeyCode::k8, 0x25}, {KeyCode::k9, 0x26}, {KeyCode::k0, 0x27},
    {KeyCode::kRet, 0x28}, {KeyCode::kEsc, 0x29}, {KeyCode::kBackspace, 0x2a}, {KeyCode::kTab, 0x2b}, {KeyCode::kSpc, 0x2c},
    {KeyCode::kMinus, 0x2d}, {KeyCode::kEqual, 0x2e}, {KeyCode::kBracketLeft, 0x2f}, {KeyCode::kBracketRight, 0x30},
    {KeyCode::kBackslash, 0x31}, {KeyCode::kSemicolon, 0x33}, {KeyCode::kApostrophe, 0x34}, {KeyCode::kGraveAccent, 0x35},
    {KeyCode::kComma, 0x36}, {KeyCode::kDot, 0x37}, {KeyCode::kSlash, 0x38}, {KeyCode::kCapsLock, 0x39},
    {KeyCode::kF1, 0x3a}, {KeyCode::kF2, 0x3b}, {KeyCode::kF3, 0x3c}, {KeyCode::kF4, 0x3d}, {KeyCode::kF5, 0x3e}, {KeyCode::kF6, 0x3f},
    {KeyCode::kF7, 0x40}, {KeyCode::kF8, 0x41}, {KeyCode::kF9, 0x42}, {KeyCode::kF10, 0x43}, {KeyCode::kF11, 0x44}, {KeyCode::kF12, 0x45},
    {KeyCode::kPrint, 0x46}, {KeyCode::kSysrq, 0x46}, {KeyCode::kScrollLock, 0x47}, {KeyCode::kPause, 0x48}, {KeyCode::kInsert, 0x49},
    {KeyCode::kHome, 0x4a}, {KeyCode::kPgup, 0x4b}, {KeyCode::kDelete, 0x4c}, {KeyCode::kEnd, 0x4d}, {KeyCode::kPgdn, 0x4e},
    {KeyCode::kRight, 0x4f}, {KeyCode::kLeft, 0x50}, {KeyCode::kDown, 0x51}, {KeyCode::kUp, 0x52}, {KeyCode::kNumLock, 0x53},
    {KeyCode::kKpDivide, 0x54}, {KeyCode::kKpMultiply, 0x55}, {KeyCode::kAsterisk, 0x55}, {KeyCode::kKpSubtract, 0x56},
    {KeyCode::kKpAdd, 0x57}, {KeyCode::kKpEnter, 0x58}, {KeyCode::kKp1, 0x59}, {KeyCode::kKp2, 0x5a}, {KeyCode::kKp3, 0x5b},
    {KeyCode::kKp4, 0x5c}, {KeyCode::kKp5, 0x5d}, {KeyCode::kKp6, 0x5e}, {KeyCode::kKp7, 0x5f}, {KeyCode::kKp8, 0x60},
    {KeyCode::kKp9, 0x61}, {KeyCode::kKp0, 0x62}, {KeyCode::kKpDecimal, 0x63}, {KeyCode::kLess, 0x64}, {KeyCode::kCompose, 0x65},
    {KeyCode::kPower, 0x66}, {KeyCode::kKpEquals, 0x67}, {KeyCode::kF13, 0x68}, {KeyCode::kF14, 0x69}, {KeyCode::kF15, 0x6a},
    {KeyCode::kF16, 0x6b}, {KeyCode::kF17, 0x6c}, {KeyCode::kF18, 0x6d}, {KeyCode::kF19, 0x6e}, {KeyCode::kF20, 0x6f},
    {KeyCode::kF21, 0x70}, {KeyCode::kF22, 0x71}, {KeyCode::kF23, 0x72}, {KeyCode::kF24, 0x73}, {KeyCode::kOpen, 0x74},
    {KeyCode::kHelp, 0x75}, {KeyCode::kProps, 0x76}, {KeyCode::kFront, 0x77}, {KeyCode::kStop, 0x78}, {KeyCode::kAgain, 0x79},
    {KeyCode::kUndo, 0x7a}, {KeyCode::kCut, 0x7b}, {KeyCode::kCopy, 0x7c}, {KeyCode::kPaste, 0x7d}, {KeyCode::kFind, 0x7e},
    {KeyCode::kAudiomute, 0x7f}, {KeyCode::kVolumeup, 0x80}, {KeyCode::kVolumedown, 0x81}, {KeyCode::kKpComma, 0x85},
    {KeyCode::kRo, 0x87}, {KeyCode::kKatakanahiragana, 0x88}, {KeyCode::kYen, 0x89}, {KeyCode::kHenkan, 0x8a},
    {KeyCode::kMuhenkan, 0x8b}, {KeyCode::kLang1, 0x90}, {KeyCode::kLang2, 0x91}, {KeyCode::kHiragana, 0x93},
    {KeyCode::kCtrl, 0xe0}, {KeyCode::kShift, 0xe1}, {KeyCode::kAlt, 0xe2}, {KeyCode::kMetaL, 0xe3}, {KeyCode::kCtrlR, 0xe4},
    {KeyCode::kShiftR, 0xe5}, {KeyCode::kAltR, 0xe6}, {KeyCode::kMetaR, 0xe7},
};
}  // namespace

uint8_t key_usage(KeyCode key) {
  for (const Usage& one : kUsages)
    if (one.key == key) return one.usage;
  return 0;
}

Keyboard::Keyboard(Options options)
    : Hid(std::move(options), {.product = "USB keyboard", .product_id = 0x0001, .subclass = kBootInterface, .protocol = kKeyboardProtocol,
                               .report_descriptor = kReportDescriptor, .report_size = 8, .interval = 8}) {}

void Keyboard::key(KeyCode key, bool down) {
  const uint8_t usage = key_usage(key);
  if (usage == 0 || !in_use()) return;
  {
    std::lock_guard guard(lock_);
    if (lost_ || events_.size() == kMostEvents)
      lost_ = true;
    else
      events_.push_back({usage, down});
  }
  wake();
}

display::Leds Keyboard::leds() const {
  std::lock_guard guard(lock_);
  return {.scroll = (leds_ & kScrollLed) != 0, .num = (leds_ & kNumLed) != 0, .caps = (leds_ & kCapsLed) != 0};
}

void Keyboard::apply(Event event) {
  const uint32_t bit = 1u << event.usage % 32;
  if (event.down)
    down_[event.usage / 32] |= bit;
  else
    down_[event.usage / 32] &= ~bit;
}

// A report for each event that changes something: a key that is held repeats in the guest.
bool Keyboard::next_report(Bytes& report) {
  while (!events_.empty() || lost_) {
    const auto before = down_;
    if (events_.empty()) {
      lost_ = false;
      down_ = {};
    } else {
      apply(events_.front());
      events_.pop_front();
    }
    if (down_ == before) continue;
    report = present_report();
    return true;
  }
  return false;
}

Device::Bytes Keyboard::present_report() const {
  Bytes report(2 + kKeys);
  size_t count = 0;
  for (unsigned usage = 4; usage < 256; ++usage) {
    if (!(down_[usage / 32] >> usage % 32 & 1)) continue;
    if (usage >= kFirstModifier && usage <= kLastModifier)
      report[0] |= static_cast<uint8_t>(1u << (usage - kFirstModifier));
    else if (count++ < kKeys)
      report[1 + count] = static_cast<uint8_t>(usage);
  }
  if (count > kKeys) std::fill(report.begin() + 2, report.end(), kRollOver);
  return report;
}

void Keyboard::output_report(std::span<const uint8_t> report) {
  if (!report.empty()) leds_ = report[0] & kAllLeds;
}

void Keyboard::clear() {
  events_.clear();
  lost_ = false;
  down_ = {};
  leds_ = 0;
}

void Keyboard::describe_kind(state::Fields& fields) {
  std::vector<uint8_t> raw;
  for (const Event& event : events_) raw.insert(raw.end(), {event.usage, static_cast<uint8_t>(event.down)});
  fields.blob("events", raw, 2 * kMostEvents);
  fields.field("lost", lost_);
  fields.field("down", down_);
  fields.field("leds", leds_, state::in_mask(kAllLeds));
  events_.clear();
  for (size_t i = 0; i + 1 < raw.size(); i += 2) events_.push_back({raw[i], (raw[i + 1] & 1) != 0});
}

}  // namespace skerry::devices::usb
