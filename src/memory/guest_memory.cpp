#include "memory/guest_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.hpp"
#include "base/units.hpp"

namespace skerry::memory {

namespace {

// Keeps `ranges` sorted and apart.
void add_range(std::vector<GuestMemory::Range>& ranges, GuestMemory::Range added) {
  const auto first = std::find_if(ranges.begin(), ranges.end(),
                                  [&](const GuestMemory::Range& range) { return range.end >= added.begin; });
  auto last = first;
  for (; last != ranges.end() && last->begin <= added.end; ++last) {
    added.begin = std::min(added.begin, last->begin);
    added.end = std::max(added.end, last->end);
  }
  ranges.insert(ranges.erase(first, last), added);
}

}  // namespace

GuestMemory::~GuestMemory() {
  for (const auto& region : regions_) ::munmap(region->host, region->size);
}

Result<GuestMemory::Region*> GuestMemory::add(Gpa base, uint64_t size, std::string name, Kind kind) {
  if (size == 0 || ((base | size) & kPageMask) || base + size < base)
    return error("guest memory '{}': {:#x}+{:#x} is not a range of whole pages", name, base, size);
  for (const auto& region : regions_)
    if (base < region->base + region->size && region->base < base + size)
      return error("guest memory '{}' at {:#x} overlaps '{}'", name, base, region->name);

  UniqueFd backing(::memfd_create(name.c_str(), MFD_CLOEXEC));
  if (!backing || ::ftruncate(backing.get(), static_cast<off_t>(size)) != 0)
    return errno_error(errno, fmt::format("cannot get {} of memory for guest {}", format_size(size), name));
  void* host = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, backing.get(), 0);
  if (host == MAP_FAILED)
    return errno_error(errno, fmt::format("cannot map {} of memory for guest {}", format_size(size), name));
  ::madvise(host, size, MADV_DONTDUMP);  // a core dump of the VMM does not carry the guest's memory

  auto region = std::make_unique<Region>();
  region->base = base;
  region->visible = kind == Kind::kDeviceRam ? kNowhere : base;
  region->size = size;
  region->host = static_cast<std::byte*>(host);
  region->kind = kind;
  region->writable = kind == Kind::kRam || kind == Kind::kDeviceRam;
  region->name = std::move(name);
  region->backing = std::move(backing);
  region->dirty = std::make_unique<std::atomic<uint64_t>[]>((size / kPageSize + 63) / 64);
  region->marks = std::make_unique<std::atomic<uint8_t>[]>(size / kPageSize);
  log::debug(log::Category::kMemory, "{:#x}-{:#x} {} '{}'", base, base + size - 1, region->writable ? "RAM" : "ROM",
             region->name);
  Region* raw = region.get();
  if (map_listener_ && raw->visible != kNowhere)
    if (auto told = map_listener_->added(mapped(*raw)); !told) {
      ::munmap(raw->host, raw->size);
      return std::move(told).error();
    }
  regions_.insert(std::upper_bound(regions_.begin(), regions_.end(), size,
                                   [](uint64_t of_it, const auto& other) { return of_it > other->size; }),
                  std::move(region));
  generation_.fetch_add(1, std::memory_order_release);
  return raw;
}

Result<void> GuestMemory::add_ram(Gpa base, uint64_t size, std::string name) {
  auto region = add(base, size, std::move(name), Kind::kRam);
  if (!region) return std::move(region).error();
  return ok();
}

Result<void> GuestMemory::add_content(Gpa base, std::span<const uint8_t> content, std::string name, Kind kind) {
  auto region = add(base, align_up(content.size(), kPageSize), std::move(name), kind);
  if (!region) return std::move(region).error();
  std::memcpy((*region)->host, content.data(), content.size());
  return ok();
}

Result<void> GuestMemory::add_rom(Gpa base, std::span<const uint8_t> content, std::string name) {
  return add_content(base, content, std::move(name), Kind::kRom);
}

Result<void> GuestMemory::add_device_rom(Gpa base, std::span<const uint8_t> content, std::string name) {
  return add_content(base, content, std::move(name), Kind::kDevice);
}

Result<void> GuestMemory::add_device_ram(Gpa home, uint64_t size, std::string name) {
  auto region = add(home, size, std::move(name), Kind::kDeviceRam);
  if (!region) return std::move(region).error();
  return ok();
}

