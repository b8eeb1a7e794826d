#include "base/units.hpp"

#include <charconv>

namespace skerry {

Result<uint64_t> parse_number(std::string_view text) {
  int radix = 10;
  std::string_view digits = text;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    radix = 16;
    digits.remove_prefix(2);
  }
  uint64_t value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value, radix);
  if (digits.empty() || code != std::errc() || end != digits.data() + digits.size())
    return error("'{}' is not a number (decimal, or hexadecimal after 0x)", text);
  return value;
}

Result<uint64_t> parse_size(std::string_view text) {
  std::string_view number = text;
  for (const std::string_view suffix : {"iB", "B", "b"}) {
    if (number.ends_with(suffix)) {
      number.remove_suffix(suffix.size());
      break;
    }
  }
  uint64_t unit = 1;
  if (!number.empty()) {
    switch (number.back()) {
      case 'k': case 'K': unit = KiB; break;
      case 'm': case 'M': unit = MiB; break;
      case 'g': case 'G': unit = GiB; break;
      case 't': case 'T': unit = 1024 * GiB; break;
      default: break;
    }
    if (unit != 1) number.remove_suffix(1);
  }
  auto value = parse_number(number);
  if (!value) return error("'{}' is not a size; write for example 512M or 2G", text);
  if (*value > ~uint64_t{0} / unit) return error("the size '{}' is too large", text);
  return *value * unit;
}

std::string format_size(uint64_t bytes) {
  if (bytes >= GiB && bytes % GiB == 0) return fmt::format("{} GiB", bytes / GiB);
  if (bytes >= MiB && bytes % MiB == 0) return fmt::format("{} MiB", bytes / MiB);
  if (bytes >= KiB && bytes % KiB == 0) return fmt::format("{} KiB", bytes / KiB);
  return fmt::format("{} bytes", bytes);
}

}  // namespace skerry
