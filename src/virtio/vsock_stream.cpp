#include "virtio/vsock_stream.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace skerry::virtio {

namespace {
constexpr uint32_t kMaxPayload = 64 * 1024;  // of one packet to the guest
constexpr size_t kMostPieces = 1024;         // IOV_MAX

// epoll may tell of a descriptor that had the same number before.
bool has_hung_up(int fd) {
  pollfd at{fd, 0, 0};
  return ::poll(&at, 1, 0) == 1 && (at.revents & (POLLHUP | POLLERR));
}
}  // namespace

bool VsockStream::establish(uint32_t host_port) {
  established_ = true;
  readable_ = true;
  const std::string answer = fmt::format("OK {}\n", host_port);
  return ::send(fd_.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(answer.size());
}

// --- guest to host ---------------------------------------------------------------------------------------------------

void VsockStream::take_credit(const VsockHeader& header) {
  peer_buf_alloc_ = header.buf_alloc;
  peer_fwd_cnt_ = header.fwd_cnt;
  if (credit() > 0) asked_for_credit_ = false;
}

bool VsockStream::take_payload(const memory::GuestMemory& memory, const Chain& chain, const VsockHeader& header) {
  if (guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_F_SEND) return false;
  if (chain.readable_size - sizeof header < header.len) return false;
  if (header.len > kVsockBuffer - (received_ - forwarded_)) return false;
  received_ += header.len;
  if (host_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) {
    forwarded(header.len);
    return true;
  }
  size_t done = 0;
  if (unwritten() == 0) {  // out of guest memory, if the socket takes it
    std::vector<iovec> pieces;
    uint64_t skip = sizeof header, left = header.len;
    for (const Buffer& buffer : chain.readable) {
      const uint64_t before = std::min<uint64_t>(skip, buffer.length);
      const uint64_t here = std::min<uint64_t>(left, buffer.length - before);
      if (here > 0) memory.host_ranges(buffer.address + before, here, false, pieces);
      skip -= before;
      left -= here;
    }
    done = write_now(std::span(pieces).first(std::min(pieces.size(), kMostPieces)));
  }
  if (host_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) {
    forwarded(header.len);
    return true;
  }
  forwarded(done);
  const size_t kept = to_host_.size(), more = header.len - done;
  to_host_.resize(kept + more);
  chain.read(memory, sizeof header + done, std::span(to_host_).subspan(kept));
  return true;
}

// How much the socket took. If it takes nothing any more, host_shutdown_ says so.
size_t VsockStream::write_now(std::span<const iovec> pieces) {
  if (pieces.empty()) return 0;
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  const ssize_t put = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (put >= 0) return static_cast<size_t>(put);
  if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) host_receives_no_more();
  return 0;
}

void VsockStream::flush() {
  while (unwritten() > 0) {
    const iovec piece{to_host_.data() + written_, unwritten()};
    const size_t put = write_now({&piece, 1});
    if (put == 0) break;
    written_ += put;
    forwarded(put);
  }
  if (written_ >= to_host_.size() / 2) {
    to_host_.erase(to_host_.begin(), to_host_.begin() + static_cast<ptrdiff_t>(written_));
    written_ = 0;
  }
  if (unwritten() == 0 && (guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_F_SEND)) ::shutdown(fd_.get(), SHUT_WR);
}

// The guest is told before it runs out: it can always send half of the buffer once what it sent is written.
void VsockStream::forwarded(size_t bytes) {
  forwarded_ += static_cast<uint32_t>(bytes);
  if (forwarded_ - told_forwarded_ >= kVsockBuffer / 2) due_ |= kCreditUpdate;
}

void VsockStream::host_receives_no_more() {
  host_shutdown_ |= VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE;
  forwarded(unwritten());
  to_host_.clear();
  written_ = 0;
}

void VsockStream::guest_shuts_down(uint8_t flags) {
  guest_shutdown_ |= flags & kVsockShutdownBoth;
  if (guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) {
    readable_ = false;
    ::shutdown(fd_.get(), SHUT_RD);
  }
  flush();
}

