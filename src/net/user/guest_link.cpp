#include "net/user/guest_link.hpp"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "net/checksum.hpp"
#include "net/user/segment_size.hpp"
#include "net/user_protocol.hpp"

namespace skerry::net::user {

namespace {
// More than the windows of many connections.
constexpr size_t kMaxKept = 8 << 20;

void kick(int event) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event, &one, sizeof one);
}
}  // namespace

void GuestLink::woken() {
  uint64_t count;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
}

GuestLink::Got GuestLink::receive(std::span<uint8_t>& frame) {
  for (;;) {
    size_t size = 0;
    switch (from_guest_.take(record_, size)) {
      case RingReader::Got::kNothing: return Got::kNothing;
      case RingReader::Got::kBroken: return Got::kBroken;
      case RingReader::Got::kRecord: break;
    }
    GuestRecord about;
    if (size < sizeof about + kEthernetHeader || size > sizeof about + kMaxFrame) continue;
    std::memcpy(&about, record_.data(), sizeof about);
    frame = std::span(record_).subspan(sizeof about, size - sizeof about);
    const bool needs_checksum = about.header.flags & FrameHeader::kNeedsCsum;
    ask_for_large_segments(frame, needs_checksum, about.large_tcp4 != 0, about.large_tcp6 != 0);
    // Segments are for networks that are narrower than this one: libslirp takes the packet whole.
    if (complete_checksum(about.header, frame)) return Got::kFrame;
  }
}

void GuestLink::received() {
  if (from_guest_.writer_must_wake()) kick(wake_vm_.get());
}

bool GuestLink::put(std::span<const uint8_t> frame) {
  const iovec part{const_cast<uint8_t*>(frame.data()), frame.size()};
  const bool there = to_guest_.put({&part, 1});
  untold_ |= there;
  return there;
}

void GuestLink::send(std::span<const uint8_t> frame) {
  if (frame.size() > kMaxFrame) return;
  if (kept_.empty() && put(frame)) return;
  if (kept_bytes_ + frame.size() > kMaxKept) return;
  kept_.emplace_back(frame.begin(), frame.end());
  kept_bytes_ += frame.size();
}

bool GuestLink::flush() {
  while (!kept_.empty()) {
    if (!put(kept_.front()) && !(to_guest_.wait_for_room() && put(kept_.front()))) return false;
    kept_bytes_ -= kept_.front().size();
    kept_.pop_front();
  }
  return true;
}

// A VM that sleeps and has seen all there is, is not woken.
void GuestLink::sent() {
  if (!std::exchange(untold_, false)) return;
  if (to_guest_.reader_must_wake()) kick(wake_vm_.get());
}

}  // namespace skerry::net::user
