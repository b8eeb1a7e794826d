// Guest-physical memory: which addresses are RAM or ROM, where they are in this process, which pages were written.
//
// The address map is read without locks; it is changed (add_ram, add_rom) only while no vCPU runs. Devices use read(),
// write(), load() and store(): the one door, which marks pages dirty. A page's host address is given only to what
// executes guest instructions (page()), and by it only for as long as `map_generation()` stays the same.
#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::memory {

using Gpa = uint64_t;  // guest-physical address

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kPageMask = kPageSize - 1;

// One 4 KiB page as the engine sees it. `host` is null where there is no memory (MMIO).
struct Page {
  std::byte* host = nullptr;
  bool writable = false;  // false: ROM; writes are dropped
};

// Who looks at memory: some of it may be there for processors in System Management Mode alone.
enum class View : uint8_t { kOrdinary, kSmm };

// Memory at one place, as a kernel has to know it that gives it to a guest.
struct MappedRegion {
  Gpa base;
  uint64_t size;  // bytes, whole pages
  std::byte* host;
  bool writable;
  bool readable;  // false: accesses are the device's whose memory it is
};

// Told of changes of the address map, on the thread that makes them.
class MapListener {
 public:
  virtual ~MapListener() = default;
  virtual Result<void> added(const MappedRegion& region) = 0;
  virtual Result<void> changed(const MappedRegion& region) = 0;  // another `writable` or `readable`
  virtual void removed(Gpa base) = 0;
};

// Told of writes to watched pages, after the write, on the writer's thread: what was derived from the old content goes.
class WriteWatcher {
 public:
  virtual ~WriteWatcher() = default;
  virtual void written(Gpa gpa, uint64_t size) = 0;
};

class GuestMemory {
 public:
  GuestMemory() = default;
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  // Adds `size` bytes (a multiple of 4 KiB) of zeroed RAM at `base`, backed by a memfd so that other processes can map
  // it. Fails when it overlaps what is there or the host has no room.
  Result<void> add_ram(Gpa base, uint64_t size, std::string name);
  // Adds read-only memory with `content`, padded with zeroes to whole pages.
  Result<void> add_rom(Gpa base, std::span<const uint8_t> content, std::string name);

  // The same, but the memory is a device's: it may put() something else there, and take reads for itself by set_readable().
  // Writes of the guest go to whoever has the addresses on the bus, as they do for all read-only memory.
  Result<void> add_device_rom(Gpa base, std::span<const uint8_t> content, std::string name);

  // Adds zeroed RAM of a device that the guest finds where the device place()s it, at first nowhere: a frame buffer. For the host it is
  // always at `home` too, an address beyond those that a guest's processor has.
  Result<void> add_device_ram(Gpa home, uint64_t size, std::string name);
  // Where the guest finds the device's RAM whose home this is, from now on; none: nowhere, as also if other memory is in the way. One
  // thread at a time; every vCPU has to be kicked afterwards, and until it has come to an instruction boundary finds it where it was.
  void place(Gpa home, std::optional<Gpa> where);

  // All of the device's RAM whose home this is, for the device itself: the guest reads and writes it at the same time.
  std::span<std::byte> device_content(Gpa home);

  // Takes away the region that begins at `base`; false if none does. Nothing refers to its host memory any more.
  bool remove(Gpa base);

  // Who is told of changes from now on, and at once of all that is there; null: nobody.
  Result<void> set_map_listener(MapListener* listener);

  uint64_t ram_size() const;

  // Write-protects the RAM region that begins at `base`, or not, as a chipset can do with the memory below 1 MiB. Any
  // thread; every vCPU has to be kicked afterwards: until it has come to an instruction boundary the old right holds.
  void set_writable(Gpa base, bool writable);
  // Of the device's memory that begins at `base`: whether reads and fetches find it, or are accesses like those of registers; of RAM:
  // whether it is there, or what a device has at its addresses. The vCPU that has made the device do it sees that from its next
  // instruction on, if it is kicked; for others as above.
  void set_readable(Gpa base, bool readable);

  struct Range {
    Gpa begin, end;
  };
  // Of the memory below 4 GiB, what only View::kSmm sees from now on, whole pages: for all others, devices among them, there is no
  // memory. Any thread, one at a time; every vCPU has to be kicked afterwards: until it has come to an instruction boundary it may see
  // what it saw. Input and output that the kernel has begun by host_ranges() ends as it began.
  static constexpr size_t kMaxSmmOnly = 3;
  void set_smm_only(std::span<const Range> ranges);

