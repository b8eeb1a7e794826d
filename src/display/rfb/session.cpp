#include "display/rfb/session.hpp"

#include <algorithm>
#include <utility>

#include "display/rfb/protocol.hpp"

namespace skerry::display::rfb {

namespace {

constexpr uint32_t kMaxEncodings = 1024;
constexpr uint32_t kMaxCutText = 64 * 1024 * 1024;  // bytes
static_assert(4 + 4 * kMaxEncodings <= Session::kMaxMessage && 8 + 16 * 255 <= Session::kMaxMessage);

// RFC 6143, 7.3.2
void put_server_init(Bytes& out, Screen::Size size, const std::string& name) {
  put_u16(out, size.width);
  put_u16(out, size.height);
  PixelFormat().write(out);
  put_u32(out, static_cast<uint32_t>(name.size()));
  out.insert(out.end(), name.begin(), name.end());
}

// The size of the message in front, as far as `in` says it already.
Result<size_t> message_size(std::span<const uint8_t> in) {
  switch (static_cast<ClientMessage>(in[0])) {
    case ClientMessage::kSetPixelFormat:
      return size_t{4 + PixelFormat::kSize};
    case ClientMessage::kSetEncodings:
      if (in.size() < 4) return size_t{4};
      if (get_u16(in, 2) > kMaxEncodings)
        return error("it lists {} encodings; {} are taken", get_u16(in, 2), kMaxEncodings);
      return size_t{4} + 4 * get_u16(in, 2);
    case ClientMessage::kFramebufferUpdateRequest:
      return size_t{10};
    case ClientMessage::kKeyEvent:
    case ClientMessage::kClientCutText:  // without the text
      return size_t{8};
    case ClientMessage::kPointerEvent:
      return size_t{6};
    case ClientMessage::kSetDesktopSize:
      if (in.size() < 8) return size_t{8};
      return size_t{8} + size_t{16} * in[6];
    case ClientMessage::kQemu:
      if (in.size() < 2) return size_t{2};
      if (in[1] == kQemuAudio) return Audio::message_size(in);
      if (in[1] != kQemuExtendedKeyEvent) return error("it sent QEMU's message {}, which was not offered", in[1]);
      return size_t{12};
  }
  return error("it sent message {}, which is none or was not offered", in[0]);
}

}  // namespace

Session::Session(Screen& screen, Input& input, sound::Outlet* outlet, std::function<void()> wake, GuestFacts& facts,
                 Bytes& out)
    : updates_(screen, facts), keyboard_(input, facts.leds), pointer_(input), audio_(outlet, std::move(wake)) {
  put_server_init(out, updates_.viewer_size(), facts.name);
}

Result<size_t> Session::consume(std::span<const uint8_t> in) {
  if (skip_ != 0) {
    const size_t skipped = std::min<size_t>(skip_, in.size());
    skip_ -= static_cast<uint32_t>(skipped);
    return skipped;
  }
  if (in.empty()) return size_t{0};
  const auto size = message_size(in);
  if (!size) return size.error();
  if (in.size() < *size) return size_t{0};
  return message(in.first(*size));
}

Result<size_t> Session::message(std::span<const uint8_t> in) {
  switch (static_cast<ClientMessage>(in[0])) {
    case ClientMessage::kSetPixelFormat:
      if (auto set = set_pixel_format(in); !set) return std::move(set).error();
      break;
    case ClientMessage::kSetEncodings:
      set_encodings(in);
      break;
    case ClientMessage::kFramebufferUpdateRequest:
      updates_.request(in[1] != 0, {get_u16(in, 2), get_u16(in, 4), get_u16(in, 6), get_u16(in, 8)});
      break;
    case ClientMessage::kKeyEvent:
      keyboard_.keysym(get_u32(in, 4), in[1] != 0);
      break;
    case ClientMessage::kPointerEvent:
      pointer_event(in);
      break;
    case ClientMessage::kClientCutText:  // the guest has no clipboard
      skip_ = get_u32(in, 4);
      if (skip_ > kMaxCutText) return error("it sent a text of {} bytes; up to {} are taken", skip_, kMaxCutText);
      break;
    case ClientMessage::kSetDesktopSize:
      updates_.ask_for_size({get_u16(in, 2), get_u16(in, 4)});
      break;
    case ClientMessage::kQemu:
      if (auto taken = qemu(in); !taken) return std::move(taken).error();
      break;
  }
  return in.size();
}

Result<void> Session::set_pixel_format(std::span<const uint8_t> message) {
  const PixelFormat format = PixelFormat::read(message.subspan(4));
  if (auto checked = format.check(); !checked) return checked;
  updates_.set_format(format);
  return ok();
}

void Session::set_encodings(std::span<const uint8_t> message) {
  std::vector<int32_t> encodings(get_u16(message, 2));
  for (size_t n = 0; n < encodings.size(); ++n) encodings[n] = static_cast<int32_t>(get_u32(message, 4 + 4 * n));
  updates_.set_encodings(encodings);
}

void Session::pointer_event(std::span<const uint8_t> message) {
  pointer_.event(message[1], get_u16(message, 2), get_u16(message, 4), updates_.sends_movements(),
                 updates_.viewer_size());
}

Result<void> Session::qemu(std::span<const uint8_t> message) {
  if (message[1] == kQemuAudio) return audio_.message(message);
  extended_key(message);
  return ok();
}

void Session::extended_key(std::span<const uint8_t> message) {
  keyboard_.extended(get_u32(message, 8), get_u32(message, 4), get_u16(message, 2) != 0);
}

}  // namespace skerry::display::rfb
