#include "net/checksum.hpp"

#include "net/delivery.hpp"
#include "net/segment.hpp"
#include "unit/net/packets.hpp"

namespace skerry::net {
namespace {

Bytes random_bytes(std::mt19937_64& random, size_t size) {
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST(Checksum, IsThatOfTheExampleInRfc1071) {
  const Bytes bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};  // section 3
  EXPECT_EQ(ones_sum(bytes), 0xddf2);
}

TEST(Checksum, IsTheSameAsTheObviousOneForAnyBytes) {
  auto random = make_random();
  for (int i = 0; i < 2000; ++i) {
    const Bytes bytes = random_bytes(random, random() % 200);
    const auto start = static_cast<uint16_t>(random());
    // Zero is said in two ways, which differ by where the sum starts.
    ASSERT_EQ(ones_sum(bytes, start) % 0xffff, plain_sum(bytes, start) % 0xffff) << bytes.size();
  }
}

TEST(Checksum, OfAHeaderThatWireTapsShow) {
  // A common example of an IPv4 header: its checksum is b861.
  Bytes frame = ethernet(0x0800);
  append(frame, Bytes{0x45, 0x00, 0x00, 0x14, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
                      0xa8, 0x00, 0xc7});
  set_ipv4_checksum(frame, *find_layout(frame));
  EXPECT_EQ(plain_sum(std::span(frame).subspan(14)), 0xffff);
}

TEST(Checksum, IsCompletedWhereTheHeaderSays) {
  Bytes udp = udp_header(1000, 2000, 5);
  append(udp, Bytes{1, 2, 3, 4, 5});
  Bytes frame = ipv4_packet(kProtocolUdp, kGuestIp, kGatewayIp, udp);
  const auto layout = *find_layout(frame);
  store_be16(frame.data() + layout.transport + 6, pseudo_header_sum(frame, layout, kProtocolUdp, udp.size()));
  FrameHeader header{.flags = FrameHeader::kNeedsCsum, .csum_start = 34, .csum_offset = 6};
  ASSERT_TRUE(complete_checksum(header, frame));
  EXPECT_EQ(header.flags, 0);
  EXPECT_TRUE(checksum_is_right(frame));
}

TEST(Checksum, OutsideOfTheFrameIsRefused) {
  Bytes frame(60);
  for (const auto& [start, offset] : {std::pair{59, 0}, {60, 0}, {0, 59}, {0xffff, 0xffff}, {30, 29}}) {
    FrameHeader header{.flags = FrameHeader::kNeedsCsum, .csum_start = static_cast<uint16_t>(start),
                       .csum_offset = static_cast<uint16_t>(offset)};
    EXPECT_FALSE(complete_checksum(header, frame)) << start << '+' << offset;
  }
  EXPECT_EQ(frame, Bytes(60));
}

TEST(Frame, LayoutIsThatOfWholePacketsOnly) {
  const Bytes frame = ipv4_packet(kProtocolUdp, 1, 2, Bytes(30));
  ASSERT_TRUE(find_layout(frame));
  for (size_t size = 0; size < frame.size(); ++size) EXPECT_FALSE(find_layout({frame.data(), size})) << size;
  Bytes tagged(frame.begin(), frame.begin() + 12);
  append(tagged, Bytes{0x81, 0x00, 0x00, 0x05});
  append(tagged, std::span(frame).subspan(12));
  ASSERT_TRUE(find_layout(tagged));
  EXPECT_EQ(find_layout(tagged)->transport, 38u);
  Bytes padded = frame;
  padded.resize(80);
  EXPECT_EQ(find_layout(padded)->end, frame.size());
}

struct LargeSegment {
  Bytes frame;
  FrameHeader header;
  Bytes payload;
};

// As a driver hands it over: the checksum is the pseudo-header's.
LargeSegment large_segment(std::mt19937_64& random, bool ipv6, size_t payload, uint16_t gso_size) {
  LargeSegment large;
  large.payload = random_bytes(random, payload);
  Bytes tcp = tcp_header(1000, 2000, 0xfffffff0, 7, 0x99);  // CWR, ACK, PSH, FIN; the sequence number wraps
  append(tcp, large.payload);
  large.frame = ipv6 ? ipv6_packet(kProtocolTcp, tcp) : ipv4_packet(kProtocolTcp, kGuestIp, kGatewayIp, tcp);
  const auto layout = *find_layout(large.frame);
  const uint16_t pseudo = pseudo_header_sum(large.frame, layout, kProtocolTcp, tcp.size());
  store_be16(large.frame.data() + layout.transport + 16, pseudo);
  large.header = {.flags = FrameHeader::kNeedsCsum,
                  .gso_type = ipv6 ? FrameHeader::kGsoTcpv6 : FrameHeader::kGsoTcpv4,
                  .gso_size = gso_size,
                  .csum_start = static_cast<uint16_t>(layout.transport),
                  .csum_offset = 16};
  return large;
}

TEST(Segmenter, CutsTcpIntoSegmentsThatAreRightAndMakeUpTheWhole) {
  auto random = make_random();
  for (int i = 0; i < 200; ++i) {
    const bool ipv6 = i % 2;
    const uint16_t gso_size = static_cast<uint16_t>(kMinGsoSize + random() % 1500);
    const LargeSegment large = large_segment(random, ipv6, 1 + random() % 60'000, gso_size);
    auto segmenter = Segmenter::segments(large.header, large.frame);
    ASSERT_TRUE(segmenter);
    Bytes all, piece;
    unsigned count = 0;
    while (segmenter->next(piece)) {
      ASSERT_TRUE(checksum_is_right(piece));
      const auto layout = *find_layout(piece);
      ASSERT_EQ(layout.end, piece.size());
      if (!ipv6) {
        ASSERT_EQ(plain_sum(std::span(piece).subspan(14, 20)), 0xffff);
        ASSERT_EQ(load_be16(piece.data() + 18), static_cast<uint16_t>(0x1234 + count));
      }
      const uint8_t* tcp = piece.data() + layout.transport;
      ASSERT_EQ(load_be32(tcp + 4), static_cast<uint32_t>(0xfffffff0 + all.size()));
      append(all, std::span(piece).subspan(layout.transport + 20));
      const bool last = all.size() == large.payload.size();
      ASSERT_EQ(tcp[13] & 0x09, last ? 0x09 : 0) << "FIN and PSH are the last one's";
      ASSERT_EQ(tcp[13] & 0x80, count == 0 ? 0x80 : 0) << "CWR is the first one's";
      ASSERT_LE(piece.size() - layout.transport - 20, gso_size);
      ++count;
    }
    EXPECT_EQ(all, large.payload);
    EXPECT_EQ(count, (large.payload.size() + gso_size - 1) / gso_size);
  }
}

TEST(Segmenter, CutsOtherPacketsIntoFragmentsThatMakeUpTheWhole) {
  auto random = make_random();
  for (const bool ipv6 : {false, true}) {
    Bytes udp = udp_header(1000, 2000, 9000);
    append(udp, random_bytes(random, 9000));
    const Bytes frame = ipv6 ? ipv6_packet(kProtocolUdp, udp) : ipv4_packet(kProtocolUdp, 1, 2, udp);
    auto segmenter = Segmenter::fragments(1500, frame);
    ASSERT_TRUE(segmenter);
    Bytes all, piece;
    while (segmenter->next(piece)) {
      ASSERT_LE(piece.size(), 1514u);
      const auto layout = *find_layout(piece);
      ASSERT_EQ(layout.end, piece.size());
      const size_t data = layout.transport + (ipv6 ? 8 : 0);
      const unsigned about = load_be16(piece.data() + (ipv6 ? layout.transport + 2 : 20));
      ASSERT_EQ(ipv6 ? about & ~7u : (about & 0x1fff) * 8u, all.size());
      append(all, std::span(piece).subspan(data));
      ASSERT_EQ((about & (ipv6 ? 1 : 0x2000)) == 0, all.size() == udp.size()) << "more fragments";
    }
    EXPECT_EQ(all, udp);
  }
}

TEST(Segmenter, RefusesWhatIsNotAsTheHeaderSays) {
  auto random = make_random();
  const LargeSegment large = large_segment(random, false, 5000, 1460);
  const auto refuses = [&](auto change) {
    LargeSegment wrong = large;
    change(wrong);
    return !Segmenter::segments(wrong.header, wrong.frame);
  };
  EXPECT_FALSE(refuses([](LargeSegment&) {}));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.header.flags = 0; }));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.header.gso_size = 0; }));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.header.gso_size = 1; }));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.header.gso_type = FrameHeader::kGsoTcpv6; }));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.header.gso_type = 77; }));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.header.csum_start = 60'000; }));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.header.csum_offset = 6; }));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.frame.resize(40); }));
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.frame[46] = 0x10; }));  // data offset of 4 bytes
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.frame[20] = 0x20; }));  // a fragment
  EXPECT_TRUE(refuses([](LargeSegment& wrong) { wrong.frame[23] = 17; }));
}

