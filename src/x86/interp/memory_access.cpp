// Guest memory accesses off the fast path: page walks, accesses over two pages, devices, alignment and watchpoints.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/units.hpp"
#include "x86/interp/interpreter.hpp"

namespace skerry::x86 {

using memory::kPageMask;
using memory::kPageSize;

namespace {

unsigned room_in_page(uint64_t linear, unsigned size) {
  return static_cast<unsigned>(std::min<uint64_t>(size, kPageSize - (linear & kPageMask)));
}
}  // namespace

PageAccess Interpreter::data_access(bool write) const {
  PageAccess access;
  access.write = write;
  access.user = cpl_ == 3;
  access.smap = !access.user && (state.cr4 & cr4::kSmap) && !(state.rflags & flags::kAc);
  return access;
}

Tlb& Interpreter::data_tlb() {
  const PageAccess access = data_access(false);
  return tlbs_[access.user ? kUserTlb : access.smap ? kSmapTlb : kSupervisorTlb];
}

// Implicit supervisor accesses are under SMAP whatever AC is.
PageAccess Interpreter::system_access(bool write) const {
  PageAccess access;
  access.write = write;
  access.smap = state.cr4 & cr4::kSmap;
  return access;
}

Tlb& Interpreter::system_tlb() { return tlbs_[state.cr4 & cr4::kSmap ? kSmapTlb : kSupervisorTlb]; }

bool Interpreter::linear_address_slow(unsigned segment, uint64_t offset, unsigned size, bool write, uint64_t& linear) {
  const uint8_t vector = segment == kSs ? kStackFault : kGeneralProtection;
  if (code64_) return (raise(vector, 0), false);  // not canonical
  const Segment& s = state.seg[segment];
  const uint64_t last = offset + size - 1;
  if (state.protected_mode() && !state.v86_mode()) {
    if (s.unusable || !s.present) return (raise(vector, 0), false);
    const bool code = s.type & 8;
    if (write ? code || !(s.type & 2) : code && !(s.type & 2)) return (raise(kGeneralProtection, 0), false);
  }
  const bool expand_down = s.code_or_data && (s.type & 0xc) == 4;
  const uint64_t top = expand_down ? (s.big ? 0xffffffff : 0xffff) : s.limit;
  // Where the segment ends with the address space an access may wrap around (SDM vol. 3, 5.3).
  if ((last > top && top != 0xffffffff) || (expand_down && offset <= s.limit)) return (raise(vector, 0), false);
  linear = (s.base + offset) & 0xffffffff;
  return true;
}

bool Interpreter::misaligned(uint64_t linear, unsigned size) {
  if (!alignment_check_ || !(linear & (size - 1))) return false;
  raise(kAlignmentCheck, 0);
  return true;
}

void Interpreter::watch_data(uint64_t linear, unsigned size, bool write) {
  if (!data_breakpoints_) [[likely]] return;
  for (unsigned n = 0; n < 4; ++n) {
    const unsigned kind = state.dr7 >> (16 + 4 * n) & 3;
    if (!(state.dr7 >> (2 * n) & 3) || !(kind & 1) || (kind == 1 && !write)) continue;
    static constexpr std::array<unsigned, 4> kLength = {1, 2, 8, 4};
    const unsigned length = kLength[state.dr7 >> (18 + 4 * n) & 3];
    const uint64_t start = align_down(state.dr[n], length);
    if (linear < start + length && start < linear + size) trap_debug(bit(n));
  }
  for (const WatchRange& watch : watchpoints_) {
    if (!(write ? watch.on_write : watch.on_read)) continue;
    if (linear >= watch.address + watch.length || watch.address >= linear + size) continue;
    watch_stop_ = true;
    watch_hit_ = watch.address;
  }
}

// The one way from a linear address to memory: walks the page tables and remembers the result in `tlb`. `host` is null
// for devices, and for writes to ROM.
// `quiet` is false where a write has to be told of: see written().
bool Interpreter::translate(uint64_t linear, PageAccess access, Tlb& tlb, uint64_t& gpa, std::byte*& host, bool* quiet) {
  Translation translation;
  uint32_t error_code = 0;
  if (walk(memory, state, model.physical_address_bits(), linear, access, translation, error_code) != WalkStatus::kOk) {
    raise_page_fault(linear, error_code);
    return false;
  }
  gpa = translation.gpa;
  const memory::Page page = memory.page(gpa, view_of(state));
  if (trial_ && (!page.host || (access.write && (!page.writable || memory.watched(gpa))))) {
    trial_->impossible = true;
    return false;
  }
  if (!page.host || (access.write && !page.writable)) {
    host = nullptr;
    return true;
  }
  host = page.host + (gpa & kPageMask);
  TlbEntry& entry = tlb.at(linear);
  const uint64_t tag = linear & ~kPageMask;
  const uintptr_t host_page = reinterpret_cast<uintptr_t>(host) & ~kPageMask;
  if (entry.host_page != host_page || (entry.read_tag != tag && entry.fetch_tag != tag && entry.write_tag != tag)) {
    tlb.drop(linear);
    entry.host_page = host_page;
  }
  if (translation.large) tlb.note_large(linear);
  tlb.note_global(linear, translation.global);
  if (translation.readable) entry.read_tag = tag;
  if (translation.executable) entry.fetch_tag = tag;
  if (access.write) {
    memory.mark_dirty(gpa, 1);
    const bool claimed = memory.claim(gpa);
    if (claimed && translation.writable) entry.write_tag = tag;
    if (quiet) *quiet = claimed;
  }
  if (second_) second_[&tlb - tlbs_.data()].put(linear, entry);
  return true;
}

bool Interpreter::load_range(uint64_t linear, void* to, unsigned size, PageAccess access, Tlb& tlb) {
  auto* bytes = static_cast<uint8_t*>(to);
  while (size > 0) {
    const unsigned part = room_in_page(linear, size);
    uint64_t gpa = 0;
    std::byte* host = nullptr;
    const TlbEntry& entry = tlb.at(linear);
    if (entry.read_tag == (linear & ~kPageMask))
      host = entry.host(linear);
    else if (!translate(linear, access, tlb, gpa, host))
      return false;
    if (host) {
      // Sized accesses: what is aligned is single-copy atomic on a processor.
      switch (part) {
        case 1: *bytes = __atomic_load_n(reinterpret_cast<uint8_t*>(host), __ATOMIC_RELAXED); break;
        case 2: {
          const auto v = __atomic_load_n(reinterpret_cast<uint16_t*>(host), __ATOMIC_RELAXED);
          std::memcpy(bytes, &v, 2);
          break;
        }
        case 4: {
          const auto v = __atomic_load_n(reinterpret_cast<uint32_t*>(host), __ATOMIC_RELAXED);
          std::memcpy(bytes, &v, 4);
          break;
        }
        case 8: {
          const auto v = __atomic_load_n(reinterpret_cast<uint64_t*>(host), __ATOMIC_RELAXED);
          std::memcpy(bytes, &v, 8);
          break;
        }
        default: std::memcpy(bytes, host, part); break;
      }
    } else {
      for (unsigned done = 0; done < part;) {
        unsigned piece = 8;
        while (piece > part - done || ((gpa + done) & (piece - 1))) piece /= 2;
        if (done == 0 && (part == 2 || part == 4 || part == 8)) piece = part;  // as the instruction says, aligned or not
        const uint64_t value = env.mmio_read(gpa + done, piece);
        std::memcpy(bytes + done, &value, piece);
        done += piece;
      }
    }
    bytes += part;
    linear = (linear + part) & (state.long_mode_active() ? ~uint64_t{0} : 0xffffffff);
    size -= part;
  }
  return true;
}

bool Interpreter::store_range(uint64_t linear, const void* from, unsigned size, PageAccess access, Tlb& tlb) {
  struct Piece {
    unsigned size;
    uint64_t gpa;
    std::byte* host;
    bool quiet = true;
  };
  std::array<Piece, 2> pieces{};
  unsigned count = 0;
  for (unsigned left = size; left > 0;) {  // all faults come before the first byte is written
    Piece& piece = pieces[count++];
    piece.size = room_in_page(linear, left);
    const TlbEntry& entry = tlb.at(linear);
    if (entry.write_tag == (linear & ~kPageMask))
      piece.host = entry.host(linear);
    else if (!translate(linear, access, tlb, piece.gpa, piece.host, &piece.quiet))
      return false;
    if (store_listener_ && piece.host) store_listener_->before_store(piece.host, piece.size);
    linear = (linear + piece.size) & (state.long_mode_active() ? ~uint64_t{0} : 0xffffffff);
    left -= piece.size;
  }
  const auto* bytes = static_cast<const uint8_t*>(from);
  for (unsigned n = 0; n < count; ++n) {
    const Piece& piece = pieces[n];
    if (piece.host) {
      uint64_t value = 0;
      if (piece.size <= 8) std::memcpy(&value, bytes, piece.size);
      switch (piece.size) {
        case 1: __atomic_store_n(reinterpret_cast<uint8_t*>(piece.host), static_cast<uint8_t>(value), __ATOMIC_RELAXED); break;
        case 2: __atomic_store_n(reinterpret_cast<uint16_t*>(piece.host), static_cast<uint16_t>(value), __ATOMIC_RELAXED); break;
        case 4: __atomic_store_n(reinterpret_cast<uint32_t*>(piece.host), static_cast<uint32_t>(value), __ATOMIC_RELAXED); break;
        case 8: __atomic_store_n(reinterpret_cast<uint64_t*>(piece.host), value, __ATOMIC_RELAXED); break;
        default: std::memcpy(piece.host, bytes, piece.size); break;
      }
      if (!piece.quiet) memory.written(piece.gpa, piece.size);
    } else {
      for (unsigned done = 0; done < piece.size;) {
        unsigned part = 8;
        while (part > piece.size - done || ((piece.gpa + done) & (part - 1))) part /= 2;
        if (done == 0 && (piece.size == 2 || piece.size == 4 || piece.size == 8)) part = piece.size;
        uint64_t value = 0;
        std::memcpy(&value, bytes + done, part);
        env.mmio_write(piece.gpa + done, part, value);
        done += part;
      }
    }
    bytes += piece.size;
  }
  return true;
}

bool Interpreter::load_slow(uint64_t linear, unsigned size, uint64_t& value) {
  if (misaligned(linear, size)) return false;
  if (!load_range(linear, &value, size, data_access(false), data_tlb())) return false;
  watch_data(linear, size, false);
  return true;
}

bool Interpreter::store_slow(uint64_t linear, unsigned size, uint64_t value) {
  if (misaligned(linear, size)) return false;
  if (!store_range(linear, &value, size, data_access(true), data_tlb())) return false;
  watch_data(linear, size, true);
  return true;
}

// For modify(): checks that all of the operand can be written; `host` is set if it is in one page of RAM and nobody has to
// be told of the write.
bool Interpreter::writable_target(uint64_t linear, unsigned size, std::byte*& host) {
  if (misaligned(linear, size)) return false;
  uint64_t gpa = 0;
  bool quiet = true;
  if (!translate(linear, data_access(true), data_tlb(), gpa, host, &quiet)) return false;
  if (!quiet) host = nullptr;
  if (room_in_page(linear, size) < size) {
    std::byte* second = nullptr;
    const uint64_t next = (linear + size - 1) & ~kPageMask & (state.long_mode_active() ? ~uint64_t{0} : 0xffffffff);
    if (!translate(next, data_access(true), data_tlb(), gpa, second)) return false;
    host = nullptr;
  }
  if (host && store_listener_) store_listener_->before_store(host, size);
  if (host) watch_data(linear, size, true);  // else load_slow and store_slow do
  return true;
}

bool Interpreter::load_bytes(unsigned segment, uint64_t offset, void* to, unsigned size) {
  uint64_t linear;
  if (!linear_address(segment, offset, size, false, linear)) return false;
  const TlbEntry& entry = tlb_->at(linear);
  if (entry.read_tag == ((linear + (size - 1)) & ~kPageMask)) [[likely]] {
    std::memcpy(to, entry.host(linear), size);
    return true;
  }
  if (!load_range(linear, to, size, data_access(false), data_tlb())) return false;
  watch_data(linear, size, false);
  return true;
}

bool Interpreter::store_bytes(unsigned segment, uint64_t offset, const void* from, unsigned size) {
  uint64_t linear;
  if (!linear_address(segment, offset, size, true, linear)) return false;
  const TlbEntry& entry = tlb_->at(linear);
  if (entry.write_tag == ((linear + (size - 1)) & ~kPageMask)) [[likely]] {
    std::memcpy(entry.host(linear), from, size);
    return true;
  }
  if (!store_range(linear, from, size, data_access(true), data_tlb())) return false;
  watch_data(linear, size, true);
  return true;
}

bool Interpreter::probe_store(unsigned segment, uint64_t offset, unsigned size) {
  uint64_t linear;
  if (!linear_address(segment, offset, size, true, linear)) return false;
  for (unsigned done = 0; done < size;) {
    uint64_t gpa = 0;
    std::byte* host = nullptr;
    if (!translate(linear + done, data_access(true), data_tlb(), gpa, host)) return false;
    done += room_in_page(linear + done, size - done);
  }
  return true;
}

bool Interpreter::load_system(uint64_t linear, void* to, unsigned size) {
  return load_range(linear, to, size, system_access(false), system_tlb());
}

bool Interpreter::store_system(uint64_t linear, const void* from, unsigned size) {
  return store_range(linear, from, size, system_access(true), system_tlb());
}

bool Interpreter::store_user(uint64_t linear, const void* from, unsigned size) {
  PageAccess access;
  access.write = access.user = true;
  return store_range(linear, from, size, access, tlbs_[kUserTlb]);
}

bool Interpreter::or_system_byte(uint64_t linear, uint8_t set) {
  uint64_t gpa = 0;
  std::byte* host = nullptr;
  bool quiet = true;
  if (!translate(linear, system_access(true), system_tlb(), gpa, host, &quiet)) return false;
  if (host) __atomic_fetch_or(reinterpret_cast<uint8_t*>(host), set, __ATOMIC_SEQ_CST);
  if (host && !quiet) memory.written(gpa, 1);
  return true;
}

bool Interpreter::and_system_byte(uint64_t linear, uint8_t keep) {
  uint64_t gpa = 0;
  std::byte* host = nullptr;
  bool quiet = true;
  if (!translate(linear, system_access(true), system_tlb(), gpa, host, &quiet)) return false;
  if (host) __atomic_fetch_and(reinterpret_cast<uint8_t*>(host), keep, __ATOMIC_SEQ_CST);
  if (host && !quiet) memory.written(gpa, 1);
  return true;
}

bool Interpreter::push(unsigned size, uint64_t value) {
  const uint64_t mask = stack_mask();
  const uint64_t to = (state.gpr[kRsp] - size) & mask;
  bool stored = false;
  switch (size) {
    case 2: stored = store<uint16_t>(kSs, to, static_cast<uint16_t>(value)); break;
    case 4: stored = store<uint32_t>(kSs, to, static_cast<uint32_t>(value)); break;
    default: stored = store<uint64_t>(kSs, to, value); break;
  }
  if (stored) set_stack_pointer(to);
  return stored;
}

bool Interpreter::pop(unsigned size, uint64_t& value) {
  const uint64_t from = state.gpr[kRsp] & stack_mask();
  bool loaded = false;
  switch (size) {
    case 2: {
      uint16_t narrow = 0;
      loaded = load<uint16_t>(kSs, from, narrow);
      value = narrow;
      break;
    }
    case 4: {
      uint32_t narrow = 0;
      loaded = load<uint32_t>(kSs, from, narrow);
      value = narrow;
      break;
    }
    default: loaded = load<uint64_t>(kSs, from, value); break;
  }
  return loaded;
}

void Trial::before_store(std::byte* at, unsigned) {
  auto* page = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(at) & ~kPageMask);
  for (const Page& one : pages)
    if (one.host == page) return;
  std::memcpy(pages.emplace_back(Page{page, {}}).content.data(), page, memory::kPageSize);
}