// --- host to guest ---------------------------------------------------------------------------------------------------

bool VsockStream::reads() const {
  return established_ && !(host_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_F_SEND) &&
         !(guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE);
}

uint32_t VsockStream::credit() const {
  const uint32_t in_flight = sent_ - peer_fwd_cnt_;
  return in_flight >= peer_buf_alloc_ ? 0 : peer_buf_alloc_ - in_flight;
}

void VsockStream::host_ready(bool readable) {
  hung_up_ = has_hung_up(fd_.get());
  if (reads() && (readable || hung_up_)) readable_ = true;
  flush();
  if (!hung_up_) return;
  if (!established_) failed_ = true;  // who asked does not wait any more
  if (!reads()) host_receives_no_more();
}

std::optional<uint32_t> VsockStream::wanted_events() const {
  uint32_t events = 0;
  if (reads() && !readable_) events |= EPOLLIN;
  if (unwritten() > 0) events |= EPOLLOUT;
  if (events == 0 && hung_up_) return std::nullopt;
  return events;
}

bool VsockStream::has_packet() const {
  return due_ != 0 || told_shutdown_ != host_shutdown_ ||
         (readable_ && reads() && (credit() > 0 || !asked_for_credit_));
}

bool VsockStream::next_packet(std::span<const iovec> room, VsockHeader& header) {
  header.len = header.flags = 0;
  if (due_ & kRequest) {
    header.op = VIRTIO_VSOCK_OP_REQUEST;
  } else if (due_ & kResponse) {
    header.op = VIRTIO_VSOCK_OP_RESPONSE;
    readable_ = true;
  } else if (due_ & kCreditUpdate) {
    header.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
  } else if (due_ & kCreditRequest) {
    header.op = VIRTIO_VSOCK_OP_CREDIT_REQUEST;
  } else if (!read_packet(room, header)) {
    if (told_shutdown_ == host_shutdown_) return false;
    header.op = VIRTIO_VSOCK_OP_SHUTDOWN;
    header.flags = told_shutdown_ = host_shutdown_;
  }
  if (header.op < VIRTIO_VSOCK_OP_RST)
    due_ &= static_cast<uint8_t>(~(kRequest | kResponse));
  else if (header.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST)
    due_ &= static_cast<uint8_t>(~kCreditRequest);
  due_ &= static_cast<uint8_t>(~kCreditUpdate);  // every packet tells of it
  header.buf_alloc = kVsockBuffer;
  header.fwd_cnt = told_forwarded_ = forwarded_;
  return true;
}

bool VsockStream::read_packet(std::span<const iovec> room, VsockHeader& header) {
  if (!readable_ || !reads()) return false;
  uint64_t left = std::min(credit(), kMaxPayload);
  if (left == 0) {
    if (std::exchange(asked_for_credit_, true)) return false;
    header.op = VIRTIO_VSOCK_OP_CREDIT_REQUEST;
    return true;
  }
  std::vector<iovec> pieces;
  for (const iovec& piece : room) {
    if (left == 0 || pieces.size() == kMostPieces) break;
    pieces.push_back({piece.iov_base, std::min<uint64_t>(piece.iov_len, left)});
    left -= pieces.back().iov_len;
  }
  if (pieces.empty()) return false;
  const ssize_t got = ::readv(fd_.get(), pieces.data(), static_cast<int>(pieces.size()));
  if (got > 0) {
    header.op = VIRTIO_VSOCK_OP_RW;
    header.len = static_cast<uint32_t>(got);
    sent_ += header.len;
    return true;
  }
  if (got < 0 && errno == EINTR) return false;
  readable_ = false;
  if (got < 0 && errno == EAGAIN) return false;
  if (got < 0) {
    failed_ = true;
    return false;
  }
  host_shutdown_ |= VIRTIO_VSOCK_SHUTDOWN_F_SEND;
  hung_up_ = has_hung_up(fd_.get());
  if (hung_up_) host_receives_no_more();
  return false;
}

}  // namespace skerry::virtio
