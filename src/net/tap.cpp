#include "net/tap.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.hpp"
#include "net/checksum.hpp"
#include "net/delivery.hpp"
#include "net/tun.hpp"

namespace skerry::net {

namespace {

constexpr unsigned kFramesAtOnce = 64;  // for the guest, before the loop turns to something else
constexpr size_t kMaxParts = 64;        // of one frame without making it one piece first

class Tap final : public Backend {
 public:
  Tap(UniqueFd fd, std::string name, bool has_header, Offloads offloads, uint16_t mtu)
      : fd_(std::move(fd)), name_(std::move(name)), has_header_(has_header), offloads_(offloads), mtu_(mtu) {}
  ~Tap() override { stop(); }

  Result<void> start(EventLoop& loop, Card& card) override;
  void stop() override;
  bool send(const FrameHeader& header, std::span<const iovec> frame) override;
  void card_has_room() override;
  Offloads offloads() const override { return offloads_; }
  // The kernel goes on giving everything: a sandbox does not let the tap be told. Delivery does the rest.
  void set_guest_offloads(Offloads offloads) override { delivery_.set_offloads(offloads); }
  bool link_up() const override { return !lost_; }
  uint16_t mtu() const override { return mtu_; }

 private:
  void on_ready(uint32_t events);
  void receive_frames();
  bool write_parts(std::span<const iovec> parts);
  void watch();

