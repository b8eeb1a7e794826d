#include "devices/e1000e/receiver.hpp"

#include <algorithm>
#include <cstring>

#include "net/checksum.hpp"
#include "net/frame.hpp"

namespace skerry::devices::e1000e {

namespace {
// 10.2.5.1, RCTL.
constexpr unsigned kThresholdShift = 8, kTypeShift = 10, kSizeShift = 16, kFlexShift = 27;
constexpr uint32_t kTypeSplit = 1;
// 10.2.5.15, RXCSUM; 10.2.5.16, RFCTL.
constexpr uint32_t kIpChecksums = 1 << 8, kTransportChecksums = 1 << 9, kNoPacketChecksum = 1 << 13;
constexpr uint32_t kExtendedStatus = 1 << 15;
constexpr uint32_t kChecksumDefault = kIpChecksums | kTransportChecksums;
constexpr uint32_t kSplitDefault = 0x0004'0402, kSplitMask = 0x3f3f'3f7f;
// 7.1.5.2: of extended descriptors; the first byte and the last are those of legacy ones, status and error.
constexpr uint32_t kDone = 1 << 0, kEndOfPacket = 1 << 1, kIgnoreChecksum = 1 << 2, kVlan = 1 << 3, kUdpChecked = 1 << 4;
constexpr uint32_t kTcpChecked = 1 << 5, kIpChecked = 1 << 6, kIpIdentification = 1 << 9;
constexpr uint32_t kTransportError = 1 << 29, kIpError = 1 << 30;
constexpr uint16_t kHeaderSplit = 1 << 15;  // header status of split descriptors

constexpr size_t kShortest = 60, kTagSize = 4, kTypeAt = 12, kTagAt = 14, kLongestPlain = 1518, kLongestLong = 16380;
constexpr size_t kUdpChecksum = 6, kUdpHeader = 8, kTcpHeader = 20;

template <typename T>
void put(std::span<uint8_t> descriptor, size_t at, T value) {
  std::memcpy(&descriptor[at], &value, sizeof value);
}

// IEEE 802.3, 3.2.9.
uint32_t frame_check(std::span<const uint8_t> bytes) {
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < table.size(); ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ 0xedb8'8320 : value >> 1;
      table[i] = value;
    }
    return table;
  }();
  uint32_t check = ~uint32_t{0};
  for (const uint8_t byte : bytes) check = check >> 8 ^ kTable[(check ^ byte) & 0xff];
  return ~check;
}

bool transport_is_right(std::span<const uint8_t> frame, const net::FrameLayout& layout) {
  const uint16_t pseudo = net::pseudo_header_sum(frame, layout, layout.protocol, layout.end - layout.transport);
  return net::ones_sum(frame.subspan(layout.transport, layout.end - layout.transport), pseudo) == 0xffff;
}
}  // namespace

// --- registers -------------------------------------------------------------------------------------------------------

bool Receiver::read(uint32_t offset, uint32_t& value) const {
  switch (offset) {
    case RCTL: value = control_; return true;
    case RXCSUM: value = checksum_; return true;
    case RFCTL: value = filter_control_; return true;
    case PSRCTL: value = split_; return true;
    default: break;
  }
  if (offset >= RDBAL && offset < RDBAL + kQueues * kQueueStride)
    return rings_[(offset - RDBAL) / kQueueStride].read((offset - RDBAL) % kQueueStride, value);
  return filter_.read(offset, value) || rss_.read(offset, value);
}

bool Receiver::write(uint32_t offset, uint32_t value) {
  switch (offset) {
    case RCTL: control_ = value; return true;
    case RXCSUM: checksum_ = value; return true;
    case RFCTL: filter_control_ = value; return true;
    case PSRCTL: split_ = value & kSplitMask; return true;
    default: break;
  }
  if (offset >= RDBAL && offset < RDBAL + kQueues * kQueueStride)
    return rings_[(offset - RDBAL) / kQueueStride].write((offset - RDBAL) % kQueueStride, value);
  return filter_.write(offset, value) || rss_.write(offset, value);
}

// --- formats and sizes -----------------------------------------------------------------------------------------------

bool Receiver::extended() const { return filter_control_ & kExtendedStatus; }
bool Receiver::splits() const { return extended() && (control_ >> kTypeShift & 3) == kTypeSplit; }

uint32_t Receiver::Sizes::all() const {
  uint32_t sum = 0;
  for (unsigned i = 0; i < count; ++i) sum += of[i];
  return sum;
}

