#include "virtio/input.hpp"

#include <linux/input.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace skerry::virtio {

namespace {

// 5.8.5: enum virtio_input_config_select.
constexpr uint8_t VIRTIO_INPUT_CFG_ID_NAME = 0x01, VIRTIO_INPUT_CFG_ID_DEVIDS = 0x03, VIRTIO_INPUT_CFG_EV_BITS = 0x11,
                  VIRTIO_INPUT_CFG_ABS_INFO = 0x12;
struct AbsInfo {
  uint32_t min, max, fuzz, flat, res;
};
struct DevIds {
  uint16_t bustype, vendor, product, version;
};
constexpr size_t kContent = 128;
struct Config {
  uint8_t select, subsel, size, reserved[5];
  uint8_t content[kContent];
};
static_assert(sizeof(Config) == 136);

enum QueueIndex : unsigned { kEventQueue = 0, kStatusQueue = 1 };  // 5.8.2
constexpr uint16_t kQueueSize = 64;
constexpr uint16_t kVendor = 0x1af4, kVersion = 1;
constexpr uint8_t kShownLeds = 1 << LED_NUML | 1 << LED_CAPSL | 1 << LED_SCROLLL;

template <typename T>
std::vector<uint8_t> bytes_of(const T& value) {
  const auto* first = reinterpret_cast<const uint8_t*>(&value);
  return {first, first + sizeof value};
}

}  // namespace

Input::Bitmap Input::bitmap(std::span<const uint16_t> codes) {
  Bitmap bits;
  for (const uint16_t code : codes) {
    bits.resize(std::max<size_t>(bits.size(), code / 8 + 1));
    bits[code / 8] |= static_cast<uint8_t>(1u << code % 8);
  }
  return bits;
}

// --- life ------------------------------------------------------------------------------------------------------------

Input::Input(Options options, Kind kind)
    : Device(std::move(options.name), options.loop, options.memory),
      kind_(std::move(kind)),
      changed_(std::move(options.changed)),
      deliver_(options.loop, [this] { deliver(); }),
      more_status_(options.loop, [this] { take_status(); }) {}

std::vector<uint16_t> Input::queue_sizes() const { return {kQueueSize, kQueueSize}; }

void Input::set_in_use(bool in_use) {
  if (in_use_.exchange(in_use, std::memory_order_acq_rel) != in_use && changed_) changed_();
}

void Input::activate(uint64_t features, std::span<Queue> queues, Transport& transport) {
  active_.begin(features, queues, transport);
  set_in_use(active_.has_queue(kEventQueue));
}

void Input::deactivate() {
  active_.end();
  {
    std::lock_guard guard(lock_);
    select_ = subsel_ = leds_ = 0;
    events_.clear();
    now_ = told_ = {};
    lost_ = false;
  }
  set_in_use(false);
}

void Input::quiesce(std::function<void()> at_rest) {  // nothing is ever under way between two turns
  active_.quiesce();
  at_rest();
}

void Input::resume() {
  active_.resume();
  deliver();
}

// --- configuration space ---------------------------------------------------------------------------------------------

uint32_t Input::config_size() const { return sizeof(Config); }

// With lock_ held. Nothing: there is no such thing.
Input::Bitmap Input::config_content() const {
  switch (select_) {
    case VIRTIO_INPUT_CFG_ID_NAME: return {kind_.product.begin(), kind_.product.end()};
    case VIRTIO_INPUT_CFG_ID_DEVIDS: return bytes_of(DevIds{BUS_VIRTUAL, kVendor, kind_.product_id, kVersion});
    case VIRTIO_INPUT_CFG_EV_BITS: {
      const auto found = kind_.codes.find(subsel_);
      return found == kind_.codes.end() ? Bitmap() : found->second;
    }
    case VIRTIO_INPUT_CFG_ABS_INFO: {
      const bool is_axis = kind_.codes.contains(EV_ABS) && subsel_ < kAxes;
      return is_axis ? bytes_of(AbsInfo{.min = 0, .max = display::kPointerMax, .fuzz = 0, .flat = 0, .res = 0}) : Bitmap();
    }
    default: return {};
  }
}

void Input::read_config(uint32_t offset, std::span<uint8_t> to) {
  std::lock_guard guard(lock_);
  const Bitmap content = config_content();
  Config config{.select = select_,
                .subsel = subsel_,
                .size = static_cast<uint8_t>(std::min(content.size(), kContent)),
                .reserved = {},
                .content = {}};
  std::copy_n(content.begin(), config.size, config.content);
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&config) + offset, to.size());
}

void Input::write_config(uint32_t offset, std::span<const uint8_t> from) {
  std::lock_guard guard(lock_);
  Config config{};
  config.select = select_;
  config.subsel = subsel_;
  std::memcpy(reinterpret_cast<uint8_t*>(&config) + offset, from.data(), from.size());
  select_ = config.select;
  subsel_ = config.subsel;
}

// --- what happens ----------------------------------------------------------------------------------------------------

// False: it is so already.
bool Input::change(Position& position, const Event& event) {
  if (event.type == EV_KEY && event.code < kKeyCodes) {
    const bool down = event.value != 0, before = position.keys[event.code];
    position.keys[event.code] = down;
    return down != before;
  }
  if (event.type == EV_ABS && event.code < kAxes) return std::exchange(position.axes[event.code], event.value) != event.value;
  return true;
}

