#include "cli/ssh_key.hpp"

#include <algorithm>
#include <optional>

namespace skerry::cli {

namespace {

constexpr size_t kMaxKeys = 16;
constexpr std::string_view kTypes[] = {
    "ssh-ed25519",         "ssh-rsa",
    "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com"};

// RFC 4648, 4, with its padding.
std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  uint32_t collected = 0;
  unsigned count = 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const size_t digit = kAlphabet.find(c);
    if (digit == kAlphabet.npos) return std::nullopt;
    collected = collected << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(collected >> count);
  }
  return bytes;
}

// RFC 4253, 6.6: the data is a row of strings, each after its length, and the first is the type.
bool has_data_of(std::string_view type, std::string_view data) {
  size_t strings = 0;
  while (data.size() >= 4) {
    uint32_t length = 0;
    for (int i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(data[static_cast<size_t>(i)]);
    data.remove_prefix(4);
    if (length > data.size() || (strings == 0 && data.substr(0, length) != type)) return false;
    data.remove_prefix(length);
    ++strings;
  }
  return data.empty() && strings >= 2;
}

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(" \t"));
  line.remove_prefix(word.size());
  return word;
}

// "TYPE DATA COMMENT". A line that is none may be anything, a secret too, so that messages do not show it.
Result<void> check_key(std::string_view line) {
  const auto printable = [](unsigned char c) { return c == '\t' || (c >= ' ' && c != 0x7f); };
  if (!std::all_of(line.begin(), line.end(), printable)) return error("has a character that no key has");
  const std::string_view type = next_word(line), text = next_word(line);
  if (type == "ssh-dss") return error("is a DSA key, which servers do not take any more; 'ssh-keygen -t ed25519' makes one that they take");
  if (std::find(std::begin(kTypes), std::end(kTypes), type) == std::end(kTypes))
    return error("is no public key: it does not begin with a type such as ssh-ed25519 or ssh-rsa");
  const auto data = decode_base64(text);
  if (!data || !has_data_of(type, *data)) return error("is a damaged {} key: its data is cut off or changed", type);
  return ok();
}

Result<void> check_kind_of_file(std::string_view text) {
  if (text.find("PRIVATE KEY-----") != text.npos || text.starts_with("PuTTY-User-Key-File") ||
      text.find("SSH PRIVATE KEY FILE FORMAT") != text.npos)
    return error("is a PRIVATE key, which must never leave this machine; give the public one, most often the same name with "
                 ".pub behind it");
  if (text.starts_with("---- BEGIN SSH2 PUBLIC KEY"))
    return error("is a public key in the form of RFC 4716; 'ssh-keygen -i -f FILE' gives OpenSSH's form of it");
  return ok();
}

}  // namespace

Result<std::vector<std::string>> parse_ssh_keys(std::string_view text) {
  if (auto good = check_kind_of_file(text); !good) return std::move(good).error();
  std::vector<std::string> keys;
  for (size_t number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line.empty() || line[0] == '#') continue;
    if (auto good = check_key(line); !good) return std::move(good).error().in(fmt::format("line {}", number));
    if (keys.size() == kMaxKeys) return error("has more than {} keys", kMaxKeys);
    keys.emplace_back(line);
  }
  if (keys.empty()) return error("has no key in it");
  return keys;
}

}  // namespace skerry::cli