  // Copies out of or into memory; false, with nothing written, if a byte of the range is no memory (or, for write, ROM), or has just
  // been moved away.
  // Not for what the guest expects to be single-copy atomic: that is load() and store().
  bool read(Gpa gpa, std::span<std::byte> to, View view = View::kOrdinary) const;
  bool write(Gpa gpa, std::span<const std::byte> from, View view = View::kOrdinary);
  bool fill(Gpa gpa, uint64_t size, uint8_t value);
  // Like write(), for what the machine itself puts there: into RAM that the chipset write-protects or hides, too, and a device's memory.
  bool put(Gpa gpa, std::span<const std::byte> from);

  // For input and output that the host's kernel does by itself: appends where [gpa, gpa + size) is in this process; false
  // if a byte of it is no memory (or, `for_write`, ROM). What was written there counts only after written(), which has to
  // come before the guest is told.
  bool host_ranges(Gpa gpa, uint64_t size, bool for_write, std::vector<iovec>& to) const;

  // Drops the content of whole pages of RAM, whose host memory goes back to the host: they read as zero from now on, and
  // count as written. False, with nothing dropped, if the range is not whole pages of RAM.
  bool give_back(Gpa gpa, uint64_t size);

  // One naturally aligned integer, as a single access. A load is an acquire and a store a release, as on the guest's processor.
  template <typename T>
  std::optional<T> load(Gpa gpa, View view = View::kOrdinary) const {
    const Page at = aligned<T>(gpa, view);
    if (!at.host) return std::nullopt;
    return __atomic_load_n(reinterpret_cast<const T*>(at.host + (gpa & kPageMask)), __ATOMIC_ACQUIRE);
  }
  template <typename T>
  bool store(Gpa gpa, T value) {
    const Page at = aligned<T>(gpa, View::kOrdinary);
    if (!at.host || !at.writable) return false;
    __atomic_store_n(reinterpret_cast<T*>(at.host + (gpa & kPageMask)), value, __ATOMIC_RELEASE);
    written(gpa, sizeof(T));
    return true;
  }
  // Replaces `expected` by `desired` atomically; false if the memory held something else or is not writable.
  template <typename T>
  bool compare_exchange(Gpa gpa, T expected, T desired, View view = View::kOrdinary) {
    const Page at = aligned<T>(gpa, view);
    if (!at.host || !at.writable) return false;
    if (!__atomic_compare_exchange_n(reinterpret_cast<T*>(at.host + (gpa & kPageMask)), &expected, desired, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
      return false;
    written(gpa, sizeof(T));
    return true;
  }

  // For what executes guest instructions: the page that holds `gpa`. Before it lets the guest write through
  // Page::host it calls mark_dirty() for that page.
  Page page(Gpa gpa, View view = View::kOrdinary) const;
  // Where a Page::host is in the guest.
  Gpa gpa_of(const std::byte* host) const;
  // Changes whenever a Page given out before may be wrong, or a page must be marked dirty anew.
  uint64_t map_generation() const { return generation_.load(std::memory_order_acquire); }

  // For saving and restoring, while no vCPU runs and no device writes.
  struct RegionInfo {
    Gpa base;       // of a device's RAM its home
    uint64_t size;  // bytes
    bool writable;  // RAM, even while the chipset write-protects it
    std::string name;
  };
  std::vector<RegionInfo> regions() const;  // by address
  // The first whole pages at or after `from`, in its region, that may hold anything but zeroes; none, if there are none.
  // What nobody ever used is found to be zero without being touched.
  std::optional<Range> next_data(Gpa from) const;
  // The content of `range`, of one region, whether the guest may read it or not; empty if it is no part of one.
  std::span<const std::byte> content(Range range) const;
  // Makes the content of [gpa, gpa + size), whole pages of one region, that of the file at `offset`, ROM too. Nothing is
  // read before it is used, and the file does not change by what the guest writes. It may be deleted. If it becomes
  // shorter, uses of what is missing raise SIGBUS.
  Result<void> map_file(Gpa gpa, uint64_t size, int fd, uint64_t offset);

  void mark_dirty(Gpa gpa, uint64_t size);
  // Whether the page was written since the last clear; clear_dirty() needs every vCPU to pass an instruction boundary
  // before its answer is complete (map_generation() changes).
  bool dirty(Gpa gpa) const;
  void clear_dirty();

  // Watched pages: how a translator learns that code has changed. A write through read(), write(), load(), store() tells
  // the watcher by itself. What lets the guest write through Page::host claims the page first.
  void set_watcher(WriteWatcher* watcher) { watcher_ = watcher; }  // while no vCPU runs
  // Whether the guest may write through Page::host without telling anybody. False: the page is watched; written() has to
  // be called after each write.
  bool claim(Gpa gpa) { return !(mark(gpa).fetch_or(kClaimed) & kWatched); }
  // Watches the page from now on. True if it may be claimed: then every vCPU has to give it up, and unclaim() be called,
  // before its content can be relied on.
  bool watch(Gpa gpa) { return mark(gpa).fetch_or(kWatched) & kClaimed; }
  void unclaim(Gpa gpa) { mark(gpa).fetch_and(static_cast<uint8_t>(~kClaimed)); }
  void unwatch(Gpa gpa) { mark(gpa).fetch_and(static_cast<uint8_t>(~kWatched)); }
  bool watched(Gpa gpa) const { return mark(gpa).load() & kWatched; }
  void written(Gpa gpa, uint64_t size);

 private:
  static constexpr uint64_t kLeastRemapped = uint64_t{2} << 20;
  static constexpr uint8_t kClaimed = 1, kWatched = 2;
  std::atomic<uint8_t>& mark(Gpa gpa) const {
    const Found found = find(gpa);  // the caller has a Page of it
    return found ? found.region->marks[found.offset / kPageSize] : moved_away_;
  }

  enum class Kind : uint8_t { kRam, kRom, kDevice, kDeviceRam };
  static constexpr Gpa kNowhere = ~Gpa{0};  // no region has its size from there
  struct Region {
    Gpa base;                  // of a device's RAM its home
    std::atomic<Gpa> visible;  // where the guest finds it: `base`, but for a device's RAM: place()
    uint64_t size;
    std::byte* host;
    Kind kind = Kind::kRam;
    std::atomic<bool> writable;        // of RAM: set_writable()
    std::atomic<bool> readable{true};  // of RAM or a device's: set_readable()
    std::string name;
    UniqueFd backing;
    std::unique_ptr<std::atomic<uint64_t>[]> dirty;  // a bit a page
    std::unique_ptr<std::atomic<uint8_t>[]> marks;   // kClaimed, kWatched
    mutable std::vector<Range> from_file;            // by map_file(), and not in `backing`; sorted, apart
  };
  // What is at an address; `offset` is less than the region's size.
  struct Found {
    const Region* region = nullptr;
    uint64_t offset = 0;
    explicit operator bool() const { return region; }
    uint64_t left() const { return region->size - offset; }
    std::byte* host() const { return region->host + offset; }
  };
  static MappedRegion mapped(const Region& region) {
    return {region.visible, region.size, region.host, region.writable, region.readable};
  }
  template <typename T>
  Page aligned(Gpa gpa, View view) const {
    static_assert(std::is_integral_v<T> && (sizeof(T) & (sizeof(T) - 1)) == 0);
    if (gpa & (sizeof(T) - 1)) return {};
    return page(gpa, view);
  }
  bool smm_only(Gpa gpa, uint64_t size) const;  // a byte of it
  Found find(Gpa gpa) const;
  static bool drop(const Region& region, uint64_t offset, uint64_t size);
  Result<Region*> add(Gpa base, uint64_t size, std::string name, Kind kind);
  Result<void> add_content(Gpa base, std::span<const uint8_t> content, std::string name, Kind kind);
  void tell_changed(const Region& region);
  enum class Purpose : uint8_t { kRead, kWrite, kPut };
  static bool allows(const Region& region, Purpose purpose);
  bool contains(Gpa gpa, uint64_t size, Purpose purpose, View view = View::kOrdinary) const;
  bool copy_in(Gpa gpa, std::span<const std::byte> from, Purpose purpose, View view);

  std::vector<std::unique_ptr<Region>> regions_;  // the largest first: where most of what is looked for is found
  mutable std::atomic<uint8_t> moved_away_{kWatched};  // the mark of what is no more where somebody has a Page of it
  std::array<std::atomic<uint64_t>, kMaxSmmOnly> smm_only_{};  // the numbers of the first page and of that behind the last one
  std::atomic<uint64_t> generation_{1};
  WriteWatcher* watcher_ = nullptr;
  MapListener* map_listener_ = nullptr;
};

}  // namespace skerry::memory
