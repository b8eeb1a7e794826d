// Names of the local APIC's registers and their bits (Intel SDM vol. 3, table 11-1 and the figures of chapter 11).
#pragma once

#include <cstdint>

namespace skerry::irqchip::apic {

// Page offset divided by 16; also the MSR's index above 0x800.
enum Register : unsigned {
  kId = 0x02,
  kVersion = 0x03,
  kTpr = 0x08,
  kApr = 0x09,
  kPpr = 0x0a,
  kEoi = 0x0b,
  kRrd = 0x0c,
  kLdr = 0x0d,
  kDfr = 0x0e,
  kSvr = 0x0f,
  kIsr0 = 0x10,
  kTmr0 = 0x18,
  kIrr0 = 0x20,
  kEsr = 0x28,
  kIcrLow = 0x30,
  kIcrHigh = 0x31,
  kLvtFirst = 0x32,  // timer, then thermal, PMC, LINT0, LINT1, error
  kInitialCount = 0x38,
  kCurrentCount = 0x39,
  kDivideConfiguration = 0x3e,
  kSelfIpi = 0x3f,
};

constexpr uint32_t kVersionValue = 0x00050014;  // integrated APIC, six LVT entries, no EOI broadcast suppression

constexpr uint32_t kSvrEnabled = 0x100, kSvrWritable = 0x3ff;

// LVT entries
constexpr uint32_t kLvtVector = 0xff, kLvtDeliveryMode = 0x700, kLvtRemoteIrr = 1u << 14, kLvtLevelTriggered = 1u << 15,
                   kLvtMasked = 1u << 16;
constexpr unsigned kLvtModeShift = 8, kLvtTimerModeShift = 17;

// ICR
constexpr unsigned kIcrModeShift = 8, kIcrShorthandShift = 18;
constexpr uint32_t kIcrLogical = 1u << 11, kIcrBusy = 1u << 12, kIcrAssert = 1u << 14, kIcrLevel = 1u << 15;
constexpr uint32_t kIcrWritable = 0x000ccfff;
constexpr uint32_t kX2apicIcrReserved = 0xfff32000;
enum Shorthand : unsigned { kNoShorthand, kSelf, kAllIncludingSelf, kAllExcludingSelf };

// ESR
constexpr uint32_t kEsrSendIllegalVector = 1u << 5, kEsrReceivedIllegalVector = 1u << 6, kEsrIllegalRegister = 1u << 7;
constexpr uint32_t kEsrAll = kEsrSendIllegalVector | kEsrReceivedIllegalVector | kEsrIllegalRegister;

constexpr uint8_t kFirstLegalVector = 16;

}  // namespace skerry::irqchip::apic
