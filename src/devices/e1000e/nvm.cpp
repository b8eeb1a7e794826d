#include "devices/e1000e/nvm.hpp"

namespace skerry::devices::e1000e {

namespace {
// Of EERD and EEWR.
constexpr uint32_t kStart = 1 << 0, kDone = 1 << 1, kAddressMask = 0xfffc;
constexpr unsigned kAddressShift = 2, kDataShift = 16;
// 6.1.1, words of the hardware's area and of software's.
constexpr unsigned kCompatibility = 0x03, kIdLed = 0x04, kPba = 0x08, kInit1 = 0x0a, kSubsystemId = 0x0b, kSubsystemVendor = 0x0c;
constexpr unsigned kDeviceId = 0x0d, kVendorId = 0x0e, kInit2 = 0x0f, kChecksum = 0x3f;
constexpr uint16_t kSum = 0xbaba;  // of all words up to the checksum's
}  // namespace

Nvm::Nvm(const Mac& mac) {
  for (unsigned i = 0; i < 3; ++i) words_[i] = static_cast<uint16_t>(mac[2 * i] | mac[2 * i + 1] << 8);
  words_[kCompatibility] = 0x0420;
  words_[kIdLed] = 0xf746;  // "reserved": drivers take their own default
  words_[kPba] = 0xffff;    // no part number
  words_[kPba + 1] = 0xffff;
  words_[kInit1] = 0x026b;
  words_[kSubsystemId] = 0x0000;
  words_[kSubsystemVendor] = 0x8086;
  words_[kDeviceId] = 0x10d3;
  words_[kVendorId] = 0x8086;
  words_[kInit2] = 0x8000;  // no management
  uint16_t sum = 0;
  for (unsigned i = 0; i < kChecksum; ++i) sum = static_cast<uint16_t>(sum + words_[i]);
  words_[kChecksum] = static_cast<uint16_t>(kSum - sum);
}

uint32_t Nvm::read_command(uint32_t value) const {
  if (!(value & kStart)) return value & kAddressMask;
  const unsigned index = (value & kAddressMask) >> kAddressShift;
  return uint32_t{word(index)} << kDataShift | (value & kAddressMask) | kDone;
}

uint32_t Nvm::write_command(uint32_t value) { return (value & ~kStart) | kDone; }

}  // namespace skerry::devices::e1000e
