#include "net/socket.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.hpp"
#include "base/passed_fd.hpp"
#include "base/unix_socket.hpp"
#include "net/checksum.hpp"
#include "net/delivery.hpp"
#include "net/frame_stream.hpp"
#include "net/helper.hpp"

namespace skerry::net {

namespace {

constexpr unsigned kReadsAtOnce = 16;  // before the loop turns to something else

class Cable final : public Backend {
 public:
  // `source` is where connections come from: a listening socket, or the control socket of a skerry-net that dials.
  Cable(UniqueFd source, bool listens, std::string path)
      : source_(std::move(source)), listens_(listens), path_(std::move(path)) {}
  ~Cable() override { stop(); }

  Result<void> start(EventLoop& loop, Card& card) override;
  void stop() override;
  bool send(const FrameHeader& header, std::span<const iovec> frame) override;
  void card_has_room() override;
  Offloads offloads() const override { return {}; }
  void set_guest_offloads(Offloads) override {}  // frames on this cable are complete
  bool link_up() const override { return static_cast<bool>(peer_); }

 private:
  Result<void> watch_source();
  void on_source();
  UniqueFd dialled();
  void connected(UniqueFd peer);
  void on_peer(uint32_t events);
  void read_frames(uint32_t events);
  bool deliver_frames();
  void flush();
  void disconnect(std::string_view why);
  void watch();

