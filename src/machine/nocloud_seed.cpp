#include "machine/nocloud_seed.hpp"

#include <fmt/format.h>

#include "machine/iso_image.hpp"

namespace skerry::machine {

namespace {

// FNV-1a. A NUL, which none of the texts contains, ends each, so that moving text from one to the next is a change.
uint64_t hash_of(const config::CloudInit& content) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::string* text : {&content.user_data, &content.meta_data, &content.network_config}) {
    for (const char c : *text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    hash *= 0x100000001b3;
  }
  return hash;
}

// Whether a key of the outermost mapping is instance-id: in a line of its own as YAML, or anywhere as JSON.
bool has_instance_id(std::string_view text) {
  constexpr std::string_view kKey = "instance-id";
  for (size_t at = text.find(kKey); at != text.npos; at = text.find(kKey, at + 1)) {
    const char before = at == 0 ? '\n' : text[at - 1];
    const bool begins = std::string_view("\n\"'{,").find(before) != std::string_view::npos;
    const size_t after = text.find_first_not_of("\"' \t", at + kKey.size());
    if (after != text.npos && text[after] == ':' && begins) return true;
  }
  return false;
}

}  // namespace

std::vector<uint8_t> make_nocloud_seed(const config::CloudInit& content) {
  std::string meta_data = content.meta_data;
  if (!has_instance_id(meta_data)) meta_data.insert(0, fmt::format("instance-id: iid-{:016x}\n", hash_of(content)));
  // In the order of their names, which ISO 9660 wants.
  std::vector<IsoFile> files = {{"META_DAT.;1", "meta-data", meta_data}};
  if (!content.network_config.empty()) files.push_back({"NETWORK_.;1", "network-config", content.network_config});
  files.push_back({"USER_DAT.;1", "user-data", content.user_data});
  return make_iso_image("cidata", files);
}

}  // namespace skerry::machine
