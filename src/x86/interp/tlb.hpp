// The software TLB of one vCPU: linear page to host page, per kind of access. Shared by the interpreter and by translated
// code, which looks it up inline: the layout is part of that code (accel/bt).
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "memory/guest_memory.hpp"
#include "x86/paging.hpp"

namespace skerry::x86 {

// A tag is the page's linear address where that kind of access may go straight to host memory. An access compares its
// last byte's page with the tag, so that one that crosses into the next page misses. A tag that allows nothing equals no
// page of its own place in the table, and no page's linear address either.
struct TlbEntry {
  uint64_t read_tag;
  uint64_t write_tag;  // set only when the page is marked dirty, in the page table and for the host
  uint64_t fetch_tag;
  uintptr_t host_page;

  std::byte* host(uint64_t linear) const { return reinterpret_cast<std::byte*>(host_page + (linear & memory::kPageMask)); }
};

class Tlb {
 public:
  static constexpr unsigned kSize = 512;
  // For any place in the table, and for what is not in one. Translated code compares before it is known whether an address is canonical,
  // and to each tag there is a page of addresses that match: these are not canonical, and no guest knows them.
  static const uint64_t kNoPage;
  Tlb() { clear(); }
  TlbEntry& at(uint64_t linear) { return entries_[(linear >> 12) % kSize]; }
  void clear() {
    std::memcpy(&entries_, &kEmpty, sizeof entries_);
    large_.reset();
    global_.reset();
  }
  // What is not global goes, as by a write to CR3.
  void clear_address_space() {
    if (global_.none()) return clear();
    for (unsigned n = 0; n < kSize; ++n)
      if (!global_[n]) entries_[n] = kEmpty[n];
  }
  void note_global(uint64_t linear, bool global) { global_[(linear >> 12) % kSize] = global; }
  bool global(uint64_t linear) const { return global_[(linear >> 12) % kSize]; }
  void note_large(uint64_t linear) { large_.set(large_place(linear)); }
  bool may_be_large(uint64_t linear) const { return large_[large_place(linear)]; }
  static constexpr size_t global_offset() { return offsetof(Tlb, global_); }
  void drop(uint64_t linear) { at(linear) = kEmpty[(linear >> 12) % kSize]; }
  // For INVLPG: a large page is cached by 4 KiB, and all of them have to go.
  void drop_page(uint64_t linear) {
    if (may_be_large(linear)) clear();
    else drop(linear);
  }
  // Writes to this page of the host have to be looked at again.
  void revoke_writes(const std::byte* page) {
    for (unsigned n = 0; n < kSize; ++n)
      if (entries_[n].host_page == reinterpret_cast<uintptr_t>(page)) entries_[n].write_tag = no_page(n);
  }

 private:
  // No page is larger than 1 GiB.
  static constexpr unsigned large_place(uint64_t linear) { return (linear >> 30 ^ linear >> 39) % 512; }
  static constexpr uint64_t no_page(unsigned place) { return uint64_t{1} << 47 | uint64_t{(place + 1) % kSize} << 12 | 1; }
  static constexpr std::array<TlbEntry, kSize> make_empty() {
    std::array<TlbEntry, kSize> entries{};
    for (unsigned n = 0; n < kSize; ++n) entries[n] = {no_page(n), no_page(n), no_page(n), 0};
    return entries;
  }
  static constinit const std::array<TlbEntry, kSize> kEmpty;