void GuestMemory::place(Gpa home, std::optional<Gpa> where) {
  const auto found = std::find_if(regions_.begin(), regions_.end(), [home](const auto& region) { return region->base == home; });
  if (found == regions_.end() || (*found)->kind != Kind::kDeviceRam) return;
  Region& region = **found;
  const auto in_the_way = [&](const auto& other) {
    const Gpa base = other->visible;
    return other.get() != &region && base != kNowhere && *where < base + other->size && base < *where + region.size;
  };
  if (where && ((*where & kPageMask) || *where + region.size < *where || std::any_of(regions_.begin(), regions_.end(), in_the_way)))
    where.reset();
  const Gpa before = region.visible;
  if (before == where.value_or(kNowhere)) return;
  if (before != kNowhere) {
    if (map_listener_) map_listener_->removed(before);
    // Nobody hears any more of what is written to it elsewhere.
    if (watcher_) watcher_->written(before, region.size);
  }
  region.visible = where.value_or(kNowhere);
  generation_.fetch_add(1, std::memory_order_release);
  if (!where || !map_listener_) return;
  if (auto told = map_listener_->added(mapped(region)); !told) log::failure("{}", told.error().message());
}

std::span<std::byte> GuestMemory::device_content(Gpa home) {
  for (const auto& region : regions_)
    if (region->base == home && region->kind == Kind::kDeviceRam) return {region->host, region->size};
  return {};
}

void GuestMemory::tell_changed(const Region& region) {
  generation_.fetch_add(1, std::memory_order_release);
  if (!map_listener_) return;
  if (auto told = map_listener_->changed(mapped(region)); !told) log::failure("{}", told.error().message());
}

void GuestMemory::set_writable(Gpa base, bool writable) {
  for (const auto& region : regions_)
    if (region->base == base && region->kind == Kind::kRam && region->writable.exchange(writable) != writable) tell_changed(*region);
}

void GuestMemory::set_readable(Gpa base, bool readable) {
  for (const auto& region : regions_)
    if (region->base == base && region->kind != Kind::kRom && region->readable.exchange(readable) != readable) tell_changed(*region);
}

namespace {

// A range of pages below 4 GiB as one word, which is read and written at once.
constexpr unsigned kEndShift = 32;
constexpr uint64_t kPages = 4 * GiB / kPageSize;

}  // namespace

void GuestMemory::set_smm_only(std::span<const Range> ranges) {
  for (size_t n = 0; n < smm_only_.size(); ++n) {
    const Range range = n < ranges.size() ? ranges[n] : Range{0, 0};
    const uint64_t begin = std::min(range.begin / kPageSize, kPages), end = std::min(align_up(range.end, kPageSize) / kPageSize, kPages);
    smm_only_[n].store(begin < end ? begin | end << kEndShift : 0, std::memory_order_release);
  }
  generation_.fetch_add(1, std::memory_order_release);
}

