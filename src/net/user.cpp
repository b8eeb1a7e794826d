#include "net/user.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/deferred.hpp"
#include "base/log.hpp"
#include "net/checksum.hpp"
#include "net/delivery.hpp"
#include "net/frame_ring.hpp"
#include "net/helper.hpp"
#include "net/user_protocol.hpp"

namespace skerry::net {

namespace {

constexpr unsigned kFramesAtOnce = 64;  // for the guest, before the loop turns to something else
constexpr unsigned kFramesBorrowed = 4;  // the same in a borrowed turn
constexpr size_t kMaxParts = 64;        // of one frame without making it one piece first
constexpr size_t kTcpHeader = 20, kTcpDataOffset = 12, kTcpChecksum = 16;

// skerry-net's frames are complete. A TCP segment that is larger than the network allows becomes what a card with
// offloads would give: its checksum is set back to what the pseudo-header adds. False: it is something else.
bool describe_segment(FrameHeader& header, std::span<uint8_t> frame) {
  const auto layout = find_layout(frame);
  if (!layout || layout->fragment || layout->protocol != kProtocolTcp) return false;
  const size_t transport = layout->transport;
  if (transport + kTcpHeader > layout->end) return false;
  const size_t tcp_header = (frame[transport + kTcpDataOffset] >> 4) * 4u;
  const size_t headers = transport - layout->network + tcp_header;
  if (tcp_header < kTcpHeader || headers + kMinGsoSize > kUserMtu) return false;
  header.flags = FrameHeader::kNeedsCsum;
  header.gso_type = layout->ipv6 ? FrameHeader::kGsoTcpv6 : FrameHeader::kGsoTcpv4;
  header.gso_size = static_cast<uint16_t>(kUserMtu - headers);
  header.hdr_len = static_cast<uint16_t>(transport + tcp_header);
  header.csum_start = static_cast<uint16_t>(transport);
  header.csum_offset = kTcpChecksum;
  const uint16_t pseudo = pseudo_header_sum(frame, *layout, kProtocolTcp, layout->end - transport);
  store_be16(frame.data() + transport + kTcpChecksum, pseudo);
  return true;
}

class UserBackend final : public Backend {
 public:
  UserBackend(RingMemory memory, UniqueFd wake, UniqueFd wake_helper, UniqueFd control)
      : memory_(std::move(memory)), wake_(std::move(wake)), wake_helper_(std::move(wake_helper)),
        control_(std::move(control)) {}
  ~UserBackend() override { stop(); }

  Result<void> start(EventLoop& loop, Card& card) override;
  void stop() override;
  bool send(const FrameHeader& header, std::span<const iovec> frame) override;
  void card_has_room() override;
  Offloads offloads() const override { return {.checksum = true, .tso4 = true, .tso6 = true, .ufo = false}; }
  void set_guest_offloads(Offloads offloads) override;
  bool link_up() const override { return alive_; }
  uint16_t mtu() const override { return kUserMtu; }

 private:
  void on_wake();
  void wake_card();
  void on_control();
  bool take_frames();
  bool deliver(std::span<uint8_t> frame);
  void give_up(std::string_view why);
  static void kick(const UniqueFd& event) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event.get(), &one, sizeof one);
  }

  RingMemory memory_;
  RingWriter to_helper_{memory_.control(0), memory_.bytes(0)};
  RingReader from_helper_{memory_.control(1), memory_.bytes(1)};
  UniqueFd wake_, wake_helper_, control_;
  EventLoop* loop_ = nullptr;  // while started
  std::optional<Deferred> look_;  // likewise
  Card* card_ = nullptr;
  Delivery delivery_;
  Offloads guest_;
  bool alive_ = true;
  bool waits_for_room_ = false;
  std::array<uint8_t, kMaxRecord> frame_;
};

Result<void> UserBackend::start(EventLoop& loop, Card& card) {
  card_ = &card;
  delivery_.attach(&card);
  // Edge-triggered: each write wakes the loop, and none has to be read.
  if (auto added = loop.add(wake_.get(), EPOLLIN | EPOLLET, [this](uint32_t) { on_wake(); }); !added) return added;
  if (alive_) {
    if (auto added = loop.add(control_.get(), EPOLLIN, [this](uint32_t) { on_control(); }); !added) {
      loop.remove(wake_.get());
      return added;
    }
  }
  loop_ = &loop;
  look_.emplace(loop, [this] { on_wake(); });
  kick(wake_);  // frames may be there already, or kept
  return ok();
}

void UserBackend::stop() {
  if (!loop_) return;
  loop_->remove(wake_.get());
  if (alive_) loop_->remove(control_.get());
  look_.reset();
  loop_ = nullptr;
}

void UserBackend::set_guest_offloads(Offloads offloads) {
  guest_ = offloads;
  delivery_.set_offloads(offloads);
}