  UniqueFd fd_;
  const std::string name_;
  const bool has_header_;
  const Offloads offloads_;
  const uint16_t mtu_;
  EventLoop* loop_ = nullptr;  // while started
  Card* card_ = nullptr;
  Delivery delivery_;
  bool waits_for_room_ = false;
  bool lost_ = false;  // the interface has been removed
  std::array<uint8_t, kMaxFrame> frame_, out_;
};

Result<void> Tap::start(EventLoop& loop, Card& card) {
  card_ = &card;
  delivery_.attach(&card);
  if (lost_) return ok();
  const uint32_t events = EPOLLIN | (waits_for_room_ ? uint32_t{EPOLLOUT} : 0u);
  auto added = loop.add(fd_.get(), events, [this](uint32_t ready) { on_ready(ready); });
  if (!added) return std::move(added).error().in(fmt::format("tap '{}'", name_));
  loop_ = &loop;
  return ok();
}

void Tap::stop() {
  if (loop_) loop_->remove(fd_.get());
  loop_ = nullptr;
}

void Tap::watch() {
  if (!loop_) return;
  const uint32_t in = delivery_.blocked() ? 0u : uint32_t{EPOLLIN};
  const uint32_t out = waits_for_room_ ? uint32_t{EPOLLOUT} : 0u;
  loop_->modify(fd_.get(), in | out);
}

void Tap::on_ready(uint32_t events) {
  if (events & EPOLLOUT && waits_for_room_) {
    waits_for_room_ = false;
    watch();
    card_->backend_has_room();
  }
  if (loop_ && events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive_frames();
}

void Tap::receive_frames() {
  if (delivery_.blocked() && !delivery_.resume()) return watch();  // kept from before a stop
  for (unsigned taken = 0; taken < kFramesAtOnce && !delivery_.blocked(); ++taken) {
    FrameHeader header;
    iovec parts[2] = {{&header, sizeof header}, {frame_.data(), frame_.size()}};
    const ssize_t got = has_header_ ? ::readv(fd_.get(), parts, 2) : ::readv(fd_.get(), parts + 1, 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got < 0) {
      // EBADFD: somebody has removed the interface.
      log::warn("tap '{}' is lost: {}; the guest's link is down", name_, std::strerror(errno));
      stop();
      lost_ = true;
      return card_->link_changed(false);
    }
    const size_t size = static_cast<size_t>(got) - (has_header_ ? sizeof header : 0);
    if (size < kEthernetHeader || size > frame_.size()) continue;
    (void)delivery_.deliver(header, {frame_.data(), size});
  }
  if (delivery_.blocked()) watch();
}

void Tap::card_has_room() {
  if (loop_ && delivery_.blocked() && delivery_.resume()) watch();
}

bool Tap::send(const FrameHeader& header, std::span<const iovec> frame) {
  const size_t size = total_size(frame);
  if (lost_ || size < kEthernetHeader || size > kMaxFrame) return true;
  FrameHeader left = header;
  iovec whole{};
  if (!has_header_ || frame.size() >= kMaxParts) {
    const auto gathered = gather(frame, out_);
    if (!gathered) return true;
    if (!has_header_ && (header.gso_type != FrameHeader::kGsoNone || !complete_checksum(left, *gathered))) return true;
    whole = {gathered->data(), gathered->size()};
    frame = {&whole, 1};
  }
  std::array<iovec, kMaxParts> parts;
  size_t count = 0;
  if (has_header_) parts[count++] = {&left, sizeof left};
  for (const iovec& part : frame) parts[count++] = part;
  return write_parts({parts.data(), count});
}

// Errors but "later" are about this frame (a header that the kernel refuses), or the interface is down: dropped, as on
// a cable that is not plugged in.
bool Tap::write_parts(std::span<const iovec> parts) {
  if (::writev(fd_.get(), parts.data(), static_cast<int>(parts.size())) >= 0 || errno != EAGAIN) return true;
  waits_for_room_ = true;
  watch();
  return false;
}

uint16_t mtu_of(const std::string& name) {
  constexpr uint16_t kUsual = 1500;
  const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
  if (!any || ::ioctl(any.get(), SIOCGIFMTU, &request) != 0) return kUsual;
  // virtio 1.2, 5.1.4.1: between 68 and 65535. Frames have to fit our buffers too.
  return static_cast<uint16_t>(std::clamp(request.ifr_mtu, 68, 65521));
}

// What the kernel agrees to do, and to give, all at once: TUNSETOFFLOAD is about frames for the guest.
Result<Offloads> set_up_header(int fd, const std::string& name) {
  int size = sizeof(FrameHeader);
  if (::ioctl(fd, TUNSETVNETHDRSZ, &size) != 0)
    return errno_error(errno, fmt::format("tap '{}': cannot set the size of its frames' headers", name));
  if (::ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) != 0) return Offloads{};
  return Offloads{.checksum = true, .tso4 = true, .tso6 = true, .ufo = false};
}

}  // namespace

Result<std::unique_ptr<Backend>> make_tap(UniqueFd fd, const std::string& name) {
  ifreq about{};
  if (::ioctl(fd.get(), TUNGETIFF, &about) != 0 || !(about.ifr_flags & IFF_TAP))
    return error("{} is no Ethernet tap; pass a descriptor of /dev/net/tun that is attached to a tap (IFF_TAP)", name);
  if (!(about.ifr_flags & IFF_NO_PI))
    return error("{} puts packet information before its frames; open it with IFF_NO_PI", name);
  const bool has_header = about.ifr_flags & IFF_VNET_HDR;
  Offloads offloads;
  if (has_header) {
    auto agreed = set_up_header(fd.get(), name);
    if (!agreed) return std::move(agreed).error();
    offloads = *agreed;
  }
  const uint16_t mtu = mtu_of(about.ifr_name);
  return std::unique_ptr<Backend>(std::make_unique<Tap>(std::move(fd), name, has_header, offloads, mtu));
}

Result<std::unique_ptr<Backend>> open_tap(const std::string& name) {
  if (!is_interface_name(name))
    return error("'{}' cannot be the name of a tap: 1 to {} characters, no '/', ':' or space", name, IFNAMSIZ - 1);
  if (::if_nametoindex(name.c_str()) == 0)
    return error("there is no interface '{0}'; have root make it: ip tuntap add {0} mode tap user {1}; "
                 "ip link set {0} up",
                 name, ::getuid());
  std::string same = name;
  auto fd = open_tun(same);
  if (!fd) return std::move(fd).error();
  return make_tap(std::move(*fd), name);
}

Result<std::unique_ptr<Backend>> open_tap_fd(int fd) {
  UniqueFd owned(fd);
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return error("descriptor {} is not open; pass the number of a descriptor that skerry-vm inherits", fd);
  ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return make_tap(std::move(owned), fmt::format("descriptor {}", fd));
}

}  // namespace skerry::net
