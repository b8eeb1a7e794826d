// The texts of Ethernet addresses and of forwarded ports, and the addresses that cards have by themselves.
#include <algorithm>

#include "base/units.hpp"
#include "config/checks.hpp"

namespace skerry::config {

namespace {

constexpr uint8_t kGroupAddress = 1, kLocallyAdministered = 2;  // of the first byte, IEEE 802, 8.2

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// FNV-1a, and then a mixing of all bits (that of MurmurHash3), for names that differ in their last letter only.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccd;
  hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53;
  return hash ^ hash >> 33;
}

// "ADDRESS:PORT", either end of a forward.
Result<uint16_t> parse_end(std::string_view text, std::string& address) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return error("'{}' has no port", shown(text));
  address = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const bool decimal = !port.empty() && std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  const auto number = parse_number(port);
  if (!decimal || !number || *number < 1 || *number > 65535)
    return error("'{}' is not a port from 1 to 65535", shown(port));
  return static_cast<uint16_t>(*number);
}

}  // namespace

Result<Mac> parse_mac(std::string_view text) {
  constexpr std::string_view kExample = "use six pairs of hexadecimal digits such as 52:54:00:12:34:56";
  Mac mac{};
  if (text.size() != 3 * mac.size() - 1) return error("'{}' is not an Ethernet address; {}", shown(text), kExample);
  for (size_t i = 0; i < mac.size(); ++i) {
    const int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i + 1 < mac.size() && text[3 * i + 2] != ':'))
      return error("'{}' is not an Ethernet address; {}", shown(text), kExample);
    mac[i] = static_cast<uint8_t>(high << 4 | low);
  }
  if (mac[0] & kGroupAddress)
    return error("'{}' is the address of a group, not of one card; its first byte must be even", text);
  if (mac == Mac{}) return error("'{}' is no card's address; {}", text, kExample);
  return mac;
}

std::string to_string(const Mac& mac) { return fmt::format("{:02x}", fmt::join(mac, ":")); }

Mac mac_of(const VmConfig& config, size_t index) {
  const std::string& own = config.nics[index].mac;
  if (!own.empty())
    if (const auto parsed = parse_mac(own)) return *parsed;
  uint64_t hash = hash_of(fmt::format("{}/{}", config.name, index));
  Mac mac;
  for (uint8_t& byte : mac) {
    byte = static_cast<uint8_t>(hash);
    hash >>= 8;
  }
  mac[0] = static_cast<uint8_t>((mac[0] & ~kGroupAddress) | kLocallyAdministered);
  return mac;
}

Result<PortForward> parse_forward(std::string_view text) {
  constexpr std::string_view kForm = "the form is PROTOCOL:[ADDRESS]:PORT-[GUEST ADDRESS]:PORT, as in tcp:127.0.0.1:2222-:22";
  PortForward forward;
  const size_t colon = text.find(':'), dash = text.find('-');
  const std::string_view protocol = text.substr(0, colon);
  if (colon == text.npos || dash == text.npos || dash < colon) return error("'{}': {}", shown(text), kForm);
  if (protocol != "tcp" && protocol != "udp")
    return error("'{}': '{}' is neither tcp nor udp; {}", shown(text), shown(protocol), kForm);
  forward.udp = protocol == "udp";
  const auto host = parse_end(text.substr(colon + 1, dash - colon - 1), forward.host_address);
  if (!host) return error("'{}': {}; {}", shown(text), host.error().message(), kForm);
  const auto guest = parse_end(text.substr(dash + 1), forward.guest_address);
  if (!guest) return error("'{}': {}; {}", shown(text), guest.error().message(), kForm);
  forward.host_port = *host;
  forward.guest_port = *guest;
  return forward;
}

std::string to_string(const PortForward& forward) {
  return fmt::format("{}:{}:{}-{}:{}", forward.udp ? "udp" : "tcp", forward.host_address, forward.host_port,
                     forward.guest_address, forward.guest_port);
}

}  // namespace skerry::config
