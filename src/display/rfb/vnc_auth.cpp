#include "display/rfb/vnc_auth.hpp"

#include <nettle/des.h>
#include <nettle/memops.h>

#include <algorithm>

namespace skerry::display::rfb {

namespace {

// The key is the password filled up with 0, each byte with its bits in reverse: RFC 6143's erratum 4951.
uint8_t reversed(uint8_t byte) {
  uint8_t result = 0;
  for (unsigned bit = 0; bit < 8; ++bit) result = static_cast<uint8_t>(result | (byte >> bit & 1) << (7 - bit));
  return result;
}

}  // namespace

Challenge vnc_response(const Challenge& challenge, std::string_view password) {
  std::array<uint8_t, DES_KEY_SIZE> key{};
  for (size_t n = 0; n < std::min(password.size(), key.size()); ++n) key[n] = reversed(static_cast<uint8_t>(password[n]));
  des_ctx context;
  (void)::des_set_key(&context, key.data());  // it says if the key is a weak one, which it has to be used as too
  Challenge response;
  ::des_encrypt(&context, response.size(), response.data(), challenge.data());
  return response;
}

bool equal_secrets(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return a.size() == b.size() && ::memeql_sec(a.data(), b.data(), a.size()) != 0;
}

}  // namespace skerry::display::rfb
