// What the checks of the network share.
#pragma once

#include <string>
#include <vector>

#include "doctor/host.hpp"

namespace skerry::doctor {

struct Bridge {
  std::string name;
  bool uplink = false;  // a port of it leads out of this host
};
std::vector<Bridge> bridges(const Host& host);

// Whether what bridges pass on is shown to the firewall's rules for IPv4, as routed packets are.
bool bridges_are_filtered(const Host& host);
// Whether this host is a router of IPv4.
bool forwards(const Host& host);

}  // namespace skerry::doctor
