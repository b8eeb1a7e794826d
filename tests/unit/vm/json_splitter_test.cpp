#include "vm/json_splitter.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace skerry::vm {
namespace {

// Texts as they are, problems as "!".
std::vector<std::string> split(const std::vector<std::string>& chunks) {
  JsonSplitter splitter;
  std::vector<std::string> items;
  for (const std::string& chunk : chunks) {
    std::string_view rest = chunk;
    while (auto item = splitter.next(rest)) items.push_back(item->problem.empty() ? item->text : "!");
  }
  return items;
}

using List = std::vector<std::string>;

TEST(JsonSplitter, SeveralTextsInOneChunk) { EXPECT_EQ(split({R"({"a":1}{"b":[2]} {})"}), (List{R"({"a":1})", R"({"b":[2]})", "{}"})); }

TEST(JsonSplitter, OneTextInAnyChunks) {
  const std::string text = R"({"a":"}{\"\\","b":[{}]})";
  for (size_t cut = 1; cut < text.size(); ++cut) EXPECT_EQ(split({text.substr(0, cut), text.substr(cut)}), List{text});
  List bytes;
  for (const char c : text) bytes.emplace_back(1, c);
  EXPECT_EQ(split(bytes), List{text});
}

TEST(JsonSplitter, WordsBetweenTextsAreOneProblemEach) {
  EXPECT_EQ(split({"stop\n{}"}), (List{"!", "{}"}));
  EXPECT_EQ(split({"}{}"}), (List{"!", "{}"}));
}

TEST(JsonSplitter, AStringThatIsNotEndedIsToldAtTheEndOfItsLine) {
  EXPECT_EQ(split({"{\"execute: 1}\n{}"}), (List{"!", "{}"}));
}

TEST(JsonSplitter, ByteFfBeginsAnew) { EXPECT_EQ(split({"{\"a\": [\xff{}"}), (List{"!", "{}"})); }

TEST(JsonSplitter, TooDeepIsAProblemAndTheNextLineCounts) {
  EXPECT_EQ(split({std::string(100000, '[') + "\n{}"}), (List{"!", "{}"}));
}

TEST(JsonSplitter, TooLongIsAProblemAndTheNextLineCounts) {
  const std::string text = "{\"a\":\"" + std::string(JsonSplitter::kMaxMessage, 'x') + "\"}\n{}";
  EXPECT_EQ(split({text}), (List{"!", "{}"}));
}

}  // namespace
}  // namespace skerry::vm
