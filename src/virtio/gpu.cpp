#include "virtio/gpu.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "display/edid.hpp"

namespace skerry::virtio {

using namespace gpu;

namespace {

enum QueueIndex : unsigned { kControl = 0, kCursor = 1 };  // 5.7.2
constexpr uint16_t kControlSize = 256, kCursorSize = 16;
constexpr uint32_t kScanout = 0;  // the only one

// Then the loop's other work has its turn; and readers of the screen theirs.
constexpr uint64_t kPixelsAtOnce = 1024 * 1024, kPixelsOfABand = 256 * 1024;
constexpr unsigned kCommandsAtOnce = 16;
constexpr uint32_t kOpaque = 0xff00'0000;
// What a viewer may ask for, at the least.
constexpr uint32_t kLeastWidth = 320, kLeastHeight = 200;

template <typename T>
std::vector<uint8_t> bytes_of(const T& value) {
  const auto* first = reinterpret_cast<const uint8_t*>(&value);
  return {first, first + sizeof value};
}

// Nothing: the driver gives less than the command has.
template <typename T>
std::optional<T> read_command(const memory::GuestMemory& memory, const Chain& chain) {
  T command;
  if (chain.read(memory, 0, {reinterpret_cast<uint8_t*>(&command), sizeof command}) != sizeof command) return std::nullopt;
  return command;
}

}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<Gpu>> Gpu::create(std::string name, EventLoop& loop, memory::GuestMemory& memory, display::Screen& screen) {
  std::unique_ptr<Gpu> gpu(new Gpu(std::move(name), loop, memory, screen));
  if (auto attached = gpu->resources_.attach(); !attached) return std::move(attached).error();
  return gpu;
}

Gpu::Gpu(std::string name, EventLoop& loop, memory::GuestMemory& memory, display::Screen& screen)
    : Device(std::move(name), loop, memory),
      screen_(screen),
      resources_(memory),
      more_(loop,
            [this] {
              serve();
              serve_cursor();
            }),
      config_changed_(loop, [this] { tell_config_change(); }) {
  screen_.set_sizer([this](display::Screen::Size size) { return ask_for_size(size); });
}

Gpu::~Gpu() { screen_.set_sizer({}); }

std::vector<uint16_t> Gpu::queue_sizes() const { return {kControlSize, kCursorSize}; }

void Gpu::activate(uint64_t features, std::span<Queue> queues, Transport& transport) {
  if (active_.begin(features, queues, transport)) tell_config_change();  // a size that was asked for meanwhile
}

// The size that a viewer has asked for stays: it is the monitor's.
void Gpu::deactivate() {
  active_.end();
  moving_.reset();
  resources_.clear();
  cursor_ = {};
  cursor_x_ = cursor_y_ = 0;
  show_cursor();
  blank();
  std::lock_guard guard(lock_);
  events_ = 0;
}

void Gpu::quiesce(std::function<void()> at_rest) {
  uint64_t pixels = ~uint64_t{0};
  if (finish_moving(pixels)) active_.interrupt(kControl);
  active_.quiesce();
  at_rest();
}

void Gpu::resume() {
  active_.resume();
  tell_config_change();
}

// --- configuration space ---------------------------------------------------------------------------------------------

void Gpu::read_config(uint32_t offset, std::span<uint8_t> to) {
  std::lock_guard guard(lock_);
  const Config config{.events_read = events_, .events_clear = 0, .num_scanouts = 1, .num_capsets = 0};
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&config) + offset, to.size());
}

void Gpu::write_config(uint32_t offset, std::span<const uint8_t> from) {
  Config config{};
  std::memcpy(reinterpret_cast<uint8_t*>(&config) + offset, from.data(), from.size());
  std::lock_guard guard(lock_);
  events_ &= ~config.events_clear;
}

// --- the monitor -----------------------------------------------------------------------------------------------------

bool Gpu::ask_for_size(display::Screen::Size size) {
  size.width = std::clamp(size.width, kLeastWidth, display::kMaxEdidSide);
  size.height = std::clamp(size.height, kLeastHeight, display::kMaxEdidSide);
  {
    std::lock_guard guard(lock_);
    if (wanted_size_ == size) return true;
    wanted_size_ = size;
    events_ |= VIRTIO_GPU_EVENT_DISPLAY;
  }
  config_changed_.schedule();
  return true;
}

display::Screen::Size Gpu::wanted_size() const {
  std::lock_guard guard(lock_);
  return wanted_size_;
}

void Gpu::tell_config_change() {
  {
    std::lock_guard guard(lock_);
    if (events_ == 0) return;
  }
  if (active_.working()) active_.config_interrupt();
}

