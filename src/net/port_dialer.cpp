#include "net/port_dialer.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/log.hpp"
#include "base/passed_fd.hpp"
#include "base/unix_socket.hpp"
#include "net/helper.hpp"

namespace skerry::net {

// A question is a port's four bytes; so is its answer, with a descriptor if there is one.

Result<PortDialer> PortDialer::start(const std::string& prefix) {
  constexpr std::string_view kLongest = "_4294967295";
  if (prefix.size() + kLongest.size() >= sizeof(sockaddr_un::sun_path))
    return error("with a port behind it the path is longer than a socket's may be; use a shorter one");
  auto control = start_helper({"--dial-ports=" + prefix}, {});
  if (!control) return std::move(control).error();
  return PortDialer(std::move(*control));
}

bool PortDialer::ask(uint32_t port) {
  if (!control_ || asked_ >= kMostAsked) return false;
  if (::send(control_.get(), &port, sizeof port, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof port) return false;
  ++asked_;
  return true;
}

Result<void> PortDialer::watch(EventLoop& loop, std::function<void(UniqueFd)> answered) {
  answered_ = std::move(answered);
  if (watched_ || !control_) return ok();
  auto added = loop.add(control_.get(), EPOLLIN, [this, &loop](uint32_t) { hear(loop); });
  watched_ = static_cast<bool>(added);
  return added;
}

void PortDialer::forget(EventLoop& loop) {
  if (std::exchange(watched_, false)) loop.remove(control_.get());
}

void PortDialer::hear(EventLoop& loop) {
  uint32_t port = 0;
  UniqueFd connected;
  const ssize_t got = receive_with_fd(control_.get(), &port, sizeof port, connected, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0 && asked_ > 0) {
    --asked_;
    return answered_(std::move(connected));
  }
  log::warn("skerry-net, which connects sockets for the guest, has ended; the guest reaches no more of them");
  forget(loop);
  control_.reset();
  for (; asked_ > 0; --asked_) answered_(UniqueFd());
}

bool answer_dial(int control, const std::string& prefix) {
  uint32_t port = 0;
  const ssize_t got = ::recv(control, &port, sizeof port, 0);
  if (got < 0 && errno == EINTR) return true;
  if (got != sizeof port) return false;
  UniqueFd peer;
  // Non-blocking: one who listens and does not accept must not keep the others waiting.
  if (const auto address = unix_address("port", fmt::format("{}_{}", prefix, port))) peer = connect_unix(*address);
  return send_with_fd(control, &port, sizeof port, peer.get()) == sizeof port;
}

}  // namespace skerry::net
