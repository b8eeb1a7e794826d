#include "display/rfb/channel.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace skerry::display::rfb {

namespace {

class Plain final : public Channel {
 public:
  explicit Plain(int socket) : socket_(socket) {}
  ptrdiff_t read(std::span<uint8_t> to) override {
    return moved(::recv(socket_, to.data(), to.size(), MSG_DONTWAIT));
  }
  ptrdiff_t write(std::span<const uint8_t> from) override {
    return moved(::send(socket_, from.data(), from.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  }

 private:
  static ptrdiff_t moved(ssize_t count) {
    if (count > 0) return count;
    return count < 0 && (errno == EAGAIN || errno == EINTR) ? kNotNow : kGone;
  }
  const int socket_;
};

}  // namespace

std::unique_ptr<Channel> plain_channel(int socket) { return std::make_unique<Plain>(socket); }

}  // namespace skerry::display::rfb
