#include "devices/e1000e/transmitter.hpp"

#include <algorithm>
#include <cstring>

#include "net/segment.hpp"

namespace skerry::devices::e1000e {

namespace {
// 7.2.10.1 and 7.2.11.2: of the word `command`.
constexpr uint32_t kLegacyLengthMask = 0xffff, kLengthMask = 0xf'ffff;
constexpr unsigned kTypeShift = 20, kLegacyOffsetShift = 16;
constexpr uint32_t kTypeMask = 15, kTypeContext = 0, kTypeData = 1;
constexpr uint32_t kEnd = 1 << 24, kLegacyChecksum = 1 << 26, kSegment = 1 << 26, kReport = 1 << 27, kExtended = 1 << 29, kTag = 1 << 30;
// Of the word `options`.
constexpr uint32_t kDone = 1 << 0, kIpChecksum = 1 << 8, kTransportChecksum = 1 << 9;
constexpr unsigned kLegacyStartShift = 8, kSpecialShift = 16;
// 7.2.6.1: of a context's.
constexpr uint32_t kContextTcp = 1 << 24, kContextIpv4 = 1 << 25;

constexpr unsigned kMostDescriptors = 1024;  // of a frame; more are no driver's
constexpr unsigned kSegmentsOfOne = 32;      // cost as much as a frame
constexpr size_t kTagSize = 4, kTagAt = 12, kShortest = 60;
}  // namespace

// Room for a tag stands before the frame.
Transmitter::Transmitter(Card& card) : card_(card), offloads_(card.backend.offloads()), frame_(kTagSize + net::kMaxFrame) { reset(); }

// --- registers -------------------------------------------------------------------------------------------------------

bool Transmitter::read(uint32_t offset, uint32_t& value) const {
  if (offset == TCTL) {
    value = control_;
    return true;
  }
  return offset >= TDBAL && offset < TDBAL + kQueues * kQueueStride &&
         queues_[(offset - TDBAL) / kQueueStride].ring.read((offset - TDBAL) % kQueueStride, value);
}

bool Transmitter::write(uint32_t offset, uint32_t value) {
  if (offset == TCTL) {
    control_ = value;
    if (!enabled())
      for (Queue& queue : queues_) ++queue.ring.generation;
    return true;
  }
  if (offset < TDBAL || offset >= TDBAL + kQueues * kQueueStride) return false;
  Queue& queue = queues_[(offset - TDBAL) / kQueueStride];
  const uint32_t before = queue.ring.generation;
  const bool known = queue.ring.write((offset - TDBAL) % kQueueStride, value);
  if (queue.ring.generation != before) {
    queue.segments_sent = 0;
    queue.discarding = false;
  }
  return known;
}

// --- sending ---------------------------------------------------------------------------------------------------------

bool Transmitter::serve(unsigned most) {
  uint32_t due = 0;
  bool more = false;
  for (unsigned index = 0; index < kQueues && !backend_full_; ++index) {
    unsigned left = most;
    Sent sent = Sent::kYes;
    while (left > 0 && (sent = send_next(index, due)) == Sent::kYes)  // a thousand small segments are not one frame's work
      left -= std::min<unsigned>(left, 1 + static_cast<unsigned>(counted_.frames / kSegmentsOfOne));
    if (sent == Sent::kFull) backend_full_ = true;
    more |= left == 0;
  }
  if (due) {
    std::lock_guard guard(card_.lock);
    card_.interrupts.raise(due);
  }
  return more;
}

Transmitter::Sent Transmitter::send_next(unsigned index, uint32_t& due) {
  View view;
  if (!look(index, view)) return Sent::kNothing;
  Found found = find(view.queue);
  if (found.kind == Found::Kind::kNothing) return Sent::kNothing;
  counted_ = {};
  if (found.kind == Found::Kind::kFrame) {
    uint32_t segments_sent = view.queue.segments_sent;
    if (!transmit(view, found, segments_sent)) {
      std::lock_guard guard(card_.lock);
      Queue& queue = queues_[index];
      if (queue.ring.generation == view.queue.ring.generation) queue.segments_sent = segments_sent;
      return Sent::kFull;
    }
  }
  finish(index, view, found, due);
  return Sent::kYes;
}

bool Transmitter::look(unsigned index, View& view) {
  std::lock_guard guard(card_.lock);
  const Queue& queue = queues_[index];
  if (!enabled() || !card_.may_access_memory() || queue.ring.filled() == 0) return false;
  view = {queue, card_.ctrl, card_.vlan_type, (control_ & tctl::PSP) != 0};
  return true;
}

// A context, or a frame up to its last descriptor, or what there is to discard.
Transmitter::Found Transmitter::find(const Queue& queue) {
  const Ring& ring = queue.ring;
  const unsigned filled = std::min(ring.filled(), kMostDescriptors);
  Found found{.kind = queue.discarding ? Found::Kind::kDiscard : Found::Kind::kFrame, .context = queue.context};
  write_backs_.clear();
  for (unsigned i = 0; i < filled; ++i) {
    const memory::Gpa at = ring.at(i);
    Descriptor descriptor;
    if (!card_.memory.read(at, std::as_writable_bytes(std::span(&descriptor, 1)))) return {};
    const bool extended = descriptor.command & kExtended;
    const uint32_t type = descriptor.command >> kTypeShift & kTypeMask;
    if (extended && type == kTypeContext && i > 0) {  // it has no place in a frame, which ends here
      found.kind = Found::Kind::kDiscard;
      return found;
    }
    note_write_back(at, descriptor);
    found.descriptors = i + 1;
    if (extended && type == kTypeContext) {
      found.kind = Found::Kind::kContext;
      found.context = context_of(descriptor);
      return found;
    }
    if (extended && type != kTypeData) found.kind = Found::Kind::kDiscard;
    if (i == 0) begin_frame(descriptor, found);
    if (found.kind == Found::Kind::kFrame && !gather(descriptor, found)) found.kind = Found::Kind::kDiscard;
    if (descriptor.command & kEnd) {
      if (!found.request.segment) {
        found.tagged = descriptor.command & kTag;
        found.tag = static_cast<uint16_t>(descriptor.options >> kSpecialShift);
      }
      return found;
    }
  }
  // Its end is not there yet: it is waited for, unless the frame is discarded anyway or has no end.
  if (found.kind == Found::Kind::kFrame && filled < kMostDescriptors) return {};
  found.kind = Found::Kind::kDiscard;
  found.ended = false;
  return found;
}

// 7.2.6.1.
OffloadContext Transmitter::context_of(const Descriptor& descriptor) {
  const auto ip = static_cast<uint32_t>(descriptor.address), transport = static_cast<uint32_t>(descriptor.address >> 32);
  return {.ip_start = static_cast<uint8_t>(ip),
          .ip_offset = static_cast<uint8_t>(ip >> 8),
          .ip_end = static_cast<uint16_t>(ip >> 16),
          .transport_start = static_cast<uint8_t>(transport),
          .transport_offset = static_cast<uint8_t>(transport >> 8),
          .transport_end = static_cast<uint16_t>(transport >> 16),
          .header_size = static_cast<uint8_t>(descriptor.options >> 8),
          .segment_size = static_cast<uint16_t>(descriptor.options >> 16),
          .tcp = (descriptor.command & kContextTcp) != 0,
          .ipv4 = (descriptor.command & kContextIpv4) != 0};
}

// What the first descriptor says of the frame.
void Transmitter::begin_frame(const Descriptor& descriptor, Found& found) const {
  if (!(descriptor.command & kExtended)) {
    found.request.legacy_checksum = descriptor.command & kLegacyChecksum;
    found.request.legacy_offset = static_cast<uint8_t>(descriptor.command >> kLegacyOffsetShift);
    found.request.legacy_start = static_cast<uint8_t>(descriptor.options >> kLegacyStartShift);
    return;
  }
  found.request.ip_checksum = descriptor.options & kIpChecksum;
  found.request.transport_checksum = descriptor.options & kTransportChecksum;
  found.request.segment = descriptor.command & kSegment;
  found.tagged = descriptor.command & kTag;
  found.tag = static_cast<uint16_t>(descriptor.options >> kSpecialShift);
}

// False: it is too long, or not in memory.
bool Transmitter::gather(const Descriptor& descriptor, Found& found) {
  const size_t length = descriptor.command & (descriptor.command & kExtended ? kLengthMask : kLegacyLengthMask);
  if (length > net::kMaxFrame - found.size) return false;
  const auto to = std::span(frame_).subspan(kTagSize + found.size, length);
  if (!card_.memory.read(descriptor.address, std::as_writable_bytes(to))) return false;
  found.size += length;
  return true;
}

void Transmitter::note_write_back(memory::Gpa at, const Descriptor& descriptor) {
  write_backs_.push_back({at + 12, descriptor.options | kDone, (descriptor.command & kReport) != 0});
}

// False: the backend has no room for it, or for what is left of it. What cannot be sent at all is sent that way.
bool Transmitter::transmit(const View& view, Found& found, uint32_t& segments_sent) {
  if (found.size < net::kEthernetHeader) return true;
  if (view.pads && !found.request.segment && found.size < kShortest) {
    std::fill_n(frame_.begin() + static_cast<ptrdiff_t>(kTagSize + found.size), kShortest - found.size, uint8_t{0});
    found.size = kShortest;
  }
  const bool tagged = found.tagged && (view.ctrl & ctrl::VME);
  if (tagged) {
    std::memmove(&frame_[0], &frame_[kTagSize], kTagAt);
    net::store_be16(&frame_[kTagAt], view.vlan_type);
    net::store_be16(&frame_[kTagAt + 2], found.tag);
  }
  const size_t inserted = tagged ? kTagSize : 0;
  const auto frame = std::span(frame_).subspan(kTagSize - inserted, found.size + inserted);
  net::FrameHeader header;
  if (frame.size() > net::kMaxFrame || !apply_offloads(frame, inserted, found.request, found.context, offloads_, header)) {
    counted_.failed_segmentation = found.request.segment;
    return true;
  }
  const bool takes = header.gso_type == net::FrameHeader::kGsoNone ||
                     (offloads_.checksum && (header.gso_type == net::FrameHeader::kGsoTcpv4 ? offloads_.tso4 : offloads_.tso6));
  const iovec whole{frame.data(), frame.size()};
  if (takes ? !card_.backend.send(header, std::span(&whole, 1)) : !transmit_segments(frame, header, segments_sent)) return false;
  count_sent(frame, header);
  return true;
}

// `segments_sent` of them have gone before.
bool Transmitter::transmit_segments(std::span<uint8_t> frame, const net::FrameHeader& header, uint32_t& segments_sent) {
  auto segments = net::Segmenter::segments(header, frame);
  if (!segments) {
    counted_.failed_segmentation = true;
    return true;
  }
  for (uint32_t i = 0; segments->next(segment_); ++i) {
    if (i < segments_sent) continue;
    const iovec piece{segment_.data(), segment_.size()};
    if (!card_.backend.send({}, std::span(&piece, 1))) return false;
    ++segments_sent;
  }
  return true;
}

void Transmitter::count_sent(std::span<const uint8_t> frame, const net::FrameHeader& header) {
  if (counted_.failed_segmentation) return;
  std::copy_n(frame.begin(), counted_.start.size(), counted_.start.begin());
  counted_.segmented = header.gso_type != net::FrameHeader::kGsoNone;
  const size_t headers = counted_.segmented ? std::min<size_t>(header.hdr_len, frame.size()) : 0;
  counted_.frames = counted_.segmented ? std::max<size_t>(1, (frame.size() - headers + header.gso_size - 1) / header.gso_size) : 1;
  counted_.octets = frame.size() + (counted_.frames - 1) * headers + counted_.frames * kFrameCheck;
}

// Gives the descriptors back, if they are still those that were read.
void Transmitter::finish(unsigned index, const View& view, const Found& found, uint32_t& due) {
  std::lock_guard guard(card_.lock);
  if (counted_.frames) card_.statistics.sent(counted_.start, counted_.frames, counted_.octets);
  if (counted_.segmented) card_.statistics.count(TSCTC);
  if (counted_.failed_segmentation) card_.statistics.count(TSCTFC);
  Queue& queue = queues_[index];
  if (queue.ring.generation != view.queue.ring.generation) return;
  if (found.kind == Found::Kind::kContext) queue.context = found.context;
  queue.discarding = found.kind == Found::Kind::kDiscard && !found.ended;
  queue.segments_sent = 0;
  const bool all = card_.interrupts.on_all_write_backs();
  bool told = false;
  for (unsigned i = 0; i < found.descriptors; ++i) {
    const WriteBack& back = write_backs_[i];
    if (!back.asked && !all) continue;
    told = true;
    if (!card_.memory.store<uint32_t>(back.at, back.value)) break;
  }
  queue.ring.advance(found.descriptors);
  if (told) due |= icr::TXDW | (icr::TXQ0 << index);
  if (queue.ring.head == queue.ring.tail) due |= icr::TXQE;
}

// --- life ------------------------------------------------------------------------------------------------------------

void Transmitter::reset() {
  control_ = 0;
  for (Queue& queue : queues_) {
    queue.ring.reset();
    queue.context = {};
    queue.discarding = false;
    queue.segments_sent = 0;
  }
}

void Transmitter::describe(state::Fields& fields) {
  fields.field("control", control_);
  fields.list("queues", kQueues, [&](size_t i) {
    Queue& queue = queues_[i];
    queue.ring.describe(fields);
    fields.group("context", [&] { queue.context.describe(fields); });
    fields.field("discarding", queue.discarding);
    fields.field("segments_sent", queue.segments_sent, state::up_to(net::kMaxFrame / net::kMinGsoSize + 1));
  });
}

}  // namespace skerry::devices::e1000e
