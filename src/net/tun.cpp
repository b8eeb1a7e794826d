#include "net/tun.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace skerry::net {

namespace {

// Who may use a tap: its owner, in /sys. -1: nobody was named.
long owner_of(const std::string& name) {
  const std::string path = "/sys/class/net/" + name + "/owner";
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (!file) return -1;
  long owner = -1;
  if (std::fscanf(file, "%ld", &owner) != 1) owner = -1;
  std::fclose(file);
  return owner;
}

Error open_error(int number) {
  if (number == ENOENT || number == ENODEV || number == ENXIO)
    return error("/dev/net/tun is not there, without which there are no taps; load the module (modprobe tun), or in a "
                 "container pass the device in (--device /dev/net/tun)");
  if (number == EACCES || number == EPERM)
    return error("/dev/net/tun may not be opened by user {}; give the user the right to read and write it, or use "
                 "--net user", ::getuid());
  return errno_error(number, "cannot open /dev/net/tun");
}

Error attach_error(int number, const std::string& name, bool is_new) {
  if (number == EPERM && is_new)
    return error("a new tap may be made only with CAP_NET_ADMIN; start as root, or have root make a tap for you "
                 "(ip tuntap add tap0 mode tap user NAME; ip link set tap0 master BRIDGE up) and use --net tap=tap0");
  if (number == EPERM) {
    const long owner = owner_of(name);
    const std::string whose = owner < 0 ? "nobody's" : fmt::format("of user {}", owner);
    return error("tap '{0}' is {1}, and may be used by user {2} only with CAP_NET_ADMIN; have root make it again: ip "
                 "tuntap del {0} mode tap; ip tuntap add {0} mode tap user {2}", name, whose, ::getuid());
  }
  if (number == EBUSY) return error("tap '{}' is in use by another program; use a tap of its own for each card", name);
  if (number == EINVAL)
    return error("'{}' is no tap that this can use: it is another kind of interface, or a tap that was made for "
                 "several queues (multi_queue), of which a card here has one; see ip -d link show {}", name, name);
  return errno_error(number, fmt::format("tap '{}': cannot attach to it", name));
}

}  // namespace

bool is_interface_name(std::string_view name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(), [](char c) { return c == '/' || c == ':' || c == '%' || c <= ' '; });
}

Result<UniqueFd> open_tun(std::string& name) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return open_error(errno);
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return attach_error(errno, name, name.find('%') != name.npos);
  name = request.ifr_name;
  return fd;
}

}  // namespace skerry::net
