// Opens what a network card's cable leads to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "net/backend.hpp"

namespace skerry::net {

// A port of the host that leads to a port of the guest.
struct PortForward {
  bool udp = false;
  std::string host_address;  // numeric, IPv4 or IPv6; empty: 127.0.0.1
  uint16_t host_port = 0;
  std::string guest_address;  // numeric, of the same family; empty: the guest's first address
  uint16_t guest_port = 0;
};

struct BackendOptions {
  enum class Type : uint8_t { kUser, kTap, kBridge, kSocket };
  Type type = Type::kUser;
  std::string name;         // of kTap: the interface; of kBridge: the bridge
  int fd = -1;              // of kTap, instead of a name: an open descriptor, which becomes the backend's
  std::string path;         // of kSocket: the unix socket
  bool listen = false;      // of kSocket: this end waits for the other
  bool restricted = false;  // of kUser: nothing but forwarded ports
  std::vector<PortForward> forwards;  // of kUser
};

// Opens devices and sockets, takes ports, starts processes: all that a sandbox forbids. Reads, writes and accept4() are
// left for later. Call it on the thread that ends last: a helper process ends with the thread that started it.
// Errors begin with "--net".
Result<std::unique_ptr<Backend>> open_backend(const BackendOptions& options);

}  // namespace skerry::net
