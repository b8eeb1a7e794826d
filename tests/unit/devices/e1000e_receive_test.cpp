#include "unit/devices/e1000e_rig.hpp"

namespace skerry::devices::e1000e::test {
namespace {

using net::kProtocolTcp, net::kProtocolUdp;

class E1000eReceive : public testing::Test {
 protected:
  Rig rig;
};

TEST_F(E1000eReceive, ReceivesWithExtendedDescriptors) {
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

TEST_F(E1000eReceive, ReceivesWithLegacyDescriptorsAndTheFrameCheckSequence) {
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

TEST_F(E1000eReceive, WrongChecksumsAreTold) {
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

TEST_F(E1000eReceive, LongFramesNeedLeaveAndSeveralBuffers) {
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

TEST_F(E1000eReceive, PacketsAreSplitBehindTheirHeaders) {
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

TEST_F(E1000eReceive, AFrameWaitsInTheBackendUntilThereAreBuffers) {
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

TEST_F(E1000eReceive, TheDriverIsToldWhenBuffersRunLow) {
  rig.start();
  rig.give_buffers(6);
  rig.receive(ip_frame(kProtocolUdp, 10));
  EXPECT_FALSE(rig.read(ICS) & icr::RXDMT0);
  rig.receive(ip_frame(kProtocolUdp, 10));
  EXPECT_TRUE(rig.read(ICS) & icr::RXDMT0) << "half of eight are left";
}

TEST_F(E1000eReceive, OnlyFramesThatAreWantedComeIn) {
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

TEST_F(E1000eReceive, TagsAreTakenOffAndChooseFrames) {
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
TEST_F(E1000eReceive, TheHashChoosesTheQueue) {
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

}  // namespace
}  // namespace skerry::devices::e1000e::test
