// The complete architectural state of one vCPU, free of any accelerator. An accelerator gets it and sets it, so a VM
// that was saved under one can go on under another. The local APIC is a device and keeps its own state.
#pragma once

#include <array>
#include <cstdint>

#include "state/fields.hpp"

namespace skerry::x86 {

enum Gpr : unsigned { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15 };
enum SegmentIndex : unsigned { kEs, kCs, kSs, kDs, kFs, kGs, kSegmentCount };

// RFLAGS. Intel SDM vol. 1, 3.4.3.
namespace flags {
constexpr uint64_t kCf = 1 << 0, kFixed1 = 1 << 1, kPf = 1 << 2, kAf = 1 << 4, kZf = 1 << 6, kSf = 1 << 7;
constexpr uint64_t kTf = 1 << 8, kIf = 1 << 9, kDf = 1 << 10, kOf = 1 << 11, kIopl = 3 << 12, kNt = 1 << 14;
constexpr uint64_t kRf = 1 << 16, kVm = 1 << 17, kAc = 1 << 18, kVif = 1 << 19, kVip = 1 << 20, kId = 1 << 21;
constexpr uint64_t kStatus = kCf | kPf | kAf | kZf | kSf | kOf;
constexpr uint64_t kKnown = 0x3f7fd7;  // all there are
constexpr unsigned kIoplShift = 12;
}  // namespace flags

// Control registers. Intel SDM vol. 3, 2.5.
namespace cr0 {
constexpr uint64_t kPe = 1 << 0, kMp = 1 << 1, kEm = 1 << 2, kTs = 1 << 3, kEt = 1 << 4, kNe = 1 << 5;
constexpr uint64_t kWp = 1 << 16, kAm = 1 << 18, kNw = 1 << 29, kCd = 1 << 30, kPg = uint64_t{1} << 31;
}  // namespace cr0
namespace cr4 {
constexpr uint64_t kVme = 1 << 0, kPvi = 1 << 1, kTsd = 1 << 2, kDe = 1 << 3, kPse = 1 << 4, kPae = 1 << 5;
constexpr uint64_t kMce = 1 << 6, kPge = 1 << 7, kPce = 1 << 8, kOsfxsr = 1 << 9, kOsxmmexcpt = 1 << 10;
constexpr uint64_t kUmip = 1 << 11, kLa57 = 1 << 12, kVmxe = 1 << 13, kSmxe = 1 << 14, kFsgsbase = 1 << 16;
constexpr uint64_t kPcide = 1 << 17, kOsxsave = 1 << 18, kSmep = 1 << 20, kSmap = 1 << 21, kPke = 1 << 22;
}  // namespace cr4
namespace efer {
constexpr uint64_t kSce = 1 << 0, kLme = 1 << 8, kLma = 1 << 10, kNxe = 1 << 11;
}  // namespace efer

// A segment register with its hidden part.
struct Segment {
  uint16_t selector = 0;
  uint64_t base = 0;
  uint32_t limit = 0;  // in bytes, granularity already applied
  uint8_t type = 0;    // descriptor type field, 4 bits
  uint8_t dpl = 0;
  bool code_or_data = false;  // the S bit; false: system segment
  bool present = false;
  bool avl = false;
  bool long_mode = false;  // L
  bool big = false;        // D/B
  bool granular = false;   // G, as loaded
  bool unusable = true;    // loaded with a null selector
};

struct DescriptorTable {
  uint64_t base = 0;
  uint16_t limit = 0;
};

// x87 state in the terms of FXSAVE. Instruction and data pointers are the guest's own.
struct X87 {
  uint16_t fcw = 0x37f, fsw = 0;
  uint8_t ftw = 0;  // abridged: a bit per *physical* register, 1 = not empty
  uint16_t fop = 0, fcs = 0, fds = 0;
  uint64_t fip = 0, fdp = 0;
  struct Register {
    uint64_t significand = 0;
    uint16_t sign_exponent = 0;
  };
  std::array<Register, 8> st;  // ST(0)..ST(7) as FXSAVE stores them: relative to TOP
};

// One vector register, wide enough for what any accelerator may give a guest. XMM and YMM are its low bytes.
struct alignas(64) VectorRegister {
  std::array<uint8_t, 64> bytes{};
};

// What of KVM's paravirtual MSRs may be set: an address of 64 (of 4) bytes' alignment, and bit 0, which enables.
constexpr uint64_t kParavirtualEnabled = 1, kStealTimeWritable = ~uint64_t{0x3e}, kPvEoiWritable = ~uint64_t{2};

enum class Activity : uint8_t { kRunning, kHalted, kWaitForSipi, kShutdown };

// What is to be delivered before the next instruction.
enum class EventKind : uint8_t { kNone, kException, kSoftwareInterrupt, kExternalInterrupt, kNmi };
struct PendingEvent {
  EventKind kind = EventKind::kNone;
  uint8_t vector = 0;
  bool has_error_code = false;
  uint32_t error_code = 0;
};

struct Mtrr {
  static constexpr unsigned kVariableCount = 8;
  uint64_t def_type = 0;
  std::array<uint64_t, 11> fixed{};  // MTRRfix64K_00000, fix16K_80000, fix16K_A0000, fix4K_C0000 ... fix4K_F8000
  std::array<uint64_t, kVariableCount> base{}, mask{};
};

struct CpuState {
  // General registers, RIP and a constant zero are one block, so that any part of an address is an index into it.
  uint64_t gpr[16] = {};
  uint64_t rip = 0;
  uint64_t zero = 0;  // never written
  uint64_t rflags = flags::kFixed1;