TEST(Delivery, DoesWhatTheGuestDoesNotTake) {
  auto random = make_random();
  const LargeSegment large = large_segment(random, false, 5000, 1460);
  FakeCard card;
  Delivery delivery;
  delivery.attach(&card);
  Bytes frame = large.frame;
  EXPECT_TRUE(delivery.deliver(large.header, frame));
  EXPECT_EQ(card.frames.size(), 4u);
  for (const auto& each : card.frames) EXPECT_TRUE(checksum_is_right(each.bytes) && each.header.flags == 0);
  card.frames.clear();
  delivery.set_offloads({.checksum = true, .tso4 = true});
  EXPECT_TRUE(delivery.deliver(large.header, frame));
  ASSERT_EQ(card.frames.size(), 1u);
  EXPECT_EQ(card.frames[0].bytes, large.frame);
  EXPECT_EQ(card.frames[0].header.gso_size, 1460);
}

TEST(Delivery, KeepsWhatTheCardHasNoRoomForInOrder) {
  auto random = make_random();
  const LargeSegment large = large_segment(random, false, 5000, 1460);
  FakeCard card;
  card.room = 1;
  Delivery delivery;
  delivery.attach(&card);
  Bytes frame = large.frame;
  EXPECT_FALSE(delivery.deliver(large.header, frame));
  frame.clear();
  EXPECT_TRUE(delivery.blocked());
  EXPECT_FALSE(delivery.resume());
  card.room = 2;
  EXPECT_FALSE(delivery.resume());
  card.room = SIZE_MAX;
  EXPECT_TRUE(delivery.resume());
  EXPECT_FALSE(delivery.blocked());
  Bytes all;
  for (const auto& each : card.frames) append(all, std::span(each.bytes).subspan(54));
  EXPECT_EQ(all, large.payload);
}

}  // namespace
}  // namespace skerry::net
