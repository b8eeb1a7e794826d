// VNC Authentication (RFC 6143, 7.2.2): the viewer encrypts a challenge with the password by DES. No protection against
// who listens or sits in between; TLS is.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace skerry::display::rfb {

constexpr size_t kMaxVncPassword = 8;  // bytes; what is beyond has no meaning
constexpr size_t kChallengeSize = 16;
using Challenge = std::array<uint8_t, kChallengeSize>;

Challenge vnc_response(const Challenge& challenge, std::string_view password);

// In a time that depends on the sizes only.
bool equal_secrets(std::span<const uint8_t> a, std::span<const uint8_t> b);

}  // namespace skerry::display::rfb
