// Cuts a stream of bytes into JSON texts, however the bytes are chunked and however malformed they are.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace skerry::vm {

// Only finds where a text ends; whether it is JSON is for the parser to say. Memory is bounded by kMaxMessage.
class JsonSplitter {
 public:
  static constexpr size_t kMaxMessage = 1024 * 1024;
  static constexpr unsigned kMaxDepth = 128;

  struct Item {
    std::string text;     // one text, empty if `problem` is not
    std::string problem;  // why what was there cannot be one; reading goes on after it
  };

  // Takes bytes from the front of `bytes`, up to the end of the first item in it; nothing when it takes all of them.
  std::optional<Item> next(std::string_view& bytes);

 private:
  std::optional<Item> take(char byte);
  std::optional<Item> outside(char byte);
  std::optional<Item> fail(std::string problem);

  std::string text_;
  unsigned depth_ = 0;       // open brackets and braces
  bool in_string_ = false;
  bool escaped_ = false;     // the byte before was a backslash in a string
  bool in_scalar_ = false;   // a text that is neither object nor array
  bool skipping_ = false;    // after a problem, to the end of the line
};

}  // namespace skerry::vm