  std::array<Segment, kSegmentCount> seg;
  Segment ldtr, tr;
  DescriptorTable gdtr, idtr;

  uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, xcr0 = 1;
  std::array<uint64_t, 4> pdpte{};  // PAE paging: loaded with CR3
  std::array<uint64_t, 4> dr{};
  uint64_t dr6 = 0, dr7 = 0;

  // Model-specific registers, by their names in Intel SDM vol. 4 without IA32_.
  uint64_t efer = 0, star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0;
  uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  uint64_t pat = 0x0007040600070406, tsc_aux = 0, tsc_adjust = 0, misc_enable = 1;
  uint64_t debugctl = 0, spec_ctrl = 0, xss = 0, feature_control = 0;
  uint64_t mcg_status = 0, mcg_ctl = 0;
  Mtrr mtrr;
  // KVM's paravirtual ones (Linux, Documentation/virt/kvm/x86/msr.rst): MSR_KVM_STEAL_TIME, MSR_KVM_PV_EOI_EN.
  uint64_t kvm_steal_time = 0, kvm_pv_eoi = 0;

  // Guest TSC = host TSC * scale + offset. The scale is one per VM (x86::Tsc); each vCPU has its offset because guests
  // may write the TSC.
  uint64_t tsc_offset = 0;

  X87 x87;
  uint32_t mxcsr = 0x1f80;
  std::array<VectorRegister, 32> vector;
  std::array<uint64_t, 8> opmask{};
  uint32_t pkru = 0;

  // Interruptibility (Intel SDM vol. 3, 25.4.2).
  bool sti_shadow = false;     // interrupts are held off for one instruction after STI
  bool mov_ss_shadow = false;  // interrupts and debug traps are, after MOV SS and POP SS
  bool nmi_blocked = false;    // from delivery of an NMI to IRET
  Activity activity = Activity::kRunning;
  PendingEvent pending;

  // System Management Mode (AMD64 Architecture Programmer's Manual vol. 2, chapter 10; x86/smm.hpp).
  static constexpr uint32_t kResetSmbase = 0x30000;
  bool in_smm = false;
  bool nmi_blocked_before_smm = false;  // in SMM: what RSM makes of nmi_blocked
  uint32_t smbase = kResetSmbase;

  unsigned cpl() const { return cr0 & cr0::kPe ? (rflags & flags::kVm ? 3 : seg[kSs].dpl) : 0; }
  bool protected_mode() const { return cr0 & cr0::kPe; }
  bool v86_mode() const { return rflags & flags::kVm; }
  bool long_mode_active() const { return efer & efer::kLma; }
  bool code64() const { return long_mode_active() && seg[kCs].long_mode; }
  unsigned iopl() const { return rflags >> flags::kIoplShift & 3; }

  // To the state after power-on or INIT (Intel SDM vol. 3, 10.1.1). INIT keeps the FPU, TSC, MTRRs and more.
  void reset(uint32_t signature, bool init);
  void describe(state::Fields& fields);
};

}  // namespace skerry::x86
