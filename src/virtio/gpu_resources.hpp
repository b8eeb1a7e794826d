// The pictures that a GPU's driver makes (virtio 1.2, 5.7.6.1): pixels of the host, and the guest memory that they are brought
// up to date from.
//
// The pixels are in memory of the device (GuestMemory::add_device_ram), which the guest does not see and a saved VM has with
// all other memory; the host provides what has been used of it. That bounds what a driver can take; the rest are the limits
// below.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"
#include "memory/guest_memory.hpp"
#include "state/fields.hpp"
#include "virtio/gpu_protocol.hpp"

namespace skerry::virtio::gpu {

struct Resource {
  uint32_t id = 0;
  uint32_t format = 0;
  uint32_t width = 0, height = 0;  // pixels
  uint64_t place = 0;              // in the device's memory: bytes, whole pages
  std::vector<MemEntry> backing;   // empty: none
  uint64_t backing_size = 0;       // bytes

  uint64_t row() const { return uint64_t{width} * 4; }  // bytes, in the backing too
  uint64_t size() const { return row() * height; }
  Rect rect() const { return {0, 0, width, height}; }
};

class Resources {
 public:
  static constexpr uint64_t kVideoMemory = 256 * MiB;
  static constexpr memory::Gpa kHome = bit(48) + bit(40);  // beyond what guests can name, and the VGA's
  static constexpr uint32_t kMaxSide = 16384;              // pixels
  static constexpr size_t kMost = 4096;
  static constexpr size_t kMostEntries = 128 * 1024;  // of all backings: more than the memory has pages

  // `memory` outlives it. attach() comes before all else; at rest.
  explicit Resources(memory::GuestMemory& memory) : memory_(memory) {}
  ~Resources();
  Resources(const Resources&) = delete;
  Resources& operator=(const Resources&) = delete;
  Result<void> attach();

  // As the commands of these names: VIRTIO_GPU_RESP_OK_NODATA, or why not.
  Answer create_2d(const ResourceCreate2d& command);
  Answer unref(uint32_t id);
  // `entries` are as many as the command says.
  Answer attach_backing(uint32_t id, std::vector<MemEntry> entries);
  Answer detach_backing(uint32_t id);
  const Resource* find(uint32_t id) const;  // until the next change
  void clear();

  // Copies `rect`, which lies in the resource, from its backing. The first of its rows begins `offset` bytes into that. False if the
  // backing is not so large, or not memory.
  bool transfer(const Resource& resource, const Rect& rect, uint64_t offset);
  // Pixels of `rect`, which lies in the resource, as the screen has them: 0xAARRGGBB, row by row, `stride` pixels from one to the next.
  // Where the format has no alpha, that means nothing. Either in `scratch` or where they are.
  struct Pixels {
    std::span<const uint32_t> words;
    size_t stride;
  };
  Pixels pixels(const Resource& resource, const Rect& rect, std::vector<uint32_t>& scratch) const;
  static bool has_alpha(uint32_t format);

  // All but the pixels, which are in the memory.
  void describe(state::Fields& fields);

 private:
  struct Record;  // of a resource in a state file

  std::span<std::byte> bytes(const Resource& resource) const {
    return memory_.device_content(kHome).subspan(resource.place, resource.size());
  }
  static bool legal(const Resource& resource);
  bool find_place(Resource& resource) const;
  bool is_free(const Resource& resource) const;
  void add(Resource resource);
  void load(std::span<const uint8_t> records, std::span<const uint8_t> backings);

  memory::GuestMemory& memory_;
  bool attached_ = false;
  std::map<uint32_t, Resource> resources_;  // by ID
  std::map<uint64_t, uint64_t> taken_;      // of the memory: from, and the first byte behind it
  size_t entries_ = 0;                      // of all backings
};

}  // namespace skerry::virtio::gpu
