#include "net/unix_path.hpp"

#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace skerry::net {

namespace {

Result<void> clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat about{};
  if (::lstat(path.c_str(), &about) != 0) return ok();
  if (!S_ISSOCK(about.st_mode))
    return error("socket '{}': something that is no socket is there; remove it, or use another path", path);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!probe) return errno_error(errno, "cannot create a socket");
  const int connected = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  // EAGAIN: somebody listens, and has more callers than it wants. EPROTOTYPE: it is no stream.
  if (connected == 0 || errno == EAGAIN || errno == EPROTOTYPE)
    return error("socket '{}': another program is listening there; use another path, or leave out listen", path);
  if (errno != ECONNREFUSED) return errno_error(errno, fmt::format("socket '{}': cannot reuse it", path));
  if (::unlink(path.c_str()) != 0)
    return errno_error(errno, fmt::format("socket '{}': cannot remove the stale socket", path));
  return ok();
}

}  // namespace

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty()) return error("socket: there is no path; say where the other end is (path=FILE)");
  if (path.size() >= sizeof address.sun_path)
    return error("socket '{}': the path is longer than the {} bytes that a socket may have; use a shorter one", path,
                 sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<UniqueFd> listen_at(const std::string& path) {
  const auto address = unix_address(path);
  if (!address) return address.error();
  if (auto cleared = clear_path(path, *address); !cleared) return std::move(cleared).error();
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) return errno_error(errno, "cannot create a socket");
  ::fchmod(listener.get(), 0600);  // before bind(): there is no moment when others may connect
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
      ::listen(listener.get(), 1) != 0)
    return errno_error(errno, fmt::format("socket '{}': cannot listen there", path));
  return listener;
}

}  // namespace skerry::net
