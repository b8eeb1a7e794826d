// The registers of the 82574L that mean something here, by the names of its datasheet (Intel 82574 GbE Controller Family
// Datasheet, chapter 10), and their bits. What is of one part only is in that part's file.
#pragma once

#include <cstdint>

namespace skerry::devices::e1000e {

constexpr uint32_t CTRL = 0x0000, CTRL_ALIAS = 0x0004, STATUS = 0x0008, EEC = 0x0010, EERD = 0x0014, CTRL_EXT = 0x0018;
constexpr uint32_t MDIC = 0x0020, VET = 0x0038;
constexpr uint32_t ICR = 0x00c0, ITR = 0x00c4, ICS = 0x00c8, IMS = 0x00d0, IMC = 0x00d8, EIAC = 0x00dc, IAM = 0x00e0;
constexpr uint32_t IVAR = 0x00e4, EITR = 0x00e8;
constexpr uint32_t RCTL = 0x0100, TCTL = 0x0400;
constexpr uint32_t EXTCNF_CTRL = 0x0f00, PBA = 0x1000, EEMNGCTL = 0x1010, EEWR = 0x102c, PSRCTL = 0x2170;
// Of a queue: base, length, head and tail, and two that are only kept; the second queue's are kQueueStride further.
constexpr uint32_t RDBAL = 0x2800, TDBAL = 0x3800, kQueueStride = 0x100, kQueueEnd = 0x60;
constexpr uint32_t kBaseLow = 0x00, kBaseHigh = 0x04, kLength = 0x08, kHead = 0x10, kTail = 0x18;
constexpr uint32_t CRCERRS = 0x4000, kStatisticsEnd = 0x4128;
constexpr uint32_t RXCSUM = 0x5000, RFCTL = 0x5008, MTA = 0x5200, RAL = 0x5400, VFTA = 0x5600, MRQC = 0x5818;
constexpr uint32_t SWSM = 0x5b50, FWSM = 0x5b54, RETA = 0x5c00, RSSRK = 0x5c80;

namespace ctrl {
constexpr uint32_t FD = 1 << 0, GIO_MASTER_DISABLE = 1 << 2, SLU = 1 << 6, SPEED_1000 = 2 << 8, RST = 1 << 26, VME = 1 << 30;
constexpr uint32_t PHY_RST = 1u << 31;
}  // namespace ctrl
namespace status {
constexpr uint32_t FD = 1 << 0, LU = 1 << 1, SPEED_1000 = 2 << 6, ASDV_1000 = 2 << 8, PHYRA = 1 << 10, GIO_MASTER_ENABLE = 1 << 19;
}  // namespace status
namespace ctrl_ext {
constexpr uint32_t EE_RST = 1 << 13, EIAME = 1 << 24, IAME = 1 << 27, PBA_SUPPORT = 1u << 31;
}  // namespace ctrl_ext
namespace icr {  // of ICR, ICS, IMS, IMC, EIAC and IAM
constexpr uint32_t TXDW = 1 << 0, TXQE = 1 << 1, LSC = 1 << 2, RXSEQ = 1 << 3, RXDMT0 = 1 << 4, RXO = 1 << 6, RXT0 = 1 << 7, MDAC = 1 << 9;
constexpr uint32_t TXD_LOW = 1 << 15, SRPD = 1 << 16, ACK = 1 << 17, MNG = 1 << 18, RXQ0 = 1 << 20, RXQ1 = 1 << 21;
constexpr uint32_t TXQ0 = 1 << 22, TXQ1 = 1 << 23, OTHER = 1 << 24, INT_ASSERTED = 1u << 31;
constexpr uint32_t kCauses = TXDW | TXQE | LSC | RXSEQ | RXDMT0 | RXO | RXT0 | MDAC | TXD_LOW | SRPD | ACK | MNG | RXQ0 | RXQ1 | TXQ0 |
                             TXQ1 | OTHER;
}  // namespace icr
namespace rctl {
constexpr uint32_t EN = 1 << 1, UPE = 1 << 3, MPE = 1 << 4, LPE = 1 << 5, BAM = 1 << 15, VFE = 1 << 18, BSEX = 1 << 25;
constexpr uint32_t SECRC = 1 << 26;
}  // namespace rctl
namespace tctl {
constexpr uint32_t EN = 1 << 1, PSP = 1 << 3;
}  // namespace tctl

constexpr unsigned kQueues = 2;      // of each kind
constexpr unsigned kVectors = 5;     // of MSI-X
constexpr uint32_t kFrameCheck = 4;  // bytes of the frame check sequence, which are on the wire only

}  // namespace skerry::devices::e1000e
