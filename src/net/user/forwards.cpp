#include "net/user/forwards.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "net/user/port_owner.hpp"

namespace skerry::net::user {

namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  bool ipv6() const { return storage.ss_family == AF_INET6; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Result<Address> make_address(const std::string& text, uint16_t port) {
  Address address;
  sockaddr_in ipv4{};
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = htons(port);
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(port);
  if (::inet_pton(AF_INET, text.c_str(), &ipv4.sin_addr) == 1) {
    std::memcpy(&address.storage, &ipv4, sizeof ipv4);
    address.size = sizeof ipv4;
  } else if (::inet_pton(AF_INET6, text.c_str(), &ipv6.sin6_addr) == 1) {
    std::memcpy(&address.storage, &ipv6, sizeof ipv6);
    address.size = sizeof ipv6;
  } else {
    return error("hostfwd: '{}' is no IP address; write numbers, such as 127.0.0.1 or ::1", text);
  }
  return address;
}

Error cannot_listen(int number, const PortForward& forward, const std::string& where) {
  if (number == EADDRINUSE)
    return error("host port {} ({}) is taken by {}; choose another", where, forward.udp ? "udp" : "tcp",
                 port_owner(forward.udp, forward.host_port));
  if (number == EACCES)
    return error("host port {} may not be taken by user {}: ports below the number in "
                 "/proc/sys/net/ipv4/ip_unprivileged_port_start are for root; choose one of 1024 and up",
                 where, ::getuid());
  if (number == EADDRNOTAVAIL)
    return error("host port {}: the host has no such address; ip address lists those it has", where);
  return errno_error(number, fmt::format("host port {}: cannot listen there", where));
}

Result<void> add_forward(Slirp& slirp, const PortForward& forward) {
  const std::string host_text = forward.host_address.empty() ? "127.0.0.1" : forward.host_address;
  const auto host = make_address(host_text, forward.host_port);
  if (!host) return host.error();
  // The wildcard is libslirp's word for the guest's first address.
  const char* any = host->ipv6() ? "::" : "0.0.0.0";
  const auto guest = make_address(forward.guest_address.empty() ? any : forward.guest_address, forward.guest_port);
  if (!guest) return guest.error();
  if (host->ipv6() != guest->ipv6())
    return error("hostfwd: {} and {} are not of one family; forward IPv4 to IPv4, or IPv6 to IPv6", host_text,
                 forward.guest_address);
  const int flags = (forward.udp ? SLIRP_HOSTFWD_UDP : 0) | (host->ipv6() ? SLIRP_HOSTFWD_V6ONLY : 0);
  if (::slirp_add_hostxfwd(&slirp, host->get(), host->size, guest->get(), guest->size, flags) == 0) return ok();
  const int number = errno;
  const std::string where = fmt::format(fmt::runtime(host->ipv6() ? "[{}]:{}" : "{}:{}"), host_text, forward.host_port);
  return cannot_listen(number, forward, where);
}

}  // namespace

Result<void> add_forwards(Slirp& slirp, std::span<const PortForward> forwards) {
  for (const PortForward& forward : forwards)
    if (auto added = add_forward(slirp, forward); !added) return added;
  return ok();
}

}  // namespace skerry::net::user
