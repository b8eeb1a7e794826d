#include "unit/devices/e1000e_rig.hpp"

namespace skerry::devices::e1000e::test {
namespace {

using net::kProtocolTcp, net::kProtocolUdp;
using Header = net::FrameHeader;

class E1000eSend : public testing::Test {
 protected:
  Rig rig;
};

TEST_F(E1000eSend, SendsLegacyDescriptors) {
  rig.start();
  rig.write(IMS, icr::TXDW);
  const Bytes frame = ip_frame(kProtocolUdp, 100);
  rig.memory.clear_dirty();
  rig.send(frame);
  ASSERT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_EQ(rig.backend.sent[0].second, frame);
  EXPECT_TRUE(rig.sent_back(0));
  EXPECT_TRUE(rig.memory.dirty(Rig::kSend));
  EXPECT_EQ(rig.read(TDBAL + kHead), 1u);
  EXPECT_TRUE(rig.lines.high);
  EXPECT_EQ(rig.read(ICR), icr::TXDW | icr::TXQE | icr::TXQ0 | icr::INT_ASSERTED);
  EXPECT_FALSE(rig.lines.high);
  EXPECT_EQ(rig.read(GPTC), 1u);
  EXPECT_EQ(rig.read(GPTC), 0u);
  EXPECT_EQ(rig.read(GOTCL), frame.size() + 4);
}

TEST_F(E1000eSend, DescriptorsComeBackOnlyIfThatIsAskedFor) {
  rig.start();
  rig.send(ip_frame(kProtocolUdp, 100), Rig::kEop);
  EXPECT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_FALSE(rig.sent_back(0));
  EXPECT_EQ(rig.read(TDBAL + kHead), 1u);
  rig.write(IVAR, 1u << 31);
  rig.send(ip_frame(kProtocolUdp, 100), Rig::kEop);
  EXPECT_TRUE(rig.sent_back(1));
}

TEST_F(E1000eSend, AFrameOfSeveralDescriptorsWaitsForItsLast) {
  rig.start();
  const Bytes frame = ip_frame(kProtocolUdp, 1000);
  const memory::Gpa at = rig.buffer_of(frame);
  rig.put_descriptor(at, 14 | Rig::kRs, 0);
  rig.put_descriptor(at + 14, 500, 0);
  rig.ring_send();
  EXPECT_TRUE(rig.backend.sent.empty());
  EXPECT_FALSE(rig.sent_back(0));
  rig.put_descriptor(at + 514, static_cast<uint32_t>(frame.size() - 514) | Rig::kEop, 0);
  rig.ring_send();
  ASSERT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_EQ(rig.backend.sent[0].second, frame);
  EXPECT_TRUE(rig.sent_back(0));
}

TEST_F(E1000eSend, ShortFramesArePaddedAndOnesThatAreNoneDropped) {
  rig.start();
  Bytes frame = ip_frame(kProtocolUdp, 0);
  rig.send(frame);
  frame.resize(60);
  EXPECT_EQ(rig.backend.sent.at(0).second, frame);
  rig.send(Bytes(13));
  rig.put_descriptor(Rig::kRam, 100 | Rig::kEop | Rig::kRs, 0);
  rig.ring_send();
  EXPECT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_TRUE(rig.sent_back(1) && rig.sent_back(2)) << "their descriptors come back";
}

TEST_F(E1000eSend, NothingIsSentBeforeItMayBe) {
  rig.start();
  rig.write(TCTL, 0);
  rig.send(ip_frame(kProtocolUdp, 1));
  EXPECT_TRUE(rig.backend.sent.empty());
  rig.host.config_write(0, Rig::kDevfn, bus::pci::kCommand, 2, bus::pci::kCommandMemory);
  rig.write(TCTL, tctl::EN);
  EXPECT_TRUE(rig.backend.sent.empty()) << "no bus master";
  rig.map();
  EXPECT_EQ(rig.backend.sent.size(), 1u);
}

TEST(E1000eOffloads, ChecksumsAreInsertedWhereTheContextSays) {
  for (const bool takes : {false, true})
    for (const bool ipv6 : {false, true})
      for (const uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
        Rig rig({.checksum = takes});
        rig.start();
        const Bytes whole = ip_frame(protocol, 333, ipv6);
        Bytes frame = whole;
        const auto layout = *net::find_layout(frame);
        const size_t checksum = layout.transport + (protocol == kProtocolTcp ? 16 : 6);
        net::store_be16(&frame[checksum], net::pseudo_header_sum(frame, layout, protocol, layout.end - layout.transport));
        if (!ipv6) net::store_be16(&frame[24], 0);
        rig.put_context(ipv6, protocol == kProtocolTcp, false);
        rig.put_descriptor(rig.buffer_of(frame), Rig::kDext | Rig::kData | Rig::kEop | Rig::kRs | static_cast<uint32_t>(frame.size()),
                           (ipv6 ? 2 : 3) << 8);
        rig.ring_send();
        ASSERT_EQ(rig.backend.sent.size(), 1u);
        auto [header, sent] = rig.backend.sent[0];
        EXPECT_EQ(header.flags, takes ? Header::kNeedsCsum : 0);
        EXPECT_TRUE(net::complete_checksum(header, sent));
        EXPECT_EQ(sent, whole);
      }
}

TEST_F(E1000eSend, ALegacyDescriptorHasOneChecksum) {
  rig.start();
  const Bytes whole = ip_frame(kProtocolTcp, 50);
  Bytes frame = whole;
  const auto layout = *net::find_layout(frame);
  net::store_be16(&frame[50], net::pseudo_header_sum(frame, layout, kProtocolTcp, layout.end - layout.transport));
  rig.send(frame, Rig::kEop | Rig::kRs | Rig::kIc | 50 << 16, 34 << 8);
  EXPECT_EQ(rig.backend.sent.at(0).second, whole);
}

TEST_F(E1000eSend, ATagIsInserted) {
  rig.start();
  const Bytes frame = ip_frame(kProtocolUdp, 100);
  rig.send(frame, Rig::kEop | Rig::kVle, 0x2005u << 16);
  EXPECT_EQ(rig.backend.sent.at(0).second, frame) << "not without CTRL.VME";
  rig.write(CTRL, rig.read(CTRL) | ctrl::VME);
  rig.send(frame, Rig::kEop | Rig::kVle, 0x2005u << 16);
  Bytes tagged = frame;
  const Bytes tag = {0x81, 0x00, 0x20, 0x05};
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  EXPECT_EQ(rig.backend.sent.at(1).second, tagged);
}

void expect_segments(const Rig& rig, size_t payload, bool ipv6, size_t mss) {
  const size_t headers = ipv6 ? 74 : 54;
  size_t done = 0;
  for (const auto& [header, frame] : rig.backend.sent) {
    const auto layout = net::find_layout(frame);
    ASSERT_TRUE(layout);
    EXPECT_EQ(header.flags, 0);
    const size_t here = std::min(mss, payload - done);
    ASSERT_EQ(frame.size(), headers + here);
    const uint16_t pseudo = net::pseudo_header_sum(frame, *layout, kProtocolTcp, frame.size() - layout->transport);
    EXPECT_EQ(net::ones_sum(std::span(frame).subspan(layout->transport), pseudo), 0xffff);
    EXPECT_EQ(net::load_be32(&frame[layout->transport + 4]), done);
    EXPECT_EQ(frame[headers], static_cast<uint8_t>(done * 7 + done / 256));
    done += here;
  }
  EXPECT_EQ(done, payload);
}

TEST(E1000eOffloads, SegmentsAreMadeHereIfTheBackendTakesNone) {
  for (const bool ipv6 : {false, true}) {
    Rig rig;
    rig.start();
    send_segments(rig, 10'000, ipv6, 1440);
    expect_segments(rig, 10'000, ipv6, 1440);
    EXPECT_TRUE(rig.sent_back(2));
    EXPECT_EQ(rig.read(TSCTC), 1u);
    EXPECT_EQ(rig.read(GPTC), 7u);
  }
}

TEST(E1000eOffloads, ABackendThatTakesLargeFramesGetsThem) {
  for (const bool ipv6 : {false, true}) {
    Rig rig({.checksum = true, .tso4 = true, .tso6 = true});
    rig.start();
    send_segments(rig, 30'000, ipv6, 1440);
    ASSERT_EQ(rig.backend.sent.size(), 1u);
    const auto& [header, frame] = rig.backend.sent[0];
    EXPECT_EQ(header.gso_type, ipv6 ? Header::kGsoTcpv6 : Header::kGsoTcpv4);
    EXPECT_EQ(header.gso_size, 1440);
    EXPECT_EQ(header.hdr_len, ipv6 ? 74 : 54);
    // As a virtio card would give it: its headers are those of one large packet, whose checksum lacks only the sum.
    Bytes complete = frame;
    Header rest{.flags = Header::kNeedsCsum, .csum_start = header.csum_start, .csum_offset = header.csum_offset};
    ASSERT_TRUE(net::complete_checksum(rest, complete));
    EXPECT_EQ(complete, ip_frame(kProtocolTcp, 30'000, ipv6));
  }
}

TEST_F(E1000eSend, WhatCannotBeSegmentedIsCountedAndDropped) {
  rig.start();
  send_segments(rig, 10'000, false, 20);
  EXPECT_TRUE(rig.backend.sent.empty());
  EXPECT_TRUE(rig.sent_back(2));
  EXPECT_EQ(rig.read(TSCTFC), 1u);
}

TEST_F(E1000eSend, ABackendWithoutRoomGetsWhatIsLeftLater) {
  rig.start();
  rig.backend.room = 3;
  send_segments(rig, 10'000, false, 1440);
  EXPECT_EQ(rig.backend.sent.size(), 3u);
  EXPECT_FALSE(rig.sent_back(2));
  EXPECT_EQ(rig.read(TDBAL + kHead), 1u) << "the context is done";
  rig.backend.room = 2;
  rig.backend.card->backend_has_room();
  rig.run_loop();
  EXPECT_EQ(rig.backend.sent.size(), 5u);
  rig.backend.room = ~0u;
  rig.backend.card->backend_has_room();
  rig.run_loop();
  expect_segments(rig, 10'000, false, 1440);
  EXPECT_TRUE(rig.sent_back(2));
}

TEST_F(E1000eSend, AFrameWithoutEndIsDiscardedUpToWhereItEnds) {
  rig.start();
  rig.write(TDBAL + kLength, 0x8000);  // 2048 descriptors, through all that is there
  for (unsigned i = 0; i < 1500; ++i) {
    rig.set<uint64_t>(Rig::kSend + 16 * i, Rig::kSendBuffers);
    rig.set<uint64_t>(Rig::kSend + 16 * i + 8, i == 1400 ? 60u | Rig::kEop : 60u);
  }
  rig.write(TDBAL + kTail, 1300);
  EXPECT_EQ(rig.read(TDBAL + kHead), 1300u);
  rig.write(TDBAL + kTail, 1401);
  EXPECT_EQ(rig.read(TDBAL + kHead), 1401u);
  EXPECT_TRUE(rig.backend.sent.empty());
}

TEST_F(E1000eSend, AResetTakesTheRingAway) {
  rig.start();
  rig.backend.room = 0;
  rig.send(ip_frame(kProtocolUdp, 100));
  rig.write(CTRL, ctrl::RST);
  rig.backend.room = ~0u;
  rig.backend.card->backend_has_room();
  rig.run_loop();
  EXPECT_TRUE(rig.backend.sent.empty());
  EXPECT_EQ(rig.read(TDBAL + kTail), 0u);
  EXPECT_EQ(rig.read(RCTL), 0u);
}

// On another thread it would be: what was read before the reset is not the driver's any more.
TEST_F(E1000eSend, AResetInTheMidstOfSendingKeepsTheRingAsItIs) {
  rig.start();
  rig.backend.on_send = [&] {
    rig.mmio.write(Rig::kBar + CTRL, 4, ctrl::RST);
    rig.mmio.write(Rig::kBar + TDBAL + kLength, 4, 0x80);
    rig.mmio.write(Rig::kBar + IMS, 4, icr::TXDW);
  };
  rig.send(ip_frame(kProtocolUdp, 100));
  EXPECT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_FALSE(rig.sent_back(0));
  EXPECT_EQ(rig.read(TDBAL + kHead), 0u);
  EXPECT_FALSE(rig.lines.high);
}

TEST_F(E1000eSend, ABackendMayLoseItsLinkWhileItSends) {
  rig.start();
  rig.backend.on_send = [&] {
    rig.backend.card->link_changed(false);
    rig.backend.card->backend_has_room();
  };
  rig.send(ip_frame(kProtocolUdp, 100));
  rig.run_loop();
  EXPECT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_FALSE(rig.read(STATUS) & status::LU);
}

}  // namespace
}  // namespace skerry::devices::e1000e::test