  alignas(64) std::array<TlbEntry, kSize> entries_;
  std::bitset<kSize> global_;
  std::bitset<512> large_;  // where large pages are, by large_place(); some too many
};

// The page that an instruction of translated code accessed last: most access the same one for a long time, and then it is known without a
// look into a Tlb. An entry holds as long as one of a Tlb would. Several instructions may share a slot.
class RecentPages {
 public:
  static constexpr unsigned kSlots = 4096, kMany = 64;  // of each kind of access; misses
  struct Slot {
    uint64_t tag;  // the page's linear address, or Tlb::kNoPage
    uintptr_t host_page;
  };
  // Its memory is zeroes in the beginning: before the first use.
  void begin() {
    for (auto& kind : slots_) std::ranges::fill(kind, Slot{Tlb::kNoPage, 0});
  }
  void forget() {
    if (filled_ == 0) return;
    for (unsigned n = 0; n < filled_; ++n) slot(list_[n]).tag = Tlb::kNoPage;
    filled_ = 0;
    pages_.reset();
  }
  void drop(uint64_t linear) {
    if (filled_ == 0 || !pages_[(linear >> 12) % kPages]) return;
    for (unsigned n = 0; n < filled_;) {
      Slot& one = slot(list_[n]);
      if (one.tag != (linear & ~memory::kPageMask)) {
        ++n;
        continue;
      }
      one.tag = Tlb::kNoPage;
      list_[n] = list_[--filled_];
    }
  }
  unsigned number(const std::byte* slot) const { return static_cast<unsigned>((slot - reinterpret_cast<const std::byte*>(&slots_)) / sizeof(Slot)); }
  // When it was called last for that slot.
  int64_t exchange_since(unsigned slot, int64_t now) { return std::exchange(since_[slot], now); }

  struct Layout {
    size_t slots[2], filled, list, pages, misses;  // slots: of reads and of writes
  };
  static constexpr Layout layout();
  static constexpr unsigned kPages = 4096;

 private:
  Slot& slot(unsigned n) { return slots_[n / kSlots][n % kSlots]; }

  alignas(64) std::array<Slot, kSlots> slots_[2];
  uint32_t filled_;
  std::array<uint16_t, 2 * kSlots> list_;   // those that are in use, `filled_` of them
  std::bitset<kPages> pages_;               // which they may be of, by the low bits of their numbers
  [[maybe_unused]] std::array<uint8_t, 2 * kSlots> misses_;  // counted by translated code: one page in place of another that is not beside it
  std::array<int64_t, 2 * kSlots> since_;   // ns of the host's clock
};

constexpr RecentPages::Layout RecentPages::layout() {
  return {{offsetof(RecentPages, slots_), offsetof(RecentPages, slots_) + sizeof(slots_[0])}, offsetof(RecentPages, filled_), offsetof(RecentPages, list_),
          offsetof(RecentPages, pages_), offsetof(RecentPages, misses_)};
}

// What a translator looks up when it misses in a Tlb, before it asks the interpreter: entries of the same kind, many more, and all of
// them forgotten at once. Its memory is zeroes in the beginning, most of which are never used.
struct SecondTlb {
  static constexpr unsigned kSize = 16384, kKeys = 4096;
  struct Entry {
    uint64_t read, write, fetch;  // the page's linear address and the key under which that kind of access may be made; else something else
    uintptr_t host_page;
  };
  uint64_t key;  // from 1 to kKeys - 1; the lower bits of a page's address have room for it
  Entry entries[kSize];
  RecentPages recent;

  Entry& at(uint64_t linear) { return entries[(linear >> 12) % kSize]; }
  void put(uint64_t linear, const TlbEntry& from) {
    const uint64_t page = linear & ~memory::kPageMask;
    const auto tag = [&](uint64_t first) { return first == page ? page | key : 0; };
    at(linear) = {tag(from.read_tag), tag(from.write_tag), tag(from.fetch_tag), from.host_page};
  }
  // Whether code may be fetched from there; then it is in `first` too.
  bool find_code(uint64_t linear, Tlb& first) {
    const uint64_t page = linear & ~memory::kPageMask, wanted = page | key;
    const Entry& entry = at(linear);
    if (entry.fetch != wanted) return false;
    first.drop(linear);
    first.note_global(linear, false);
    first.at(linear).fetch_tag = page;
    if (entry.read == wanted) first.at(linear).read_tag = page;
    if (entry.write == wanted) first.at(linear).write_tag = page;
    first.at(linear).host_page = entry.host_page;
    return true;
  }
  void drop(uint64_t linear) {
    at(linear) = {};
    recent.drop(linear);
  }
  void forget() {
    recent.forget();
    if (++key < kKeys) return;
    std::memset(entries, 0, sizeof entries);
    key = 1;
  }
};

inline constinit const std::array<TlbEntry, Tlb::kSize> Tlb::kEmpty = Tlb::make_empty();

}  // namespace skerry::x86
