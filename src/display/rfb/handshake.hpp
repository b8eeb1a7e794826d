// The conversation before a viewer is let in (RFC 6143, 7.1 to 7.3.1).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "display/rfb/security.hpp"
#include "display/rfb/vnc_auth.hpp"
#include "display/rfb/wire.hpp"

namespace skerry::display::rfb {

class Handshake {
 public:
  enum class Step : uint8_t {
    kNeedsMore,   // bytes of the viewer
    kGoesOn,      // call again with what follows the bytes that were used
    kStartTls,    // when everything is sent; then tls_done()
    kCheckLater,  // a password is there; check() when GuessLimit says so
    kDone,
    kRefused,  // the connection ends when everything is sent; why() says why
  };
  static constexpr size_t kMaxMessage = 1024;  // bytes that are needed at a time, at the most

  // Answers are appended to `out`, and so is the server's version at once. What it is given outlives it.
  Handshake(const Security& security, Bytes& out);

  // Takes one message from the front of `in`; `used` is set to its size.
  Step consume(std::span<const uint8_t> in, size_t& used);
  Step tls_done();
  Step check(GuessLimit& limit, int64_t now);

  const std::string& why() const { return why_; }
  bool shared() const { return shared_; }  // once done

 private:
  enum class State : uint8_t { kVersion, kType, kVencryptVersion, kVencryptSubtype, kTls, kResponse, kPlain, kShared };

  Step version(std::span<const uint8_t> in);
  Step choose_for_it();
  Step type(uint8_t chosen);
  Step vencrypt_version(std::span<const uint8_t> in);
  Step vencrypt_subtype(uint32_t chosen);
  Step ask_for_response();
  Step plain(std::span<const uint8_t> in, size_t& used);
  Step let_in(bool say_so);
  Step refuse(std::string why);
  void put_reason(const std::string& reason);

  const Security& security_;
  Bytes& out_;
  State state_ = State::kVersion;
  unsigned minor_ = 3;  // of protocol version 3
  bool shared_ = false;
  bool right_ = false;  // what is to be said after the check
  Challenge challenge_{};
  std::string why_;
};

}  // namespace skerry::display::rfb
