#include "virtio/gpu_resources.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace skerry::virtio::gpu {

namespace {

// Where the bytes of a pixel are in its word.
struct Layout {
  uint32_t format;
  uint8_t red, green, blue;  // how far the word is to be shifted
  uint8_t other;             // alpha, or what means nothing
  bool alpha;
};
constexpr Layout kLayouts[] = {
    {VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 16, 8, 0, 24, true}, {VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 16, 8, 0, 24, false},
    {VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 8, 16, 24, 0, true}, {VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 8, 16, 24, 0, false},
    {VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0, 8, 16, 24, true}, {VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 24, 16, 8, 0, false},
    {VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 24, 16, 8, 0, true}, {VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0, 8, 16, 24, false},
};

const Layout* layout_of(uint32_t format) {
  const auto* found = std::ranges::find(kLayouts, format, &Layout::format);
  return found == std::end(kLayouts) ? nullptr : found;
}
// As the screen has it.
bool is_native(const Layout& layout) { return layout.blue == 0 && layout.other == 24; }

uint32_t converted(const Layout& layout, uint32_t word) {
  const auto part = [&](unsigned shift) { return word >> shift & 0xff; };
  return part(layout.other) << 24 | part(layout.red) << 16 | part(layout.green) << 8 | part(layout.blue);
}

// What a backing may name: a guest has no memory beyond, but the host keeps its devices' there.
constexpr uint64_t kMaxAddress = bit(48);

bool legal(const MemEntry& entry) { return entry.addr <= kMaxAddress && entry.length <= kMaxAddress - entry.addr; }

// Goes through a backing, forwards only.
class BackingReader {
 public:
  BackingReader(const memory::GuestMemory& memory, std::span<const MemEntry> entries) : memory_(memory), left_(entries) {}
  // False: it has not so much, or it is not memory.
  bool read(uint64_t offset, std::span<std::byte> to) {
    while (!to.empty()) {
      while (!left_.empty() && offset - start_ >= left_.front().length) {
        start_ += left_.front().length;
        left_ = left_.subspan(1);
      }
      if (left_.empty()) return false;
      const uint64_t within = offset - start_;
      const size_t part = std::min<uint64_t>(to.size(), left_.front().length - within);
      if (!memory_.read(left_.front().addr + within, to.first(part))) return false;
      to = to.subspan(part);
      offset += part;
    }
    return true;
  }

 private:
  const memory::GuestMemory& memory_;
  std::span<const MemEntry> left_;
  uint64_t start_ = 0;  // of the first of them, in the backing
};

}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Result<void> Resources::attach() {
  auto added = memory_.add_device_ram(kHome, kVideoMemory, "gpu");
  attached_ = static_cast<bool>(added);
  return added;
}

Resources::~Resources() {
  if (attached_) (void)memory_.remove(kHome);
}

void Resources::clear() {
  resources_.clear();
  taken_.clear();
  entries_ = 0;
  (void)memory_.give_back(kHome, kVideoMemory);
}

// --- the table -------------------------------------------------------------------------------------------------------

bool Resources::legal(const Resource& resource) {
  return resource.id != 0 && layout_of(resource.format) && resource.width != 0 && resource.height != 0 && resource.width <= kMaxSide &&
         resource.height <= kMaxSide;
}

// The first gap that is large enough.
bool Resources::find_place(Resource& resource) const {
  uint64_t place = 0;
  for (const auto& [from, behind] : taken_) {
    if (from - place >= resource.size()) break;
    place = behind;
  }
  resource.place = place;
  return is_free(resource);
}

bool Resources::is_free(const Resource& resource) const {
  if (resource.place > kVideoMemory || resource.size() > kVideoMemory - resource.place) return false;
  const auto next = taken_.lower_bound(resource.place);
  if (next != taken_.end() && next->first < resource.place + resource.size()) return false;
  return next == taken_.begin() || std::prev(next)->second <= resource.place;
}

void Resources::add(Resource resource) {
  taken_[resource.place] = align_up(resource.place + resource.size(), memory::kPageSize);
  entries_ += resource.backing.size();
  resources_[resource.id] = std::move(resource);
}

const Resource* Resources::find(uint32_t id) const {
  const auto found = resources_.find(id);
  return found == resources_.end() ? nullptr : &found->second;
}

Answer Resources::create_2d(const ResourceCreate2d& command) {
  Resource resource{.id = command.resource_id, .format = command.format, .width = command.width, .height = command.height};
  if (resource.id == 0 || find(resource.id)) return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
  if (!legal(resource)) return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
  if (resources_.size() == kMost || !find_place(resource)) return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
  add(std::move(resource));
  return VIRTIO_GPU_RESP_OK_NODATA;
}

Answer Resources::unref(uint32_t id) {
  const Resource* resource = find(id);
  if (!resource) return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
  const auto taken = taken_.find(resource->place);
  (void)memory_.give_back(kHome + taken->first, taken->second - taken->first);  // the next has zeroes there
  taken_.erase(taken);
  entries_ -= resource->backing.size();
  resources_.erase(id);
  return VIRTIO_GPU_RESP_OK_NODATA;
}

