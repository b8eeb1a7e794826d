#include "display/rfb/handshake.hpp"

#include <sys/random.h>

#include <string_view>
#include <utility>

#include "base/result.hpp"

namespace skerry::display::rfb {

namespace {

constexpr std::string_view kOurVersion = "RFB 003.008\n";
constexpr uint32_t kResultOk = 0, kResultFailed = 1;  // RFC 6143, 7.1.3
constexpr uint32_t kMaxPlain = 255;                   // bytes of a name or a password

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

bool is_digits(std::span<const uint8_t> text) {
  for (const uint8_t character : text)
    if (character < '0' || character > '9') return false;
  return true;
}

bool fill_with_chance(Challenge& challenge) {
  return ::getrandom(challenge.data(), challenge.size(), 0) == static_cast<ssize_t>(challenge.size());
}

}  // namespace

Handshake::Handshake(const Security& security, Bytes& out) : security_(security), out_(out) {
  put_bytes(out_, bytes_of(kOurVersion));
}

Handshake::Step Handshake::consume(std::span<const uint8_t> in, size_t& used) {
  constexpr size_t kSizes[] = {kOurVersion.size(), 1, 2, 4, 0, kChallengeSize, 8, 1};
  const size_t needed = kSizes[static_cast<size_t>(state_)];
  used = 0;
  if (in.size() < needed || needed == 0) return Step::kNeedsMore;
  used = needed;
  switch (state_) {
    case State::kVersion:
      return version(in);
    case State::kType:
      return type(in[0]);
    case State::kVencryptVersion:
      return vencrypt_version(in);
    case State::kVencryptSubtype:
      return vencrypt_subtype(get_u32(in, 0));
    case State::kTls:
      break;
    case State::kResponse: {
      const Challenge right = vnc_response(challenge_, security_.password);
      right_ = !security_.password.empty() && equal_secrets(in.first(kChallengeSize), right);
      return Step::kCheckLater;
    }
    case State::kPlain:
      return plain(in, used);
    case State::kShared:
      shared_ = in[0] != 0;
      return Step::kDone;
  }
  return Step::kNeedsMore;
}

// RFC 6143, 7.1.1. Other numbers than 3.3, 3.7 and 3.8 are those of programs that meant the one before.
Handshake::Step Handshake::version(std::span<const uint8_t> in) {
  const std::string_view text(reinterpret_cast<const char*>(in.data()), kOurVersion.size());
  if (!text.starts_with("RFB ") || text[7] != '.' || text[11] != '\n' || !is_digits(in.subspan(4, 3)) ||
      !is_digits(in.subspan(8, 3)))
    return refuse("it does not speak RFB");
  if (text.substr(4, 3) != "003") return refuse("it speaks another version of RFB than 3");
  const int minor = (text[8] - '0') * 100 + (text[9] - '0') * 10 + (text[10] - '0');
  minor_ = minor >= 8 ? 8 : minor == 7 ? 7 : 3;
  if (minor_ == 3) return choose_for_it();
  put_u8(out_, 1);
  put_u8(out_, static_cast<uint32_t>(security_.type()));
  state_ = State::kType;
  return Step::kGoesOn;
}

// Version 3.3: the server says which.
Handshake::Step Handshake::choose_for_it() {
  if (security_.type() == SecurityType::kVeNCrypt) {
    put_u32(out_, static_cast<uint32_t>(SecurityType::kInvalid));
    put_reason("this server wants TLS (VeNCrypt), which protocol 3.3 does not have");
    return refuse("it speaks protocol 3.3, which has no TLS");
  }
  put_u32(out_, static_cast<uint32_t>(security_.type()));
  return security_.type() == SecurityType::kNone ? let_in(false) : ask_for_response();
}

Handshake::Step Handshake::type(uint8_t chosen) {
  if (chosen != static_cast<uint8_t>(security_.type())) {
    put_u32(out_, kResultFailed);
    if (minor_ >= 8) put_reason("this security type is not offered");
    return refuse(fmt::format("it chose security type {}, which was not offered", chosen));
  }
  if (security_.type() == SecurityType::kNone) return let_in(minor_ >= 8);
  if (security_.type() == SecurityType::kVncAuthentication) return ask_for_response();
  put_u8(out_, 0);  // version 0.2
  put_u8(out_, 2);
  state_ = State::kVencryptVersion;
  return Step::kGoesOn;
}

Handshake::Step Handshake::vencrypt_version(std::span<const uint8_t> in) {
  const bool known = in[0] == 0 && in[1] == 2;
  put_u8(out_, known ? 0 : 0xff);
  if (!known) return refuse(fmt::format("it speaks VeNCrypt {}.{}; this is 0.2", in[0], in[1]));
  put_u8(out_, 1);
  put_u32(out_, static_cast<uint32_t>(security_.subtype()));
  state_ = State::kVencryptSubtype;
  return Step::kGoesOn;
}

Handshake::Step Handshake::vencrypt_subtype(uint32_t chosen) {
  const bool offered = chosen == static_cast<uint32_t>(security_.subtype());
  put_u8(out_, offered ? 1 : 0);
  if (!offered) return refuse(fmt::format("it chose VeNCrypt's type {}, which was not offered", chosen));
  state_ = State::kTls;
  return Step::kStartTls;
}

Handshake::Step Handshake::tls_done() {
  switch (security_.subtype()) {
    case VencryptSubtype::kTlsNone:
    case VencryptSubtype::kX509None:
      return let_in(true);
    case VencryptSubtype::kTlsVnc:
    case VencryptSubtype::kX509Vnc:
      return ask_for_response();
    case VencryptSubtype::kX509Plain:
      state_ = State::kPlain;
      break;
  }
  return Step::kGoesOn;
}

Handshake::Step Handshake::ask_for_response() {
  if (!fill_with_chance(challenge_)) return refuse("there is no randomness for a challenge");
  put_bytes(out_, challenge_);
  state_ = State::kResponse;
  return Step::kGoesOn;
}

// rfbproto, "VeNCrypt": the lengths of a name and a password, and these.
Handshake::Step Handshake::plain(std::span<const uint8_t> in, size_t& used) {
  const uint32_t name_size = get_u32(in, 0), password_size = get_u32(in, 4);
  if (name_size > kMaxPlain || password_size > kMaxPlain)
    return refuse(fmt::format("it sent a name or password of more than {} bytes", kMaxPlain));
  const auto rest = in.subspan(8);
  if (rest.size() < name_size + password_size) {
    used = 0;
    return Step::kNeedsMore;
  }
  used += name_size + password_size;
  const bool right_name = equal_secrets(rest.first(name_size), bytes_of(security_.user));
  const bool right_password = equal_secrets(rest.subspan(name_size, password_size), bytes_of(security_.password));
  right_ = !security_.password.empty() && right_name & right_password;
  return Step::kCheckLater;
}

Handshake::Step Handshake::check(GuessLimit& limit, int64_t now) {
  if (right_) {
    limit.right();
    return let_in(true);
  }
  limit.wrong(now);
  put_u32(out_, kResultFailed);
  if (minor_ >= 8) put_reason("wrong password");
  return refuse("its password is wrong");
}

Handshake::Step Handshake::let_in(bool say_so) {
  if (say_so) put_u32(out_, kResultOk);
  state_ = State::kShared;
  return Step::kGoesOn;
}

Handshake::Step Handshake::refuse(std::string why) {
  why_ = std::move(why);
  return Step::kRefused;
}

void Handshake::put_reason(const std::string& reason) {
  put_u32(out_, static_cast<uint32_t>(reason.size()));
  put_bytes(out_, bytes_of(reason));
}

}  // namespace skerry::display::rfb
