#include "net/reassembly.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "net/checksum.hpp"
#include "unit/net/packets.hpp"

namespace skerry::net::test {
namespace {

constexpr uint32_t kFrom = 0x0a00020f, kTo = 0x0a000202;

Bytes payload(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
  return bytes;
}

Bytes fragment(const Bytes& whole, size_t offset, size_t size, uint16_t id = 1) {
  const bool more = offset + size < whole.size();
  Bytes frame = ipv4_packet(17, kFrom, kTo, std::span(whole).subspan(offset, size));
  store_be16(&frame[14 + 4], id);
  store_be16(&frame[14 + 6], static_cast<uint16_t>((more ? 0x2000 : 0) | offset / 8));
  set_ipv4_checksum(frame, *find_layout(frame));
  return frame;
}

// The payload of the packet that is whole with this frame.
std::optional<Bytes> taken(Reassembly& reassembly, Bytes frame, int64_t now = 0) {
  const auto whole = reassembly.take(frame, now);
  if (!whole) return std::nullopt;
  const auto layout = find_layout(*whole);
  EXPECT_TRUE(layout && !layout->fragment && layout->end == whole->size());
  if (!layout) return std::nullopt;
  EXPECT_EQ(ones_sum(whole->subspan(14, layout->transport - 14)), 0xffff);
  return Bytes(whole->begin() + static_cast<ptrdiff_t>(layout->transport), whole->end());
}

TEST(Reassembly, LetsWholePacketsThroughAsTheyAre) {
  Reassembly reassembly;
  for (Bytes frame : {ipv4_packet(17, kFrom, kTo, payload(100)), ipv6_packet(17, payload(100)), Bytes(3), Bytes(60)}) {
    const Bytes before = frame;
    const auto got = reassembly.take(frame, 0);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->data(), frame.data());
    EXPECT_EQ(Bytes(got->begin(), got->end()), before);
  }
  EXPECT_EQ(reassembly.under_way(), 0u);
}

TEST(Reassembly, PutsFragmentsTogetherInAnyOrder) {
  Reassembly reassembly;
  const Bytes whole = payload(3001);
  std::vector<size_t> order = {0, 1000, 2000};
  do {
    std::optional<Bytes> got;
    for (const size_t offset : order) {
      EXPECT_FALSE(got);
      got = taken(reassembly, fragment(whole, offset, offset == 2000 ? 1001 : 1000));
    }
    ASSERT_TRUE(got);
    EXPECT_EQ(*got, whole);
    EXPECT_EQ(reassembly.under_way(), 0u);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Reassembly, PacketsDoNotMix) {
  Reassembly reassembly;
  const Bytes one = payload(1600), other(1600, 9);
  EXPECT_FALSE(taken(reassembly, fragment(one, 0, 800, 1)));
  EXPECT_FALSE(taken(reassembly, fragment(other, 0, 800, 2)));
  EXPECT_EQ(taken(reassembly, fragment(other, 800, 800, 2)), other);
  EXPECT_EQ(taken(reassembly, fragment(one, 800, 800, 1)), one);
}

TEST(Reassembly, DropsWhatOverlapsContradictsOrIsMalformed) {
  Reassembly reassembly;
  const Bytes whole = payload(2400), other(2400, 5);
  EXPECT_FALSE(taken(reassembly, fragment(whole, 0, 800)));
  EXPECT_FALSE(taken(reassembly, fragment(other, 0, 800))) << "there already";
  EXPECT_FALSE(taken(reassembly, fragment(other, 400, 800))) << "half of it is there";
  EXPECT_FALSE(taken(reassembly, fragment(whole, 1600, 800)));
  EXPECT_FALSE(taken(reassembly, fragment(Bytes(900, 5), 880, 20))) << "an end before the end";
  Bytes beyond = fragment(other, 800, 800);
  store_be16(&beyond[14 + 6], 0x2000 | 3000 / 8);
  EXPECT_FALSE(taken(reassembly, beyond)) << "behind the end";
  Bytes odd = fragment(Bytes(1000, 5), 800, 100);
  EXPECT_FALSE(taken(reassembly, odd)) << "not a multiple of eight";
  Bytes damaged = fragment(other, 800, 800);
  damaged[14 + 8] ^= 1;
  EXPECT_FALSE(taken(reassembly, damaged)) << "its checksum is wrong";
  EXPECT_EQ(taken(reassembly, fragment(whole, 800, 800)), whole);
}

TEST(Reassembly, KeepsAFewAndNotForLong) {
  Reassembly reassembly;
  const Bytes whole = payload(1600);
  for (uint16_t id = 0; id < 100; ++id) EXPECT_FALSE(taken(reassembly, fragment(whole, 0, 800, id)));
  EXPECT_EQ(reassembly.under_way(), Reassembly::kMaxPackets);
  EXPECT_FALSE(taken(reassembly, fragment(whole, 800, 800, 0))) << "it gave way";
  EXPECT_EQ(taken(reassembly, fragment(whole, 800, 800, 99)), whole);
  EXPECT_FALSE(taken(reassembly, fragment(whole, 800, 800, 98), Reassembly::kPatience + 1)) << "too late";
  EXPECT_EQ(reassembly.under_way(), 1u);
}

TEST(Reassembly, TheLargestPacketIsTaken) {
  Reassembly reassembly;
  const Bytes whole = payload(Reassembly::kMaxPayload);
  std::optional<Bytes> got;
  for (size_t offset = 0; offset < whole.size(); offset += 1480)
    got = taken(reassembly, fragment(whole, offset, std::min<size_t>(1480, whole.size() - offset)));
  EXPECT_EQ(got, whole);
}

TEST(NetFuzz, ReassemblyGivesWholePacketsOrNothing) {
  auto random = make_random();
  Reassembly reassembly;
  for (int i = 0; i < 8'000; ++i) {
    Bytes frame = fragment(payload(4000), random() % 20 * 8, 1 + random() % 200, static_cast<uint16_t>(random() % 12));
    store_be16(&frame[14 + 6], static_cast<uint16_t>(random() % 3 ? random() % 64 | (random() % 2) << 13 : random()));
    if (random() % 4) set_ipv4_checksum(frame, *find_layout(frame));
    if (random() % 8 == 0) frame[14 + random() % 20] = static_cast<uint8_t>(random());
    if (random() % 16 == 0) frame.resize(random() % frame.size());
    const auto whole = reassembly.take(frame, i * int64_t{1'000'000});
    if (whole && whole->data() != frame.data()) {
      const auto layout = find_layout(*whole);
      ASSERT_TRUE(layout && !layout->fragment && layout->end == whole->size());
    }
    ASSERT_LE(reassembly.under_way(), Reassembly::kMaxPackets);
  }
}

}  // namespace
}  // namespace skerry::net::test
