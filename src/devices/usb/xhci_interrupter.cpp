#include "devices/usb/xhci_interrupter.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace skerry::devices::usb::xhci {

namespace {
constexpr uint32_t kLeastSegment = 16, kMostSegment = 4096;  // 6.5
constexpr unsigned kEntrySize = 16;
constexpr int64_t kLongest = int64_t{0xffff} * kModerationUnit;
uint64_t with_low(uint64_t value, uint32_t low, uint32_t mask) { return (value & ~uint64_t{0xffff'ffff}) | (low & mask); }
uint64_t with_high(uint64_t value, uint32_t high) { return (value & 0xffff'ffff) | uint64_t{high} << 32; }
}  // namespace

EventRing::EventRing(unsigned number, const Controller& controller)
    : number_(number), controller_(controller), timer_(controller.loop, [this] { moderated(); }) {}

void EventRing::reset() {
  timer_.cancel();
  pending_ = enabled_ = busy_ = held_back_ = begins_ = full_ = false;
  moderation_ = kDefaultModeration;
  segment_count_ = 0;
  table_ = dequeue_ = enqueue_ = 0;
  next_at_ = 0;
  segments_.clear();
  position_ = {};
  waiting_.clear();
}

void EventRing::describe(state::Fields& fields) {
  fields.field("pending", pending_);
  fields.field("enabled", enabled_);
  fields.field("busy", busy_);
  fields.field("moderation", moderation_);
  fields.field("segments", segment_count_, state::in_mask(kSegmentsMask));
  fields.field("table", table_);
  fields.field("dequeue", dequeue_);
  fields.field("enqueue", enqueue_);
  fields.field("next_at", next_at_);
  fields.field("held_back", held_back_);
  fields.field("begins", begins_);
  fields.field("full", full_);
  fields.field("segment", position_.segment, state::up_to((1 << kMaxSegmentsLog) - 1));
  fields.field("index", position_.index, state::up_to(kMostSegment - 1));
  fields.field("cycle", position_.cycle);
  describe_waiting(fields);
  segments_.clear();
}

void EventRing::describe_waiting(state::Fields& fields) {
  constexpr size_t kSize = 17;
  std::vector<uint8_t> raw(waiting_.size() * kSize);
  for (size_t i = 0; i < waiting_.size(); ++i) {
    const Trb& event = waiting_[i].event;
    std::memcpy(&raw[i * kSize], &event.parameter, 8);
    std::memcpy(&raw[i * kSize + 8], &event.status, 4);
    std::memcpy(&raw[i * kSize + 12], &event.control, 4);
    raw[i * kSize + 16] = waiting_[i].quietly;
  }
  fields.blob("waiting", raw, kMostWaiting);
  raw.resize(raw.size() / kSize * kSize);
  waiting_.clear();
  for (size_t at = 0; at < raw.size(); at += kSize) {
    Waiting& one = waiting_.emplace_back();
    std::memcpy(&one.event.parameter, &raw[at], 8);
    std::memcpy(&one.event.status, &raw[at + 8], 4);
    std::memcpy(&one.event.control, &raw[at + 12], 4);
    one.quietly = raw[at + 16] & 1;
  }
}

void EventRing::restored() {
  if (held_back_) timer_.set(std::min(next_at_, timer_.now() + kLongest));
}

// --- registers (5.5.2) -----------------------------------------------------------------------------------------------

uint32_t EventRing::read(uint32_t offset) const {
  switch (offset) {
    case IMAN: return (pending_ ? iman::IP : 0) | (enabled_ ? iman::IE : 0);
    case IMOD: return moderation_;
    case ERSTSZ: return segment_count_;
    case ERSTBA: return static_cast<uint32_t>(table_);
    case ERSTBA_HIGH: return static_cast<uint32_t>(table_ >> 32);
    case ERDP: return static_cast<uint32_t>(dequeue_) | (busy_ ? kEventBusy : 0);
    case ERDP_HIGH: return static_cast<uint32_t>(dequeue_ >> 32);
    default: return 0;
  }
}

bool EventRing::write(uint32_t offset, uint32_t value) {
  switch (offset) {
    case IMAN: {
      const bool before = pending();
      if (value & iman::IP) pending_ = false;
      enabled_ = value & iman::IE;
      if (pending() && !before)
        controller_.interrupt(number_);
      else
        controller_.line();
      return false;
    }
    case IMOD: moderation_ = value; return false;
    case ERSTSZ: segment_count_ = value & kSegmentsMask; return false;
    case ERSTBA: case ERSTBA_HIGH:
      table_ = offset == ERSTBA ? with_low(table_, value, kSegmentTableMask) : with_high(table_, value);
      begins_ = true;
      return false;
    case ERDP:
      dequeue_ = with_low(dequeue_, value, kDequeueMask | 7);
      if (!(value & kEventBusy)) return full_;
      busy_ = false;
      if (dequeue_ / kTrbSize != enqueue_ / kTrbSize && enqueue_ != 0) raise();
      return full_;
    case ERDP_HIGH: dequeue_ = with_high(dequeue_, value); return full_;
    default: return false;
  }
}

// --- interrupts (4.17) -----------------------------------------------------------------------------------------------

void EventRing::raise() {
  if (busy_) return;  // who handles events sees this one, or is told when it has ended
  const int64_t now = timer_.now();
  if (next_at_ > now && next_at_ - now <= kLongest) {
    held_back_ = true;
    timer_.set(next_at_);
    return;
  }
  fire();
}

void EventRing::fire() {
  held_back_ = false;
  next_at_ = timer_.now() + static_cast<int64_t>(moderation_ & 0xffff) * kModerationUnit;
  busy_ = true;
  pending_ = true;
  controller_.interrupt(number_);
}

void EventRing::moderated() {
  std::lock_guard guard(controller_.lock);
  if (!held_back_) return;
  held_back_ = false;
  if (!busy_) raise();
}

// --- events (4.9.4) --------------------------------------------------------------------------------------------------

void EventRing::put(const Trb& event, bool quietly) { waiting_.push_back({event, quietly}); }

void EventRing::flush() {
  if (waiting_.empty()) return;
  if (!has_table()) return;
  bool tell = false;
  while (!waiting_.empty()) {
    const Position next = after(position_);
    memory::Gpa dequeue = 0;
    {
      std::lock_guard guard(controller_.lock);
      dequeue = dequeue_ / kTrbSize * kTrbSize;
      full_ = address(next) == dequeue;
      if (full_) break;
    }
    const bool last = address(after(next)) == dequeue;
    const Trb full{.status = static_cast<uint32_t>(Code::kEventRingFull) << trb::kCodeShift,
                   .control = static_cast<uint32_t>(Type::kHostController) << trb::kTypeShift};
    if (!store(last ? full : waiting_.front().event)) return controller_.broken("its event ring is not in memory");
    tell = tell || last || !waiting_.front().quietly;
    if (!last) waiting_.pop_front();
  }
  if (!tell) return;
  std::lock_guard guard(controller_.lock);
  raise();
}

// True: there is a ring. What there is none for goes nowhere.
bool EventRing::has_table() {
  uint32_t count = 0;
  memory::Gpa table = 0;
  bool begins = false;
  {
    std::lock_guard guard(controller_.lock);
    count = segment_count_;
    table = table_;
    begins = std::exchange(begins_, false);
  }
  if (begins) {
    position_ = {};
    segments_.clear();
  }
  if (count == 0) {
    waiting_.clear();
    return false;
  }
  if (!segments_.empty()) return true;
  std::vector<Segment> segments;
  for (uint32_t i = 0; i < std::min(count, 1u << kMaxSegmentsLog); ++i) {
    const auto base = controller_.memory.load<uint64_t>(table + uint64_t{i} * kEntrySize);
    const auto size = controller_.memory.load<uint32_t>(table + uint64_t{i} * kEntrySize + 8);
    if (!base || !size || (*size & 0xffff) < kLeastSegment || (*size & 0xffff) > kMostSegment) break;
    segments.push_back({*base & ~uint64_t{0x3f}, *size & 0xffff});
  }
  if (position_.segment >= segments.size() || position_.index >= segments[position_.segment].size) {
    waiting_.clear();
    controller_.broken("its event ring's segment table has none");
    return false;
  }
  segments_ = std::move(segments);
  return true;
}

EventRing::Position EventRing::after(Position position) const {
  if (++position.index < segments_[position.segment].size) return position;
  position.index = 0;
  if (++position.segment < segments_.size()) return position;
  return {0, 0, !position.cycle};
}

bool EventRing::store(Trb event) {
  event.control = (event.control & ~trb::C) | (position_.cycle ? trb::C : 0);
  if (!write_trb(controller_.memory, address(position_), event)) return false;
  position_ = after(position_);
  std::lock_guard guard(controller_.lock);
  enqueue_ = address(position_);
  return true;
}

}  // namespace skerry::devices::usb::xhci