Answer Resources::attach_backing(uint32_t id, std::vector<MemEntry> entries) {
  const auto found = resources_.find(id);
  if (found == resources_.end()) return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
  if (!found->second.backing.empty()) return VIRTIO_GPU_RESP_ERR_UNSPEC;
  if (entries.empty() || !std::ranges::all_of(entries, [](const MemEntry& entry) { return gpu::legal(entry); }))
    return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
  if (entries.size() > kMostEntries - entries_) return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
  entries_ += entries.size();
  found->second.backing_size = 0;
  for (const MemEntry& entry : entries) found->second.backing_size += entry.length;
  found->second.backing = std::move(entries);
  return VIRTIO_GPU_RESP_OK_NODATA;
}

Answer Resources::detach_backing(uint32_t id) {
  const auto found = resources_.find(id);
  if (found == resources_.end()) return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
  if (found->second.backing.empty()) return VIRTIO_GPU_RESP_ERR_UNSPEC;
  entries_ -= found->second.backing.size();
  found->second.backing = {};
  found->second.backing_size = 0;
  return VIRTIO_GPU_RESP_OK_NODATA;
}

// --- pixels ----------------------------------------------------------------------------------------------------------

bool Resources::transfer(const Resource& resource, const Rect& rect, uint64_t offset) {
  if (rect.empty()) return true;
  const bool whole = rect.width == resource.width;  // then the rows lie one behind the other
  const uint64_t count = whole ? 1 : rect.height, size = uint64_t{rect.width} * 4 * (whole ? rect.height : 1);
  const uint64_t end = resource.row() * (count - 1) + size;
  if (offset > resource.backing_size || end > resource.backing_size - offset) return false;
  const uint64_t first = resource.row() * rect.y + uint64_t{rect.x} * 4;
  const std::span<std::byte> to = bytes(resource).subspan(first, end);
  BackingReader backing(memory_, resource.backing);
  bool good = true;
  for (uint64_t n = 0; n < count && good; ++n) good = backing.read(offset + n * resource.row(), to.subspan(n * resource.row(), size));
  memory_.mark_dirty(kHome + resource.place + first, end);
  return good;
}

Resources::Pixels Resources::pixels(const Resource& resource, const Rect& rect, std::vector<uint32_t>& scratch) const {
  const std::span<std::byte> content = bytes(resource);
  const std::span all(reinterpret_cast<const uint32_t*>(content.data()), content.size() / 4);
  const Layout& layout = *layout_of(resource.format);
  if (is_native(layout)) return {all.subspan(size_t{rect.y} * resource.width + rect.x), resource.width};
  scratch.resize(rect.area());
  for (uint32_t y = 0; y < rect.height; ++y) {
    const std::span row = all.subspan(size_t{rect.y + y} * resource.width + rect.x, rect.width);
    std::ranges::transform(row, scratch.begin() + static_cast<ptrdiff_t>(size_t{y} * rect.width),
                           [&](uint32_t word) { return converted(layout, word); });
  }
  return {scratch, rect.width};
}

bool Resources::has_alpha(uint32_t format) {
  const Layout* layout = layout_of(format);
  return layout && layout->alpha;
}

// --- state -----------------------------------------------------------------------------------------------------------

// Little endian; so many entries of its backing are among those of all, in the order of the records.
struct Resources::Record {
  uint32_t id, format, width, height, page, entries;
};

void Resources::describe(state::Fields& fields) {
  std::vector<uint8_t> records, backings;
  const auto put = [](std::vector<uint8_t>& to, const auto& value) {
    const auto* first = reinterpret_cast<const uint8_t*>(&value);
    to.insert(to.end(), first, first + sizeof value);
  };
  for (const auto& [id, resource] : resources_) {
    put(records, Record{.id = id,
                        .format = resource.format,
                        .width = resource.width,
                        .height = resource.height,
                        .page = static_cast<uint32_t>(resource.place / memory::kPageSize),
                        .entries = static_cast<uint32_t>(resource.backing.size())});
    for (const MemEntry& entry : resource.backing) put(backings, entry);
  }
  fields.blob("resources", records, kMost * sizeof(Record));
  fields.blob("backings", backings, kMostEntries * sizeof(MemEntry));
  load(records, backings);
}

// What is not legal is left out: whoever made the file is not to be trusted.
void Resources::load(std::span<const uint8_t> records, std::span<const uint8_t> backings) {
  resources_.clear();
  taken_.clear();
  entries_ = 0;
  for (; records.size() >= sizeof(Record); records = records.subspan(sizeof(Record))) {
    Record record;
    std::memcpy(&record, records.data(), sizeof record);
    Resource resource{.id = record.id, .format = record.format, .width = record.width, .height = record.height};
    resource.place = uint64_t{record.page} * memory::kPageSize;
    resource.backing.resize(std::min<size_t>(record.entries, backings.size() / sizeof(MemEntry)));
    const std::span<const uint8_t> raw = backings.first(resource.backing.size() * sizeof(MemEntry));
    if (!raw.empty()) std::memcpy(resource.backing.data(), raw.data(), raw.size());
    backings = backings.subspan(raw.size());
    for (const MemEntry& entry : resource.backing) resource.backing_size += entry.length;
    const bool good = std::ranges::all_of(resource.backing, [](const MemEntry& entry) { return gpu::legal(entry); });
    if (good && legal(resource) && !find(resource.id) && is_free(resource)) add(std::move(resource));
  }
}

}  // namespace skerry::virtio::gpu
