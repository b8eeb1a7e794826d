#include "net/segment.hpp"

#include <algorithm>

#include "net/checksum.hpp"

namespace skerry::net {

namespace {
// RFC 9293, 3.1: offsets in a TCP header, and its flags.
constexpr size_t kTcpHeader = 20, kTcpSequence = 4, kTcpDataOffset = 12, kTcpFlags = 13, kTcpChecksum = 16;
constexpr uint8_t kFin = 0x01, kPsh = 0x08, kCwr = 0x80;
// RFC 8200, 4.5.
constexpr uint8_t kNextHeaderFragment = 44;
constexpr size_t kFragmentHeader = 8;
}  // namespace

std::optional<Segmenter> Segmenter::segments(const FrameHeader& header, std::span<const uint8_t> frame) {
  const auto layout = find_layout(frame);
  if (!layout || layout->fragment) return {};
  // 5.1.6.2.1: a driver that asks for segmentation also asks for the checksum, which says where the transport begins.
  if (!(header.flags & FrameHeader::kNeedsCsum) || header.gso_size < kMinGsoSize) return {};
  const int type = header.gso_type & ~FrameHeader::kGsoEcn;
  if (type != (layout->ipv6 ? FrameHeader::kGsoTcpv6 : FrameHeader::kGsoTcpv4)) return {};
  Segmenter segmenter(frame.first(layout->end), *layout);
  if (!segmenter.prepare_tcp(header)) return {};
  return segmenter;
}

std::optional<Segmenter> Segmenter::fragments(uint16_t mtu, std::span<const uint8_t> frame) {
  const auto layout = find_layout(frame);
  if (!layout || layout->fragment) return {};
  const size_t headers = layout->transport - layout->network + (layout->ipv6 ? kFragmentHeader : 0);
  if (layout->transport + kFragmentHeader > layout->end || headers + kMinGsoSize > mtu) return {};
  Segmenter segmenter(frame.first(layout->end), *layout);
  segmenter.headers_ = layout->transport;
  segmenter.step_ = (mtu - headers) & ~size_t{7};  // offsets count in 8 bytes
  return segmenter;
}

bool Segmenter::prepare_tcp(const FrameHeader& header) {
  // With IPv6 there may be extension headers in between: those of the fragment go with each segment.
  if (header.csum_offset != kTcpChecksum || header.csum_start < layout_.transport) return false;
  if (!layout_.ipv6 && (layout_.protocol != kProtocolTcp || header.csum_start != layout_.transport)) return false;
  layout_.transport = header.csum_start;
  if (layout_.transport + kTcpHeader > frame_.size()) return false;
  const size_t tcp_header = (frame_[layout_.transport + kTcpDataOffset] >> 4) * 4u;
  headers_ = layout_.transport + tcp_header;
  step_ = header.gso_size;
  tcp_ = true;
  return tcp_header >= kTcpHeader && headers_ < frame_.size();
}

bool Segmenter::next(std::vector<uint8_t>& out) {
  const size_t payload = frame_.size() - headers_;
  if (done_ >= payload) return false;
  const size_t size = std::min(step_, payload - done_);
  const bool last = done_ + size == payload;
  const size_t extra = !tcp_ && layout_.ipv6 ? kFragmentHeader : 0;
  out.resize(headers_ + extra + size);
  std::memcpy(out.data(), frame_.data(), headers_);
  std::memcpy(out.data() + headers_ + extra, frame_.data() + headers_ + done_, size);
  if (tcp_) finish_tcp(out, size, last);
  else if (layout_.ipv6) finish_ipv6_fragment(out, last);
  else finish_ipv4_fragment(out, last);
  done_ += size;
  ++pieces_;
  return true;
}

void Segmenter::finish_tcp(std::vector<uint8_t>& out, size_t size, bool last) const {
  uint8_t* ip = out.data() + layout_.network;
  uint8_t* tcp = out.data() + layout_.transport;
  if (layout_.ipv6) {
    store_be16(ip + 4, static_cast<uint16_t>(out.size() - layout_.network - kIpv6Header));
  } else {
    store_be16(ip + 2, static_cast<uint16_t>(out.size() - layout_.network));
    store_be16(ip + 4, static_cast<uint16_t>(load_be16(ip + 4) + pieces_));
    set_ipv4_checksum(out, layout_);
  }
  store_be32(tcp + kTcpSequence, load_be32(tcp + kTcpSequence) + static_cast<uint32_t>(done_));
  if (!last) tcp[kTcpFlags] = static_cast<uint8_t>(tcp[kTcpFlags] & ~(kFin | kPsh));
  if (pieces_ != 0) tcp[kTcpFlags] = static_cast<uint8_t>(tcp[kTcpFlags] & ~kCwr);
  const size_t length = headers_ - layout_.transport + size;
  store_be16(tcp + kTcpChecksum, 0);
  const uint16_t pseudo = pseudo_header_sum(out, layout_, kProtocolTcp, length);
  const uint16_t sum = ones_sum(std::span<const uint8_t>(out).subspan(layout_.transport), pseudo);
  store_be16(tcp + kTcpChecksum, static_cast<uint16_t>(~sum));
}

// RFC 791, 3.1 and 3.2.
void Segmenter::finish_ipv4_fragment(std::vector<uint8_t>& out, bool last) const {
  constexpr uint16_t kMoreFragments = 0x2000;
  uint8_t* ip = out.data() + layout_.network;
  store_be16(ip + 2, static_cast<uint16_t>(out.size() - layout_.network));
  store_be16(ip + 6, static_cast<uint16_t>(done_ / 8 | (last ? 0 : kMoreFragments)));
  set_ipv4_checksum(out, layout_);
}

void Segmenter::finish_ipv6_fragment(std::vector<uint8_t>& out, bool last) const {
  uint8_t* ip = out.data() + layout_.network;
  uint8_t* fragment = out.data() + headers_;
  store_be16(ip + 4, static_cast<uint16_t>(out.size() - layout_.network - kIpv6Header));
  ip[6] = kNextHeaderFragment;
  fragment[0] = layout_.protocol;
  fragment[1] = 0;
  store_be16(fragment + 2, static_cast<uint16_t>(done_ | (last ? 0 : 1)));
  // A number of its own for each packet: in these bytes UDP has its checksum, ICMPv6 the number of the echo.
  std::memcpy(fragment + 4, frame_.data() + headers_ + 4, 4);
}

}  // namespace skerry::net
