// The texts of options with settings: "disk.img,format=raw,readonly=on".
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace skerry::cli {

// The elements between commas; a comma in one is written twice, as QEMU has it. None is empty.
Result<std::vector<std::string>> split_settings(std::string_view text);

struct Setting {
  std::string_view key, value;  // parts of the element
};
// "key=value".
Result<Setting> parse_setting(std::string_view element);
// That a key is not one of those; all of them are named. An empty list: there are no settings.
Error unknown_setting(std::string_view key, std::initializer_list<std::string_view> known);
// "on" or "off".
Result<bool> parse_switch(const Setting& setting);

}  // namespace skerry::cli
