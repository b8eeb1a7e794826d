#include "vm/gdb_packets.hpp"

#include <fmt/format.h>

#include <utility>

namespace skerry::vm {

namespace {
constexpr char kCtrlC = 0x03;
constexpr char kEscape = '}', kEscapeXor = 0x20;

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

std::optional<GdbPacketReader::Item> GdbPacketReader::next(std::string_view& bytes) {
  while (!bytes.empty()) {
    const char byte = bytes.front();
    bytes.remove_prefix(1);
    if (auto item = take(byte)) return item;
  }
  return std::nullopt;
}

std::optional<GdbPacketReader::Item> GdbPacketReader::take(char byte) {
  if (byte == '$') state_ = State::kIdle;  // escaped inside packets; so the one before was cut off
  switch (state_) {
    case State::kIdle:
      if (byte == kCtrlC) return Item{Kind::kInterrupt, {}};
      if (byte == '-') return Item{Kind::kNak, {}};
      if (byte != '$') return std::nullopt;  // '+', and noise
      state_ = State::kPayload;
      payload_.clear();
      sum_ = 0;
      too_long_ = false;
      return std::nullopt;
    case State::kPayload:
      if (byte == '#') {
        state_ = State::kChecksumHigh;
        return std::nullopt;
      }
      sum_ = static_cast<uint8_t>(sum_ + static_cast<uint8_t>(byte));
      too_long_ |= payload_.size() == kMaxPacket;
      if (!too_long_) payload_ += byte;
      return std::nullopt;
    case State::kChecksumHigh:
      high_digit_ = byte;
      state_ = State::kChecksumLow;
      return std::nullopt;
    case State::kChecksumLow:
      return finish(byte);
  }
  return std::nullopt;
}

std::optional<GdbPacketReader::Item> GdbPacketReader::finish(char low_digit) {
  state_ = State::kIdle;
  if (too_long_) return Item{Kind::kTooLong, {}};
  const int high = digit(high_digit_), low = digit(low_digit);
  if (high < 0 || low < 0 || high * 16 + low != sum_) return Item{Kind::kCorrupt, {}};
  return Item{Kind::kPacket, std::exchange(payload_, {})};
}

std::string gdb_frame(std::string_view payload) {
  std::string frame = "$";
  uint8_t sum = 0;
  const auto put = [&](char byte) {
    frame += byte;
    sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(byte));
  };
  for (const char byte : payload) {
    if (byte == '$' || byte == '#' || byte == '*' || byte == kEscape) {
      put(kEscape);
      put(static_cast<char>(byte ^ kEscapeXor));
    } else {
      put(byte);
    }
  }
  return frame + fmt::format("#{:02x}", sum);
}

std::string gdb_unescape(std::string_view binary) {
  std::string plain;
  for (size_t i = 0; i < binary.size(); ++i) {
    const bool escaped = binary[i] == kEscape && i + 1 < binary.size();
    plain += escaped ? static_cast<char>(binary[++i] ^ kEscapeXor) : binary[i];
  }
  return plain;
}

std::string to_hex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string to_hex(std::string_view text) {
  return to_hex(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

std::optional<std::string> from_hex(std::string_view text) {
  if (text.size() % 2) return std::nullopt;
  std::string bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

std::optional<uint64_t> take_hex(std::string_view& text) {
  uint64_t value = 0;
  size_t used = 0;
  for (; used < text.size() && digit(text[used]) >= 0; ++used) {
    if (value >> 60) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(digit(text[used]));
  }
  if (used == 0) return std::nullopt;
  text.remove_prefix(used);
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace skerry::vm