// For translated code -----------------------------------------------------------------------------------------------------

bool Interpreter::fill(uint64_t linear, bool write) {
  if (code64_ ? !canonical(linear) : linear >> 32 != 0) return false;
  const Exception before = fault_;
  uint64_t gpa = 0;
  std::byte* host = nullptr;
  bool quiet = true;
  const bool there = translate(linear, data_access(write), data_tlb(), gpa, host, &quiet);
  fault_ = before;
  if (!there || !host || !quiet) return false;
  const TlbEntry& entry = data_tlb().at(linear);
  return (write ? entry.write_tag : entry.read_tag) == (linear & ~kPageMask);
}

bool Interpreter::fetch_page(uint64_t linear, const std::byte*& page) {
  if ((page = known_code(linear))) return true;
  PageAccess access;
  access.fetch = true;
  access.user = cpl_ == 3;
  uint64_t gpa = 0;
  std::byte* host = nullptr;
  if (!translate(linear, access, code_tlb(), gpa, host)) return false;
  page = host ? host - (linear & kPageMask) : nullptr;
  return true;
}

const std::byte* Interpreter::known_code(uint64_t linear) {
  const TlbEntry& entry = code_tlb().at(linear);
  const bool known = entry.fetch_tag == (linear & ~kPageMask) || find_code(linear);
  return known ? reinterpret_cast<const std::byte*>(entry.host_page) : nullptr;
}

Interpreter::Layout Interpreter::layout() const {
  const auto from_here = [this](const void* member) {
    return static_cast<size_t>(static_cast<const char*>(member) - reinterpret_cast<const char*>(this));
  };
  return {from_here(&state), from_here(&requests_), from_here(&interest_), from_here(tlbs_.data())};
}

}  // namespace skerry::x86
