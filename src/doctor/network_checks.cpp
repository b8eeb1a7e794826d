// Networks of guests: taps, bridges, what the kernel does for them.
#include <algorithm>

#include "doctor/network.hpp"
#include "doctor/remedies.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {

constexpr std::string_view kInterfaces = "/sys/class/net";
constexpr std::string_view kFilterSetting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
constexpr std::string_view kForwardSetting = "/proc/sys/net/ipv4/ip_forward";

// A card, or what cards are put together to. Taps and veths lead to guests and containers.
bool leads_out(const Host& host, const std::string& interface) {
  const std::string folder = fmt::format("{}/{}", kInterfaces, interface);
  if (host.has(folder + "/device") || host.has(folder + "/bonding")) return true;
  const auto about = host.text(folder + "/uevent");
  return about && about->find("DEVTYPE=vlan") != about->npos;
}

std::string names_of(const std::vector<Bridge>& all) {
  std::vector<std::string> names;
  for (const Bridge& bridge : all) names.push_back(bridge.name);
  return printable(fmt::format("{}", fmt::join(names, ", ")));
}

std::string how_to_set(std::string_view setting) {
  return fmt::format("as root: sysctl {0}; at each start: echo {0} >> /etc/sysctl.d/60-skerry.conf", setting);
}

}  // namespace

std::vector<Bridge> bridges(const Host& host) {
  std::vector<Bridge> found;
  for (const std::string& name : host.names(kInterfaces)) {
    const std::string folder = fmt::format("{}/{}", kInterfaces, name);
    if (!host.has(folder + "/bridge")) continue;
    const auto ports = host.names(folder + "/brif");
    found.push_back(
        {name, std::any_of(ports.begin(), ports.end(), [&](const auto& port) { return leads_out(host, port); })});
  }
  return found;
}

bool bridges_are_filtered(const Host& host) { return host.number(kFilterSetting) == 1; }

bool forwards(const Host& host) { return host.number(kForwardSetting) == 1; }

std::optional<Finding> check_tun(const Host& host) {
  return look_at(host, {"/dev/net/tun", "tun", "tun", "CONFIG_TUN"},
                 "no --net tap= and no --net bridge=, --net user needs neither");
}

std::optional<Finding> check_vhost_net(const Host& host) {
  return look_at(host, {"/dev/vhost-net", "vhost-net", "vhost_net", "CONFIG_VHOST_NET"},
                 "the kernel cannot move a tap's packets to a guest by itself");
}

std::optional<Finding> check_vhost_vsock(const Host& host) {
  return look_at(host, {"/dev/vhost-vsock", "vhost-vsock", "vhost_vsock", "CONFIG_VHOST_VSOCK"},
                 "the host's programs cannot reach guests by AF_VSOCK, --vsock unix:PATH needs no such thing");
}

std::optional<Finding> check_bridges(const Host& host) {
  if (!host.has(kInterfaces)) return not_told(host, error("there is no '{}'", kInterfaces));
  const auto found = bridges(host);
  if (found.empty())
    return fine("none; --net user needs none, ip link add br0 type bridge makes one for --net bridge=br0");
  return fine(names_of(found));
}

std::optional<Finding> check_bridge_filter(const Host& host) {
  if (host.presence(kFilterSetting) == Presence::kAbsent && host.has("/proc/sys/net"))
    return fine("bridges pass frames on as they are (no br_netfilter)");
  const auto value = host.number(kFilterSetting);
  if (!value) return not_told(host, error("'{}' cannot be read", kFilterSetting));
  if (*value == 0) return fine("0: bridges pass frames on as they are");
  const auto all = bridges(host);
  if (all.empty()) return fine(fmt::format("{}: the firewall sees frames of bridges, of which there are none", *value));
  return warning(
      fmt::format("{}: what {} pass on has to pass the firewall's rules for routed packets too", *value, names_of(all)),
      how_to_set("net.bridge.bridge-nf-call-iptables=0") +
          " (Docker sets it to 1 again unless it has no use for it), or accept the guests' frames in the firewall");
}

std::optional<Finding> check_forwarding(const Host& host) {
  const auto value = host.number(kForwardSetting);
  if (!value) return not_told(host, error("'{}' cannot be read", kForwardSetting));
  if (*value == 1) return fine("1: this host routes IPv4");
  std::vector<Bridge> inner;
  for (const Bridge& bridge : bridges(host))
    if (!bridge.uplink) inner.push_back(bridge);
  if (inner.empty()) return fine(fmt::format("{}: this host routes no IPv4, and no bridge depends on it", *value));
  return warning(fmt::format("{}: guests on {} reach no further than this host", *value, names_of(inner)),
                 how_to_set("net.ipv4.ip_forward=1") +
                     "; and a rule that gives them the host's address: nft add rule ip nat "
                     "postrouting oifname UPLINK masquerade");
}

std::optional<Finding> check_dnsmasq(const Host& host) {
  if (const auto program = host.program("dnsmasq")) return fine(*program);
  return warning(
      "not installed: guests on a bridge of this host's own get no addresses and names from it; --net user has its own",
      "apt install dnsmasq-base; elsewhere the package dnsmasq");
}

}  // namespace skerry::doctor