Receiver::Sizes Receiver::buffer_sizes() const {
  Sizes sizes;
  if (splits()) {  // 10.2.5.6: the first in 128 bytes, the others in KiB
    sizes.count = kMostBuffers;
    sizes.of[0] = (split_ & 0x7f) * 128;
    for (unsigned i = 1; i < kMostBuffers; ++i) sizes.of[i] = (split_ >> (8 * i) & 0x3f) * 1024;
    return sizes;
  }
  constexpr uint32_t kSizes[] = {2048, 1024, 512, 256}, kLargeSizes[] = {2048, 16384, 8192, 4096};
  if (const uint32_t flexible = control_ >> kFlexShift & 15) sizes.of[0] = flexible * 1024;
  else sizes.of[0] = (control_ & rctl::BSEX ? kLargeSizes : kSizes)[control_ >> kSizeShift & 3];
  return sizes;
}

uint32_t Receiver::longest() const { return control_ & rctl::LPE ? kLongestLong : kLongestPlain; }

// RCTL.RDMTS: a half, a quarter or an eighth of them are left.
bool Receiver::below_threshold(const Ring& ring) const {
  const unsigned shift = std::min(control_ >> kThresholdShift & 3, 2u) + 1;
  return ring.filled() <= ring.size() >> shift;
}

// --- what a frame is -------------------------------------------------------------------------------------------------

// 7.1.8, 7.1.9.
Receiver::About Receiver::examine(std::span<const uint8_t> frame) const {
  About about;
  const auto layout = net::find_layout(frame);
  about.rss = rss_.look_at(frame, layout);
  if (!layout) {
    about.status = kIgnoreChecksum;
    return about;
  }
  if (!layout->ipv6) {
    about.ip_identification = net::load_be16(&frame[layout->network + 4]);
    about.status |= kIpIdentification;
    if (checksum_ & kIpChecksums) {
      about.status |= kIpChecked;
      if (net::ones_sum(frame.subspan(layout->network, layout->transport - layout->network)) != 0xffff) about.status |= kIpError;
    }
  }
  const size_t size = layout->end - layout->transport;
  const bool tcp = layout->protocol == net::kProtocolTcp && size >= kTcpHeader;
  const bool udp = layout->protocol == net::kProtocolUdp && size >= kUdpHeader;
  if (layout->fragment || (!tcp && !udp)) return about;
  about.header = layout->transport + (tcp ? (frame[layout->transport + 12] >> 4) * 4u : kUdpHeader);
  if (about.header > layout->end) about.header = 0;
  const bool unchecked = udp && net::load_be16(&frame[layout->transport + kUdpChecksum]) == 0;  // RFC 768: there is none
  if (!(checksum_ & kTransportChecksums) || unchecked) return about;
  about.status |= kTcpChecked | (udp ? kUdpChecked : 0);
  if (!transport_is_right(frame, *layout)) about.status |= kTransportError;
  return about;
}

// --- receiving -------------------------------------------------------------------------------------------------------

Receiver::Taken Receiver::receive(std::span<const uint8_t> frame, uint32_t& due) {
  if (!enabled() || frame.size() < net::kEthernetHeader) return Taken::kDropped;
  if (!filter_.accepts(frame, control_, card_.vlan_type)) return Taken::kDropped;
  if (frame.size() > longest()) {
    card_.statistics.count(ROC);
    return Taken::kDropped;
  }
  About about = examine(frame);
  Ring& ring = rings_[about.rss.queue];
  const Sizes sizes = buffer_sizes();
  // As the guest gets it: without its tag, padded, with its frame check sequence.
  const bool tagged = card_.strips_vlans() && frame.size() >= net::kEthernetHeader + kTagSize &&
                      net::load_be16(&frame[kTypeAt]) == card_.vlan_type;
  const size_t cut = tagged ? kTagSize : 0;
  std::memcpy(frame_.data(), frame.data(), kTypeAt);
  std::memcpy(&frame_[kTypeAt], &frame[kTypeAt + cut], frame.size() - kTypeAt - cut);
  size_t size = frame.size() - cut;
  for (; size < kShortest; ++size) frame_[size] = 0;
  if (tagged) {
    about.vlan = net::load_be16(&frame[kTagAt]);
    about.status |= kVlan;
    if (about.header) about.header -= cut;
  }
  if (!(control_ & rctl::SECRC)) {
    put(frame_, size, frame_check(std::span(frame_).first(size)));
    size += kFrameCheck;
  }
  const uint32_t room = sizes.all();
  const unsigned needed = room ? static_cast<unsigned>((size + room - 1) / room) * units() : 0;
  if (needed == 0 || needed >= ring.size()) {  // no ring could ever take it
    card_.statistics.count(MPC);
    return Taken::kDropped;
  }
  if (!card_.may_access_memory() || ring.filled() < needed) return Taken::kNoRoom;
  for (size_t done = 0; done < size;) {
    const size_t here = std::min<size_t>(size - done, room);
    const auto part = std::span(frame_).subspan(done, here);
    if (!place(ring, sizes, part, done + here == size, done == 0 ? about.header : 0, about)) {
      card_.statistics.count(MPC);
      return Taken::kDropped;
    }
    done += here;
  }
  card_.statistics.received(frame, size - (control_ & rctl::SECRC ? 0 : kFrameCheck));
  due |= icr::RXT0 | (icr::RXQ0 << about.rss.queue) | (below_threshold(ring) ? icr::RXDMT0 : 0);
  return Taken::kYes;
}

