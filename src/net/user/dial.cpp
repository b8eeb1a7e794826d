#include "net/user/dial.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "net/unix_path.hpp"

namespace skerry::net::user {

namespace {

constexpr int kPauseMs = 500;  // between attempts

UniqueFd try_once(const sockaddr_un& address) {
  UniqueFd peer(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (peer && ::connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) peer.reset();
  return peer;
}

bool pass_on(int control, const UniqueFd& peer) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> space{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = space.data();
  message.msg_controllen = space.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = peer.get();
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return ::sendmsg(control, &message, MSG_NOSIGNAL) == 1;
}

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
  const auto address = unix_address(path);
  if (!address) return address.error();
  for (bool wanted = true;;) {
    if (wanted) {
      const UniqueFd peer = try_once(*address);
      if (peer && !pass_on(control, peer)) return ok();
      wanted = !peer;
    }
    bool something = false;
    if (!asked(control, something, wanted ? kPauseMs : -1)) return ok();
    wanted = wanted || something;
  }
}

}  // namespace skerry::net::user
