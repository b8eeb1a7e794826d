#include "unit/devices/e1000e_rig.hpp"

namespace skerry::devices::e1000e::test {
namespace {

using net::kProtocolTcp, net::kProtocolUdp;
using Header = net::FrameHeader;
constexpr uint32_t kAllInterrupts = icr::kCauses;

class E1000eTest : public testing::Test {
 protected:
  Rig rig;
};

TEST_F(E1000eTest, TheFunctionIsThatOfThe82574L) {
  EXPECT_EQ(rig.host.config_read(0, Rig::kDevfn, 0, 4), 0x10d3'8086u);
  EXPECT_EQ(rig.host.config_read(0, Rig::kDevfn, 8, 4) >> 8, 0x020000u);
  for (const uint8_t capability : {bus::pci::kCapMsi, bus::pci::kCapMsix, bus::pci::kCapPciExpress}) EXPECT_NE(rig.capability(capability), 0u);
  EXPECT_EQ(rig.host.config_read(0, Rig::kDevfn, rig.capability(bus::pci::kCapMsix) + 2, 2) & 0x7ff, kVectors - 1);
}

TEST_F(E1000eTest, TheEepromHasTheAddressAndTheRightSum) {
  uint16_t sum = 0;
  std::vector<uint16_t> words;
  for (uint32_t i = 0; i < 64; ++i) {
    rig.write(EERD, 1 | i << 2);
    EXPECT_EQ(rig.read(EERD) & 0xffff, 2u | i << 2);
    words.push_back(static_cast<uint16_t>(rig.read(EERD) >> 16));
    sum = static_cast<uint16_t>(sum + words.back());
  }
  EXPECT_EQ(sum, 0xbaba);
  EXPECT_EQ((std::vector<uint16_t>(words.begin(), words.begin() + 3)), (std::vector<uint16_t>{0x5452, 0x0100, 0x0302}));
  EXPECT_EQ(rig.read(RAL), 0x0100'5452u);
  EXPECT_EQ(rig.read(RAL + 4), 0x8000'0302u);
  rig.write(EEWR, 1 | 0x1234'0000);
  EXPECT_TRUE(rig.read(EEWR) & 2);
  rig.write(EERD, 1);
  EXPECT_EQ(rig.read(EERD) >> 16, 0x5452u) << "it is write-protected";
}

TEST_F(E1000eTest, ThePhyIsKnownAndHasNegotiated) {
  EXPECT_EQ(rig.phy(2), 0x0141);
  EXPECT_EQ(rig.phy(3), 0x0cb1);
  EXPECT_EQ(rig.phy(1) & 0x24, 0x24) << "negotiated, link";
  EXPECT_TRUE(rig.read(STATUS) & status::LU);
  rig.write(MDIC, 2u << 26 | 2u << 21);
  EXPECT_TRUE(rig.read(MDIC) & 1u << 30) << "there is nobody at another address";
  rig.set_phy(22, 3);
  rig.set_phy(20, 0x1234);
  rig.set_phy(22, 0);
  EXPECT_EQ(rig.phy(20), 0);
  rig.set_phy(22, 3);
  EXPECT_EQ(rig.phy(20), 0x1234) << "registers above 15 are each page's own";
}

TEST_F(E1000eTest, NegotiatingTakesTimeAndEndsWithAnInterrupt) {
  rig.write(IMS, icr::LSC);
  rig.set_phy(0, 0x1340);
  EXPECT_FALSE(rig.read(STATUS) & status::LU);
  EXPECT_EQ(rig.phy(1) & 0x24, 0);
  EXPECT_EQ(rig.read(ICR), icr::LSC | icr::INT_ASSERTED);
  rig.time.advance(Phy::kNegotiation - 1);
  EXPECT_FALSE(rig.read(STATUS) & status::LU);
  EXPECT_FALSE(rig.lines.high);
  rig.time.advance(1);
  EXPECT_TRUE(rig.read(STATUS) & status::LU);
  EXPECT_EQ(rig.phy(1) & 0x24, 0x24);
  EXPECT_TRUE(rig.lines.high);
  rig.set_phy(0, 0x1940);
  EXPECT_FALSE(rig.read(STATUS) & status::LU) << "powered down";
}

TEST_F(E1000eTest, ACableThatIsPulledOutIsTold) {
  rig.start();
  rig.write(IMS, icr::LSC);
  rig.backend.card->link_changed(false);
  EXPECT_TRUE(rig.lines.high);
  EXPECT_EQ(rig.read(ICR) & icr::LSC, icr::LSC);
  EXPECT_FALSE(rig.read(STATUS) & status::LU);
  rig.backend.card->link_changed(false);
  EXPECT_FALSE(rig.lines.high) << "once";
}

TEST_F(E1000eTest, SemaphoresAreTaken) {
  EXPECT_EQ(rig.read(SWSM) & 1, 0u);
  EXPECT_EQ(rig.read(SWSM) & 1, 1u) << "by being read";
  rig.write(SWSM, 0);
  EXPECT_EQ(rig.read(SWSM) & 1, 0u);
  rig.write(EXTCNF_CTRL, 1 << 5);
  EXPECT_EQ(rig.read(EXTCNF_CTRL), 1u << 5);
  rig.write(CTRL, ctrl::RST);
  EXPECT_EQ(rig.read(EXTCNF_CTRL), 0u);
  EXPECT_FALSE(rig.read(CTRL) & ctrl::RST);
}

TEST_F(E1000eTest, RegistersAreReachedByPortsToo) {
  rig.pio.write(Rig::kPorts, 4, RAL);
  EXPECT_EQ(rig.pio.read(Rig::kPorts + 4, 4), 0x0100'5452u);
  rig.pio.write(Rig::kPorts + 4, 4, 0x1234);
  EXPECT_EQ(rig.read(RAL), 0x1234u);
  rig.pio.write(Rig::kPorts, 4, 0xffff'fffc);
  EXPECT_EQ(rig.pio.read(Rig::kPorts + 4, 4), 0u);
}

// --- sending

TEST_F(E1000eTest, SendsLegacyDescriptors) {
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

TEST_F(E1000eTest, DescriptorsComeBackOnlyIfThatIsAskedFor) {
  rig.start();
  rig.send(ip_frame(kProtocolUdp, 100), Rig::kEop);
  EXPECT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_FALSE(rig.sent_back(0));
  EXPECT_EQ(rig.read(TDBAL + kHead), 1u);
  rig.write(IVAR, 1u << 31);
  rig.send(ip_frame(kProtocolUdp, 100), Rig::kEop);
  EXPECT_TRUE(rig.sent_back(1));
}

TEST_F(E1000eTest, AFrameOfSeveralDescriptorsWaitsForItsLast) {
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

TEST_F(E1000eTest, ShortFramesArePaddedAndOnesThatAreNoneDropped) {
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

TEST_F(E1000eTest, NothingIsSentBeforeItMayBe) {
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

TEST_F(E1000eTest, ALegacyDescriptorHasOneChecksum) {
  rig.start();
  const Bytes whole = ip_frame(kProtocolTcp, 50);
  Bytes frame = whole;
  const auto layout = *net::find_layout(frame);
  net::store_be16(&frame[50], net::pseudo_header_sum(frame, layout, kProtocolTcp, layout.end - layout.transport));
  rig.send(frame, Rig::kEop | Rig::kRs | Rig::kIc | 50 << 16, 34 << 8);
  EXPECT_EQ(rig.backend.sent.at(0).second, whole);
}

TEST_F(E1000eTest, ATagIsInserted) {
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

// What a driver gives to be segmented: lengths are zero, the checksum is of a pseudo-header without length.
Bytes to_segment(size_t payload, bool ipv6) {
  Bytes frame = ip_frame(kProtocolTcp, payload, ipv6);
  const auto layout = *net::find_layout(frame);
  net::store_be16(&frame[layout.transport + 16], net::pseudo_header_sum(frame, layout, kProtocolTcp, 0));
  net::store_be16(&frame[ipv6 ? 18 : 16], 0);
  if (!ipv6) net::store_be16(&frame[24], 0);
  return frame;
}
void send_segments(Rig& rig, size_t payload, bool ipv6, uint16_t mss) {
  const Bytes frame = to_segment(payload, ipv6);
  const memory::Gpa at = rig.buffer_of(frame);
  const size_t headers = ipv6 ? 74 : 54;
  rig.put_context(ipv6, true, true, mss);
  rig.put_descriptor(at, Rig::kDext | Rig::kData | Rig::kTse | static_cast<uint32_t>(headers), (ipv6 ? 2 : 3) << 8);
  rig.put_descriptor(at + headers, Rig::kDext | Rig::kData | Rig::kTse | Rig::kEop | Rig::kRs | static_cast<uint32_t>(payload), 0);
  rig.ring_send();
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

TEST_F(E1000eTest, WhatCannotBeSegmentedIsCountedAndDropped) {
  rig.start();
  send_segments(rig, 10'000, false, 20);
  EXPECT_TRUE(rig.backend.sent.empty());
  EXPECT_TRUE(rig.sent_back(2));
  EXPECT_EQ(rig.read(TSCTFC), 1u);
}

TEST_F(E1000eTest, ABackendWithoutRoomGetsWhatIsLeftLater) {
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

TEST_F(E1000eTest, AFrameWithoutEndIsDiscardedUpToWhereItEnds) {
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

TEST_F(E1000eTest, AResetTakesTheRingAway) {
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

// --- receiving

TEST_F(E1000eTest, ReceivesWithExtendedDescriptors) {
  rig.start();
  rig.give_buffers(4);
  rig.write(IMS, icr::RXT0);
  const Bytes frame = ip_frame(kProtocolTcp, 100);
  ASSERT_TRUE(rig.receive(frame));
  EXPECT_EQ(rig.bytes(rig.receive_buffer(0), frame.size()), frame);
  const auto got = rig.got(0);
  EXPECT_EQ(got.length, frame.size());
  EXPECT_EQ(got.status, 0x263u) << "done, end of packet, IP and TCP checksums looked at and right, identification";
  EXPECT_EQ(rig.read(RDBAL + kHead), 1u);
  EXPECT_TRUE(rig.lines.high);
  EXPECT_EQ(rig.read(GPRC), 1u);
}

TEST_F(E1000eTest, ReceivesWithLegacyDescriptorsAndTheFrameCheckSequence) {
  rig.start(rctl::EN, 0);
  rig.give_buffers(4);
  const Bytes frame = {0x52, 0x54, 0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 0x88, 0xb5, 1};
  ASSERT_TRUE(rig.receive(frame));
  Bytes padded = frame;
  padded.resize(60);
  EXPECT_EQ(rig.bytes(rig.receive_buffer(0), 60), padded);
  EXPECT_EQ(rig.get<uint16_t>(rig.receive_at(0) + 8), 64);
  EXPECT_EQ(rig.get<uint8_t>(rig.receive_at(0) + 12), 0x07) << "done, end of packet, no checksums";
  EXPECT_EQ(rig.get<uint64_t>(rig.receive_at(0)), rig.receive_buffer(0)) << "the address stays";
  // zlib's crc32() of the same 60 bytes.
  EXPECT_EQ(rig.get<uint32_t>(rig.receive_buffer(0) + 60), 0x2a7d'9169u);
}

TEST_F(E1000eTest, WrongChecksumsAreTold) {
  rig.start();
  rig.give_buffers(7);
  Bytes frame = ip_frame(kProtocolTcp, 100);
  frame[60] ^= 1;
  rig.receive(frame);
  EXPECT_EQ(rig.got(0).status & 0x7000'0070, 0x2000'0060u);
  frame[24] ^= 1;
  rig.receive(frame);
  EXPECT_EQ(rig.got(1).status & 0x7000'0070, 0x6000'0060u);
  rig.receive(ip_frame(kProtocolUdp, 100, true));
  EXPECT_EQ(rig.got(2).status & 0x7000'0070, 0x30u);
  rig.write(RXCSUM, 0);
  rig.receive(frame);
  EXPECT_EQ(rig.got(3).status & 0x7000'0070, 0u);
}

TEST_F(E1000eTest, LongFramesNeedLeaveAndSeveralBuffers) {
  rig.start();
  rig.give_buffers(7);
  const Bytes frame = ip_frame(kProtocolTcp, 5000);
  EXPECT_TRUE(rig.receive(frame));
  EXPECT_EQ(rig.read(ROC), 1u);
  EXPECT_EQ(rig.read(RDBAL + kHead), 0u);
  rig.write(RCTL, rctl::EN | rctl::LPE | rctl::SECRC);
  EXPECT_TRUE(rig.receive(frame));
  EXPECT_EQ(rig.read(RDBAL + kHead), 3u);
  Bytes all = rig.bytes(rig.receive_buffer(0), 2048);
  for (unsigned i = 1; i < 3; ++i) {
    const Bytes part = rig.bytes(rig.receive_buffer(i), rig.got(i).length);
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(all, frame);
  EXPECT_EQ(rig.got(0).status & 3, 1u) << "done, not the end";
  EXPECT_EQ(rig.got(2).status & 3, 3u);
}

TEST_F(E1000eTest, PacketsAreSplitBehindTheirHeaders) {
  rig.start(rctl::EN | rctl::LPE | rctl::SECRC | 1 << 10);
  rig.write(PSRCTL, 2 | 1 << 8 | 1 << 16);  // 256 bytes, and two of 1 KiB
  for (unsigned i = 0; i < 3; ++i) rig.set<uint64_t>(Rig::kReceive + 8 * i, Rig::kReceiveBuffers + 0x1000 * i);
  rig.write(RDBAL + kTail, 2);  // counts in 16 bytes
  const Bytes frame = ip_frame(kProtocolTcp, 1500);
  ASSERT_TRUE(rig.receive(frame));
  EXPECT_EQ(rig.read(RDBAL + kHead), 2u);
  EXPECT_EQ(rig.got(0).length, 54);
  EXPECT_EQ(rig.get<uint16_t>(Rig::kReceive + 16), 0x8000 | 54);
  EXPECT_EQ(rig.get<uint16_t>(Rig::kReceive + 18), 1024);
  EXPECT_EQ(rig.get<uint16_t>(Rig::kReceive + 20), 476);
  Bytes all = rig.bytes(Rig::kReceiveBuffers, 54);
  for (const auto& [at, size] : {std::pair{0x1000u, size_t{1024}}, {0x2000u, size_t{476}}}) {
    const Bytes part = rig.bytes(Rig::kReceiveBuffers + at, size);
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(all, frame);
}

TEST_F(E1000eTest, AFrameWaitsInTheBackendUntilThereAreBuffers) {
  rig.start();
  EXPECT_FALSE(rig.receive(ip_frame(kProtocolUdp, 10)));
  EXPECT_EQ(rig.backend.told_of_room, 0u);
  rig.give_buffers(1);
  EXPECT_EQ(rig.backend.told_of_room, 1u);
  EXPECT_TRUE(rig.receive(ip_frame(kProtocolUdp, 10)));
  rig.write(RCTL, 0);
  EXPECT_TRUE(rig.receive(ip_frame(kProtocolUdp, 10))) << "nobody wants it";
  EXPECT_EQ(rig.read(RDBAL + kHead), 1u);
}

TEST_F(E1000eTest, TheDriverIsToldWhenBuffersRunLow) {
  rig.start();
  rig.give_buffers(6);
  rig.receive(ip_frame(kProtocolUdp, 10));
  EXPECT_FALSE(rig.read(ICS) & icr::RXDMT0);
  rig.receive(ip_frame(kProtocolUdp, 10));
  EXPECT_TRUE(rig.read(ICS) & icr::RXDMT0) << "half of eight are left";
}

TEST_F(E1000eTest, OnlyFramesThatAreWantedComeIn) {
  rig.start(rctl::EN | rctl::SECRC);
  rig.give_buffers(7);
  Bytes frame = ip_frame(kProtocolUdp, 100);
  const auto comes = [&](const Mac& to) {
    std::copy(to.begin(), to.end(), frame.begin());
    const uint32_t before = rig.read(RDBAL + kHead);
    EXPECT_TRUE(rig.receive(frame));
    const bool came = rig.read(RDBAL + kHead) != before;
    if (came) rig.give_buffers(1);
    return came;
  };
  constexpr Mac kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, kOther = {0x52, 0, 0, 0, 0, 1}, kGroup = {1, 0, 0x5e, 0, 0, 0xfb};
  EXPECT_TRUE(comes(kMac));
  for (const Mac& to : {kBroadcast, kOther, kGroup}) EXPECT_FALSE(comes(to));
  rig.write(RCTL, rctl::EN | rctl::BAM);
  EXPECT_TRUE(comes(kBroadcast));
  rig.write(RCTL, rctl::EN | rctl::UPE);
  EXPECT_TRUE(comes(kOther));
  EXPECT_FALSE(comes(kGroup));
  rig.write(RCTL, rctl::EN | rctl::MPE);
  EXPECT_TRUE(comes(kGroup));
  rig.write(RCTL, rctl::EN);
  rig.write(MTA + 4 * (0xfb0 / 32), 1u << (0xfb0 % 32));  // bits 47 to 36 of the address
  EXPECT_TRUE(comes(kGroup));
  rig.write(RAL + 8, 0x0000'0052);
  rig.write(RAL + 12, 0x8000'0100);
  EXPECT_TRUE(comes(kOther));
}

TEST_F(E1000eTest, TagsAreTakenOffAndChooseFrames) {
  rig.start();
  rig.give_buffers(4);
  rig.write(CTRL, rig.read(CTRL) | ctrl::VME);
  const Bytes frame = ip_frame(kProtocolTcp, 100);
  Bytes tagged = frame;
  const Bytes tag = {0x81, 0x00, 0x20, 0x05};
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  rig.receive(tagged);
  EXPECT_EQ(rig.bytes(rig.receive_buffer(0), frame.size()), frame);
  EXPECT_EQ(rig.got(0).length, frame.size());
  EXPECT_EQ(rig.got(0).vlan, 0x2005);
  EXPECT_EQ(rig.got(0).status & 0x28, 0x28u) << "a tag, and the checksum was found behind it";
  rig.write(RCTL, rctl::EN | rctl::VFE);
  rig.receive(tagged);
  EXPECT_EQ(rig.read(RDBAL + kHead), 1u);
  rig.write(VFTA, 1 << 5);
  rig.receive(tagged);
  EXPECT_EQ(rig.read(RDBAL + kHead), 2u);
}

// The keys and values are those of Microsoft's "Verifying the RSS Hash Calculation".
TEST_F(E1000eTest, TheHashChoosesTheQueue) {
  rig.start();
  rig.give_buffers(4, 1);
  rig.give_buffers(4, 0);
  constexpr uint8_t kKey[] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
                              0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
                              0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
  for (unsigned i = 0; i < 10; ++i)
    rig.write(RSSRK + 4 * i, kKey[4 * i] | kKey[4 * i + 1] << 8 | kKey[4 * i + 2] << 16 | uint32_t{kKey[4 * i + 3]} << 24);
  rig.write(RXCSUM, 1 << 13 | 3 << 8);
  rig.write(MRQC, 1 | 1 << 16 | 1 << 17);
  Bytes frame = ip_frame(kProtocolTcp, 10);
  const Bytes from = {66, 9, 149, 187}, to = {161, 142, 100, 80};
  std::copy(from.begin(), from.end(), frame.begin() + 26);
  std::copy(to.begin(), to.end(), frame.begin() + 30);
  net::store_be16(&frame[34], 2794);
  net::store_be16(&frame[36], 1766);
  rig.receive(frame);
  EXPECT_EQ(rig.got(0).hash, 0x51cc'c178u);
  EXPECT_EQ(rig.got(0).mrq, 1u);
  const unsigned entry = 0x51cc'c178 % 128;
  rig.write(RETA + entry / 4 * 4, 0x80u << (8 * (entry % 4)));
  rig.receive(frame);
  EXPECT_EQ(rig.got(0, 1).hash, 0x51cc'c178u);
  EXPECT_EQ(rig.got(0, 1).mrq, 1u | 1 << 8);
  EXPECT_TRUE(rig.read(ICS) & icr::RXQ1);
  rig.write(MRQC, 1 | 1 << 17);
  rig.receive(frame);
  EXPECT_EQ(rig.got(1).hash, 0x323e'8fc2u) << "of the addresses only";
}

// --- interrupts

TEST_F(E1000eTest, CausesAreClearedByReadingOnlyIfTheyInterrupt) {
  rig.write(ICS, icr::RXT0 | icr::TXDW);
  EXPECT_EQ(rig.read(ICR), icr::RXT0 | icr::TXDW) << "all are masked: cleared";
  EXPECT_EQ(rig.read(ICR), 0u);
  rig.write(IMS, icr::LSC);
  rig.write(ICS, icr::RXT0);
  EXPECT_EQ(rig.read(ICR), icr::RXT0);
  EXPECT_EQ(rig.read(ICR), icr::RXT0) << "none interrupts: they stay";
  rig.write(ICS, icr::LSC);
  EXPECT_TRUE(rig.lines.high);
  EXPECT_EQ(rig.read(ICR), icr::RXT0 | icr::LSC | icr::INT_ASSERTED);
  EXPECT_EQ(rig.read(ICR), 0u);
  EXPECT_FALSE(rig.lines.high);
}

TEST_F(E1000eTest, ReadingMasksIfThatIsAskedFor) {
  rig.write(CTRL_EXT, ctrl_ext::IAME);
  rig.write(IAM, kAllInterrupts);
  rig.write(IMS, icr::RXT0 | icr::LSC);
  rig.write(ICS, icr::RXT0);
  EXPECT_TRUE(rig.read(ICR) & icr::INT_ASSERTED);
  EXPECT_EQ(rig.read(IMS), 0u);
}

TEST_F(E1000eTest, EachCauseHasItsMessage) {
  rig.use_msix();
  rig.write(IMS, kAllInterrupts);
  rig.write(ICS, icr::RXQ0);
  rig.write(ICS, icr::TXQ0);
  rig.write(ICS, icr::LSC);
  std::vector<uint32_t> data;
  for (const auto& [address, message] : rig.messages.sent) data.push_back(message);
  EXPECT_EQ(data, (std::vector<uint32_t>{0x40, 0x42, 0x44}));
  EXPECT_TRUE(rig.read(ICR) & icr::OTHER);
  EXPECT_FALSE(rig.lines.high);
}

TEST_F(E1000eTest, MessagesClearAndMaskTheirOwnCause) {
  rig.use_msix();
  rig.write(EIAC, icr::RXQ0 | icr::TXQ0);
  rig.write(CTRL_EXT, ctrl_ext::EIAME);
  rig.write(IAM, kAllInterrupts);
  rig.write(IMS, icr::RXQ0 | icr::TXQ0 | icr::OTHER);
  rig.write(ICS, icr::RXQ0);
  EXPECT_EQ(rig.read(ICS), 0u);
  EXPECT_EQ(rig.read(IMS), icr::TXQ0 | icr::OTHER);
  rig.write(ICS, icr::RXQ0);
  EXPECT_EQ(rig.messages.sent.size(), 1u);
  rig.write(IMS, icr::RXQ0);
  EXPECT_EQ(rig.messages.sent.size(), 2u);
}

TEST_F(E1000eTest, InterruptsAreThrottled) {
  rig.write(ITR, 1000);  // 256 us
  rig.write(IMS, icr::RXT0);
  rig.write(ICS, icr::RXT0);
  EXPECT_TRUE(rig.lines.high);
  rig.read(ICR);
  rig.write(ICS, icr::RXT0);
  EXPECT_FALSE(rig.lines.high);
  rig.time.advance(255'999);
  EXPECT_FALSE(rig.lines.high);
  rig.time.advance(1);
  EXPECT_TRUE(rig.lines.high);
  rig.use_msix();
  rig.write(EITR + 4 * 4, 10);
  rig.write(IMS, icr::OTHER);
  rig.write(EIAC, icr::OTHER);
  for (int i = 0; i < 3; ++i) rig.write(ICS, icr::OTHER);
  EXPECT_EQ(rig.messages.sent.size(), 1u);
  rig.time.advance(2560);
  EXPECT_EQ(rig.messages.sent.size(), 2u);
}

TEST_F(E1000eTest, MsiIsAMessageForAll) {
  const unsigned msi = rig.capability(bus::pci::kCapMsi);
  rig.host.config_write(0, Rig::kDevfn, msi + 4, 4, 0xfee0'0000);
  rig.host.config_write(0, Rig::kDevfn, msi + 12, 2, 0x55);
  rig.host.config_write(0, Rig::kDevfn, msi + 2, 2, 1);
  rig.write(IMS, icr::RXT0 | icr::LSC);
  rig.write(ICS, icr::RXT0);
  rig.write(ICS, icr::LSC);
  EXPECT_EQ(rig.messages.sent.size(), 2u);
  EXPECT_FALSE(rig.lines.high);
}

// --- life

TEST_F(E1000eTest, ABackendThatDoesNotStartIsACableThatIsOut) {
  rig.backend.refuses = true;
  rig.start();
  EXPECT_FALSE(rig.read(STATUS) & status::LU);
}

TEST_F(E1000eTest, AtRestNothingIsSentAndAfterwardsNothingIsLost) {
  rig.start();
  ASSERT_TRUE(rig.rest());
  EXPECT_EQ(rig.backend.card, nullptr);
  rig.send(ip_frame(kProtocolUdp, 100));
  EXPECT_TRUE(rig.backend.sent.empty());
  rig.card->resume();
  rig.run_loop();
  EXPECT_EQ(rig.backend.sent.size(), 1u);
  EXPECT_NE(rig.backend.card, nullptr);
}

// Random registers, frames and time, of which the trace is what guest and backend see.
skerry::test::Trace drive(Rig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.backend.room = ~0u;
  rig.map();
  rig.card->resume();
  rig.run_loop();
  const auto note_sent = [&] {
    for (const auto& [header, frame] : rig.backend.sent) {
      trace.push_back(header.flags | header.gso_type << 8 | uint64_t{header.csum_start} << 16);
      trace.push_back(frame.size());
      for (const uint8_t byte : frame) trace.push_back(byte);
    }
    rig.backend.sent.clear();
  };
  note_sent();
  constexpr uint32_t kRegisters[] = {CTRL, CTRL_EXT, RCTL, TCTL, IMS, IMC, ICS, ITR, EITR, IVAR, EIAC, IAM, RXCSUM, RFCTL, MRQC, MDIC, PSRCTL, EERD};
  for (int i = 0; i < 60; ++i) {
    rig.backend.room = random() % 4 ? ~0u : static_cast<unsigned>(random() % 3);
    switch (random() % 8) {
      case 0: rig.start(); break;
      case 1: rig.give_buffers(random() % 4, random() % 2); break;
      case 2:
        if (rig.backend.card) trace.push_back(rig.receive(ip_frame(random() % 2 ? kProtocolTcp : kProtocolUdp, random() % 1400, random() % 2)));
        break;
      case 3: rig.write(kRegisters[random() % std::size(kRegisters)], static_cast<uint32_t>(random()) & ~ctrl::RST); break;
      case 4: send_segments(rig, 100 + random() % 4000, random() % 2, 500); break;
      case 5: rig.send(ip_frame(kProtocolUdp, random() % 1000)); break;
      case 6: rig.time.advance(static_cast<int64_t>(random() % 60'000'000)); break;
      default:
        if (rig.backend.card) rig.backend.card->backend_has_room();
    }
    rig.run_loop();
    note_sent();
    for (const uint32_t at : {STATUS, CTRL, ICS, IMS, TDBAL + kHead, RDBAL + kHead, RDBAL + kQueueStride + kHead, MDIC, EERD, GPRC, TPT}) trace.push_back(rig.read(at));
    if (random() % 2) trace.push_back(rig.read(ICR));
    trace.push_back(rig.lines.high);
  }
  EXPECT_TRUE(rig.rest());
  return trace;
}

TEST(E1000eState, Survives) { skerry::test::run_state_test<Rig>(20, drive); }

}  // namespace
}  // namespace skerry::devices::e1000e::test
