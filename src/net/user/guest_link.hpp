// skerry-net's end of the rings: frames from and for the guest. What comes is the guest's word, or worse.
#pragma once

#include <array>
#include <deque>
#include <span>
#include <vector>

#include "net/frame_ring.hpp"

namespace skerry::net::user {

class GuestLink {
 public:
  GuestLink(RingMemory memory, UniqueFd wake, UniqueFd wake_vm)
      : memory_(std::move(memory)), wake_(std::move(wake)), wake_vm_(std::move(wake_vm)) {}

  int wake_fd() const { return wake_.get(); }
  // Clears the wake-up: before looking at what there may be to do.
  void woken();

  enum class Got { kFrame, kNothing, kBroken };
  // The next frame that the guest has sent, complete: with checksums, and not segmented. It may be changed, and is good
  // until the next call.
  Got receive(std::span<uint8_t>& frame);
  // After some receive(): wakes the VM if it waits for their room.
  void received();
  // True: nothing is there, and wake_fd() becomes readable when something is.
  bool sleep() { return from_guest_.sleep(); }

  // A frame for the guest. What the ring has no room for is kept, up to a limit, and then lost, as on a cable.
  void send(std::span<const uint8_t> frame);
  // Sends what is kept; true if nothing is kept any more. While something is, nothing more should be made.
  bool flush();
  void sent();  // after some send() and flush(): wakes the VM if it sleeps

 private:
  bool put(std::span<const uint8_t> frame);

  RingMemory memory_;
  RingReader from_guest_{memory_.control(0), memory_.bytes(0)};
  RingWriter to_guest_{memory_.control(1), memory_.bytes(1)};
  UniqueFd wake_, wake_vm_;
  std::deque<std::vector<uint8_t>> kept_;
  size_t kept_bytes_ = 0;
  bool untold_ = false;  // frames of which the VM has not been told yet
  std::array<uint8_t, kMaxRecord> record_;
};

}  // namespace skerry::net::user
