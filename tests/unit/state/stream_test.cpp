#include "state/stream.hpp"

#include <gtest/gtest.h>

namespace skerry::state {
namespace {

enum class Colour : uint8_t { kRed, kGreen, kBlue };

struct Sample {
  uint8_t byte = 1;
  int64_t wide = -5;
  bool flag = true;
  Colour colour = Colour::kGreen;
  std::array<uint16_t, 3> list{1, 2, 3};
  std::vector<uint8_t> blob{9, 8, 7};

  void describe(Fields& fields) {
    fields.field("byte", byte, up_to(100));
    fields.field("wide", wide);
    fields.group("inner", [&] {
      fields.field("flag", flag);
      fields.field("colour", colour, up_to(2));
    });
    fields.field("list", list, in_mask(0xfff));
    fields.blob("blob", blob, 16);
  }
  bool operator==(const Sample&) const = default;
};

std::vector<uint8_t> saved(Sample& sample) {
  Saver saver;
  sample.describe(saver);
  return saver.data();
}

TEST(Stream, WhatIsSavedIsLoaded) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Sample original, copy;
    Randomizer random(seed);
    original.describe(random);
    const std::vector<uint8_t> bytes = saved(original);
    Loader reader(bytes);
    copy.describe(reader);
    ASSERT_TRUE(reader.finish()) << "seed " << seed;
    ASSERT_EQ(copy, original) << "seed " << seed;
  }
}

// As before and after a group came.
struct Grown {
  uint8_t first = 1, added = 0, last = 3;
  bool there = true;  // of what was loaded
  void describe(Fields& fields) {
    fields.field("first", first);
    there = fields.later("added", added != 0, [&] { fields.field("value", added, up_to(10)); });
    if (!there) added = 0;
    fields.field("last", last);
  }
};
struct Old {
  uint8_t first = 7, last = 8;
  void describe(Fields& fields) {
    fields.field("first", first);
    fields.field("last", last);
  }
};

TEST(Stream, AGroupThatCameLaterIsReadWhereItIs) {
  Grown grown, copy;
  grown.added = 9;
  Saver with;
  grown.describe(with);
  Loader reader(with.data());
  copy.describe(reader);
  ASSERT_TRUE(reader.finish());
  EXPECT_TRUE(copy.there);
  EXPECT_EQ(copy.added, 9);

  Old old;
  Loader older(with.data());
  old.describe(older);
  EXPECT_FALSE(older.finish()) << "who does not know it must not pass over it";
}

TEST(Stream, WithoutAGroupThatCameLaterAStateIsAsItWas) {
  Grown grown, copy;
  Saver without, before;
  grown.describe(without);
  Old old{.first = 1, .last = 3};
  old.describe(before);
  EXPECT_EQ(without.data(), before.data());
  copy.added = 5;
  Loader reader(before.data());
  copy.describe(reader);
  ASSERT_TRUE(reader.finish());
  EXPECT_FALSE(copy.there);
  EXPECT_EQ(copy.added, 0);
  EXPECT_EQ(copy.last, 3);
}

TEST(Stream, RandomValuesAreLegal) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Sample sample;
    Randomizer random(seed);
    sample.describe(random);
    EXPECT_LE(sample.byte, 100);
    EXPECT_LE(static_cast<int>(sample.colour), 2);
    for (const uint16_t value : sample.list) EXPECT_EQ(value & ~0xfff, 0);
  }
}

TEST(Stream, IllegalValuesAreRefusedByName) {
  Sample sample;
  sample.byte = 101;
  const std::vector<uint8_t> bytes = saved(sample);
  Sample target;
  Loader loader(bytes);
  target.describe(loader);
  const auto result = loader.finish();
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("'byte'"), std::string::npos) << result.error().message();
}

// Every truncation and every flipped byte is either refused or gives legal values: never a crash.
TEST(Stream, DamagedStreamsAreRefusedOrLegal) {
  Sample sample;
  const std::vector<uint8_t> bytes = saved(sample);
  for (size_t length = 0; length < bytes.size(); ++length) {
    Sample target;
    const std::span<const uint8_t> cut(bytes.data(), length);
    Loader loader(cut);
    target.describe(loader);
    EXPECT_FALSE(loader.finish()) << length;
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::vector<uint8_t> damaged = bytes;
    damaged[at] ^= 0xff;
    Sample target;
    Loader loader(damaged);
    target.describe(loader);
    if (loader.finish()) {
      EXPECT_LE(target.byte, 100);
    }
    EXPECT_LE(target.blob.size(), 16u);
  }
}

TEST(GroupNames, AreThoseAtTheTop) {
  Saver saver;
  uint32_t value = 7;
  std::vector<uint8_t> blob{1, 2, 3};
  saver.field("clock", value);
  saver.group("first", [&] {
    saver.field("a", value);
    saver.group("inner", [&] { saver.blob("b", blob, 3); });
  });
  saver.group("second", [] {});
  const auto names = group_names(saver.data());
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, (std::vector<std::string>{"first", "second"}));
}

TEST(GroupNames, OfAMalformedStateAreRefused) {
  Saver saver;
  uint32_t value = 7;
  saver.group("group", [&] { saver.field("a", value); });
  const std::span<const uint8_t> whole = saver.data();
  for (size_t length = 1; length < whole.size(); ++length) EXPECT_FALSE(group_names(whole.first(length))) << length;
  for (size_t at = 0; at < whole.size(); ++at) {
    std::vector<uint8_t> damaged(whole.begin(), whole.end());
    damaged[at] ^= 0xff;
    (void)group_names(damaged);  // no more than whether it ends
  }
  EXPECT_FALSE(group_names(std::vector<uint8_t>{'e', 0}));
  EXPECT_FALSE(group_names(std::vector<uint8_t>{'g', 1, '\n', 'e', 0})) << "names are shown";
}

}  // namespace
}  // namespace skerry::state
