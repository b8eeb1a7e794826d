#include "devices/ps2.hpp"

#include <algorithm>
#include <utility>

namespace skerry::devices {

namespace {
constexpr uint8_t kAck = 0xfa, kSelfTestPassed = 0xaa, kResend = 0xfe;

enum KeyboardCommand : uint8_t {
  kSetLeds = 0xed,
  kEcho = 0xee,
  kScanCodeSet = 0xf0,
  kReadId = 0xf2,
  kSetTypematic = 0xf3,
  kEnable = 0xf4,
  kDefaultDisable = 0xf5,
  kSetDefault = 0xf6,
  kSetAllKeysFirst = 0xf7,  // to 0xfa; of scan code set 3
  kSetAllKeysLast = 0xfa,
  kResendLast = 0xfe,
  kReset = 0xff,
};
enum MouseCommand : uint8_t {
  kSetScaling1To1 = 0xe6,
  kSetScaling2To1 = 0xe7,
  kSetResolution = 0xe8,
  kStatusRequest = 0xe9,
  kSetStreamMode = 0xea,
  kReadData = 0xeb,
  kResetWrapMode = 0xec,
  kSetWrapMode = 0xee,
  kSetRemoteMode = 0xf0,
  kReadDeviceType = 0xf2,
  kSetSampleRate = 0xf3,
  kEnableReporting = 0xf4,
  kDisableReporting = 0xf5,
};
constexpr uint8_t kMouseId = 0x00, kWheelMouseId = 0x03;
// Microsoft's IntelliMouse: these sample rates in a row make it tell of its wheel.
constexpr std::array<uint8_t, 3> kWheelKnock = {200, 100, 80};
constexpr int32_t kMaxStep = 255, kMaxWheelStep = 7, kMaxUntold = 0x7fff;

// Pause has a code of its own, and none for its release.
constexpr std::array<uint8_t, 6> kPauseInSet1 = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
constexpr std::array<uint8_t, 8> kPauseInSet2 = {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
constexpr uint8_t kExtended = 0xe0, kRelease = 0xf0, kReleaseBit = 0x80;

// Scan code set 2 to set 1, codes up to 0x84; the others are the same in both.
constexpr std::array<uint8_t, 0x85> kSet2ToSet1 = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,  //
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,  //
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,  //
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,  //
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,  //
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,  //
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,  //
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,  //
    0x80, 0x81, 0x82, 0x41, 0x54,
};

// Of two that mean the same the one that keyboards send is the last.
constexpr auto kSet1ToSet2 = [] {
  std::array<uint8_t, 0x80> inverse{};
  for (unsigned code = 0; code < kSet2ToSet1.size(); ++code)
    if (kSet2ToSet1[code] < inverse.size()) inverse[kSet2ToSet1[code]] = static_cast<uint8_t>(code);
  return inverse;
}();
constexpr std::array<uint8_t, 2> kKeyboardId = {0xab, 0x83};
}  // namespace

uint8_t set1_of_set2(uint8_t code) { return code < kSet2ToSet1.size() ? kSet2ToSet1[code] : code; }

bool Ps2Queue::push(std::span<const uint8_t> bytes) {
  if (!has_room(bytes.size())) return false;
  for (const uint8_t byte : bytes) push(byte);
  return true;
}

uint8_t Ps2Queue::pop() {
  const uint8_t byte = bytes_[0];
  std::copy(bytes_.begin() + 1, bytes_.end(), bytes_.begin());
  --count_;
  return byte;
}

void Ps2Queue::describe(state::Fields& fields, std::string_view name) {
  fields.group(name, [&] {
    fields.field("bytes", bytes_);
    fields.field("count", count_, state::up_to(bytes_.size()));
  });
}

// --- keyboard --------------------------------------------------------------------------------------------------------

void Ps2Keyboard::reset() { *this = {}; }

bool Ps2Keyboard::key(display::KeyCode key, bool down) {
  if (!scanning_) return false;
  const bool set1 = scan_code_set_ == 1;
  if (key == display::KeyCode::kPause) return !down || (set1 ? output.push(kPauseInSet1) : output.push(kPauseInSet2));
  const uint16_t code = display::set1_code(key);
  std::array<uint8_t, 3> bytes{};
  size_t count = 0;
  if (code >> 8) bytes[count++] = kExtended;
  if (!set1 && !down) bytes[count++] = kRelease;
  const auto low = static_cast<uint8_t>(code);
  bytes[count++] = set1 ? static_cast<uint8_t>(low | (down ? 0 : kReleaseBit)) : kSet1ToSet2[low & 0x7f];
  return output.push(std::span(bytes).first(count));
}

display::Leds Ps2Keyboard::leds(uint8_t lamps) {
  return {.scroll = (lamps & 1) != 0, .num = (lamps & 2) != 0, .caps = (lamps & 4) != 0};
}

void Ps2Keyboard::command(uint8_t byte) {
  if (awaited_ != 0) return argument(byte);
  switch (byte) {
    case kSetLeds:
    case kScanCodeSet:
    case kSetTypematic:
      awaited_ = byte;
      output.push(kAck);
      break;
    case kEcho:
      output.push(kEcho);
      break;
    case kReadId:
      output.push(kAck);
      output.push(kKeyboardId);
      break;
    case kEnable:
    case kSetDefault:
    case kDefaultDisable:
      output.clear();
      if (byte != kEnable) {
        scan_code_set_ = 2;
        typematic_ = Ps2Keyboard().typematic_;
      }
      scanning_ = byte != kDefaultDisable;
      output.push(kAck);
      break;
    case kReset:
      reset();
      output.push(kAck);
      output.push(kSelfTestPassed);
      break;
    default:
      output.push(byte >= kSetAllKeysFirst && byte <= kSetAllKeysLast ? kAck : kResend);
      break;
  }
}

void Ps2Keyboard::argument(uint8_t byte) {
  const uint8_t command = awaited_;
  awaited_ = 0;
  switch (command) {
    case kSetLeds:
      leds_ = byte & 7;
      output.push(kAck);
      break;
    case kSetTypematic:
      typematic_ = byte & 0x7f;
      output.push(kAck);
      break;
    default:  // kScanCodeSet; 0 asks which it is. There is no set 3: nobody asks for it who has another
      if (byte > 2) {
        output.push(kResend);
        break;
      }
      output.push(kAck);
      if (byte == 0)
        output.push(scan_code_set_);
      else
        scan_code_set_ = byte;
      break;
  }
}

void Ps2Keyboard::describe(state::Fields& fields) {
  fields.group("keyboard", [&] {
    output.describe(fields, "output");
    fields.field("awaited", awaited_);
    fields.field("scan_code_set", scan_code_set_, {1, 3, 3});
    fields.field("leds", leds_, state::up_to(7));
    fields.field("typematic", typematic_, state::up_to(0x7f));
    fields.field("scanning", scanning_);
  });
}

// --- mouse -----------------------------------------------------------------------------------------------------------

void Ps2Mouse::defaults() {
  Ps2Mouse fresh;
  fresh.output = output;
  fresh.buttons_ = buttons_;
  *this = fresh;
}

uint8_t Ps2Mouse::buttons() const { return static_cast<uint8_t>(buttons_.left | buttons_.right << 1 | buttons_.middle << 2); }

void Ps2Mouse::set_sample_rate(uint8_t rate) {
  sample_rate_ = rate;
  last_rates_ = {last_rates_[1], last_rates_[2], rate};
  if (last_rates_ == kWheelKnock) id_ = kWheelMouseId;
}

void Ps2Mouse::move(int32_t dx, int32_t dy, int32_t dz, display::Buttons buttons) {
  const auto add = [](int16_t& sum, int32_t step) {
    sum = static_cast<int16_t>(std::clamp(sum + std::clamp(step, -kMaxUntold, kMaxUntold), -kMaxUntold, kMaxUntold));
  };
  add(dx_, dx);
  add(dy_, dy);
  add(dz_, dz);
  news_ |= dx != 0 || dy != 0 || dz != 0 || buttons != buttons_;
  buttons_ = buttons;
  report();
}

uint8_t Ps2Mouse::take() {
  const uint8_t byte = output.pop();
  report();
  return byte;
}

void Ps2Mouse::report() {
  if (!reporting_) {  // what happened before it reports is nobody's
    dx_ = dy_ = dz_ = 0;
    news_ = false;
  }
  if (remote_) return;
  while (news_ && output.has_room(4)) send_report();
}

void Ps2Mouse::send_report() {
  const auto take_step = [](int16_t& sum, int32_t most) {
    const int32_t step = std::clamp<int32_t>(sum, -most, most);
    sum = static_cast<int16_t>(sum - step);
    return step;
  };
  const int32_t dx = take_step(dx_, kMaxStep), dy = -take_step(dy_, kMaxStep), dz = take_step(dz_, kMaxWheelStep);
  output.push(static_cast<uint8_t>(buttons() | 1 << 3 | (dx < 0) << 4 | (dy < 0) << 5));
  output.push(static_cast<uint8_t>(dx));
  output.push(static_cast<uint8_t>(dy));
  if (id_ == kWheelMouseId) output.push(static_cast<uint8_t>(dz));
  news_ = dx_ != 0 || dy_ != 0 || dz_ != 0;
}

void Ps2Mouse::reset() { *this = {}; }

void Ps2Mouse::command(uint8_t byte) {
  if (wrap_ && byte != kReset && byte != kResetWrapMode) return output.push(byte);
  if (awaited_ != 0) {
    if (awaited_ == kSetResolution) resolution_ = byte & 3;
    if (awaited_ == kSetSampleRate) set_sample_rate(byte);
    awaited_ = 0;
    return output.push(kAck);
  }
  output.clear();  // an answer is the first byte after its command
  output.push(byte >= kSetScaling1To1 ? kAck : kResend);
  switch (byte) {
    case kSetScaling1To1:
    case kSetScaling2To1:
      scaling_2_to_1_ = byte == kSetScaling2To1;
      break;
    case kSetResolution:
    case kSetSampleRate:
      awaited_ = byte;
      break;
    case kStatusRequest:
      output.push(static_cast<uint8_t>(remote_ << 6 | reporting_ << 5 | scaling_2_to_1_ << 4 | buttons_.left << 2 | buttons_.middle << 1 |
                                       buttons_.right));
      output.push(resolution_);
      output.push(sample_rate_);
      break;
    case kSetStreamMode:
    case kSetRemoteMode:
      remote_ = byte == kSetRemoteMode;
      break;
    case kReadData:
      send_report();
      break;
    case kSetWrapMode:
    case kResetWrapMode:
      wrap_ = byte == kSetWrapMode;
      break;
    case kReadDeviceType:
      output.push(id_);
      break;
    case kEnableReporting:
    case kDisableReporting:
      reporting_ = byte == kEnableReporting;
      break;
    case kSetDefault: {
      const uint8_t id = id_;
      defaults();
      id_ = id;
      break;
    }
    case kReset:
      defaults();
      output.push(kSelfTestPassed);
      output.push(kMouseId);
      break;
    default:
      break;
  }
}

void Ps2Mouse::describe(state::Fields& fields) {
  fields.group("mouse", [&] {
    output.describe(fields, "output");
    fields.field("awaited", awaited_);
    fields.field("resolution", resolution_, state::up_to(3));
    fields.field("sample_rate", sample_rate_);
    fields.field("scaling_2_to_1", scaling_2_to_1_);
    fields.field("remote", remote_);
    fields.field("wrap", wrap_);
    fields.field("reporting", reporting_);
    const bool told = id_ == kMouseId && last_rates_ == Ps2Mouse().last_rates_ && !news_ && buttons_ == display::Buttons();
    const bool moved = fields.later("moved", !told, [&] {
      fields.field("left", buttons_.left);
      fields.field("middle", buttons_.middle);
      fields.field("right", buttons_.right);
      fields.field("dx", dx_);
      fields.field("dy", dy_);
      fields.field("dz", dz_);
      fields.field("news", news_);
      fields.field("id", id_, state::in_mask(kWheelMouseId));
      fields.field("last_rates", last_rates_);
    });
    if (moved) return;
    buttons_ = {};
    dx_ = dy_ = dz_ = 0;
    news_ = false;
    id_ = kMouseId;
    last_rates_ = {};
  });
}

}  // namespace skerry::devices
