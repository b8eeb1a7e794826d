// What socket packets look like (virtio 1.2, 5.10.6). Little endian, like the host.
#pragma once

#include <cstdint>

namespace skerry::virtio {

struct [[gnu::packed]] VsockHeader {
  uint64_t src_cid, dst_cid;
  uint32_t src_port, dst_port;
  uint32_t len;  // of the payload that follows
  uint16_t type, op;
  uint32_t flags;
  uint32_t buf_alloc, fwd_cnt;  // 5.10.6.3: the sender's receive buffer, and how many bytes have left it, ever
};
static_assert(sizeof(VsockHeader) == 44);

enum VsockOp : uint16_t {
  VIRTIO_VSOCK_OP_REQUEST = 1,
  VIRTIO_VSOCK_OP_RESPONSE = 2,
  VIRTIO_VSOCK_OP_RST = 3,
  VIRTIO_VSOCK_OP_SHUTDOWN = 4,
  VIRTIO_VSOCK_OP_RW = 5,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE = 6,
  VIRTIO_VSOCK_OP_CREDIT_REQUEST = 7,
};
constexpr uint16_t VIRTIO_VSOCK_TYPE_STREAM = 1;
// The sender of VIRTIO_VSOCK_OP_SHUTDOWN will receive, or send, no more (5.10.6.5).
constexpr uint8_t VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE = 1, VIRTIO_VSOCK_SHUTDOWN_F_SEND = 2;
constexpr uint8_t kVsockShutdownBoth = VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE | VIRTIO_VSOCK_SHUTDOWN_F_SEND;

constexpr uint64_t kVsockHostCid = 2;          // 5.10.4
constexpr uint32_t kVsockBuffer = 256 * 1024;  // our buf_alloc: how much is kept for a host program that does not read

}  // namespace skerry::virtio
