#include "x86/paging.hpp"

#include "base/units.hpp"
#include "x86/exception.hpp"

namespace skerry::x86 {

namespace {

using memory::GuestMemory;

// Flags of a paging-structure entry. Intel SDM vol. 3, tables 4-5 to 4-20.
namespace pte {
constexpr uint64_t kP = 1 << 0, kRw = 1 << 1, kUs = 1 << 2, kA = 1 << 5, kD = 1 << 6, kPs = 1 << 7, kG = 1 << 8, kNx = bit(63);
}

// What the three formats differ in.
struct Format {
  unsigned levels;         // of tables to walk
  unsigned index_bits;     // of the linear address a level
  bool wide;               // 8-byte entries
  bool nx;                 // bit 63 is XD, not reserved
  bool pse36;              // 4 MiB pages: bits 20:13 are address bits 39:32
  uint64_t address_mask;   // physical-address bits of an entry
  uint64_t reserved;       // bits that no entry may have
  uint64_t reserved_root;  // nor one of level 4
};

Format format_of(const CpuState& state, unsigned max_physical) {
  const bool long_mode = state.efer & efer::kLma, nx = state.efer & efer::kNxe;
  if (!long_mode && !(state.cr4 & cr4::kPae)) return {2, 10, false, false, true, 0xfffff000, 0, 0};
  const uint64_t address_mask = bits(~uint64_t{0}, max_physical - 1, 12) << 12;
  // Bits 51:MAXPHYADDR; outside of 4-level paging bits 62:52 too.
  const uint64_t reserved = bits(~uint64_t{0}, long_mode ? 51 : 62, max_physical) << max_physical | (nx ? 0 : pte::kNx);
  return {long_mode ? 4u : 2u, 9, true, nx, false, address_mask, reserved, pte::kPs};
}

// Reserved bits of an entry that is present. `level` counts down to 1, the page table.
bool reserved_bits_set(const Format& format, unsigned max_physical, unsigned level, bool large, uint64_t entry) {
  if (entry & format.reserved) return true;
  if (level == 4) return entry & format.reserved_root;
  if (!large) return false;
  if (!format.wide) {
    const unsigned high_bits = max_physical > 40 ? 8 : max_physical - 32;  // PSE-36: entry bits 20:13
    return entry & bits(~uint64_t{0}, 21, 13 + high_bits) << (13 + high_bits);
  }
  const unsigned page_shift = 12 + format.index_bits * (level - 1);
  return entry & (bits(~uint64_t{0}, page_shift - 1, 13) << 13);  // bit 12 is PAT
}

// What is outside of RAM reads as not present.
uint64_t load_entry(const GuestMemory& memory, memory::View view, bool wide, uint64_t gpa) {
  return wide ? memory.load<uint64_t>(gpa, view).value_or(0) : memory.load<uint32_t>(gpa, view).value_or(0);
}

bool replace_entry(GuestMemory& memory, memory::View view, bool wide, uint64_t gpa, uint64_t from, uint64_t to) {
  return wide ? memory.compare_exchange<uint64_t>(gpa, from, to, view)
              : memory.compare_exchange<uint32_t>(gpa, static_cast<uint32_t>(from), static_cast<uint32_t>(to), view);
}

struct Entry {
  uint64_t gpa, value;
};

// The entries that translate an address, from the root down.
struct Path {
  Entry entries[4];
  unsigned count = 0;
  unsigned level = 0;  // of the last
};

constexpr bool large_allowed(const Format& format, const CpuState& state, unsigned level) {
  if (!format.wide) return level == 2 && (state.cr4 & cr4::kPse);
  return level == 2 || (level == 3 && format.levels == 4);  // 1 GiB pages are always offered
}

}  // namespace

bool load_pdptes(const GuestMemory& memory, memory::View view, uint64_t cr3, unsigned max_physical, std::array<uint64_t, 4>& pdptes) {
  const uint64_t reserved = 0x1e6 | (bits(~uint64_t{0}, 63, max_physical) << max_physical);
  std::array<uint64_t, 4> loaded{};
  for (unsigned i = 0; i < 4; ++i) {
    loaded[i] = memory.load<uint64_t>((cr3 & 0xffffffe0) + 8 * i, view).value_or(0);
    if ((loaded[i] & pte::kP) && (loaded[i] & reserved)) return false;
  }
  pdptes = loaded;
  return true;
}

WalkStatus walk(GuestMemory& memory, const CpuState& state, unsigned max_physical, uint64_t linear, PageAccess access,
                Translation& translation, uint32_t& error_code) {
  if (!(state.cr0 & cr0::kPg)) {
    translation = {linear & 0xffffffff, true, true, true};
    return WalkStatus::kOk;
  }
  const Format format = format_of(state, max_physical);
  const memory::View view = view_of(state);
  const bool nx_or_smep = format.nx || (state.cr4 & cr4::kSmep);
  error_code = (access.write ? pf::kWrite : 0) | (access.user ? pf::kUser : 0) |
               (access.fetch && nx_or_smep ? pf::kFetch : 0);

  for (;;) {  // again when another processor changed an entry under us
    Path path;
    uint64_t table = state.cr3 & (format.wide ? format.address_mask : 0xfffff000);
    if (format.wide && format.levels == 2) {
      const uint64_t pdpte = state.pdpte[bits(linear, 31, 30)];
      if (!(pdpte & pte::kP)) return WalkStatus::kPageFault;
      table = pdpte & format.address_mask;
    }

    uint64_t rights = pte::kRw | pte::kUs;
    bool execute_disable = false, large = false;
    unsigned level = format.levels;
    for (;; --level) {
      const unsigned shift = 12 + format.index_bits * (level - 1);
      const uint64_t number = (linear >> shift) & (bit(format.index_bits) - 1);
      const uint64_t gpa = table + number * (format.wide ? 8 : 4);
      const uint64_t value = load_entry(memory, view, format.wide, gpa);
      if (!(value & pte::kP)) return WalkStatus::kPageFault;
      large = (value & pte::kPs) && large_allowed(format, state, level);
      if (reserved_bits_set(format, max_physical, level, large, value)) {
        error_code |= pf::kReserved | pf::kPresent;
        return WalkStatus::kPageFault;
      }
      path.entries[path.count++] = {gpa, value};
      rights &= value;
      execute_disable |= format.nx && (value & pte::kNx);
      if (large || level == 1) break;
      table = value & format.address_mask;
    }

    // Access rights, SDM vol. 3, 4.6.
    const bool user_page = rights & pte::kUs, writable_page = rights & pte::kRw;
    const bool wp = state.cr0 & cr0::kWp;
    bool may_read, may_write, may_fetch;
    if (access.user) {
      may_read = user_page;
      may_write = user_page && writable_page;
      may_fetch = user_page && !execute_disable;
    } else {
      may_read = !(user_page && access.smap);
      may_write = may_read && (writable_page || !wp);
      may_fetch = !execute_disable && !(user_page && (state.cr4 & cr4::kSmep));
    }
    if (access.write ? !may_write : access.fetch ? !may_fetch : !may_read) {
      error_code |= pf::kPresent;
      return WalkStatus::kPageFault;
    }

    // Accessed flags on the way, the dirty flag at its end.
    bool changed = false;
    for (unsigned i = 0; i < path.count && !changed; ++i) {
      const Entry& entry = path.entries[i];
      const uint64_t wanted = entry.value | pte::kA | (access.write && i + 1 == path.count ? pte::kD : 0);
      if (wanted == entry.value) continue;
      changed = !replace_entry(memory, view, format.wide, entry.gpa, entry.value, wanted) &&
                memory.page(entry.gpa, view).writable;  // tables in ROM keep their flags
    }
    if (changed) continue;

    const uint64_t leaf = path.entries[path.count - 1].value;
    const uint64_t offset_mask = bit(12 + format.index_bits * (level - 1)) - 1;
    uint64_t base = leaf & format.address_mask & ~offset_mask;
    if (large && format.pse36) base = (leaf & 0xffc00000) | bits(leaf, 20, 13) << 32;
    translation.gpa = base | (linear & offset_mask);
    translation.writable = may_write && (access.write || (leaf & pte::kD));
    translation.executable = may_fetch;
    translation.readable = may_read;
    translation.global = (leaf & pte::kG) && (state.cr4 & cr4::kPge);
    translation.large = offset_mask > memory::kPageMask;
    return WalkStatus::kOk;
  }
}

bool probe(const GuestMemory& memory, const CpuState& state, uint64_t linear, uint64_t& gpa) {
  if (!(state.cr0 & cr0::kPg)) {
    gpa = linear & 0xffffffff;
    return true;
  }
  const Format format = format_of(state, 52);
  uint64_t table = state.cr3 & (format.wide ? format.address_mask : 0xfffff000);
  if (format.wide && format.levels == 2) {
    const uint64_t pdpte = state.pdpte[bits(linear, 31, 30)];
    if (!(pdpte & pte::kP)) return false;
    table = pdpte & format.address_mask;
  }
  for (unsigned level = format.levels;; --level) {
    const unsigned shift = 12 + format.index_bits * (level - 1);
    const uint64_t number = (linear >> shift) & (bit(format.index_bits) - 1);
    const uint64_t value = load_entry(memory, view_of(state), format.wide, table + number * (format.wide ? 8 : 4));
    if (!(value & pte::kP)) return false;
    const bool large = (value & pte::kPs) && large_allowed(format, state, level);
    if (large || level == 1) {
      const uint64_t offset_mask = bit(shift) - 1;
      uint64_t base = value & format.address_mask & ~offset_mask;
      if (large && format.pse36) base = (value & 0xffc00000) | bits(value, 20, 13) << 32;
      gpa = base | (linear & offset_mask);
      return true;
    }
    table = value & format.address_mask;
  }
}

}  // namespace skerry::x86