  UniqueFd source_;
  const bool listens_;
  const std::string path_;
  UniqueFd peer_;  // the other end, while there is one
  EventLoop* loop_ = nullptr;  // while started
  Card* card_ = nullptr;
  Delivery delivery_;
  FrameReader reader_;
  FrameRest rest_;
  bool waits_for_room_ = false;
  bool complained_ = false;
  std::array<uint8_t, kMaxFrame> out_;
};

Result<void> Cable::start(EventLoop& loop, Card& card) {
  card_ = &card;
  delivery_.attach(&card);
  loop_ = &loop;
  if (!peer_) return watch_source();
  const uint32_t events = EPOLLIN | (rest_.empty() ? 0u : uint32_t{EPOLLOUT});
  auto added = loop.add(peer_.get(), events, [this](uint32_t ready) { on_peer(ready); });
  if (!added) return std::move(added).error().in(fmt::format("socket '{}'", path_));
  return ok();
}

void Cable::stop() {
  if (loop_) loop_->remove(peer_ ? peer_.get() : source_.get());
  loop_ = nullptr;
}

// Only while there is no peer: one who comes meanwhile waits in the kernel's queue.
Result<void> Cable::watch_source() {
  if (!source_) return ok();
  auto added = loop_->add(source_.get(), EPOLLIN, [this](uint32_t) { on_source(); });
  if (!added) return std::move(added).error().in(fmt::format("socket '{}'", path_));
  return ok();
}

void Cable::on_source() {
  UniqueFd peer = listens_ ? UniqueFd(::accept4(source_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC))
                           : dialled();
  if (peer) connected(std::move(peer));
}

// skerry-net sends a connected socket with each of its messages.
UniqueFd Cable::dialled() {
  char byte = 0;
  UniqueFd peer;
  const ssize_t got = receive_with_fd(source_.get(), &byte, 1, peer, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (got <= 0) {
    log::warn("socket '{}': skerry-net, which connects to it, has ended; the guest's link stays down", path_);
    loop_->remove(source_.get());
    source_.reset();
    return {};
  }
  return peer;
}

void Cable::connected(UniqueFd peer) {
  loop_->remove(source_.get());
  peer_ = std::move(peer);
  reader_.reset();
  rest_.reset();
  if (!loop_->add(peer_.get(), EPOLLIN, [this](uint32_t events) { on_peer(events); })) return peer_.reset();
  card_->link_changed(true);
}

void Cable::disconnect(std::string_view why) {
  if (!why.empty() && !std::exchange(complained_, true))
    log::warn("socket '{}': {}; the connection is closed. Other ends like this one are not reported", path_, why);
  loop_->remove(peer_.get());
  peer_.reset();
  if (!listens_) (void)::send(source_.get(), "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);  // dial again
  (void)watch_source();
  card_->link_changed(false);
  if (std::exchange(waits_for_room_, false)) card_->backend_has_room();
}

void Cable::watch() {
  const uint32_t in = delivery_.blocked() ? 0u : uint32_t{EPOLLIN};
  const uint32_t out = rest_.empty() ? 0u : uint32_t{EPOLLOUT};
  loop_->modify(peer_.get(), in | out);
}

void Cable::on_peer(uint32_t events) {
  if (events & EPOLLOUT) flush();
  if (peer_ && loop_ && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_frames(events);
}

void Cable::read_frames(uint32_t events) {
  if (delivery_.blocked()) {  // kept from before a stop; or the peer has gone, and what it sent last is lost with it
    if (events & (EPOLLHUP | EPOLLERR)) return disconnect({});
    if (!delivery_.resume() || !deliver_frames()) return peer_ ? watch() : void();
  }
  for (unsigned reads = 0; reads < kReadsAtOnce && peer_ && loop_; ++reads) {
    const std::span<uint8_t> space = reader_.space();
    const ssize_t got = ::recv(peer_.get(), space.data(), space.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return disconnect({});
    reader_.filled(static_cast<size_t>(got));
    if (!deliver_frames() || static_cast<size_t>(got) < space.size()) return;
  }
}

// False: the card has no room, or the peer is gone.
bool Cable::deliver_frames() {
  for (;;) {
    std::span<uint8_t> frame;
    const FrameReader::Got got = reader_.next(frame);
    if (got == FrameReader::Got::kNothing) return true;
    if (got == FrameReader::Got::kBroken) {
      disconnect("the other end has sent a length that no frame has");
      return false;
    }
    if (frame.size() < kEthernetHeader || delivery_.deliver({}, frame)) continue;
    watch();
    return false;
  }
}

void Cable::card_has_room() {
  if (!loop_ || !delivery_.blocked() || !delivery_.resume() || !peer_) return;
  if (deliver_frames()) watch();
}

bool Cable::send(const FrameHeader& header, std::span<const iovec> frame) {
  const size_t size = total_size(frame);
  if (!peer_ || size < kEthernetHeader || size > kMaxFrame || header.gso_type != FrameHeader::kGsoNone) return true;
  if (!rest_.empty()) {
    waits_for_room_ = true;
    return false;
  }
  const auto whole = gather(frame, out_);
  FrameHeader left = header;
  if (!whole || !complete_checksum(left, *whole)) return true;
  uint8_t length[kStreamLength];
  store_be32(length, static_cast<uint32_t>(size));
  const iovec parts[] = {{length, sizeof length}, {whole->data(), whole->size()}};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = std::size(parts);
  const ssize_t sent = ::sendmsg(peer_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return true;  // it has gone: reading will say so
  if (sent == static_cast<ssize_t>(size + kStreamLength)) return true;
  rest_.keep(parts, sent < 0 ? 0 : static_cast<size_t>(sent));
  if (loop_) watch();
  return true;  // it is ours now
}

void Cable::flush() {
  const auto left = rest_.left();
  const ssize_t sent = left.empty() ? 0 : ::send(peer_.get(), left.data(), left.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN && errno != EINTR) disconnect({});
    return;
  }
  rest_.sent(static_cast<size_t>(sent));
  if (!rest_.empty()) return;
  watch();
  if (std::exchange(waits_for_room_, false)) card_->backend_has_room();
}

}  // namespace

Result<std::unique_ptr<Backend>> listen_socket(const std::string& path) {
  auto listener = listen_unix(fmt::format("socket '{}'", path), path, 1);
  if (!listener) return std::move(listener).error();
  return std::unique_ptr<Backend>(std::make_unique<Cable>(std::move(*listener), true, path));
}

Result<std::unique_ptr<Backend>> dial_socket(const std::string& path) {
  if (auto address = unix_address(fmt::format("socket '{}'", path), path); !address) return std::move(address).error();
  auto control = start_helper({"--dial=" + path}, {});
  if (!control) return std::move(control).error();
  return std::unique_ptr<Backend>(std::make_unique<Cable>(std::move(*control), false, path));
}

}  // namespace skerry::net
