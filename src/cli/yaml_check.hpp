// Whether a text is YAML, before a guest finds out that it is not. The only file that knows libyaml.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace skerry::cli {

struct YamlOutline {
  enum class Root : uint8_t { kNothing, kMapping, kSequence, kScalar };
  Root root = Root::kNothing;
  std::vector<std::string> keys;  // the outermost ones of a mapping that are plain texts
  // A line with a further key can stand before the text: a mapping in lines of its own, at the left margin, without "---".
  bool can_be_prepended = false;
};

// One document, or the first thing that is wrong: "line 3, column 7: ...". Aliases are not followed; time and memory are
// bounded by the text's length.
Result<YamlOutline> check_yaml(std::string_view text);

}  // namespace skerry::cli
