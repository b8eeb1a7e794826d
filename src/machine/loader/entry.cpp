#include "machine/loader/entry.hpp"

#include <array>
#include <span>
#include <vector>

#include "base/units.hpp"
#include "machine/loader/ram_layout.hpp"

namespace skerry::machine {

namespace {

// The selectors of the Linux boot protocol (Documentation/arch/x86/boot.rst, "32-bit Boot Protocol"); the others leave
// the choice to the loader.
constexpr uint16_t kBootCs = 0x10, kBootDs = 0x18, kBootTr = 0x20;

// Segment descriptors, Intel SDM vol. 3, 3.4.5: flat, 4 GiB, ring 0, accessed.
constexpr uint64_t kCode32 = 0x00cf'9b00'0000'ffff, kCode64 = 0x00af'9b00'0000'ffff, kData = 0x00cf'9300'0000'ffff;
constexpr uint64_t kBusyTss = 0x0000'8b00'0000'0067;  // base 0, limit 0x67 as the PVH protocol asks for
constexpr uint8_t kTypeCode = 0xb, kTypeData = 0x3, kTypeBusyTss = 0xb;
constexpr unsigned kGdtEntries = 6;  // a long-mode TSS descriptor takes two

// Page-table entries, Intel SDM vol. 3, 4.5.
constexpr uint64_t kPresentWritable = 0x3, kPageSizeBit = 0x80;
constexpr uint64_t kIdentityGiB = 4;
constexpr uint64_t kStackSize = 4 * KiB;

constexpr uint64_t kLowMemory = 4 * KiB, kLowMemoryEnd = 640 * KiB;  // the first page is the real-mode vector table's

void write_page_tables(memory::GuestMemory& memory, uint64_t pml4) {
  std::vector<uint64_t> entries((2 + kIdentityGiB) * 512);
  const uint64_t pdpt = pml4 + 4 * KiB, page_directories = pdpt + 4 * KiB;
  entries[0] = pdpt | kPresentWritable;
  for (uint64_t i = 0; i < kIdentityGiB; ++i) entries[512 + i] = (page_directories + i * 4 * KiB) | kPresentWritable;
  for (uint64_t i = 0; i < kIdentityGiB * 512; ++i) entries[1024 + i] = i * 2 * MiB | kPresentWritable | kPageSizeBit;
  memory.write(pml4, std::as_bytes(std::span(entries)));
}

x86::Segment segment(uint16_t selector, uint8_t type) {
  x86::Segment flat;
  flat.selector = selector;
  flat.limit = 0xffff'ffff;
  flat.type = type;
  flat.code_or_data = flat.present = flat.granular = flat.big = true;
  flat.unusable = false;
  return flat;
}

}  // namespace

Result<void> place_entry_tables(memory::GuestMemory& memory, RamLayout& layout, Entry& entry) {
  const bool long64 = entry.mode == Entry::Mode::kLong64;
  const auto gdt = layout.place_low(kGdtEntries * 8, 4 * KiB, kLowMemory, kLowMemoryEnd, "the boot GDT");
  const auto stack = layout.place_low(kStackSize, 4 * KiB, kLowMemory, kLowMemoryEnd, "the boot stack");
  const auto tables = layout.place_low(long64 ? (2 + kIdentityGiB) * 4 * KiB : 0, 4 * KiB, kLowMemory, kLowMemoryEnd,
                                       "the boot page tables");
  if (!gdt || !stack || !tables) return error("the kernel leaves no room below 640 KiB for what it is started with");
  const std::array<uint64_t, kGdtEntries> descriptors{0, 0, long64 ? kCode64 : kCode32, kData, kBusyTss, 0};
  memory.write(*gdt, std::as_bytes(std::span(descriptors)));
  if (long64) {
    write_page_tables(memory, *tables);
    entry.pml4 = *tables;
  }
  entry.gdt = *gdt;
  entry.rsp = *stack + kStackSize;
  return ok();
}

void apply(const Entry& entry, x86::CpuState& state) {
  using namespace x86;
  const bool long64 = entry.mode == Entry::Mode::kLong64;
  for (uint64_t& gpr : state.gpr) gpr = 0;
  state.gpr[kRax] = entry.rax;
  state.gpr[kRbx] = entry.rbx;
  state.gpr[kRsi] = entry.rsi;
  state.gpr[kRsp] = entry.rsp;
  state.rip = entry.rip;
  state.rflags = flags::kFixed1;

  state.seg.fill(segment(kBootDs, kTypeData));
  state.seg[kCs] = segment(kBootCs, kTypeCode);
  state.seg[kCs].long_mode = long64;
  state.seg[kCs].big = !long64;
  state.ldtr = Segment{};
  state.tr = Segment{};
  state.tr.selector = kBootTr;
  state.tr.limit = 0x67;
  state.tr.type = kTypeBusyTss;
  state.tr.present = true;
  state.tr.unusable = false;
  state.gdtr = {entry.gdt, kGdtEntries * 8 - 1};
  state.idtr = {0, 0};  // no exception can be taken before the kernel has handlers

  state.cr0 = cr0::kPe | cr0::kEt | (long64 ? cr0::kPg : 0);
  state.cr2 = 0;
  state.cr3 = long64 ? entry.pml4 : 0;
  state.cr4 = long64 ? cr4::kPae : 0;
  state.efer = long64 ? efer::kLme | efer::kLma : 0;
  state.activity = Activity::kRunning;
}

}  // namespace skerry::machine
