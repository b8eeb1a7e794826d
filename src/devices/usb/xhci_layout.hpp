// Registers, contexts and TRBs of an xHCI controller: eXtensible Host Controller Interface for USB, 1.2; section numbers are its.
#pragma once

#include <cstdint>

namespace skerry::devices::usb::xhci {

// The root hub: ports 1 to kUsb3Ports are SuperSpeed, the others behind them are USB 2.
constexpr unsigned kUsb3Ports = 8, kUsb2Ports = 4, kPorts = kUsb3Ports + kUsb2Ports;
constexpr unsigned kSlots = 16, kEndpoints = 31, kInterrupters = 4;

// The BAR (5.2): capability registers, operational ones, extended capabilities, runtime registers, doorbells.
constexpr uint64_t kOperationalAt = 0x40, kPortsAt = kOperationalAt + 0x400, kPortStride = 0x10, kExtendedAt = 0x800, kRuntimeAt = 0x1000,
                   kInterruptersAt = kRuntimeAt + 0x20, kInterrupterStride = 0x20, kDoorbellsAt = 0x2000, kBarSize = 0x4000;
constexpr unsigned kBar = 0, kMsixBar = 2;

// 5.3.
enum Capability : uint32_t {
  CAPLENGTH = 0x00,
  HCSPARAMS1 = 0x04,
  HCSPARAMS2 = 0x08,
  HCSPARAMS3 = 0x0c,
  HCCPARAMS1 = 0x10,
  DBOFF = 0x14,
  RTSOFF = 0x18,
  HCCPARAMS2 = 0x1c,
};
constexpr uint32_t kVersion = 0x0110;
constexpr unsigned kMaxSegmentsLog = 4;  // ERST Max: 2^n segments of an event ring
constexpr uint32_t kParameters1 = kPorts << 24 | kInterrupters << 8 | kSlots;
constexpr uint32_t kParameters2 = kMaxSegmentsLog << 4 | 0xf;        // no scratchpad; IST: 8 frames less one
constexpr uint32_t kCapabilityParameters1 = static_cast<uint32_t>(kExtendedAt / 4) << 16 | 1 << 7 | 1 << 0;  // NSS, AC64

// 7.2: Supported Protocol capabilities.
constexpr uint32_t kSupportedProtocol = 2, kProtocolName = 0x2042'5355;  // "USB "

// 5.4.
enum Operational : uint32_t {
  USBCMD = 0x00,
  USBSTS = 0x04,
  PAGESIZE = 0x08,
  DNCTRL = 0x14,
  CRCR = 0x18,
  CRCR_HIGH = 0x1c,
  DCBAAP = 0x30,
  DCBAAP_HIGH = 0x34,
  CONFIG = 0x38,
};
namespace usbcmd {
constexpr uint32_t RS = 1 << 0, HCRST = 1 << 1, INTE = 1 << 2, HSEE = 1 << 3, EWE = 1 << 10;
constexpr uint32_t kKept = RS | INTE | HSEE | EWE;
}  // namespace usbcmd
namespace usbsts {
constexpr uint32_t HCH = 1 << 0, HSE = 1 << 2, EINT = 1 << 3, PCD = 1 << 4, HCE = 1 << 12;
constexpr uint32_t kKept = HSE | EINT | PCD | HCE, kCleared = HSE | EINT | PCD;
}  // namespace usbsts
namespace crcr {
constexpr uint32_t RCS = 1 << 0, CS = 1 << 1, CA = 1 << 2, CRR = 1 << 3, kPointer = ~0x3fu;
}
constexpr uint32_t kContextArrayMask = ~0x3fu, kConfigSlots = 0xff, kConfigKept = 0x3ff;

// 5.4.8: PORTSC.
namespace portsc {
constexpr uint32_t CCS = 1 << 0, PED = 1 << 1, PR = 1 << 4, PP = 1 << 9, LWS = 1 << 16, CSC = 1 << 17, PEC = 1 << 18, WRC = 1 << 19;
constexpr uint32_t OCC = 1 << 20, PRC = 1 << 21, PLC = 1 << 22, CEC = 1 << 23, WPR = 1u << 31;
constexpr uint32_t kChanges = CSC | PEC | WRC | OCC | PRC | PLC | CEC, kWakes = 7u << 25;  // WCE, WDE, WOE
constexpr unsigned kLinkShift = 5, kSpeedShift = 10;
}  // namespace portsc
enum class Link : uint8_t { kU0 = 0, kU3 = 3, kDisabled = 4, kRxDetect = 5, kPolling = 7, kResume = 15 };

// 5.5: runtime registers; those of an interrupter by their place in it.
enum Interrupter : uint32_t { IMAN = 0x00, IMOD = 0x04, ERSTSZ = 0x08, ERSTBA = 0x10, ERSTBA_HIGH = 0x14, ERDP = 0x18, ERDP_HIGH = 0x1c };
namespace iman {
constexpr uint32_t IP = 1 << 0, IE = 1 << 1;
}
constexpr uint32_t kSegmentsMask = 0xffff, kSegmentTableMask = ~0x3fu, kEventBusy = 1 << 3, kDequeueMask = ~0xfu;
constexpr uint32_t kDefaultModeration = 4000;  // of 250 ns
constexpr int64_t kModerationUnit = 250;       // ns
constexpr int64_t kFrame = 125'000;            // ns, a microframe: MFINDEX counts them

// 6.4: a TRB, and its types (6.4.6).
constexpr unsigned kTrbSize = 16;
enum class Type : uint8_t {
  kNormal = 1, kSetup = 2, kData = 3, kStatus = 4, kLink = 6, kEventData = 7, kNoOp = 8,
  kEnableSlot = 9, kDisableSlot = 10, kAddressDevice = 11, kConfigureEndpoint = 12, kEvaluateContext = 13, kResetEndpoint = 14,
  kStopEndpoint = 15, kSetDequeue = 16, kResetDevice = 17, kNoOpCommand = 23,
  kTransferEvent = 32, kCommandCompletion = 33, kPortStatusChange = 34, kHostController = 37,
};
namespace trb {
constexpr uint32_t C = 1 << 0, TC = 1 << 1, ENT = 1 << 1, ISP = 1 << 2, ED = 1 << 2, CH = 1 << 4, IOC = 1 << 5, IDT = 1 << 6, BEI = 1 << 9;
constexpr uint32_t BSR = 1 << 9, DC = 1 << 9, TSP = 1 << 9, DIR = 1 << 16;
constexpr unsigned kTypeShift = 10, kEndpointShift = 16, kSlotShift = 24, kInterrupterShift = 22, kCodeShift = 24;
constexpr uint32_t kLength = 0x1'ffff, kEventLength = 0xff'ffff;
}  // namespace trb
// 6.4.5.
enum class Code : uint8_t {
  kSuccess = 1, kTransactionError = 4, kTrbError = 5, kStall = 6, kResourceError = 7, kNoSlots = 9, kSlotNotEnabled = 11,
  kEndpointNotEnabled = 12, kShortPacket = 13, kParameterError = 17, kContextState = 19, kEventRingFull = 21, kCommandRingStopped = 24,
};

// 6.2: contexts of 32 bytes. Device context: slot, endpoints 1 to 31. An input context has its control context before that.
constexpr unsigned kContextSize = 32;
namespace slot_context {
constexpr uint32_t kRoute = 0xf'ffff, kHub = 1 << 26;             // dword 0
constexpr unsigned kEntriesShift = 27, kPortShift = 16, kStateShift = 27;  // dwords 0, 1 and 3
constexpr uint32_t kLatency = 0xffff;                                  // dword 1
constexpr uint32_t kInterrupter = 0x3ffu << 22;                        // dword 2
}  // namespace slot_context
enum class SlotState : uint8_t { kDisabledOrEnabled = 0, kDefault = 1, kAddressed = 2, kConfigured = 3 };
namespace endpoint_context {
constexpr unsigned kTypeShift = 3, kPacketShift = 16;  // dword 1
constexpr uint32_t kState = 7, kStreams = 0x1f << 10, kDequeueCycle = 1;
constexpr uint32_t kPacket = 0xffffu << kPacketShift;
}  // namespace endpoint_context
enum class EndpointState : uint8_t { kDisabled = 0, kRunning = 1, kHalted = 2, kStopped = 3, kError = 4 };
enum class EndpointType : uint8_t { kNone = 0, kBulkOut = 2, kInterruptOut = 3, kControl = 4, kBulkIn = 6, kInterruptIn = 7 };

}  // namespace skerry::devices::usb::xhci
