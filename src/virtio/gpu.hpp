// A GPU without 3D (virtio 1.2, 5.7): the guest draws to pictures in its memory, and says when which of them is to be on the screen.
//
// One scanout, which is a display::Screen; a cursor above it; and an EDID, whose size follows what viewers ask for.
//
// Commands that move many pixels take several turns of the loop, so that others have theirs. A driver costs the host at most
// gpu::Resources::kVideoMemory, a few MiB for what describes its pictures, and the largest screen.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/deferred.hpp"
#include "display/screen.hpp"
#include "virtio/activation.hpp"
#include "virtio/device.hpp"
#include "virtio/gpu_protocol.hpp"
#include "virtio/gpu_resources.hpp"

namespace skerry::virtio {

class Gpu final : public Device {
 public:
  static constexpr display::Screen::Size kFirstSize = {1280, 800};  // that the monitor likes best, until a viewer asks for another

  // `screen` and `memory` outlive it. At rest: it adds memory. Fails if the host has none.
  static Result<std::unique_ptr<Gpu>> create(std::string name, EventLoop& loop, memory::GuestMemory& memory, display::Screen& screen);
  ~Gpu() override;

  // Puts on the screen what is to be there. At rest, after a state has been loaded.
  void show();

  DeviceId id() const override { return DeviceId::kGpu; }
  uint32_t pci_class() const override { return 0x038000; }  // a display controller that is no VGA
  uint64_t features() const override { return gpu::VIRTIO_GPU_F_EDID; }
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override { return sizeof(gpu::Config); }
  void read_config(uint32_t offset, std::span<uint8_t> to) override;
  void write_config(uint32_t offset, std::span<const uint8_t> from) override;
  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override;
  void resume() override;
  void describe(state::Fields& fields) override;

 private:
  struct Reply {
    Reply(gpu::Answer kind, std::vector<uint8_t> behind = {}) : type(kind), more(std::move(behind)) {}
    gpu::Answer type;
    std::vector<uint8_t> more;  // what follows the header
  };
  // A command that moves pixels, as far as it has come.
  struct Moving {
    enum class What : uint8_t { kToResource, kToScreen };
    What what;
    uint32_t resource;
    gpu::Rect rect;       // of the resource
    uint64_t offset = 0;  // of kToResource: of the rectangle's first row in the backing
    uint32_t rows = 0;    // that are done
    // Whom to answer.
    gpu::Header request{};
    Chain chain{};
  };

  Gpu(std::string name, EventLoop& loop, memory::GuestMemory& memory, display::Screen& screen);

  // Any thread.
  bool ask_for_size(display::Screen::Size size);
  display::Screen::Size wanted_size() const;

  // The loop's thread.
  void serve();
  void serve_cursor();
  void tell_config_change();
  void answer(unsigned queue, const Chain& chain, const gpu::Header& request, const Reply& reply);
  void begin(Chain chain);
  template <typename T, typename Work>
  Reply with(const Chain& chain, Work work);
  Reply obey(const Chain& chain, uint32_t type);
  Reply display_info() const;
  Reply edid(const gpu::GetEdid& command) const;
  gpu::Answer attach_backing(const Chain& chain, const gpu::ResourceAttachBacking& command);
  gpu::Answer unref(uint32_t id);
  gpu::Answer set_scanout(const gpu::SetScanout& command);
  gpu::Answer transfer(const gpu::TransferToHost2d& command);
  gpu::Answer flush(const gpu::ResourceFlush& command);
  gpu::Answer update_cursor(const gpu::UpdateCursor& command);
  gpu::Answer move_cursor(const gpu::UpdateCursor& command);
  display::Cursor image_of(const gpu::Resource& resource);
  bool finish_moving(uint64_t& pixels);
  bool move(const gpu::Rect& band);
  void draw(const gpu::Resource& resource, const gpu::Rect& band);
  void blank();
  void show_cursor();
  void place_cursor();
  void describe_cursor(state::Fields& fields);

  display::Screen& screen_;
  gpu::Resources resources_;
  Activation active_;
  Deferred more_, config_changed_;
  std::optional<Moving> moving_;
  uint32_t shown_ = 0;    // the resource that is on the screen; 0: none
  gpu::Rect shown_part_;  // of it
  // The image has no pixels while there is none. Its position is that of its first pixel, as drivers give it.
  display::Cursor cursor_;
  uint32_t cursor_x_ = 0, cursor_y_ = 0;
  std::vector<uint32_t> scratch_;

  mutable std::mutex lock_;  // what follows
  display::Screen::Size wanted_size_ = kFirstSize;
  uint32_t events_ = 0;  // events_read of the configuration space
};

}  // namespace skerry::virtio