bool GuestMemory::smm_only(Gpa gpa, uint64_t size) const {
  if (gpa >= 4 * GiB || size == 0) return false;
  const uint64_t first = gpa / kPageSize, last = (gpa + size - 1) / kPageSize;
  return std::any_of(smm_only_.begin(), smm_only_.end(), [&](const std::atomic<uint64_t>& word) {
    const uint64_t range = word.load(std::memory_order_acquire);
    return first < range >> kEndShift && last >= (range & 0xffff'ffff);
  });
}

bool GuestMemory::remove(Gpa base) {
  const auto found = std::find_if(regions_.begin(), regions_.end(), [base](const auto& region) { return region->base == base; });
  if (found == regions_.end()) return false;
  if (map_listener_ && (*found)->visible != kNowhere) map_listener_->removed((*found)->visible);
  ::munmap((*found)->host, (*found)->size);
  regions_.erase(found);
  generation_.fetch_add(1, std::memory_order_release);
  return true;
}

Result<void> GuestMemory::set_map_listener(MapListener* listener) {
  map_listener_ = listener;
  if (!listener) return ok();
  for (const auto& region : regions_) {
    if (region->visible == kNowhere) continue;
    if (auto told = listener->added(mapped(*region)); !told) {
      map_listener_ = nullptr;
      return told;
    }
  }
  return ok();
}

uint64_t GuestMemory::ram_size() const {
  uint64_t size = 0;
  for (const auto& region : regions_)
    if (region->kind == Kind::kRam) size += region->size;
  return size;
}

GuestMemory::Found GuestMemory::find(Gpa gpa) const {
  for (const auto& region : regions_) {
    if (gpa - region->base < region->size) return {region.get(), gpa - region->base};
    const Gpa visible = region->visible.load(std::memory_order_relaxed);
    if (gpa - visible < region->size && visible != kNowhere) return {region.get(), gpa - visible};
  }
  return {};
}

Page GuestMemory::page(Gpa gpa, View view) const {
  const Found found = find(gpa);
  if (!found || !found.region->readable || (view == View::kOrdinary && smm_only(gpa, 1))) return {};
  return {found.region->host + (found.offset & ~kPageMask), found.region->writable};
}

Gpa GuestMemory::gpa_of(const std::byte* host) const {
  for (const auto& region : regions_)
    if (const auto offset = static_cast<uint64_t>(host - region->host); offset < region->size) {
      const Gpa visible = region->visible;
      return visible == kNowhere ? region->base + offset : visible + offset;
    }
  return ~Gpa{0};
}

bool GuestMemory::allows(const Region& region, Purpose purpose) {
  switch (purpose) {
    case Purpose::kRead: return region.readable;
    case Purpose::kWrite: return region.writable && region.readable;
    case Purpose::kPut: break;
  }
  return region.kind != Kind::kRom;
}

bool GuestMemory::contains(Gpa gpa, uint64_t size, Purpose purpose, View view) const {
  if (gpa + size < gpa) return false;
  if (view == View::kOrdinary && purpose != Purpose::kPut && smm_only(gpa, size)) return false;
  while (size > 0) {
    const Found found = find(gpa);
    if (!found || !allows(*found.region, purpose)) return false;
    const uint64_t here = std::min(size, found.left());
    gpa += here;
    size -= here;
  }
  return true;
}

bool GuestMemory::read(Gpa gpa, std::span<std::byte> to, View view) const {
  if (!contains(gpa, to.size(), Purpose::kRead, view)) return false;
  while (!to.empty()) {
    const Found found = find(gpa);
    if (!found) return false;
    const uint64_t here = std::min<uint64_t>(to.size(), found.left());
    std::memcpy(to.data(), found.host(), here);
    to = to.subspan(here);
    gpa += here;
  }
  return true;
}

bool GuestMemory::write(Gpa gpa, std::span<const std::byte> from, View view) { return copy_in(gpa, from, Purpose::kWrite, view); }
bool GuestMemory::put(Gpa gpa, std::span<const std::byte> from) { return copy_in(gpa, from, Purpose::kPut, View::kSmm); }

bool GuestMemory::copy_in(Gpa gpa, std::span<const std::byte> from, Purpose purpose, View view) {
  if (!contains(gpa, from.size(), purpose, view)) return false;
  const uint64_t size = from.size();
  for (Gpa at = gpa; !from.empty();) {
    const Found found = find(at);
    if (!found) return false;
    const uint64_t here = std::min<uint64_t>(from.size(), found.left());
    std::memcpy(found.host(), from.data(), here);
    from = from.subspan(here);
    at += here;
  }
  written(gpa, size);
  return true;
}

bool GuestMemory::fill(Gpa gpa, uint64_t size, uint8_t value) {
  if (!contains(gpa, size, Purpose::kWrite)) return false;
  for (uint64_t done = 0; done < size;) {
    const Found found = find(gpa + done);
    if (!found) return false;
    const uint64_t here = std::min(size - done, found.left());
    std::memset(found.host(), value, here);
    done += here;
  }
  written(gpa, size);
  return true;
}

bool GuestMemory::drop(const Region& region, uint64_t offset, uint64_t size) {
  const Gpa begin = region.base + offset, end = begin + size;
  if (::fallocate(region.backing.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(size)) != 0)
    return false;
  const bool restored = std::any_of(region.from_file.begin(), region.from_file.end(), [&](const Range& range) {
    return range.begin < end && begin < range.end;
  });
  if (!restored) return true;
  // Pages of a state file: their place gets the region's own memory again. A mapping of its own for every small piece
  // would soon be more than the kernel allows.
  if (size < kLeastRemapped) return false;
  if (::mmap(region.host + offset, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
             region.backing.get(), static_cast<off_t>(offset)) == MAP_FAILED)
    return false;
  ::madvise(region.host + offset, size, MADV_DONTDUMP);
  std::vector<Range> left;
  for (const Range& range : region.from_file) {
    if (range.begin < std::min(range.end, begin)) left.push_back({range.begin, std::min(range.end, begin)});
    if (std::max(range.begin, end) < range.end) left.push_back({std::max(range.begin, end), range.end});
  }
  region.from_file = std::move(left);
  return true;
}

bool GuestMemory::give_back(Gpa gpa, uint64_t size) {
  if (size == 0 || ((gpa | size) & kPageMask) || !contains(gpa, size, Purpose::kWrite)) return false;
  for (uint64_t done = 0; done < size;) {
    const Found found = find(gpa + done);
    if (!found) return false;
    const uint64_t here = std::min(size - done, found.left());
    // Host addresses given out before stay right. Where the host cannot take the pages, their content still goes.
    if (!drop(*found.region, found.offset, here)) std::memset(found.host(), 0, here);
    done += here;
  }
  written(gpa, size);
  return true;
}

bool GuestMemory::host_ranges(Gpa gpa, uint64_t size, bool for_write, std::vector<iovec>& to) const {
  if (!contains(gpa, size, for_write ? Purpose::kWrite : Purpose::kRead)) return false;
  while (size > 0) {
    const Found found = find(gpa);
    if (!found) return false;
    const uint64_t here = std::min(size, found.left());
    to.push_back({found.host(), here});
    gpa += here;
    size -= here;
  }
  return true;
}

std::vector<GuestMemory::RegionInfo> GuestMemory::regions() const {
  std::vector<RegionInfo> all;
  for (const auto& region : regions_) all.push_back({region->base, region->size, region->kind == Kind::kRam || region->kind == Kind::kDeviceRam, region->name});
  std::sort(all.begin(), all.end(), [](const RegionInfo& a, const RegionInfo& b) { return a.base < b.base; });
  return all;
}

std::optional<GuestMemory::Range> GuestMemory::next_data(Gpa from) const {
  const Region* region = find(from).region;
  if (!region) return std::nullopt;
  const auto file = std::find_if(region->from_file.begin(), region->from_file.end(),
                                 [from](const Range& range) { return range.end > from; });
  if (file != region->from_file.end() && file->begin <= from) return Range{from, file->end};
  const Gpa limit = file == region->from_file.end() ? region->base + region->size : file->begin;
  const off_t data = ::lseek(region->backing.get(), static_cast<off_t>(from - region->base), SEEK_DATA);
  if (data >= 0 && region->base + static_cast<uint64_t>(data) < limit) {
    const off_t hole = ::lseek(region->backing.get(), data, SEEK_HOLE);
    const Gpa end = hole < 0 ? limit : region->base + static_cast<uint64_t>(hole);
    return Range{region->base + static_cast<uint64_t>(data), std::min(end, limit)};
  }
  if (file == region->from_file.end()) return std::nullopt;
  return *file;
}

std::span<const std::byte> GuestMemory::content(Range range) const {
  const Found found = find(range.begin);
  if (!found || range.end < range.begin || range.end - range.begin > found.left()) return {};
  return {found.host(), range.end - range.begin};
}

Result<void> GuestMemory::map_file(Gpa gpa, uint64_t size, int fd, uint64_t offset) {
  Region* region = nullptr;
  for (const auto& candidate : regions_)
    if (gpa - candidate->base < candidate->size && size <= candidate->size - (gpa - candidate->base))
      region = candidate.get();
  if (!region || size == 0 || ((gpa | size | offset) & kPageMask))
    return error("guest memory: {:#x}+{:#x} is no part of a region", gpa, size);
  void* const at = region->host + (gpa - region->base);
  if (::mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
             static_cast<off_t>(offset)) == MAP_FAILED)
    return errno_error(errno, fmt::format("guest memory '{}' at {:#x}: cannot map {} of a file", region->name, gpa,
                                          format_size(size)));
  ::madvise(at, size, MADV_DONTDUMP);
  add_range(region->from_file, {gpa, gpa + size});
  generation_.fetch_add(1, std::memory_order_release);
  return ok();
}

