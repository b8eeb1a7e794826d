#include "vm/socket_server.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.hpp"
#include "base/unix_socket.hpp"

namespace skerry::vm {

namespace {

constexpr int kBacklog = 4;
constexpr size_t kMostDescriptors = 16;  // passed at once

struct AddressListDelete {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

Result<std::unique_ptr<addrinfo, AddressListDelete>> resolve(std::string_view role, const std::string& host,
                                                             uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const std::string service = fmt::format("{}", port);
  const int failed = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &list);
  if (failed) return error("{}: cannot find the host '{}': {}", role, host, ::gai_strerror(failed));
  return std::unique_ptr<addrinfo, AddressListDelete>(list);
}

uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

}  // namespace

Result<std::unique_ptr<SocketServer>> SocketServer::listen_unix(std::string_view role, const std::string& path) {
  auto listener = skerry::listen_unix(fmt::format("{} 'unix:{}'", role, path), path, kBacklog);
  if (!listener) return std::move(listener).error();
  return std::unique_ptr<SocketServer>(new SocketServer(std::string(role), *std::move(listener)));
}

Result<std::unique_ptr<SocketServer>> SocketServer::listen_tcp(std::string_view role, const std::string& host,
                                                               uint16_t port) {
  const std::string where = host.empty() ? "127.0.0.1" : host;
  auto list = resolve(role, where, port);
  if (!list) return std::move(list).error();
  const addrinfo& address = **list;
  UniqueFd listener(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) return errno_error(errno, "cannot create a socket");
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(listener.get(), kBacklog) != 0)
    return errno_error(errno, fmt::format("{} 'tcp:{}:{}': cannot listen there", role, host, port));
  std::unique_ptr<SocketServer> server(new SocketServer(std::string(role), std::move(listener)));
  server->tcp_ = true;
  server->port_ = bound_port(server->listener_.get());
  return server;
}

SocketServer::~SocketServer() {
  if (!loop_) return;
  if (client_)
    loop_->remove(client_.get());
  else
    loop_->remove(listener_.get());
}

Result<void> SocketServer::start(EventLoop& loop, Handler handler) {
  loop_ = &loop;
  handler_ = std::move(handler);
  if (auto added = loop.add(listener_.get(), EPOLLIN, [this](uint32_t) { accept_client(); }); !added) {
    loop_ = nullptr;
    return std::move(added).error().in(role_);
  }
  return ok();
}

void SocketServer::accept_client() {
  UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client) return;
  if (tcp_) {  // both protocols are of small messages and answers
    const int on = 1;
    ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  loop_->remove(listener_.get());
  client_ = std::move(client);
  output_.clear();
  overflowed_ = false;
  auto added = loop_->add(client_.get(), EPOLLIN, [this](uint32_t events) { client_event(events); });
  if (!added) return drop_client();
  handler_.connected();
}

void SocketServer::client_event(uint32_t events) {
  if (overflowed_) {
    log::warn("{}: the client does not read what it is sent; it has been disconnected", role_);
    return drop_client();
  }
  bool alive = true;
  if (events & EPOLLOUT) alive = write_some();
  if (alive && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = read_some() && write_some();
  if (!alive) return drop_client();
  watch();
}

bool SocketServer::read_some() {
  std::array<char, 16384> buffer;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control;
  iovec data{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(client_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  take_descriptors(message);
  if (got == 0) return false;
  handler_.received({buffer.data(), static_cast<size_t>(got)});
  return true;
}

// Each of them has an owner at once. The kernel has closed those that did not fit.
void SocketServer::take_descriptors(const msghdr& message) {
  for (const cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(part))) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= part->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<const char*>(part) + at, sizeof fd);
      UniqueFd owned(fd);
      if (handler_.descriptor) handler_.descriptor(std::move(owned));
    }
  }
}

bool SocketServer::write_some() {
  while (!output_.empty()) {
    const ssize_t put = ::send(client_.get(), output_.data(), output_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno == EAGAIN;
    output_.erase(0, static_cast<size_t>(put));
  }
  return true;
}

void SocketServer::watch() {
  uint32_t events = 0;
  if (output_.size() < kStopReading) events |= EPOLLIN;
  if (!output_.empty()) events |= EPOLLOUT;
  loop_->modify(client_.get(), events);
}

// Never disconnects by itself: the caller may be in the midst of handling what that client sent. A broken connection
// is noticed by its next event.
void SocketServer::send(std::string_view bytes) {
  if (!client_ || overflowed_) return;
  if (output_.size() + bytes.size() > kTooMuch) {
    overflowed_ = true;
    ::shutdown(client_.get(), SHUT_RDWR);
  } else {
    output_.append(bytes);
    write_some();
  }
  watch();
}

void SocketServer::drop_client() {
  loop_->remove(client_.get());
  client_.reset();
  output_.clear();
  handler_.disconnected();
  [[maybe_unused]] auto added = loop_->add(listener_.get(), EPOLLIN, [this](uint32_t) { accept_client(); });
}

void SocketServer::flush(int limit_ms) {
  const int64_t end = VmClock::host_now() + int64_t{limit_ms} * 1'000'000;
  while (client_ && !output_.empty() && write_some() && !output_.empty()) {
    const int64_t left = (end - VmClock::host_now()) / 1'000'000;
    pollfd wait{client_.get(), POLLOUT, 0};
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) <= 0) return;
  }
}

}  // namespace skerry::vm
