// What driver and GPU say to each other (virtio 1.2, 5.7): little endian, as in guest memory.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.hpp"
#include "display/geometry.hpp"

namespace skerry::virtio::gpu {

// 5.7.3
constexpr uint64_t VIRTIO_GPU_F_EDID = bit(1);

// 5.7.4
constexpr uint32_t VIRTIO_GPU_EVENT_DISPLAY = 1;
struct Config {
  uint32_t events_read, events_clear, num_scanouts, num_capsets;
};
static_assert(sizeof(Config) == 16);

// 5.7.6.7: enum virtio_gpu_ctrl_type, as far as there is no 3D.
enum Command : uint32_t {
  VIRTIO_GPU_CMD_GET_DISPLAY_INFO = 0x0100,
  VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
  VIRTIO_GPU_CMD_RESOURCE_UNREF,
  VIRTIO_GPU_CMD_SET_SCANOUT,
  VIRTIO_GPU_CMD_RESOURCE_FLUSH,
  VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
  VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
  VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
  VIRTIO_GPU_CMD_GET_EDID = 0x010a,
  VIRTIO_GPU_CMD_UPDATE_CURSOR = 0x0300,
  VIRTIO_GPU_CMD_MOVE_CURSOR,
};
enum class Answer : uint32_t {
  VIRTIO_GPU_RESP_OK_NODATA = 0x1100,
  VIRTIO_GPU_RESP_OK_DISPLAY_INFO,
  VIRTIO_GPU_RESP_OK_EDID = 0x1104,
  VIRTIO_GPU_RESP_ERR_UNSPEC = 0x1200,
  VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY,
  VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID,
  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID,
  VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID,
  VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER,
};
using enum Answer;

constexpr uint32_t VIRTIO_GPU_FLAG_FENCE = 1;
struct Header {  // struct virtio_gpu_ctrl_hdr
  uint32_t type, flags;
  uint64_t fence_id;
  uint32_t ctx_id;
  uint8_t ring_idx, padding[3];
};
static_assert(sizeof(Header) == 24);

// 5.7.6.8. A struct virtio_gpu_rect is what a rectangle is here.
using display::Rect;
static_assert(sizeof(Rect) == 16);

constexpr size_t VIRTIO_GPU_MAX_SCANOUTS = 16;
struct DisplayOne {
  Rect r;
  uint32_t enabled, flags;
};
using DisplayInfo = std::array<DisplayOne, VIRTIO_GPU_MAX_SCANOUTS>;  // what follows the header
static_assert(sizeof(DisplayInfo) == 384);

struct GetEdid {
  Header hdr;
  uint32_t scanout, padding;
};
struct EdidAnswer {  // what follows the header
  uint32_t size, padding;
  uint8_t edid[1024];
};
static_assert(sizeof(EdidAnswer) == 1032);

// Bytes of a pixel in the order of memory.
enum Format : uint32_t {
  VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM = 1,
  VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM = 2,
  VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM = 3,
  VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM = 4,
  VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM = 67,
  VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM = 68,
  VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM = 121,
  VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM = 134,
};
struct ResourceCreate2d {
  Header hdr;
  uint32_t resource_id, format, width, height;
};
static_assert(sizeof(ResourceCreate2d) == 40);

struct OfResource {  // VIRTIO_GPU_CMD_RESOURCE_UNREF, VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING
  Header hdr;
  uint32_t resource_id, padding;
};
static_assert(sizeof(OfResource) == 32);

struct SetScanout {
  Header hdr;
  Rect r;
  uint32_t scanout_id, resource_id;
};
static_assert(sizeof(SetScanout) == 48);

struct ResourceFlush {
  Header hdr;
  Rect r;
  uint32_t resource_id, padding;
};
static_assert(sizeof(ResourceFlush) == 48);

struct TransferToHost2d {
  Header hdr;
  Rect r;
  uint64_t offset;
  uint32_t resource_id, padding;
};
static_assert(sizeof(TransferToHost2d) == 56);

struct ResourceAttachBacking {  // nr_entries of MemEntry follow
  Header hdr;
  uint32_t resource_id, nr_entries;
};
static_assert(sizeof(ResourceAttachBacking) == 32);
struct MemEntry {
  uint64_t addr;
  uint32_t length, padding;
};
static_assert(sizeof(MemEntry) == 16);

// 5.7.6.10
constexpr uint32_t kCursorSide = 64;  // pixels
struct CursorPosition {
  uint32_t scanout_id, x, y, padding;
};
struct UpdateCursor {  // VIRTIO_GPU_CMD_MOVE_CURSOR too
  Header hdr;
  CursorPosition pos;
  uint32_t resource_id, hot_x, hot_y, padding;
};
static_assert(sizeof(UpdateCursor) == 56);

}  // namespace skerry::virtio::gpu