void Input::happened(std::span<const Event> events) {
  if (!in_use()) return;
  {
    std::lock_guard guard(lock_);
    std::vector<Event> news;
    for (const Event& event : events)
      if (change(now_, event)) news.push_back(event);
    if (news.empty()) return;
    news.push_back({EV_SYN, SYN_REPORT, 0});
    lost_ |= events_.size() + news.size() > kMostEvents;
    if (lost_) return;
    for (const Event& event : news) change(told_, event);
    events_.insert(events_.end(), news.begin(), news.end());
  }
  deliver_.schedule();
}

// With lock_ held, when the guest has had all events: what it has missed.
void Input::report_changes() {
  lost_ = false;
  for (uint16_t code = 0; code < kKeyCodes; ++code)
    if (now_.keys[code] != told_.keys[code]) events_.push_back({EV_KEY, code, now_.keys[code]});
  for (uint16_t axis = 0; axis < kAxes; ++axis)
    if (now_.axes[axis] != told_.axes[axis]) events_.push_back({EV_ABS, axis, now_.axes[axis]});
  if (!events_.empty()) events_.push_back({EV_SYN, SYN_REPORT, 0});
  told_ = now_;
}

display::Leds Input::leds() const {
  std::lock_guard guard(lock_);
  return {.scroll = (leds_ >> LED_SCROLLL & 1) != 0, .num = (leds_ >> LED_NUML & 1) != 0, .caps = (leds_ >> LED_CAPSL & 1) != 0};
}

// --- queues ----------------------------------------------------------------------------------------------------------

void Input::notified(unsigned index) { index == kStatusQueue ? take_status() : deliver(); }

std::optional<Input::Event> Input::next_event() {
  std::lock_guard guard(lock_);
  if (events_.empty() && lost_) report_changes();
  return events_.empty() ? std::nullopt : std::optional(events_.front());
}

// A buffer for each event (5.8.6.2). That is no more than there are of either.
void Input::deliver() {
  while (const auto event = next_event()) {
    const auto chain = active_.pop(kEventQueue);
    if (!chain) break;
    if (chain->write(memory_, 0, bytes_of(*event)) != sizeof(Event)) {
      active_.queue(kEventQueue).unpop(*chain);
      active_.fail("a buffer for an event has less than 8 bytes");
      break;
    }
    active_.queue(kEventQueue).push(*chain, sizeof(Event));
    std::lock_guard guard(lock_);
    events_.pop_front();
  }
  active_.interrupt(kEventQueue);
}

// 5.8.6: the driver's events, of which those of a keyboard's lamps mean something.
void Input::take_status() {
  const display::Leds before = leds();
  for (unsigned count = 0; count < kQueueSize; ++count) {
    const auto chain = active_.pop(kStatusQueue);
    if (!chain) break;
    Event event{};
    const bool complete = chain->read(memory_, 0, {reinterpret_cast<uint8_t*>(&event), sizeof event}) == sizeof event;
    if (complete && event.type == EV_LED && event.code < 8) {
      const auto led = static_cast<uint8_t>(1u << event.code & kShownLeds);
      std::lock_guard guard(lock_);
      leds_ = static_cast<uint8_t>(event.value != 0 ? leds_ | led : leds_ & ~led);
    }
    active_.queue(kStatusQueue).push(*chain, 0);
    if (count + 1 == kQueueSize) more_status_.schedule();
  }
  active_.interrupt(kStatusQueue);
  if (leds() != before && changed_) changed_();
}

// --- state -----------------------------------------------------------------------------------------------------------

void Input::describe_position(state::Fields& fields, std::string_view name, Position& position) {
  fields.group(name, [&] {
    std::array<uint8_t, kKeyCodes / 8> keys{};
    for (size_t code = 0; code < kKeyCodes; ++code) keys[code / 8] |= static_cast<uint8_t>(unsigned{position.keys[code]} << code % 8);
    fields.bytes("keys", keys);
    for (size_t code = 0; code < kKeyCodes; ++code) position.keys[code] = (keys[code / 8] >> code % 8 & 1) != 0;
    fields.field("axes", position.axes);
  });
}

void Input::describe(state::Fields& fields) {
  std::lock_guard guard(lock_);
  constexpr size_t kMost = kMostEvents + kKeyCodes + kAxes + 1;  // with what report_changes() adds
  fields.field("select", select_);
  fields.field("subsel", subsel_);
  fields.field("leds", leds_, state::in_mask(kShownLeds));
  std::vector<uint8_t> raw;
  for (const Event& event : events_) {
    const std::vector<uint8_t> one = bytes_of(event);
    raw.insert(raw.end(), one.begin(), one.end());
  }
  fields.blob("events", raw, kMost * sizeof(Event));
  events_.clear();
  for (std::span<const uint8_t> rest = raw; rest.size() >= sizeof(Event); rest = rest.subspan(sizeof(Event))) {
    std::memcpy(&events_.emplace_back(), rest.data(), sizeof(Event));
  }
  describe_position(fields, "now", now_);
  describe_position(fields, "told", told_);
  fields.field("lost", lost_);
  active_.described();
}

}  // namespace skerry::virtio
