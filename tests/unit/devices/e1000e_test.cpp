#include "unit/devices/e1000e_rig.hpp"

namespace skerry::devices::e1000e::test {
namespace {

using net::kProtocolUdp;
constexpr uint32_t kAllInterrupts = icr::kCauses;

class E1000eTest : public testing::Test {
 protected:
  Rig rig;
};

TEST_F(E1000eTest, TheFunctionIsThatOfThe82574L) {
  EXPECT_EQ(rig.host.config_read(0, Rig::kDevfn, 0, 4), 0x10d3'8086u);
  EXPECT_EQ(rig.host.config_read(0, Rig::kDevfn, 8, 4) >> 8, 0x020000u);
  for (const uint8_t capability : {bus::pci::kCapMsi, bus::pci::kCapMsix, bus::pci::kCapPciExpress})
    EXPECT_NE(rig.capability(capability), 0u);
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

}  // namespace
}  // namespace skerry::devices::e1000e::test
