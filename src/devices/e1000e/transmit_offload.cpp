#include "devices/e1000e/transmit_offload.hpp"

#include <algorithm>

#include "net/checksum.hpp"
#include "net/frame.hpp"
#include "net/segment.hpp"

namespace skerry::devices::e1000e {

namespace {
constexpr size_t kIpv4Length = 2, kIpv6Length = 4, kTcpChecksum = 16, kTcpHeader = 20, kIpv4Header = 20;

// From `start` to `end`, the last byte or 0 for the frame's; the result goes to `offset`. What does not lie in the frame is not done.
void insert_checksum(std::span<uint8_t> frame, size_t start, size_t offset, size_t end) {
  const size_t stop = end == 0 ? frame.size() : std::min(end + 1, frame.size());
  if (start >= stop || offset + 2 > frame.size()) return;
  auto sum = static_cast<uint16_t>(~net::ones_sum(frame.subspan(start, stop - start)));
  if (sum == 0) sum = 0xffff;  // RFC 768; elsewhere both mean the same
  net::store_be16(&frame[offset], sum);
}

void insert_ip_checksum(std::span<uint8_t> frame, size_t inserted, const OffloadContext& context) {
  const size_t offset = context.ip_offset + inserted;
  if (offset + 2 > frame.size()) return;
  net::store_be16(&frame[offset], 0);  // drivers leave it so
  const size_t end = context.ip_end ? context.ip_end + inserted : 0;
  insert_checksum(frame, context.ip_start + inserted, offset, end);
}

// 7.2.5: what the driver leaves out of the headers because it differs by segment is filled in as for one large packet.
bool prepare_segments(std::span<uint8_t> frame, size_t inserted, const OffloadContext& context, net::FrameHeader& header) {
  const size_t ip = context.ip_start + inserted, tcp = context.transport_start + inserted;
  const size_t checksum = context.transport_offset + inserted, headers = context.header_size + inserted;
  if (!context.tcp || context.segment_size < net::kMinGsoSize) return false;
  if (checksum != tcp + kTcpChecksum || tcp < ip + kIpv4Header || tcp + kTcpHeader > frame.size() || headers > frame.size()) return false;
  const size_t length = frame.size() - ip;
  if (length > 0xffff) return false;
  if (context.ipv4) net::store_be16(&frame[ip + kIpv4Length], static_cast<uint16_t>(length));
  else if (length < net::kIpv6Header) return false;
  else net::store_be16(&frame[ip + kIpv6Length], static_cast<uint16_t>(length - net::kIpv6Header));
  uint8_t size[2];  // the driver's sum is of a pseudo-header without the length
  net::store_be16(size, static_cast<uint16_t>(frame.size() - tcp));
  net::store_be16(&frame[checksum], net::ones_sum(size, net::load_be16(&frame[checksum])));
  header.flags = net::FrameHeader::kNeedsCsum;
  header.gso_type = context.ipv4 ? net::FrameHeader::kGsoTcpv4 : net::FrameHeader::kGsoTcpv6;
  header.gso_size = context.segment_size;
  header.hdr_len = static_cast<uint16_t>(headers);
  header.csum_start = static_cast<uint16_t>(tcp);
  header.csum_offset = kTcpChecksum;
  return true;
}
}  // namespace

void OffloadContext::describe(state::Fields& fields) {
  fields.field("ip_start", ip_start);
  fields.field("ip_offset", ip_offset);
  fields.field("ip_end", ip_end);
  fields.field("transport_start", transport_start);
  fields.field("transport_offset", transport_offset);
  fields.field("transport_end", transport_end);
  fields.field("header_size", header_size);
  fields.field("segment_size", segment_size);
  fields.field("tcp", tcp);
  fields.field("ipv4", ipv4);
}

bool apply_offloads(std::span<uint8_t> frame, size_t inserted, const OffloadRequest& request, const OffloadContext& context,
                    net::Offloads offloads, net::FrameHeader& header) {
  if (request.legacy_checksum)
    insert_checksum(frame, request.legacy_start + inserted, request.legacy_offset + inserted, 0);
  if (request.segment && !prepare_segments(frame, inserted, context, header)) return false;
  if (request.ip_checksum) insert_ip_checksum(frame, inserted, context);
  if (request.segment || !request.transport_checksum) return true;
  const size_t start = context.transport_start + inserted, offset = context.transport_offset + inserted;
  if (offloads.checksum && context.transport_end == 0 && offset >= start && offset + 2 <= frame.size()) {
    header.flags = net::FrameHeader::kNeedsCsum;
    header.csum_start = static_cast<uint16_t>(start);
    header.csum_offset = static_cast<uint16_t>(offset - start);
  } else {
    insert_checksum(frame, start, offset, context.transport_end ? context.transport_end + inserted : 0);
  }
  return true;
}

}  // namespace skerry::devices::e1000e