void Gpu::show() {
  show_cursor();
  const Resource* resource = resources_.find(shown_);
  if (!resource || !screen_.resize({shown_part_.width, shown_part_.height})) return blank();
  const Rect part = shown_part_;
  for (uint32_t y = 0; y < part.height; ++y) draw(*resource, {part.x, part.y + y, part.width, 1});
}

void Gpu::blank() {
  shown_ = 0;
  shown_part_ = {};
  screen_.fill(screen_.size().rect(), 0);
}

void Gpu::show_cursor() {
  place_cursor();
  (void)screen_.set_cursor(cursor_);  // which is within its limits
}

void Gpu::place_cursor() {
  screen_.move_cursor(static_cast<int32_t>(cursor_x_ + cursor_.hot_x), static_cast<int32_t>(cursor_y_ + cursor_.hot_y));
}

// --- queues ----------------------------------------------------------------------------------------------------------

void Gpu::notified(unsigned index) { index == kCursor ? serve_cursor() : serve(); }

void Gpu::serve() {
  uint64_t pixels = kPixelsAtOnce;
  for (unsigned commands = 0;; ++commands) {
    if (!finish_moving(pixels) || commands == kCommandsAtOnce) {
      more_.schedule();
      break;
    }
    auto chain = active_.pop(kControl);
    if (!chain) break;
    begin(std::move(*chain));
  }
  active_.interrupt(kControl);
}

// Drivers expect no answers here, but what they make room for they get.
void Gpu::serve_cursor() {
  for (unsigned commands = 0; commands < kCursorSize; ++commands) {
    auto chain = active_.pop(kCursor);
    if (!chain) break;
    const auto command = read_command<UpdateCursor>(memory_, *chain);
    Reply reply = VIRTIO_GPU_RESP_ERR_UNSPEC;
    if (command && command->hdr.type == VIRTIO_GPU_CMD_UPDATE_CURSOR) reply = update_cursor(*command);
    if (command && command->hdr.type == VIRTIO_GPU_CMD_MOVE_CURSOR) reply = move_cursor(*command);
    answer(kCursor, *chain, command ? command->hdr : Header{}, reply);
    if (commands + 1 == kCursorSize) more_.schedule();
  }
  active_.interrupt(kCursor);
}

void Gpu::answer(unsigned queue, const Chain& chain, const Header& request, const Reply& reply) {
  Header header{.type = static_cast<uint32_t>(reply.type)};
  if (request.flags & VIRTIO_GPU_FLAG_FENCE) {  // it is done, so the fence is passed
    header.flags = VIRTIO_GPU_FLAG_FENCE;
    header.fence_id = request.fence_id;
    header.ctx_id = request.ctx_id;
  }
  std::vector<uint8_t> all = bytes_of(header);
  all.insert(all.end(), reply.more.begin(), reply.more.end());
  active_.queue(queue).push(chain, static_cast<uint32_t>(chain.write(memory_, 0, all)));
}

void Gpu::begin(Chain chain) {
  const auto header = read_command<Header>(memory_, chain);
  const Reply reply = header ? obey(chain, header->type) : Reply(VIRTIO_GPU_RESP_ERR_UNSPEC);
  if (!moving_) return answer(kControl, chain, header.value_or(Header{}), reply);
  moving_->request = *header;
  moving_->chain = std::move(chain);
}

