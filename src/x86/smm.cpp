#include "x86/smm.hpp"

#include <utility>

#include "x86/paging.hpp"
#include "x86/segmentation.hpp"

namespace skerry::x86 {

namespace {

// The revision of this layout, in which SMBASE can be changed, and I/O instructions cannot be restarted.
constexpr uint32_t kLayout64 = 0x64, kSmbaseRelocation = 1 << 17, kRevision = kLayout64 | kSmbaseRelocation;
constexpr uint8_t kAutoHaltRestart = 1;
constexpr uint64_t kEntryRip = 0x8000, kEntryDr7 = 0x400;

// SmmSegment::attributes.
constexpr unsigned kTypeMask = 15, kDplShift = 5;
constexpr uint16_t kCodeOrData = 1 << 4, kPresent = 1 << 7, kAvl = 1 << 12, kLong = 1 << 13, kBig = 1 << 14, kGranular = 1 << 15;

SmmSegment saved(const Segment& s) {
  unsigned attributes = s.type | s.dpl << kDplShift;
  const std::pair<bool, uint16_t> bits[] = {{s.code_or_data, kCodeOrData}, {s.present && !s.unusable, kPresent}, {s.avl, kAvl},
                                            {s.long_mode, kLong},          {s.big, kBig},                        {s.granular, kGranular}};
  for (const auto& [set, bit] : bits) attributes |= set ? bit : 0u;
  return {s.selector, static_cast<uint16_t>(attributes), s.limit, s.base};
}

SmmSegment saved(const DescriptorTable& table) { return {0, 0, table.limit, table.base}; }

// Addresses of more bits than a processor has are made such that it has them (10.2.3).
uint64_t sign_extended(uint64_t address) { return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16); }

Segment restored(const SmmSegment& from) {
  Segment s;
  s.selector = from.selector;
  s.base = sign_extended(from.base);
  s.limit = from.limit;
  s.type = from.attributes & kTypeMask;
  s.dpl = from.attributes >> kDplShift & 3;
  s.code_or_data = from.attributes & kCodeOrData;
  s.present = from.attributes & kPresent;
  s.avl = from.attributes & kAvl;
  s.long_mode = from.attributes & kLong;
  s.big = from.attributes & kBig;
  s.granular = from.attributes & kGranular;
  s.unusable = !s.present;  // nothing but a null selector makes one that is not present
  return s;
}

DescriptorTable restored_table(const SmmSegment& from) { return {sign_extended(from.base), static_cast<uint16_t>(from.limit)}; }

Segment flat_segment(uint32_t base) {
  Segment s = make_real_segment(static_cast<uint16_t>(base >> 4), false);
  s.base = base;
  s.limit = 0xffffffff;
  s.granular = true;
  return s;
}

// What a control register may hold that is loaded by RSM, and what goes together.
bool possible(const SmmStateSaveArea& area, uint64_t cr4_allowed, unsigned max_physical) {
  constexpr uint64_t kCr0Known = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs | cr0::kEt | cr0::kNe | cr0::kWp | cr0::kAm | cr0::kNw |
                                 cr0::kCd | cr0::kPg;
  constexpr uint64_t kEferKnown = efer::kSce | efer::kLme | efer::kLma | efer::kNxe;
  const bool paging = area.cr0 & cr0::kPg, protection = area.cr0 & cr0::kPe;
  if ((area.cr0 & ~kCr0Known) || (paging && !protection) || ((area.cr0 & cr0::kNw) && !(area.cr0 & cr0::kCd))) return false;
  if ((area.cr4 & ~cr4_allowed) || (area.efer & ~kEferKnown)) return false;
  const bool long_mode = area.efer & efer::kLma;
  if (long_mode != (paging && (area.efer & efer::kLme))) return false;
  if ((area.rflags & flags::kVm) && (!protection || long_mode)) return false;
  if (!long_mode) return !(area.cr4 & cr4::kPcide);
  const uint16_t code = area.segments[kCs].attributes;
  return (area.cr4 & cr4::kPae) && !(area.cr3 >> max_physical) && !((code & kLong) && (code & kBig));
}

}  // namespace

SmmStateSaveArea enter_smm(CpuState& s) {
  SmmStateSaveArea area{};
  for (unsigned n = 0; n < kSegmentCount; ++n) area.segments[n] = saved(s.seg[n]);
  area.gdtr = saved(s.gdtr);
  area.ldtr = saved(s.ldtr);
  area.idtr = saved(s.idtr);
  area.tr = saved(s.tr);
  area.auto_halt_restart = s.activity == Activity::kHalted ? kAutoHaltRestart : 0;
  area.efer = s.efer;
  area.revision = kRevision;
  area.smbase = s.smbase;
  area.cr0 = s.cr0;
  area.cr3 = s.cr3;
  area.cr4 = s.cr4;
  area.dr6 = s.dr6;
  area.dr7 = s.dr7;
  area.rflags = s.rflags;
  area.rip = s.rip;
  for (unsigned n = 0; n < 16; ++n) area.gpr_from_r15[15 - n] = s.gpr[n];

  s.in_smm = true;
  s.nmi_blocked_before_smm = s.nmi_blocked;
  s.nmi_blocked = true;
  s.activity = Activity::kRunning;
  s.cr0 &= ~(cr0::kPe | cr0::kEm | cr0::kTs | cr0::kPg);
  s.cr4 = 0;
  s.efer = 0;
  s.dr7 = kEntryDr7;
  s.rflags = flags::kFixed1;
  s.rip = kEntryRip;
  for (Segment& segment : s.seg) segment = flat_segment(0);
  s.seg[kCs] = flat_segment(s.smbase);
  return area;
}

bool leave_smm(CpuState& s, const SmmStateSaveArea& area, const memory::GuestMemory& memory, uint64_t cr4_allowed, unsigned max_physical) {
  if (!possible(area, cr4_allowed, max_physical)) return false;
  if ((area.cr0 & cr0::kPg) && (area.cr4 & cr4::kPae) && !(area.efer & efer::kLma) &&
      !load_pdptes(memory, memory::View::kOrdinary, area.cr3, max_physical, s.pdpte))
    return false;
  s.in_smm = false;
  s.nmi_blocked = std::exchange(s.nmi_blocked_before_smm, false);
  s.sti_shadow = s.mov_ss_shadow = false;
  s.activity = area.auto_halt_restart & kAutoHaltRestart ? Activity::kHalted : Activity::kRunning;
  s.smbase = area.smbase;
  for (unsigned n = 0; n < 16; ++n) s.gpr[n] = area.gpr_from_r15[15 - n];
  s.rip = area.rip;
  s.rflags = (area.rflags & flags::kKnown) | flags::kFixed1;
  for (unsigned n = 0; n < kSegmentCount; ++n) s.seg[n] = restored(area.segments[n]);
  s.gdtr = restored_table(area.gdtr);
  s.ldtr = restored(area.ldtr);
  s.idtr = restored_table(area.idtr);
  s.tr = restored(area.tr);
  s.cr0 = area.cr0 | cr0::kEt;
  s.cr3 = area.cr3;
  s.cr4 = area.cr4;
  s.efer = area.efer;
  s.dr6 = (area.dr6 & 0xe00f) | 0xffff0ff0;
  s.dr7 = (area.dr7 & 0xffff23ff) | kEntryDr7;
  return true;
}

}  // namespace skerry::x86
