#include "net/factory.hpp"

#include "net/bridge.hpp"
#include "net/socket.hpp"
#include "net/tap.hpp"
#include "net/user.hpp"

namespace skerry::net {

namespace {
Result<std::unique_ptr<Backend>> open_of_type(const BackendOptions& options) {
  switch (options.type) {
    case BackendOptions::Type::kTap: return options.fd >= 0 ? open_tap_fd(options.fd) : open_tap(options.name);
    case BackendOptions::Type::kBridge: return open_bridge(options.name);
    case BackendOptions::Type::kSocket: return options.listen ? listen_socket(options.path) : dial_socket(options.path);
    case BackendOptions::Type::kUser: break;
  }
  return open_user(options);
}
}  // namespace

Result<std::unique_ptr<Backend>> open_backend(const BackendOptions& options) {
  auto backend = open_of_type(options);
  if (!backend) return std::move(backend).error().in("--net");
  return backend;
}

}  // namespace skerry::net
