#include "net/user/options.hpp"

#include <getopt.h>

#include <array>
#include <cstdio>

#include "base/units.hpp"

namespace skerry::net::user {

namespace {

constexpr const char* kUsage = R"(Usage: skerry-net --user [--restrict] [--forward=PROTOCOL,ADDRESS,PORT,GUEST,PORT]...
       skerry-net --dial=PATH
       skerry-net --dial-ports=PREFIX

The network side of one virtual machine, in a process of its own. skerry-vm starts it, with sockets and memory on
descriptors 3 to 6; see docs/network.md. It ends when skerry-vm does.

  --user            be the network behind `skerry run --net user`
  --restrict        let nothing through but forwarded ports
  --forward=...     a port of the host that leads to a port of the guest
  --dial=PATH       connect to a unix socket for skerry-vm, whenever it asks
  --dial-ports=...  connect to the unix socket PREFIX_PORT for skerry-vm, for each port that it asks for
  --help            this text
)";

}  // namespace

Result<PortForward> parse_forward(std::string_view text) {
  std::array<std::string_view, 5> fields;
  for (size_t i = 0; i < fields.size(); ++i) {
    const size_t comma = text.find(',');
    if ((comma == text.npos) != (i + 1 == fields.size())) return error("--forward takes five fields, not '{}'", text);
    fields[i] = text.substr(0, comma);
    text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
  }
  const auto host_port = parse_number(fields[2]), guest_port = parse_number(fields[4]);
  if (fields[0] != "tcp" && fields[0] != "udp") return error("--forward: '{}' is neither tcp nor udp", fields[0]);
  if (!host_port || *host_port == 0 || *host_port > 0xffff) return error("--forward: '{}' is no port", fields[2]);
  if (!guest_port || *guest_port == 0 || *guest_port > 0xffff) return error("--forward: '{}' is no port", fields[4]);
  return PortForward{.udp = fields[0] == "udp",
                     .host_address = std::string(fields[1]),
                     .host_port = static_cast<uint16_t>(*host_port),
                     .guest_address = std::string(fields[3]),
                     .guest_port = static_cast<uint16_t>(*guest_port)};
}

Result<Options> parse_options(int argc, char** argv) {
  constexpr option kOptions[] = {{"user", no_argument, nullptr, 'u'},       {"dial", required_argument, nullptr, 'd'},
                                 {"restrict", no_argument, nullptr, 'r'},   {"help", no_argument, nullptr, 'h'},
                                 {"dial-ports", required_argument, nullptr, 'p'},
                                 {"forward", required_argument, nullptr, 'f'}, {}};
  Options options;
  for (int found; (found = ::getopt_long(argc, argv, "h", kOptions, nullptr)) != -1;) {
    switch (found) {
      case 'u': options.user = true; break;
      case 'd': options.dial = ::optarg; break;
      case 'p': options.dial_ports = ::optarg; break;
      case 'r': options.restricted = true; break;
      case 'f': {
        auto forward = parse_forward(::optarg);
        if (!forward) return std::move(forward).error();
        options.forwards.push_back(std::move(*forward));
        break;
      }
      case 'h':
        std::fputs(kUsage, stdout);
        options.exit = 0;
        break;
      default: options.exit = 2;
    }
  }
  const int roles = options.user + !options.dial.empty() + !options.dial_ports.empty();
  if (!options.exit && (::optind != argc || roles != 1)) {
    std::fputs(kUsage, stderr);
    options.exit = 2;
  }
  return options;
}

}  // namespace skerry::net::user
