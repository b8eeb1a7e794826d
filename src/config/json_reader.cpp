#include "config/json_reader.hpp"

#include "config/vm_config.hpp"

namespace skerry::config {

namespace {

constexpr int kMaxDepth = 8;  // deeper than any description goes

// Refuses what the library would accept silently: a key that is there twice, and nesting without end.
class ParseGuard {
 public:
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) throw std::runtime_error(fmt::format("is nested more than {} levels deep", kMaxDepth));
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second)
        throw std::runtime_error(fmt::format("key {} is there twice", in_quotes(key)));
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

std::string what_is(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return "a string";
    case json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case json::value_t::number_float:
      return "a number with a fraction";
    default:
      return "the number " + value.dump();
  }
}

std::string in_quotes(const std::string& name) {
  std::string shown = json(name.substr(0, 40)).dump(-1, ' ', true, json::error_handler_t::replace);
  return shown;
}

Result<json> parse_json(std::string_view text) {
  if (text.size() > kMaxJsonSize)
    return error("is larger than {}; no description of a VM is", format_size(kMaxJsonSize));
  ParseGuard guard;
  try {
    return json::parse(text,
                       [&](int depth, json::parse_event_t event, json& parsed) { return guard(depth, event, parsed); });
  } catch (const json::parse_error& failure) {
    const size_t at = std::min<size_t>(failure.byte, text.size());
    const std::string_view before = text.substr(0, at);
    return error("is not JSON: error near line {}, byte {}", 1 + std::count(before.begin(), before.end(), '\n'), at);
  } catch (const std::exception& failure) {
    return error("{}", failure.what());
  }
}

}  // namespace skerry::config