bool UserBackend::send(const FrameHeader& header, std::span<const iovec> frame) {
  const size_t size = total_size(frame);
  if (!alive_ || size < kEthernetHeader || size > kMaxFrame || frame.size() >= kMaxParts) return true;
  const GuestRecord about{header, guest_.checksum && guest_.tso4, guest_.checksum && guest_.tso6};
  std::array<iovec, kMaxParts> parts;
  parts[0] = {const_cast<GuestRecord*>(&about), sizeof about};
  std::copy(frame.begin(), frame.end(), parts.begin() + 1);
  const std::span<const iovec> record(parts.data(), frame.size() + 1);
  if (!to_helper_.put(record) && !(to_helper_.wait_for_room() && to_helper_.put(record))) {
    waits_for_room_ = true;
    return false;
  }
  if (!to_helper_.reader_must_wake()) return true;
  // Often the host's kernel lets who is woken run in place of who wakes it. Then the answer is there when this thread goes on, and
  // is taken at the end of what it does here; else the I/O thread would be woken for it, on a processor that may sleep.
  if (look_) {
    from_helper_.stay_awake();
    look_->schedule();
  }
  kick(wake_helper_);
  return true;
}

void UserBackend::card_has_room() {
  if (loop_ && delivery_.blocked()) kick(wake_);
}

// What comes to be wanted after a look at it wakes the loop again.
void UserBackend::on_wake() {
  if (delivery_.blocked() && !delivery_.resume()) return wake_card();
  const bool all = take_frames();
  if (from_helper_.writer_must_wake()) kick(wake_helper_);
  wake_card();
  if (!alive_ || delivery_.blocked()) return;
  if (!all || !from_helper_.sleep()) kick(wake_);  // the loop turns to its other descriptors before
}

void UserBackend::wake_card() {
  if (!waits_for_room_ || (alive_ && !to_helper_.wait_for_room())) return;
  waits_for_room_ = false;
  card_->backend_has_room();
}

// True if there is nothing more that could be taken now.
bool UserBackend::take_frames() {
  const unsigned most = loop_->turn_is_borrowed() ? kFramesBorrowed : kFramesAtOnce;
  for (unsigned taken = 0; taken < most; ++taken) {
    size_t size = 0;
    switch (from_helper_.take(frame_, size)) {
      case RingReader::Got::kNothing: return true;
      case RingReader::Got::kBroken: give_up("it has sent what no frame is"); return true;
      case RingReader::Got::kRecord: break;
    }
    if (size >= kEthernetHeader && size <= kMaxFrame && !deliver({frame_.data(), size})) return true;
  }
  return false;
}

bool UserBackend::deliver(std::span<uint8_t> frame) {
  FrameHeader header;
  if (frame.size() > kEthernetHeader + kUserMtu && !describe_segment(header, frame))
    return delivery_.deliver_fragments(kUserMtu, frame);
  return delivery_.deliver(header, frame);
}

void UserBackend::on_control() {
  std::array<char, kMaxHelperMessage> message;
  const ssize_t size = ::recv(control_.get(), message.data(), message.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) give_up("it has ended");  // what it says otherwise is nothing
}

void UserBackend::give_up(std::string_view why) {
  if (!alive_) return;
  alive_ = false;
  loop_->remove(control_.get());
  control_.reset();
  log::warn("user network: skerry-net is lost: {}; the guest's link is down until the VM is started again", why);
  card_->link_changed(false);
  wake_card();
}

std::vector<std::string> arguments_of(const BackendOptions& options) {
  std::vector<std::string> arguments{"--user"};
  if (options.restricted) arguments.emplace_back("--restrict");
  for (const PortForward& forward : options.forwards)
    arguments.push_back(fmt::format("--forward={},{},{},{},{}", forward.udp ? "udp" : "tcp", forward.host_address,
                                    forward.host_port, forward.guest_address, forward.guest_port));
  return arguments;
}

}  // namespace

std::unique_ptr<Backend> attach_user(RingMemory memory, UniqueFd wake, UniqueFd wake_helper, UniqueFd control) {
  return std::make_unique<UserBackend>(std::move(memory), std::move(wake), std::move(wake_helper), std::move(control));
}

Result<std::unique_ptr<Backend>> open_user(const BackendOptions& options) {
  auto memory = RingMemory::create();
  if (!memory) return std::move(memory).error();
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), wake_helper(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake || !wake_helper) return errno_error(errno, "cannot create an eventfd");
  auto control = start_helper(arguments_of(options), {memory->fd(), wake_helper.get(), wake.get()});
  if (!control) return std::move(control).error();
  return attach_user(std::move(*memory), std::move(wake), std::move(wake_helper), std::move(*control));
}

}  // namespace skerry::net