// Reads the whole command, and has `work` do it.
template <typename T, typename Work>
Gpu::Reply Gpu::with(const Chain& chain, Work work) {
  const auto command = read_command<T>(memory_, chain);
  return command ? work(*command) : Reply(VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

// The reply counts only if there are no pixels to be moved first.
Gpu::Reply Gpu::obey(const Chain& chain, uint32_t type) {
  switch (type) {
    case VIRTIO_GPU_CMD_GET_DISPLAY_INFO: return display_info();
    case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D:
      return with<ResourceCreate2d>(chain, [&](const auto& command) { return resources_.create_2d(command); });
    case VIRTIO_GPU_CMD_RESOURCE_UNREF: return with<OfResource>(chain, [&](const auto& command) { return unref(command.resource_id); });
    case VIRTIO_GPU_CMD_SET_SCANOUT: return with<SetScanout>(chain, [&](const auto& command) { return set_scanout(command); });
    case VIRTIO_GPU_CMD_RESOURCE_FLUSH: return with<ResourceFlush>(chain, [&](const auto& command) { return flush(command); });
    case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D: return with<TransferToHost2d>(chain, [&](const auto& command) { return transfer(command); });
    case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING:
      return with<ResourceAttachBacking>(chain, [&](const auto& command) { return attach_backing(chain, command); });
    case VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING:
      return with<OfResource>(chain, [&](const auto& command) { return resources_.detach_backing(command.resource_id); });
    case VIRTIO_GPU_CMD_GET_EDID: return with<GetEdid>(chain, [&](const auto& command) { return edid(command); });
    default: return VIRTIO_GPU_RESP_ERR_UNSPEC;
  }
}

// --- commands --------------------------------------------------------------------------------------------------------

Gpu::Reply Gpu::display_info() const {
  const display::Screen::Size size = wanted_size();
  DisplayInfo info{};
  info[kScanout] = {.r = size.rect(), .enabled = 1, .flags = 0};
  return {VIRTIO_GPU_RESP_OK_DISPLAY_INFO, bytes_of(info)};
}

Gpu::Reply Gpu::edid(const GetEdid& command) const {
  if (!active_.has(VIRTIO_GPU_F_EDID)) return VIRTIO_GPU_RESP_ERR_UNSPEC;
  if (command.scanout != kScanout) return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
  EdidAnswer answer{.size = display::kEdidSize, .padding = 0, .edid = {}};
  std::ranges::copy(display::make_edid(wanted_size()), answer.edid);
  return {VIRTIO_GPU_RESP_OK_EDID, bytes_of(answer)};
}

Answer Gpu::attach_backing(const Chain& chain, const ResourceAttachBacking& command) {
  const uint64_t size = uint64_t{command.nr_entries} * sizeof(MemEntry);
  if (size > chain.readable_size - sizeof command) return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
  if (command.nr_entries > Resources::kMostEntries) return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
  std::vector<MemEntry> entries(command.nr_entries);
  if (chain.read(memory_, sizeof command, {reinterpret_cast<uint8_t*>(entries.data()), size}) != size) return VIRTIO_GPU_RESP_ERR_UNSPEC;
  return resources_.attach_backing(command.resource_id, std::move(entries));
}

Answer Gpu::unref(uint32_t id) {
  if (id != 0 && id == shown_) blank();
  return resources_.unref(id);
}

Answer Gpu::set_scanout(const SetScanout& command) {
  if (command.scanout_id != kScanout) return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
  if (command.resource_id == 0) {
    blank();
    return VIRTIO_GPU_RESP_OK_NODATA;
  }
  const Resource* resource = resources_.find(command.resource_id);
  if (!resource) return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
  const Rect& part = command.r;
  if (part.empty() || !resource->rect().contains(part) || part.width > display::kMaxWidth || part.height > display::kMaxHeight)
    return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
  if (!screen_.resize({part.width, part.height})) return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
  shown_ = command.resource_id;
  shown_part_ = part;
  moving_ = {.what = Moving::What::kToScreen, .resource = shown_, .rect = part};
  return VIRTIO_GPU_RESP_OK_NODATA;
}

Answer Gpu::transfer(const TransferToHost2d& command) {
  const Resource* resource = resources_.find(command.resource_id);
  if (!resource) return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
  if (resource->backing.empty()) return VIRTIO_GPU_RESP_ERR_UNSPEC;
  if (!resource->rect().contains(command.r)) return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
  if (!command.r.empty())
    moving_ = {.what = Moving::What::kToResource, .resource = resource->id, .rect = command.r, .offset = command.offset};
  return VIRTIO_GPU_RESP_OK_NODATA;
}

Answer Gpu::flush(const ResourceFlush& command) {
  const Resource* resource = resources_.find(command.resource_id);
  if (!resource) return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
  if (!resource->rect().contains(command.r)) return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
  const Rect seen = resource->id == shown_ ? intersection(command.r, shown_part_) : Rect();
  if (!seen.empty()) moving_ = {.what = Moving::What::kToScreen, .resource = shown_, .rect = seen};
  return VIRTIO_GPU_RESP_OK_NODATA;
}

Answer Gpu::update_cursor(const UpdateCursor& command) {
  if (command.pos.scanout_id != kScanout) return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
  display::Cursor image;
  if (command.resource_id != 0) {
    const Resource* resource = resources_.find(command.resource_id);
    if (!resource) return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (resource->width != kCursorSide || resource->height != kCursorSide) return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    image = image_of(*resource);
    image.hot_x = std::min(command.hot_x, kCursorSide - 1);
    image.hot_y = std::min(command.hot_y, kCursorSide - 1);
  }
  cursor_ = std::move(image);
  cursor_x_ = command.pos.x;
  cursor_y_ = command.pos.y;
  show_cursor();
  return VIRTIO_GPU_RESP_OK_NODATA;
}

Answer Gpu::move_cursor(const UpdateCursor& command) {
  if (command.pos.scanout_id != kScanout) return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
  cursor_x_ = command.pos.x;
  cursor_y_ = command.pos.y;
  place_cursor();
  return VIRTIO_GPU_RESP_OK_NODATA;
}

display::Cursor Gpu::image_of(const Resource& resource) {
  const Resources::Pixels pixels = resources_.pixels(resource, resource.rect(), scratch_);
  display::Cursor image{.width = kCursorSide, .height = kCursorSide};
  image.argb.assign(pixels.words.begin(), pixels.words.begin() + kCursorSide * kCursorSide);
  if (!Resources::has_alpha(resource.format))
    for (uint32_t& pixel : image.argb) pixel |= kOpaque;
  return image;
}

// --- pixels ----------------------------------------------------------------------------------------------------------

// Goes on with what is under way, for so many pixels. False: it is not done.
bool Gpu::finish_moving(uint64_t& pixels) {
  while (moving_ && active_.working()) {
    if (pixels == 0) return false;
    const Rect& all = moving_->rect;
    const auto most = static_cast<uint32_t>(std::max<uint64_t>(kPixelsOfABand / all.width, 1));
    const Rect band{all.x, all.y + moving_->rows, all.width, std::min(most, all.height - moving_->rows)};
    const bool good = move(band);
    pixels -= std::min(pixels, band.area());
    moving_->rows += band.height;
    if (good && moving_->rows < all.height) continue;
    const Moving done = std::move(*moving_);
    moving_.reset();
    answer(kControl, done.chain, done.request, good ? VIRTIO_GPU_RESP_OK_NODATA : VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  }
  return true;
}

bool Gpu::move(const Rect& band) {
  const Resource* resource = resources_.find(moving_->resource);  // no other command has come between
  if (moving_->what == Moving::What::kToResource)
    return resources_.transfer(*resource, band, moving_->offset + moving_->rows * resource->row());
  draw(*resource, band);
  return true;
}

// At most so many pixels as a band has.
void Gpu::draw(const Resource& resource, const Rect& band) {
  const Resources::Pixels pixels = resources_.pixels(resource, band, scratch_);
  screen_.update({band.x - shown_part_.x, band.y - shown_part_.y, band.width, band.height}, pixels.words, pixels.stride);
}

// --- state -----------------------------------------------------------------------------------------------------------

void Gpu::describe(state::Fields& fields) {
  resources_.describe(fields);
  fields.field("shown", shown_);
  fields.group("shown_part", [&] {
    fields.field("x", shown_part_.x);
    fields.field("y", shown_part_.y);
    fields.field("width", shown_part_.width, state::up_to(display::kMaxWidth));
    fields.field("height", shown_part_.height, state::up_to(display::kMaxHeight));
  });
  const Resource* resource = resources_.find(shown_);
  if (!resource || shown_part_.empty() || !resource->rect().contains(shown_part_)) {
    shown_ = 0;
    shown_part_ = {};
  }
  describe_cursor(fields);
  std::lock_guard guard(lock_);
  fields.field("wanted_width", wanted_size_.width, {.min = kLeastWidth, .max = display::kMaxEdidSide});
  fields.field("wanted_height", wanted_size_.height, {.min = kLeastHeight, .max = display::kMaxEdidSide});
  fields.field("events", events_, state::in_mask(VIRTIO_GPU_EVENT_DISPLAY));
  active_.described();
}

void Gpu::describe_cursor(state::Fields& fields) {
  constexpr size_t kImage = kCursorSide * kCursorSide * sizeof(uint32_t);
  std::vector<uint8_t> raw(cursor_.argb.size() * sizeof(uint32_t));
  if (!raw.empty()) std::memcpy(raw.data(), cursor_.argb.data(), raw.size());
  fields.blob("cursor", raw, kImage);
  fields.field("cursor_x", cursor_x_);
  fields.field("cursor_y", cursor_y_);
  fields.field("hot_x", cursor_.hot_x, state::up_to(kCursorSide - 1));
  fields.field("hot_y", cursor_.hot_y, state::up_to(kCursorSide - 1));
  if (raw.size() != kImage) {
    cursor_ = {};
    return;
  }
  cursor_.width = cursor_.height = kCursorSide;
  cursor_.argb.resize(kCursorSide * kCursorSide);
  std::memcpy(cursor_.argb.data(), raw.data(), kImage);
}

}  // namespace skerry::virtio
