// Registers, structures in memory and FISes of an AHCI controller. Serial ATA AHCI 1.3.1, 3 and 4; Serial ATA 3.2, 10.5
// for what is in a FIS.
#pragma once

#include <cstdint>

namespace skerry::devices::ata::ahci {

constexpr unsigned kPorts = 6, kSlots = 32;
constexpr uint64_t kPortsAt = 0x100, kPortStride = 0x80, kBarSize = 0x1000;
constexpr unsigned kBar = 5;  // ABAR

// 3.1: the controller's.
enum Register : uint32_t { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10 };
// 3.1.1: S64A, SNCQ, SCLO, 6.0 Gb/s, only AHCI (SAM), PIO of several DRQ blocks (PMD), slots and ports less one.
constexpr uint32_t kCapabilities = 1u << 31 | 1u << 30 | 1u << 24 | 3u << 20 | 1u << 18 | 1u << 15 | (kSlots - 1) << 8 | (kPorts - 1);
constexpr uint32_t kVersion = 0x0001'0301;
constexpr uint32_t kPortsImplemented = (1u << kPorts) - 1;
namespace ghc {
constexpr uint32_t HR = 1 << 0, IE = 1 << 1, AE = 1u << 31;
}

// 3.3: a port's.
enum PortRegister : uint32_t {
  PxCLB = 0x00, PxCLBU = 0x04, PxFB = 0x08, PxFBU = 0x0c, PxIS = 0x10, PxIE = 0x14, PxCMD = 0x18, PxTFD = 0x20,
  PxSIG = 0x24, PxSSTS = 0x28, PxSCTL = 0x2c, PxSERR = 0x30, PxSACT = 0x34, PxCI = 0x38,
};
constexpr uint32_t kListMask = ~0x3ffu, kFisMask = ~0xffu;  // of PxCLB and PxFB
namespace interrupt {
constexpr uint32_t DHRS = 1 << 0, PSS = 1 << 1, SDBS = 1 << 3, DPS = 1 << 5, PCS = 1 << 6, PRCS = 1 << 22;
constexpr uint32_t OFS = 1 << 24, IFS = 1 << 27, HBFS = 1 << 29, TFES = 1 << 30;
constexpr uint32_t kReflected = PCS | PRCS;  // they show bits of PxSERR and are cleared there
constexpr uint32_t kCleared = DHRS | PSS | SDBS | DPS | OFS | IFS | HBFS | TFES;
constexpr uint32_t kEnable = 0xfdc0'00ff;  // what of PxIE can be written
}  // namespace interrupt
namespace cmd {
constexpr uint32_t ST = 1 << 0, SUD = 1 << 1, POD = 1 << 2, CLO = 1 << 3, FRE = 1 << 4, FR = 1 << 14, CR = 1 << 15;
constexpr uint32_t ATAPI = 1 << 24, DLAE = 1 << 25;
constexpr unsigned kSlotShift = 8;  // CCS
constexpr uint32_t kKept = ST | FRE | ATAPI | DLAE;
}  // namespace cmd
namespace serr {
constexpr uint32_t N = 1 << 16, X = 1 << 26;  // PhyRdy change; exchanged
constexpr uint32_t kSet = N | X;
}  // namespace serr
constexpr uint32_t kLinkUp = 0x133, kLinkOffline = 0x004;  // PxSSTS: active, 6.0 Gb/s, device and communication
constexpr uint32_t kControlMask = 0xfff, kDetect = 0xf;    // PxSCTL: DET, SPD, IPM
constexpr uint32_t kDetectReset = 1, kDetectOffline = 4;
constexpr uint32_t kNoDevice = 0x7f, kNoSignature = 0xffff'ffff;  // PxTFD and PxSIG

// 4.2.2: an entry of the command list.
constexpr unsigned kHeaderSize = 32, kByteCountAt = 4;
namespace header {
constexpr uint32_t kFisLength = 0x1f, A = 1 << 5, W = 1 << 6, C = 1 << 10;
constexpr unsigned kTableLengthShift = 16;
}  // namespace header
constexpr uint32_t kTableMask = ~0x7fu;
// 4.2.3: a command table.
constexpr unsigned kFisAt = 0x00, kPacketAt = 0x40, kPrdtAt = 0x80, kPrdSize = 16;
constexpr uint32_t kPrdCount = 0x3f'ffff, kPrdInterrupt = 1u << 31;
// 4.2.1: where FISes are received.
constexpr unsigned kPioSetupAt = 0x20, kRegisterAt = 0x40, kSetBitsAt = 0x58;

enum Fis : uint8_t { kHostToDevice = 0x27, kDeviceToHost = 0x34, kSetDeviceBits = 0xa1, kPioSetup = 0x5f };
constexpr uint8_t kFisCommand = 1 << 7;                            // of a FIS of the host: a command, not device control
constexpr uint8_t kFisInterrupt = 1 << 6, kFisToHost = 1 << 5;     // of those of the device
constexpr uint8_t kControlReset = 1 << 2;                          // SRST
constexpr unsigned kHostFisSize = 20;

}  // namespace skerry::devices::ata::ahci
