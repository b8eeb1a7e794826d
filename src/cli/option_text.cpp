#include "cli/option_text.hpp"

namespace skerry::cli {

Result<std::vector<std::string>> split_settings(std::string_view text) {
  std::vector<std::string> elements(1);
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != ',') {
      elements.back() += text[at];
    } else if (at + 1 < text.size() && text[at + 1] == ',') {
      elements.back() += ',';
      ++at;
    } else {
      elements.emplace_back();
    }
  }
  for (const std::string& element : elements)
    if (element.empty())
      return error("'{}' has nothing {}; a comma inside of a name is written twice", text,
                   elements.size() == 1 ? "in it" : "before or behind a comma");
  return elements;
}

Result<Setting> parse_setting(std::string_view element) {
  const size_t equals = element.find('=');
  if (equals == element.npos || equals == 0)
    return error("'{}' is not of the form KEY=VALUE; a comma inside of a name is written twice", element);
  return Setting{element.substr(0, equals), element.substr(equals + 1)};
}

Error unknown_setting(std::string_view key, std::initializer_list<std::string_view> known) {
  if (known.size() == 0) return error("'{}' is not known; nothing can be set here", key);
  return error("'{}' is not known; use {}", key, fmt::join(known, ", "));
}

Result<bool> parse_switch(const Setting& setting) {
  if (setting.value == "on" || setting.value == "off") return setting.value == "on";
  return error("'{}' in {}={} is not known; use {}=on or {}=off", setting.value, setting.key, setting.value, setting.key,
               setting.key);
}

}  // namespace skerry::cli
