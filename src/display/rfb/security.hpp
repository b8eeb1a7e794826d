// What a viewer has to do to be let in, and how often it may try. Belongs to the server's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "display/rfb/protocol.hpp"
#include "display/rfb/tls.hpp"

namespace skerry::display::rfb {

struct Security {
  bool asks_for_password = false;
  std::string password;             // empty, and asked for: there is no right one
  std::string user;                 // not empty: a name and the password are asked for, inside of TLS
  std::unique_ptr<TlsContext> tls;  // none: viewers are not encrypted

  // What viewers may choose from: exactly one of each.
  SecurityType type() const {
    if (tls) return SecurityType::kVeNCrypt;
    return asks_for_password ? SecurityType::kVncAuthentication : SecurityType::kNone;
  }
  VencryptSubtype subtype() const {
    if (!tls->has_certificate()) return asks_for_password ? VencryptSubtype::kTlsVnc : VencryptSubtype::kTlsNone;
    if (!user.empty()) return VencryptSubtype::kX509Plain;
    return asks_for_password ? VencryptSubtype::kX509Vnc : VencryptSubtype::kX509None;
  }
};

// After a wrong password none is looked at for a while, wherever it comes from: one guess a second at most, and then one
// in eight. Who knows the password waits in line with those who guess.
class GuessLimit {
 public:
  explicit GuessLimit(int64_t first_delay_ns) : first_delay_(first_delay_ns) {}
  int64_t next() const { return next_; }  // when one may be looked at, ns of the server's clock
  void right() { wrong_ = 0; }
  void wrong(int64_t now) { next_ = now + (first_delay_ << std::min(wrong_++, kMostDoublings)); }

 private:
  static constexpr unsigned kMostDoublings = 3;
  const int64_t first_delay_;
  int64_t next_ = 0;
  unsigned wrong_ = 0;  // in a row
};

}  // namespace skerry::display::rfb
