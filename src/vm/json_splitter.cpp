#include "vm/json_splitter.hpp"

#include <fmt/format.h>

#include <utility>

namespace skerry::vm {

namespace {
bool is_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n'; }
// Never part of UTF-8: clients send it to bring the parser to a known state.
constexpr char kReset = static_cast<char>(0xff);
}  // namespace

std::optional<JsonSplitter::Item> JsonSplitter::next(std::string_view& bytes) {
  while (!bytes.empty()) {
    const char byte = bytes.front();
    bytes.remove_prefix(1);
    if (auto item = take(byte)) return item;
  }
  return std::nullopt;
}

std::optional<JsonSplitter::Item> JsonSplitter::fail(std::string problem) {
  text_.clear();
  depth_ = 0;
  in_string_ = escaped_ = in_scalar_ = false;
  return Item{"", std::move(problem)};
}

std::optional<JsonSplitter::Item> JsonSplitter::take(char byte) {
  if (byte == kReset) {
    skipping_ = false;
    return fail("JSON parse error, stray byte 0xff");
  }
  if (skipping_) {
    skipping_ = byte != '\n';
    return std::nullopt;
  }
  if (depth_ == 0) return outside(byte);
  // A string cannot hold a line's end: whoever forgot the quote gets an answer on pressing Return.
  if (in_string_ && byte == '\n') return fail("JSON parse error, a string is not ended on its line");
  if (text_.size() == kMaxMessage) {
    skipping_ = byte != '\n';
    return fail(fmt::format("JSON message is larger than {} bytes", kMaxMessage));
  }
  text_ += byte;
  if (in_string_) {
    if (!escaped_ && byte == '"') in_string_ = false;
    escaped_ = !escaped_ && byte == '\\';
    return std::nullopt;
  }
  if (byte == '"') in_string_ = true;
  if (byte == '{' || byte == '[') {
    if (++depth_ > kMaxDepth) {
      skipping_ = true;
      return fail(fmt::format("JSON message is nested more than {} levels deep", kMaxDepth));
    }
  }
  if ((byte == '}' || byte == ']') && --depth_ == 0) return Item{std::exchange(text_, {}), ""};
  return std::nullopt;
}

// Between messages. A message is an object; other words are collected so that there is one complaint for each.
std::optional<JsonSplitter::Item> JsonSplitter::outside(char byte) {
  const bool opens = byte == '{' || byte == '[';
  if (in_scalar_ && (is_space(byte) || opens)) {
    auto item = fail("JSON parse error, expecting an object");
    if (opens) {
      text_ = byte;
      depth_ = 1;
    }
    return item;
  }
  if (opens) {
    text_ = byte;
    depth_ = 1;
  } else if (!is_space(byte)) {
    in_scalar_ = true;
  }
  return std::nullopt;
}

}  // namespace skerry::vm
