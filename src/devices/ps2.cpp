#include "devices/ps2.hpp"

#include <algorithm>

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
constexpr uint8_t kMouseId = 0x00;
constexpr std::array<uint8_t, 2> kKeyboardId = {0xab, 0x83};
}  // namespace

bool Ps2Queue::push(std::span<const uint8_t> bytes) {
  if (bytes.size() > bytes_.size() - count_) return false;
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
    default:  // kScanCodeSet; 0 asks which it is
      if (byte > 3) {
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
  const Ps2Queue kept = output;
  *this = {};
  output = kept;
}

void Ps2Mouse::reset() { *this = {}; }

void Ps2Mouse::command(uint8_t byte) {
  if (wrap_ && byte != kReset && byte != kResetWrapMode) return output.push(byte);
  if (awaited_ != 0) {
    if (awaited_ == kSetResolution) resolution_ = byte & 3;
    if (awaited_ == kSetSampleRate) sample_rate_ = byte;
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
      output.push(static_cast<uint8_t>(remote_ << 6 | reporting_ << 5 | scaling_2_to_1_ << 4));
      output.push(resolution_);
      output.push(sample_rate_);
      break;
    case kSetStreamMode:
    case kSetRemoteMode:
      remote_ = byte == kSetRemoteMode;
      break;
    case kReadData:  // it has not moved; bit 3 of the first byte is always set
      output.push(std::array<uint8_t, 3>{0x08, 0, 0});
      break;
    case kSetWrapMode:
    case kResetWrapMode:
      wrap_ = byte == kSetWrapMode;
      break;
    case kReadDeviceType:
      output.push(kMouseId);
      break;
    case kEnableReporting:
    case kDisableReporting:
      reporting_ = byte == kEnableReporting;
      break;
    case kSetDefault:
      defaults();
      break;
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
  });
}

}  // namespace skerry::devices