void GuestMemory::written(Gpa gpa, uint64_t size) {
  if (size == 0) return;
  mark_dirty(gpa, size);
  if (!watcher_) return;
  for (Gpa at = gpa & ~kPageMask; at <= gpa + size - 1; at += kPageSize)
    if (find(at) && watched(at)) return watcher_->written(gpa, size);
}

void GuestMemory::mark_dirty(Gpa gpa, uint64_t size) {
  if (size == 0) return;
  for (Gpa at = gpa & ~kPageMask; at <= gpa + size - 1; at += kPageSize) {
    const Found found = find(at);
    if (!found) continue;
    const uint64_t index = found.offset / kPageSize;
    std::atomic<uint64_t>& word = found.region->dirty[index / 64];
    const uint64_t mask = bit(index % 64);
    if (!(word.load(std::memory_order_relaxed) & mask)) word.fetch_or(mask, std::memory_order_relaxed);
  }
}

bool GuestMemory::dirty(Gpa gpa) const {
  const Found found = find(gpa);
  if (!found) return false;
  const uint64_t index = found.offset / kPageSize;
  return found.region->dirty[index / 64].load(std::memory_order_relaxed) & bit(index % 64);
}

void GuestMemory::clear_dirty() {
  for (const auto& region : regions_)
    for (uint64_t word = 0; word < (region->size / kPageSize + 63) / 64; ++word)
      region->dirty[word].store(0, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
}

}  // namespace skerry::memory
