#include "devices/usb/device.hpp"

#include <algorithm>

namespace skerry::devices::usb {

namespace {
constexpr uint16_t kEnglish = 0x0409;
constexpr uint8_t kOnly = 1;  // the number of the configuration
}  // namespace

// --- transfers -------------------------------------------------------------------------------------------------------

bool Device::control(const Setup& setup, Bytes& data) {
  const bool good = setup.kind() == kStandard ? standard(setup, data) || class_control(setup, data) : class_control(setup, data);
  if (good && setup.to_host()) data.resize(std::min<size_t>(data.size(), setup.length));
  return good;
}

Task<Transfer> Device::transfer(uint8_t endpoint, std::span<const iovec> data) {
  if (!configured() || (halted_ & bit(endpoint)) || !has_endpoint(endpoint)) co_return Transfer{Transfer::Result::kStall};
  co_return co_await class_transfer(endpoint, data);
}

void Device::reset() {
  configuration_ = 0;
  halted_ = 0;
  class_reset();
  configuration_changed();
}

void Device::describe(state::Fields& fields) {
  fields.field("configuration", configuration_, state::up_to(kOnly));
  fields.field("halted", halted_);
  describe_class(fields);
}

bool Device::has_endpoint(uint8_t endpoint) const {
  const Bytes& all = descriptors_.configuration;
  for (size_t at = 0; at + 2 < all.size() && all[at] != 0; at += all[at])
    if (all[at + 1] == ENDPOINT && all[at + 2] == endpoint) return true;
  return false;
}

// --- standard requests (USB 2.0, 9.4) --------------------------------------------------------------------------------

bool Device::standard(const Setup& setup, Bytes& data) {
  switch (setup.request) {
    case GET_STATUS: return get_status(setup, data);
    case CLEAR_FEATURE: return feature(setup, false);
    case SET_FEATURE: return feature(setup, true);
    case GET_DESCRIPTOR: return setup.recipient() == kToDevice && descriptor(setup, data);
    case GET_CONFIGURATION: data = {configuration_}; return true;
    case SET_CONFIGURATION:
      if (setup.value > kOnly) return false;
      configuration_ = static_cast<uint8_t>(setup.value);
      halted_ = 0;
      class_reset();
      configuration_changed();
      return true;
    case GET_INTERFACE: data = {0}; return configured() && setup.index == 0;
    case SET_INTERFACE:
      if (!configured() || setup.index != 0 || setup.value != 0) return false;
      halted_ = 0;
      return true;
    case SET_SEL: case SET_ISOCH_DELAY: return speed() == Speed::kSuper;
    default: return false;
  }
}

bool Device::get_status(const Setup& setup, Bytes& data) const {
  uint8_t status = 0;
  if (setup.recipient() == kToEndpoint) {
    const auto endpoint = static_cast<uint8_t>(setup.index);
    if ((endpoint & 15) != 0 && !has_endpoint(endpoint)) return false;
    status = halted_ & bit(endpoint) ? 1 : 0;
  } else if (setup.recipient() == kToDevice) {
    status = descriptors_.configuration[7] & kSelfPowered ? 1 : 0;
  } else if (setup.index != 0) {
    return false;
  }
  data = {status, 0};
  return true;
}

bool Device::feature(const Setup& setup, bool set) {
  const auto endpoint = static_cast<uint8_t>(setup.index);
  switch (setup.recipient()) {
    case kToEndpoint:
      if (setup.value != ENDPOINT_HALT) return false;
      if ((endpoint & 15) == 0) return true;
      if (!has_endpoint(endpoint)) return false;
      if (set) {
        halt(endpoint);
      } else if (may_clear(endpoint)) {
        halted_ &= ~bit(endpoint);
        endpoint_cleared(endpoint);
      }
      return true;
    // The link's power states: a link that is always there may be asked for them.
    case kToDevice: return speed() == Speed::kSuper && setup.value >= U1_ENABLE && setup.value <= LTM_ENABLE;
    case kToInterface: return speed() == Speed::kSuper && setup.value == FUNCTION_SUSPEND;
    default: return false;
  }
}

bool Device::descriptor(const Setup& setup, Bytes& data) const {
  const auto type = static_cast<uint8_t>(setup.value >> 8), index = static_cast<uint8_t>(setup.value);
  switch (type) {
    case DEVICE: data = descriptors_.device; return true;
    case CONFIGURATION: data = descriptors_.configuration; return index == 0;
    case BOS: data = descriptors_.bos; return !data.empty();
    case STRING: {
      if (index == 0) {
        data = {4, STRING, kEnglish & 0xff, kEnglish >> 8};
        return true;
      }
      if (index > descriptors_.strings.size()) return false;
      const std::string& text = descriptors_.strings[index - 1];
      data = {static_cast<uint8_t>(2 + 2 * text.size()), STRING};
      for (const char c : text) {
        data.push_back(static_cast<uint8_t>(c));
        data.push_back(0);
      }
      return true;
    }
    default: return false;
  }
}

// --- descriptors (9.6) -----------------------------------------------------------------------------------------------

Device::Bytes device_descriptor(const DeviceFacts& facts) {
  const auto low = [](uint16_t value) { return static_cast<uint8_t>(value); };
  const auto high = [](uint16_t value) { return static_cast<uint8_t>(value >> 8); };
  return {18, DEVICE, low(facts.usb), high(facts.usb), 0, 0, 0, facts.control_packet, low(facts.vendor), high(facts.vendor),
          low(facts.product), high(facts.product), 0, 1, 1, 2, 3, 1};  // release 1.0; strings 1 to 3; one configuration
}

Device::Bytes configuration_descriptor(uint8_t power, const Device::Bytes& rest) {
  const size_t size = 9 + rest.size();
  return join({{9, CONFIGURATION, static_cast<uint8_t>(size), static_cast<uint8_t>(size >> 8), 1, kOnly, 0, kAlwaysSet, power}, rest});
}

Device::Bytes interface_descriptor(uint8_t endpoints, uint8_t class_code, uint8_t subclass, uint8_t protocol) {
  return {9, INTERFACE, 0, 0, endpoints, class_code, subclass, protocol, 0};
}

Device::Bytes endpoint_descriptor(uint8_t address, uint8_t attributes, uint16_t packet, uint8_t interval) {
  return {7, ENDPOINT, address, attributes, static_cast<uint8_t>(packet), static_cast<uint8_t>(packet >> 8), interval};
}

Device::Bytes join(std::initializer_list<Device::Bytes> parts) {
  Device::Bytes all;
  for (const Device::Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace skerry::devices::usb
