// Which memory a state file holds: the regions of the guest's memory, and for each 2 MiB of them whether anything but
// zeroes is stored, and the checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::migrate {

constexpr uint64_t kChunk = 2 * MiB;
constexpr size_t kMaxRegions = 64;

struct Chunk {
  bool stored = false;  // false: all of it is zero
  uint32_t crc = 0;     // of all its bytes, if it is stored
  bool operator==(const Chunk&) const = default;
};

struct SavedRegion {
  memory::Gpa base = 0;
  uint64_t size = 0;    // bytes, whole pages
  uint64_t offset = 0;  // of its first byte in the part RAM
  bool writable = true;
  std::string name;  // for messages
  std::vector<Chunk> chunks;  // the last may be shorter than kChunk

  uint64_t chunk_size(size_t index) const { return std::min(kChunk, size - index * kChunk); }
};

// Of a machine's memory, with nothing stored yet.
std::vector<SavedRegion> regions_of(const memory::GuestMemory& memory);
uint64_t total_size(const std::vector<SavedRegion>& regions);

// The part PAGE. The length depends only on the regions.
std::vector<std::byte> encode(const std::vector<SavedRegion>& regions);
// Refuses what encode() would not have written for memory of `memory_size` bytes.
Result<std::vector<SavedRegion>> decode(std::span<const std::byte> bytes, uint64_t memory_size);

}  // namespace skerry::migrate
