#include "net/bridge.hpp"

#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/tap.hpp"
#include "net/tun.hpp"

namespace skerry::net {

namespace {

ifreq request_about(const std::string& interface) {
  ifreq request{};
  std::memcpy(request.ifr_name, interface.data(), std::min(interface.size(), sizeof request.ifr_name - 1));
  return request;
}

// A bridge takes the smallest MTU of its ports: a new one must not make it smaller.
void take_mtu(int any, const std::string& bridge, const std::string& tap) {
  ifreq of_bridge = request_about(bridge), of_tap = request_about(tap);
  if (::ioctl(any, SIOCGIFMTU, &of_bridge) != 0) return;
  of_tap.ifr_mtu = of_bridge.ifr_mtu;
  (void)::ioctl(any, SIOCSIFMTU, &of_tap);
}

Result<void> join(int any, const std::string& bridge, const std::string& tap) {
  take_mtu(any, bridge, tap);
  ifreq request = request_about(bridge);
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(tap.c_str()));
  if (::ioctl(any, SIOCBRADDIF, &request) != 0) {
    if (errno == EPERM)
      return error("a port may be added to bridge '{}' only with CAP_NET_ADMIN; start as root, or use "
                   "--net tap=NAME with a tap that root has put into it",
                   bridge);
    if (errno == EOPNOTSUPP || errno == EINVAL)
      return error("'{}' is not a bridge; ip link show type bridge lists those that are there", bridge);
    return errno_error(errno, fmt::format("bridge '{}': cannot add the tap '{}'", bridge, tap));
  }
  ifreq flags = request_about(tap);
  if (::ioctl(any, SIOCGIFFLAGS, &flags) == 0) {
    flags.ifr_flags |= IFF_UP;
    if (::ioctl(any, SIOCSIFFLAGS, &flags) == 0) return ok();
  }
  return errno_error(errno, fmt::format("bridge '{}': cannot bring up the tap '{}'", bridge, tap));
}

}  // namespace

Result<std::unique_ptr<Backend>> open_bridge(const std::string& bridge) {
  if (!is_interface_name(bridge) || ::if_nametoindex(bridge.c_str()) == 0)
    return error("there is no bridge '{}'; make it (ip link add {} type bridge), or choose one of those that ip link "
                 "show type bridge lists",
                 bridge, is_interface_name(bridge) ? bridge : "br0");
  std::string tap = "skerry%d";  // the kernel puts the first number there that is free
  auto fd = open_tun(tap);
  if (!fd) return std::move(fd).error().in(fmt::format("bridge '{}'", bridge));
  const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any) return errno_error(errno, "cannot create a socket");
  if (auto joined = join(any.get(), bridge, tap); !joined) return std::move(joined).error();
  return make_tap(std::move(*fd), tap);
}

}  // namespace skerry::net
