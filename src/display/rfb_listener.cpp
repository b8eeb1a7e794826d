#include "display/rfb_listener.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>

#include "base/unix_socket.hpp"

namespace skerry::display {

namespace {

constexpr int kBacklog = 64;
constexpr std::string_view kUnix = "unix:";
// A viewer whose host has gone is noticed: idle for so long, then so many probes; or what it was sent not acknowledged.
constexpr int kIdleSeconds = 60, kProbeSeconds = 15, kProbes = 4, kUnacknowledgedMs = 120'000;

struct AddressListDelete {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

struct HostAndPort {
  std::string host;
  uint16_t port = 0;
};

Result<HostAndPort> parse(const std::string& where) {
  const auto unusable = [&] {
    return error("screen '{}': say where viewers are waited for, as ADDRESS:PORT, [ADDRESS]:PORT for IPv6, or unix:PATH",
                 where);
  };
  const size_t colon = where.rfind(':');
  if (colon == std::string::npos) return unusable();
  HostAndPort parsed{where.substr(0, colon), 0};
  if (parsed.host.size() > 2 && parsed.host.front() == '[' && parsed.host.back() == ']')
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  else if (parsed.host.find_first_of(":[]") != std::string::npos)
    return unusable();
  const char* end = where.data() + where.size();
  const auto [stop, failure] = std::from_chars(where.data() + colon + 1, end, parsed.port);
  if (parsed.host.empty() || failure != std::errc() || stop != end || colon + 1 == where.size()) return unusable();
  return parsed;
}

void set(int socket, int level, int name, int value) { ::setsockopt(socket, level, name, &value, sizeof value); }

Result<RfbListener> open_tcp(const std::string& where) {
  const auto parsed = parse(where);
  if (!parsed) return parsed.error();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  const int failed = ::getaddrinfo(parsed->host.c_str(), std::to_string(parsed->port).c_str(), &hints, &list);
  if (failed) return error("screen '{}': cannot find the host '{}': {}", where, parsed->host, ::gai_strerror(failed));
  const std::unique_ptr<addrinfo, AddressListDelete> address(list);
  RfbListener listener;
  listener.socket = UniqueFd(::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener.socket) return errno_error(errno, fmt::format("screen '{}': cannot create a socket", where));
  const int socket = listener.socket.get();
  set(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, kIdleSeconds);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, kUnacknowledgedMs);
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (::bind(socket, address->ai_addr, address->ai_addrlen) != 0 || ::listen(socket, kBacklog) != 0)
    return errno_error(errno, fmt::format("screen '{}': cannot listen there", where));
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size) != 0)
    return errno_error(errno, fmt::format("screen '{}': cannot find out its port", where));
  listener.port = ntohs(bound.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(bound).sin_port
                                                   : reinterpret_cast<const sockaddr_in6&>(bound).sin6_port);
  return listener;
}

std::string name_of(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
    return fmt::format("{}:{}", text.data(), ntohs(four.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(six.sin6_port));
  }
  return "unix";
}

}  // namespace

Result<RfbListener> RfbListener::open(const std::string& where) {
  if (!where.starts_with(kUnix)) return open_tcp(where);
  auto socket = listen_unix(fmt::format("screen '{}'", where), where.substr(kUnix.size()), kBacklog);
  if (!socket) return std::move(socket).error();
  return RfbListener{std::move(*socket), 0};
}

UniqueFd RfbListener::accept(std::string& from) const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  UniqueFd connection(
      ::accept4(socket.get(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (connection) from = name_of(address);
  return connection;
}

}  // namespace skerry::display
