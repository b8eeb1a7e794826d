#include "config/checks.hpp"

#include <algorithm>

namespace skerry::config {

namespace {

constexpr size_t kMaxPath = 4095;  // PATH_MAX less the NUL

// The length of the well-formed UTF-8 sequence that `text` starts with, or 0. Unicode, table 3-7.
size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto continues = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const uint8_t low = first == 0xe0 ? 0xa0 : 0x80, high = first == 0xed ? 0x9f : 0xbf;
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const uint8_t low = first == 0xf0 ? 0x90 : 0x80, high = first == 0xf4 ? 0x8f : 0xbf;
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

Result<void> check_text(std::string_view field, std::string_view text, size_t max_size) {
  if (text.size() > max_size)
    return error("{}: is {} bytes long; at most {} are possible", field, text.size(), max_size);
  if (text.find('\0') != text.npos) return error("{}: contains a NUL character; remove it", field);
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_sequence(text.substr(at));
    if (length == 0) return error("{}: byte {} is not UTF-8; rename the file or use only UTF-8 text", field, at);
    at += length;
  }
  return ok();
}

Result<void> check_path(std::string_view field, std::string_view path) {
  if (path.empty()) return error("{}: is empty; give the path of a file", field);
  return check_text(field, path, kMaxPath);
}

Result<void> check_socket(std::string_view field, std::string_view path) {
  if (path.size() > kMaxSocketPath)
    return error("{}: the socket path is {} bytes long; a unix socket's is at most {}", field, path.size(),
                 kMaxSocketPath);
  return check_path(field, path);
}

Result<void> check_choice(std::string_view field, std::string_view value,
                          const std::vector<std::string_view>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return ok();
  return error("{}: '{}' is not known; use {}", field, value, fmt::join(choices, ", "));
}

std::string_view shown(std::string_view text) {
  const bool printable = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= ' ' && c != 0x7f; });
  return printable && text.size() <= 64 ? text : "?";
}

}  // namespace skerry::config
