// One connection of the socket device: its unix socket on the host, what waits to be written there, the credit of both
// sides (virtio 1.2, 5.10.6.3), and who has shut down what. On the device's loop's thread.
#pragma once

#include <sys/uio.h>

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "memory/guest_memory.hpp"
#include "virtio/queue.hpp"
#include "virtio/vsock_packet.hpp"

namespace skerry::virtio {

struct VsockKey {
  uint32_t guest_port = 0, host_port = 0;
  auto operator<=>(const VsockKey&) const = default;
};

class VsockStream {
 public:
  // What the guest is to be told, beside data and shutdowns.
  enum Due : uint8_t { kRequest = 1, kResponse = 2, kCreditUpdate = 4, kCreditRequest = 8 };

  // `established` by the guest, or else asked for by the host and waiting for the guest's answer.
  VsockStream(UniqueFd fd, bool established) : fd_(std::move(fd)), established_(established) {
    due_ = established ? kResponse : kRequest;
  }

  int fd() const { return fd_.get(); }
  bool established() const { return established_; }
  bool asked() const { return !(due_ & kRequest); }  // the guest knows of it
  // The guest has accepted; tells the host's program. False if it is gone.
  bool establish(uint32_t host_port);

  // From any packet of the guest.
  void take_credit(const VsockHeader& header);
  // Of a RW packet: to the host, or kept for it. False if the guest breaks the rules.
  bool take_payload(const memory::GuestMemory& memory, const Chain& chain, const VsockHeader& header);
  void credit_wanted() { due_ |= kCreditUpdate; }
  void guest_shuts_down(uint8_t flags);
  // Both directions are ended, by the guest, and all that it sent is written: the connection is over.
  bool over() const { return guest_shutdown_ == kVsockShutdownBoth && unwritten() == 0; }
  // The guest has been told that nothing moves any more; its answer is all that is missing.
  bool waits_for_guest() const { return told_shutdown_ == kVsockShutdownBoth; }

  // The host's socket is ready for something, or hung up.
  void host_ready(bool readable);
  // What epoll is to look at; nothing at all once the other side has hung up and nothing is wanted.
  std::optional<uint32_t> wanted_events() const;

  // The next packet for the guest, its payload already in `room` (guest memory): op, len and flags of `header` are set.
  // False if there is none now.
  bool next_packet(std::span<const iovec> room, VsockHeader& header);
  // Whether next_packet() may have one.
  bool has_packet() const;
  // The socket has failed: the connection is to be reset.
  bool failed() const { return failed_; }

 private:
  size_t unwritten() const { return to_host_.size() - written_; }
  uint32_t credit() const;
  bool reads() const;
  bool read_packet(std::span<const iovec> room, VsockHeader& header);
  size_t write_now(std::span<const iovec> pieces);
  void flush();
  void forwarded(size_t bytes);
  void host_receives_no_more();

  UniqueFd fd_;
  bool established_ = false, failed_ = false;
  bool readable_ = false;  // there may be something to read
  bool hung_up_ = false;   // the host's program is gone
  uint8_t due_ = 0;
  bool asked_for_credit_ = false;
  uint8_t guest_shutdown_ = 0, host_shutdown_ = 0, told_shutdown_ = 0;  // VIRTIO_VSOCK_SHUTDOWN_F_*

  uint32_t peer_buf_alloc_ = 0, peer_fwd_cnt_ = 0, sent_ = 0;   // guest's buffer
  uint32_t received_ = 0, forwarded_ = 0, told_forwarded_ = 0;  // ours
  std::vector<uint8_t> to_host_;                                // at most kVsockBuffer
  size_t written_ = 0;                                          // of to_host_
};

}  // namespace skerry::virtio
