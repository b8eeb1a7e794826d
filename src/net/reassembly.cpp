#include "net/reassembly.hpp"

#include <algorithm>
#include <cstring>

#include "net/checksum.hpp"
#include "net/frame.hpp"

namespace skerry::net {

namespace {

constexpr size_t kFlags = 6;  // of an IPv4 header: flags and fragment offset
constexpr uint16_t kMoreFragments = 0x2000, kOffset = 0x1fff;

}  // namespace

std::optional<std::span<uint8_t>> Reassembly::take(std::span<uint8_t> frame, int64_t now) {
  if (frame.size() < kEthernetHeader + kFlags + 2 || load_be16(&frame[12]) != kTypeIpv4) return frame;
  const uint16_t flags = load_be16(&frame[kEthernetHeader + kFlags]);
  if (!(flags & (kMoreFragments | kOffset))) return frame;
  const auto layout = find_layout(frame);
  if (!layout || layout->network != kEthernetHeader) return std::nullopt;
  const uint8_t* ip = &frame[layout->network];
  const size_t offset = (flags & kOffset) * kUnit, size = layout->end - layout->transport;
  const bool last = !(flags & kMoreFragments);
  const bool intact = ones_sum(frame.subspan(layout->network, layout->transport - layout->network)) == 0xffff;
  if (!intact || size == 0 || offset + size > kMaxPayload || (!last && size % kUnit)) return std::nullopt;

  const Place packet = packet_of({load_be32(ip + 12), load_be32(ip + 16), load_be16(ip + 4), ip[9]}, now);
  const size_t first_unit = offset / kUnit, end_unit = (offset + size + kUnit - 1) / kUnit;
  bool fits = packet->total == 0 || (!last && offset + size <= packet->total);
  for (size_t unit = first_unit; unit < end_unit; ++unit) fits = fits && !packet->there[unit];
  // What lies behind the end contradicts it.
  for (size_t unit = end_unit; last && unit < packet->there.size(); ++unit) fits = fits && !packet->there[unit];
  if (!fits) return std::nullopt;

  if (packet->bytes.size() < kHeaderRoom + offset + size) packet->bytes.resize(kHeaderRoom + offset + size);
  std::memcpy(&packet->bytes[kHeaderRoom + offset], &frame[layout->transport], size);
  for (size_t unit = first_unit; unit < end_unit; ++unit) packet->there.set(unit);
  if (last) packet->total = offset + size;
  if (offset == 0) {
    packet->header = layout->transport;
    std::memcpy(&packet->bytes[kHeaderRoom - packet->header], frame.data(), packet->header);
  }
  if (packet->total == 0 || packet->header == 0 || packet->there.count() != (packet->total + kUnit - 1) / kUnit)
    return std::nullopt;

  whole_ = std::move(packet->bytes);
  const size_t header = packet->header, total = packet->total;
  packets_.erase(packet);
  const std::span<uint8_t> whole = std::span(whole_).subspan(kHeaderRoom - header, header + total);
  const size_t length = header - kEthernetHeader + total;
  if (length > 0xffff) return std::nullopt;  // options take place too
  store_be16(&whole[kEthernetHeader + 2], static_cast<uint16_t>(length));
  store_be16(&whole[kEthernetHeader + kFlags], 0);
  FrameLayout of_whole = *layout;
  of_whole.transport = header;
  of_whole.end = whole.size();
  set_ipv4_checksum(whole, of_whole);
  return whole;
}

Reassembly::Place Reassembly::packet_of(const Key& key, int64_t now) {
  packets_.remove_if([now](const Packet& packet) { return now - packet.born > kPatience; });
  const Place found = std::find_if(packets_.begin(), packets_.end(), [&](const Packet& packet) { return packet.key == key; });
  if (found != packets_.end()) return found;
  if (packets_.size() == kMaxPackets) packets_.pop_front();
  return packets_.insert(packets_.end(), Packet{.key = key, .born = now, .bytes = {}, .there = {}});
}

}  // namespace skerry::net
