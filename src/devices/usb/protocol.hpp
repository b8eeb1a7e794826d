// What goes over the bus: USB 2.0 (chapter 9) and USB 3.2 (chapter 9).
#pragma once

#include <cstdint>

namespace skerry::devices::usb {

enum class Speed : uint8_t { kFull = 1, kLow = 2, kHigh = 3, kSuper = 4 };  // as in xHCI 1.2, 7.2.2.1.1 (default speed IDs)

// USB 2.0, 9.3.
struct Setup {
  uint8_t type = 0, request = 0;
  uint16_t value = 0, index = 0, length = 0;

  bool to_host() const { return type & 0x80; }
  uint8_t kind() const { return type & 0x60; }
  uint8_t recipient() const { return type & 0x1f; }
};
constexpr uint8_t kStandard = 0x00, kClass = 0x20;                       // kind
constexpr uint8_t kToDevice = 0x00, kToInterface = 0x01, kToEndpoint = 0x02;  // recipient

enum Request : uint8_t {  // 9.4
  GET_STATUS = 0,
  CLEAR_FEATURE = 1,
  SET_FEATURE = 3,
  GET_DESCRIPTOR = 6,
  GET_CONFIGURATION = 8,
  SET_CONFIGURATION = 9,
  GET_INTERFACE = 10,
  SET_INTERFACE = 11,
  SET_SEL = 48,  // USB 3.2, 9.4.12
  SET_ISOCH_DELAY = 49,
};
constexpr uint16_t ENDPOINT_HALT = 0, FUNCTION_SUSPEND = 0, U1_ENABLE = 48, U2_ENABLE = 49, LTM_ENABLE = 50;

enum DescriptorType : uint8_t {
  DEVICE = 1, CONFIGURATION = 2, STRING = 3, INTERFACE = 4, ENDPOINT = 5, BOS = 15, DEVICE_CAPABILITY = 16,
  HID = 0x21, REPORT = 0x22, SUPERSPEED_ENDPOINT_COMPANION = 48,
};
constexpr uint8_t kIn = 0x80;                            // of an endpoint's address
constexpr uint8_t kBulk = 2, kInterrupt = 3;             // bmAttributes
constexpr uint8_t kSelfPowered = 1 << 6, kAlwaysSet = 1 << 7;  // of a configuration

}  // namespace skerry::devices::usb
