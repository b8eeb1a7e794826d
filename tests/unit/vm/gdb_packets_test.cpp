#include "vm/gdb_packets.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace skerry::vm {
namespace {

using Kind = GdbPacketReader::Kind;

std::vector<GdbPacketReader::Item> read(const std::vector<std::string>& chunks) {
  GdbPacketReader reader;
  std::vector<GdbPacketReader::Item> items;
  for (const std::string& chunk : chunks) {
    std::string_view rest = chunk;
    while (auto item = reader.next(rest)) items.push_back(*item);
  }
  return items;
}

TEST(GdbPackets, AFrameIsReadBackInAnyChunks) {
  const std::string frame = gdb_frame("vCont;s:1;c");
  for (size_t cut = 0; cut <= frame.size(); ++cut) {
    const auto items = read({"+", frame.substr(0, cut), frame.substr(cut)});
    ASSERT_EQ(items.size(), 1u);
    EXPECT_EQ(items[0].payload, "vCont;s:1;c");
  }
}

TEST(GdbPackets, KnownChecksum) { EXPECT_EQ(gdb_frame("OK"), "$OK#9a"); }

TEST(GdbPackets, SpecialBytesAreEscaped) {
  const auto items = read({gdb_frame("a#b$c}d*e")});
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(gdb_unescape(items[0].payload), "a#b$c}d*e");
}

TEST(GdbPackets, AWrongChecksumIsTold) {
  EXPECT_EQ(read({"$OK#9b"})[0].kind, Kind::kCorrupt);
  EXPECT_EQ(read({"$OK#zz"})[0].kind, Kind::kCorrupt);
}

TEST(GdbPackets, CtrlCIsReadBetweenPacketsOnly) {
  EXPECT_EQ(read({"\x03"})[0].kind, Kind::kInterrupt);
  EXPECT_EQ(read({gdb_frame("X1,1:\x03")}).size(), 1u);
}

TEST(GdbPackets, APacketThatWasCutOffMakesRoomForTheNext) {
  const auto items = read({"$m1000,", "$?#3f"});
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].payload, "?");
}

TEST(GdbPackets, ATooLongPacketIsOneItem) {
  const auto items = read({gdb_frame(std::string(1000000, 'a')), gdb_frame("?")});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].kind, Kind::kTooLong);
  EXPECT_EQ(items[1].payload, "?");
}

TEST(GdbPackets, Hexadecimal) {
  EXPECT_EQ(from_hex("00fF"), std::string("\0\xff", 2));
  EXPECT_EQ(from_hex("0"), std::nullopt);
  EXPECT_EQ(from_hex("zz"), std::nullopt);
  EXPECT_EQ(to_hex(std::string_view("\x01\xab")), "01ab");
  std::string_view number = "ffffffffffffffff,1";
  EXPECT_EQ(take_hex(number), ~uint64_t{0});
  EXPECT_EQ(number, ",1");
  number = "10000000000000000";
  EXPECT_EQ(take_hex(number), std::nullopt);
}

}  // namespace
}  // namespace skerry::vm
