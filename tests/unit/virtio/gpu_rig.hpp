// A guest with a GPU, for tests: its commands, and what is on the screen.
#pragma once

#include <cstring>

#include "unit/virtio/card_rig.hpp"
#include "virtio/gpu.hpp"

namespace skerry::virtio::test {

struct GpuRig : TurnedLoop {
  explicit GpuRig(uint64_t features = gpu::VIRTIO_GPU_F_EDID)
      : screen(*display::Screen::create({8, 8})), gpu(*Gpu::create("gpu0", *loop, guest.memory, *screen)), driver(*gpu, guest, features) {}

  // Makes a command available; what follows it may be in another buffer. Its answer will be in answer_room.
  template <typename T>
  void give(unsigned queue, const T& command, std::span<const uint8_t> more = {}) {
    std::vector<Buffer> readable = {guest.put(bytes_of_value(command))};
    if (!more.empty()) readable.push_back(guest.put(more));
    driver.ring(queue).add(readable, {answer_room});
    driver.notify(queue);
  }
  // The answer, if it has come.
  std::optional<Bytes> take(unsigned queue) {
    const auto used = driver.ring(queue).take();
    if (!used) return std::nullopt;
    return guest.bytes(answer_room.address, used->written);
  }
  // Gives a command, and waits for its answer.
  template <typename T>
  Bytes ask(const T& command, std::span<const uint8_t> more = {}, unsigned queue = 0) {
    give(queue, command, more);
    for (int i = 0; i < 1000; ++i) {
      if (auto answer = take(queue)) return *answer;
      loop->poll(0);
    }
    ADD_FAILURE() << "there is no answer";
    return {};
  }
  template <typename T>
  gpu::Answer does(const T& command, std::span<const uint8_t> more = {}, unsigned queue = 0) {
    return type_of(ask(command, more, queue));
  }
  static gpu::Answer type_of(const Bytes& answer) {
    gpu::Header header{};
    if (answer.size() >= sizeof header) std::memcpy(&header, answer.data(), sizeof header);
    return static_cast<gpu::Answer>(header.type);
  }

  static gpu::Header of(uint32_t type) { return {.type = type}; }
  gpu::Answer create(uint32_t id, uint32_t width, uint32_t height, uint32_t format = gpu::VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM) {
    return does(gpu::ResourceCreate2d{of(gpu::VIRTIO_GPU_CMD_RESOURCE_CREATE_2D), id, format, width, height});
  }
  gpu::Answer unref(uint32_t id) { return does(gpu::OfResource{of(gpu::VIRTIO_GPU_CMD_RESOURCE_UNREF), id, 0}); }
  gpu::Answer attach(uint32_t id, const std::vector<gpu::MemEntry>& entries) {
    const gpu::ResourceAttachBacking command{of(gpu::VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING), id, static_cast<uint32_t>(entries.size())};
    return does(command, {reinterpret_cast<const uint8_t*>(entries.data()), entries.size() * sizeof(gpu::MemEntry)});
  }
  gpu::Answer detach(uint32_t id) { return does(gpu::OfResource{of(gpu::VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING), id, 0}); }
  gpu::TransferToHost2d transfer_command(uint32_t id, gpu::Rect rect, uint64_t offset) {
    return {of(gpu::VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D), rect, offset, id, 0};
  }
  gpu::Answer transfer(uint32_t id, gpu::Rect rect, uint64_t offset = 0) { return does(transfer_command(id, rect, offset)); }
  gpu::Answer scan_out(uint32_t id, gpu::Rect rect, uint32_t scanout = 0) {
    return does(gpu::SetScanout{of(gpu::VIRTIO_GPU_CMD_SET_SCANOUT), rect, scanout, id});
  }
  gpu::Answer flush(uint32_t id, gpu::Rect rect) { return does(gpu::ResourceFlush{of(gpu::VIRTIO_GPU_CMD_RESOURCE_FLUSH), rect, id, 0}); }
  gpu::UpdateCursor cursor_command(uint32_t type, uint32_t id, uint32_t x, uint32_t y, uint32_t hot_x = 0, uint32_t hot_y = 0) {
    return {of(type), {0, x, y, 0}, id, hot_x, hot_y, 0};
  }
  gpu::Answer cursor(uint32_t id, uint32_t x, uint32_t y, uint32_t hot_x = 0, uint32_t hot_y = 0) {
    return does(cursor_command(gpu::VIRTIO_GPU_CMD_UPDATE_CURSOR, id, x, y, hot_x, hot_y), {}, 1);
  }

  // Guest memory with these words, as a backing.
  gpu::MemEntry memory_with(const std::vector<uint32_t>& words) {
    Bytes content(words.size() * 4);
    std::memcpy(content.data(), words.data(), content.size());
    const Buffer buffer = guest.put(content);
    return {buffer.address, buffer.length, 0};
  }
  // A picture with these pixels, not shown yet.
  void picture(uint32_t id, uint32_t width, uint32_t height, const std::vector<uint32_t>& words,
               uint32_t format = gpu::VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM) {
    EXPECT_EQ(create(id, width, height, format), gpu::VIRTIO_GPU_RESP_OK_NODATA);
    EXPECT_EQ(attach(id, {memory_with(words)}), gpu::VIRTIO_GPU_RESP_OK_NODATA);
    EXPECT_EQ(transfer(id, {0, 0, width, height}), gpu::VIRTIO_GPU_RESP_OK_NODATA);
  }
  std::vector<uint32_t> shown(bool with_cursor = false) const {
    const display::Rect all = screen->size().rect();
    std::vector<uint32_t> pixels(all.area());
    for (uint32_t y = 0; y < all.height; ++y)  // a screen is not read as a whole
      screen->read({0, y, all.width, 1}, std::span(pixels).subspan(size_t{y} * all.width, all.width), with_cursor);
    return pixels;
  }

  Guest guest{32 << 20};
  const Buffer answer_room = guest.room(2048);
  std::unique_ptr<display::Screen> screen;
  std::unique_ptr<Gpu> gpu;
  DirectDriver driver;
};

}  // namespace skerry::virtio::test
