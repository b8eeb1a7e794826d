#include "migrate/page_map.hpp"

#include <algorithm>
#include <cstring>

namespace skerry::migrate {

namespace {

struct MapHeader {
  uint32_t region_count;
  uint32_t chunk_size;
};
struct RegionEntry {
  uint64_t base, size, offset;
  uint32_t writable;  // 0 or 1
  uint32_t reserved;
  char name[32];  // cut off, padded with zeroes
};
static_assert(sizeof(RegionEntry) == 64);
// After the region entries: a word a chunk.
constexpr uint64_t kStored = uint64_t{1} << 32;  // below it the checksum

uint64_t chunk_count(uint64_t size) { return (size + kChunk - 1) / kChunk; }

template <typename T>
void append(std::vector<std::byte>& to, const T& structure) {
  const auto bytes = std::as_bytes(std::span(&structure, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Takes structures from the front.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  template <typename T>
  bool take(T& structure) {
    if (left_.size() < sizeof structure) return false;
    std::memcpy(&structure, left_.data(), sizeof structure);
    left_ = left_.subspan(sizeof structure);
    return true;
  }
  size_t left() const { return left_.size(); }

 private:
  std::span<const std::byte> left_;
};

Result<SavedRegion> region_of(const RegionEntry& entry, uint64_t expected_offset, uint64_t expected_base) {
  if (entry.size == 0 || (entry.base | entry.size) & memory::kPageMask || entry.base + entry.size < entry.base ||
      entry.base < expected_base || entry.offset != expected_offset || entry.writable > 1 || entry.reserved != 0)
    return error("the region at {:#x} of {} bytes is none", entry.base, entry.size);
  SavedRegion region{entry.base, entry.size, entry.offset, entry.writable == 1, "", {}};
  for (const char c : std::span(entry.name).first(::strnlen(entry.name, sizeof entry.name)))
    region.name += c > ' ' && c < 127 ? c : '?';
  return region;
}

}  // namespace

std::vector<SavedRegion> regions_of(const memory::GuestMemory& memory) {
  std::vector<SavedRegion> regions;
  uint64_t offset = 0;
  for (const auto& part : memory.regions()) {
    regions.push_back({part.base, part.size, offset, part.writable, part.name, {}});
    regions.back().chunks.resize(chunk_count(part.size));
    offset += part.size;
  }
  return regions;
}

uint64_t total_size(const std::vector<SavedRegion>& regions) {
  return regions.empty() ? 0 : regions.back().offset + regions.back().size;
}

std::vector<std::byte> encode(const std::vector<SavedRegion>& regions) {
  std::vector<std::byte> bytes;
  append(bytes, MapHeader{static_cast<uint32_t>(regions.size()), static_cast<uint32_t>(kChunk)});
  for (const SavedRegion& region : regions) {
    RegionEntry entry{region.base, region.size, region.offset, region.writable ? 1u : 0u, 0, {}};
    region.name.copy(entry.name, sizeof entry.name);
    append(bytes, entry);
  }
  for (const SavedRegion& region : regions)
    for (const Chunk& chunk : region.chunks) append(bytes, chunk.stored ? kStored | chunk.crc : uint64_t{0});
  return bytes;
}

Result<std::vector<SavedRegion>> decode(std::span<const std::byte> bytes, uint64_t memory_size) {
  Reader reader(bytes);
  MapHeader header{};
  if (!reader.take(header) || header.chunk_size != kChunk || header.region_count > kMaxRegions)
    return error("its page map is none");
  std::vector<SavedRegion> regions;
  uint64_t base = 0, chunks = 0;
  for (uint32_t i = 0; i < header.region_count; ++i) {
    RegionEntry entry{};
    if (!reader.take(entry)) return error("its page map ends early");
    auto region = region_of(entry, total_size(regions), base);
    if (!region) return std::move(region).error().in("its page map is wrong");
    // So that the sums below cannot overflow.
    if (region->size > memory_size) return error("its page map tells of more memory than there is");
    base = region->base + region->size;
    chunks += chunk_count(region->size);
    regions.push_back(std::move(*region));
  }
  if (total_size(regions) != memory_size)
    return error("its page map tells of {} bytes of memory, its header of {}", total_size(regions), memory_size);
  if (reader.left() != chunks * sizeof(uint64_t))
    return error("its page map has {} bytes for {} chunks", reader.left(), chunks);
  for (SavedRegion& region : regions) {
    region.chunks.resize(chunk_count(region.size));
    for (Chunk& chunk : region.chunks) {
      uint64_t word = 0;
      if (!reader.take(word) || word >> 33 || (!(word & kStored) && word != 0)) return error("its page map has a chunk that is none");
      chunk = {(word & kStored) != 0, static_cast<uint32_t>(word)};
    }
  }
  return regions;
}

}  // namespace skerry::migrate