// One descriptor's worth: 7.1.5, and 7.1.10 for those that split. False: its memory is no RAM; it stays the card's.
bool Receiver::place(Ring& ring, const Sizes& sizes, std::span<const uint8_t> part, bool last, size_t header, const About& about) {
  const memory::Gpa at = ring.at(0);
  std::array<uint64_t, kMostBuffers> addresses{};
  const auto raw = std::as_writable_bytes(std::span(addresses)).first(splits() ? 32 : 8);
  if (!card_.memory.read(at, raw)) return false;
  const bool split = sizes.count > 1 && header > 0 && header <= sizes.of[0] && header < part.size() &&
                     part.size() - header <= sizes.all() - sizes.of[0];
  std::array<uint16_t, kMostBuffers> lengths{};
  size_t done = 0;
  for (unsigned i = 0; i < sizes.count && done < part.size(); ++i) {
    const size_t here = std::min<size_t>(i == 0 && split ? header : sizes.of[i], part.size() - done);
    if (here == 0) continue;
    // 7.1.7.2: nothing is stored at address 0.
    if (addresses[i] != 0 && !card_.memory.write(addresses[i], std::as_bytes(part.subspan(done, here)))) return false;
    lengths[i] = static_cast<uint16_t>(here);
    done += here;
  }
  if (!write_back(at, std::span(lengths).first(sizes.count), split, last, about)) return false;
  ring.advance(units());
  return true;
}

// What says that it is done is written last, for who looks for it.
bool Receiver::write_back(memory::Gpa at, std::span<const uint16_t> lengths, bool split, bool last, const About& about) {
  const uint32_t status = kDone | (last ? kEndOfPacket | about.status : 0);
  std::array<uint8_t, 32> done{};
  if (!extended()) {  // 7.1.4: address, length, packet checksum, status, errors, tag
    uint64_t low = 0;
    if (!card_.memory.read(at, std::as_writable_bytes(std::span(&low, 1)))) return false;
    put(done, 0, low);
    put(done, 8, lengths[0]);
    put(done, 12, static_cast<uint8_t>(status));
    put(done, 13, static_cast<uint8_t>(status >> 24));
    put(done, 14, last ? about.vlan : uint16_t{0});
    uint32_t word;
    std::memcpy(&word, &done[12], sizeof word);
    return card_.memory.write(at, std::as_bytes(std::span(done)).first(12)) && card_.memory.store<uint32_t>(at + 12, word);
  }
  if (last) {
    put(done, 0, uint32_t{about.rss.type} | about.rss.queue << 8);
    if (checksum_ & kNoPacketChecksum) put(done, 4, about.rss.hash);
    else put(done, 4, about.ip_identification);
  }
  put(done, 12, lengths[0]);
  put(done, 14, last ? about.vlan : uint16_t{0});
  if (lengths.size() > 1) {
    put(done, 16, static_cast<uint16_t>(split ? kHeaderSplit | lengths[0] : 0));
    for (size_t i = 1; i < lengths.size(); ++i) put(done, 16 + 2 * i, lengths[i]);
  }
  const auto bytes = std::as_bytes(std::span(done));
  return card_.memory.write(at, bytes.first(8)) && card_.memory.write(at + 12, bytes.subspan(12, lengths.size() > 1 ? 20 : 4)) &&
         card_.memory.store<uint32_t>(at + 8, status);
}

// --- life ------------------------------------------------------------------------------------------------------------

void Receiver::reset() {
  control_ = filter_control_ = 0;
  checksum_ = kChecksumDefault;
  split_ = kSplitDefault;
  for (Ring& ring : rings_) ring.reset();
  filter_.reset();
  rss_.reset();
}

void Receiver::describe(state::Fields& fields) {
  fields.field("control", control_);
  fields.field("checksum", checksum_);
  fields.field("filter_control", filter_control_);
  fields.field("split", split_, state::in_mask(kSplitMask));
  fields.list("rings", kQueues, [&](size_t i) { rings_[i].describe(fields); });
  fields.group("filter", [&] { filter_.describe(fields); });
  fields.group("rss", [&] { rss_.describe(fields); });
}

}  // namespace skerry::devices::e1000e
