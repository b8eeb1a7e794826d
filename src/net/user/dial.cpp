#include "net/user/dial.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/passed_fd.hpp"
#include "base/unix_socket.hpp"
#include "net/port_dialer.hpp"

namespace skerry::net::user {

namespace {

constexpr int kPauseMs = 500;  // between attempts

// Waits for a byte; false if there will be none.
bool asked(int control, bool& something, int timeout_ms) {
  pollfd polled{control, POLLIN, 0};
  const int ready = ::poll(&polled, 1, timeout_ms);
  something = ready > 0;
  if (ready <= 0) return ready == 0 || errno == EINTR;
  char byte = 0;
  return ::recv(control, &byte, 1, 0) == 1;
}

}  // namespace

Result<void> dial(const std::string& path, int control) {
  const auto address = unix_address(fmt::format("socket '{}'", path), path);
  if (!address) return address.error();
  for (bool wanted = true;;) {
    if (wanted) {
      const UniqueFd peer = connect_unix(*address);
      if (peer && send_with_fd(control, "", 1, peer.get()) != 1) return ok();
      wanted = !peer;
    }
    bool something = false;
    if (!asked(control, something, wanted ? kPauseMs : -1)) return ok();
    wanted = wanted || something;
  }
}

void dial_ports(const std::string& prefix, int control) {
  while (answer_dial(control, prefix)) {
  }
}

}  // namespace skerry::net::user
