// The command line of skerry-net.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "net/factory.hpp"

namespace skerry::net::user {

struct Options {
  bool user = false;  // be the user network; else:
  std::string dial;        // connect to this socket; else:
  std::string dial_ports;  // connect to sockets with this and a port in their names
  bool restricted = false;
  std::vector<PortForward> forwards;
  std::optional<int> exit;  // nothing more to do
};

Result<Options> parse_options(int argc, char** argv);

// "tcp,ADDRESS,PORT,GUEST ADDRESS,PORT"; addresses may be empty.
Result<PortForward> parse_forward(std::string_view text);

}  // namespace skerry::net::user
