#include "base/unix_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace skerry {

namespace {
Result<void> clear_path(std::string_view what, const std::string& path, const sockaddr_un& address) {
  struct stat about {};
  if (::lstat(path.c_str(), &about) != 0) return ok();  // bind() says what is wrong, if anything is
  if (!S_ISSOCK(about.st_mode)) return error("{}: something that is no socket is there; use another path", what);
  const UniqueFd probe = connect_unix(address);
  // EAGAIN: somebody listens, and has more callers than it wants. EPROTOTYPE: it is no stream.
  if (probe || errno == EAGAIN || errno == EPROTOTYPE)
    return error("{}: another program is listening there; use another path", what);
  if (errno != ECONNREFUSED) return errno_error(errno, fmt::format("{}: cannot reuse it", what));
  if (::unlink(path.c_str()) != 0) return errno_error(errno, fmt::format("{}: cannot remove the stale socket", what));
  return ok();
}
}  // namespace

Result<sockaddr_un> unix_address(std::string_view what, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty()) return error("{}: there is no path; say where the socket is", what);
  if (path.size() >= sizeof address.sun_path)
    return error("{}: the path is longer than the {} bytes that a socket may have; use a shorter one", what,
                 sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd connect_unix(const sockaddr_un& address) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return socket;
  const int why = errno;
  socket.reset();
  errno = why;
  return socket;
}

Result<UniqueFd> listen_unix(std::string_view what, const std::string& path, int backlog) {
  const auto address = unix_address(what, path);
  if (!address) return address.error();
  if (auto cleared = clear_path(what, path, *address); !cleared) return std::move(cleared).error();

  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) return errno_error(errno, "cannot create a socket");
  ::fchmod(listener.get(), 0600);  // before bind(): there is no moment when others may
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
      ::listen(listener.get(), backlog) != 0)
    return errno_error(errno, fmt::format("{}: cannot listen there", what));
  return listener;
}

}  // namespace skerry
