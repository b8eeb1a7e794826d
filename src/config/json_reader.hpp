// Reading JSON that may be hostile: each member by its key, and the path of the first thing that is wrong. Beside
// vm_config_json.cpp nobody includes this: the JSON library and its exceptions do not leave these files.
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace skerry::config {

using nlohmann::json;

template <typename T, size_t N>
std::string_view name_of(const std::pair<std::string_view, T> (&names)[N], T value) {
  for (const auto& [name, type] : names)
    if (type == value) return name;
  return names[0].first;
}

// "an array", "the number 3", for a message.
std::string what_is(const json& value);
// A name out of a description, for a message: a hostile one must not fill or garble the terminal.
std::string in_quotes(const std::string& name);
// The whole text as JSON, with bounds on its size and depth; no key may be there twice.
Result<json> parse_json(std::string_view text);

// Takes the members of one JSON object, each by its key. The first thing that is wrong is kept in `failure`; after it
// nothing more is taken.
class ObjectReader {
 public:
  ObjectReader(const json& object, std::string path, std::string& failure)
      : object_(object), path_(std::move(path)), failure_(failure) {
    if (!object_.is_object()) fail("", fmt::format("is {}; it must be an object", what_is(object_)));
  }

  void read(const char* key, std::string& value) {
    if (const json* member = take(key)) {
      if (member->is_string())
        value = member->get<std::string>();
      else
        fail(key, fmt::format("is {}; it must be a string", what_is(*member)));
    }
  }
  void read(const char* key, bool& value) {
    if (const json* member = take(key)) {
      if (member->is_boolean())
        value = member->get<bool>();
      else
        fail(key, fmt::format("is {}; it must be true or false", what_is(*member)));
    }
  }
  template <typename T>
  requires std::unsigned_integral<T> &&
      (!std::same_as<T, bool>)void read(const char* key, T& value, uint64_t max = std::numeric_limits<T>::max()) {
    const json* member = take(key);
    if (!member) return;
    if (member->is_number_unsigned() && member->get<uint64_t>() <= max)
      value = static_cast<T>(member->get<uint64_t>());
    else
      fail(key, fmt::format("is {}; it must be a whole number from 0 to {}", what_is(*member), max));
  }
  template <typename T, size_t N>
  void read(const char* key, T& value, const std::pair<std::string_view, T> (&names)[N]) {
    std::string text(name_of(names, value));
    read(key, text);
    std::string all;
    for (const auto& [name, type] : names) {
      if (name == text) {
        value = type;
        return;
      }
      all += (all.empty() ? "" : ", ") + std::string(name);
    }
    fail(key, fmt::format("{} is not known; use {}", in_quotes(text), all));
  }
  void read(const char* key, std::vector<std::string>& values) {
    const json* member = take(key);
    if (!member) return;
    const auto is_string = [](const json& element) { return element.is_string(); };
    if (member->is_array() && std::all_of(member->begin(), member->end(), is_string))
      values = member->get<std::vector<std::string>>();
    else
      fail(key, fmt::format("is {}; it must be an array of strings",
                            member->is_array() ? "another array" : what_is(*member)));
  }
  // Reads the object at `key`, if there is one; null is none. `describe` gets a reader of it.
  template <typename Describe>
  void object(const char* key, Describe describe) {
    const json* member = take(key);
    if (!member || member->is_null()) return;
    ObjectReader reader(*member, path_of(key), failure_);
    describe(reader);
    reader.refuse_others();
  }
  // Reads the array of objects at `key`, if there is one; `describe` gets a reader of each and its element of `values`.
  template <typename T, typename Describe>
  void objects(const char* key, std::vector<T>& values, Describe describe) {
    const json* member = take(key);
    if (!member) return;
    if (!member->is_array()) return fail(key, fmt::format("is {}; it must be an array of objects", what_is(*member)));
    for (const json& element : *member) {
      ObjectReader reader(element, fmt::format("{}[{}]", path_of(key), values.size()), failure_);
      describe(reader, values.emplace_back());
      reader.refuse_others();
      if (!failure_.empty()) return;
    }
  }
  const json* optional(const char* key) {
    const json* member = take(key);
    return member && !member->is_null() ? member : nullptr;
  }
  void require(const char* key) {
    if (failure_.empty() && !object_.contains(key)) fail(key, "is missing");
  }
  void refuse_others() {
    if (!failure_.empty()) return;
    for (const auto& [key, value] : object_.items())
      if (!taken_.contains(key))
        return fail("", fmt::format("key {} is not known; the keys are {}", in_quotes(key), fmt::join(taken_, ", ")));
  }
  void fail(const char* key, std::string_view why) {
    if (!failure_.empty()) return;
    const std::string path = path_of(key);
    failure_ = path.empty() ? std::string(why) : fmt::format("{}: {}", path, why);
  }

 private:
  std::string path_of(std::string_view key) const {
    return path_.empty() || key.empty() ? path_ + std::string(key) : fmt::format("{}.{}", path_, key);
  }
  const json* take(const char* key) {
    taken_.insert(key);
    if (!failure_.empty()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  const json& object_;
  std::string path_;
  std::string& failure_;
  std::set<std::string> taken_;
};

}  // namespace skerry::config
