#include "devices/tpm/channel.hpp"

#include <sys/socket.h>

#include <cerrno>

#include "base/passed_fd.hpp"

namespace skerry::devices::tpm {

namespace {

Error failure_of(int number) {
  if (number == EPIPE || number == ECONNRESET) return error("has ended");
  return errno_error(number, "cannot be spoken to");
}

bool is_later(int number) { return number == EAGAIN || number == EWOULDBLOCK || number == EINTR; }

}  // namespace

void Channel::send(std::span<const uint8_t> bytes, UniqueFd with) {
  to_send_.insert(to_send_.end(), bytes.begin(), bytes.end());
  if (with) with_ = std::move(with);
}

Result<void> Channel::flush() {
  while (sending()) {
    const ssize_t sent = send_with_fd(socket_.get(), &to_send_[sent_], to_send_.size() - sent_, with_.get(), MSG_DONTWAIT);
    if (sent < 0 && is_later(errno)) return ok();
    if (sent < 0) return failure_of(errno);
    with_.reset();
    sent_ += static_cast<size_t>(sent);
    if (sent_ < to_send_.size()) continue;
    to_send_.clear();
    sent_ = 0;
  }
  return ok();
}

Result<bool> Channel::receive(size_t size) {
  while (received_.size() < size) {
    const size_t had = received_.size();
    received_.resize(size);
    const ssize_t got = ::recv(socket_.get(), &received_[had], size - had, MSG_DONTWAIT);
    const int number = errno;
    received_.resize(had + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got == 0) return error("has ended");
    if (got < 0 && is_later(number)) return false;
    if (got < 0) return failure_of(number);
  }
  return true;
}

Result<void> Channel::check_silent() const {
  uint8_t byte;
  const ssize_t got = ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
  if (got == 0) return error("has ended");
  if (got > 0) return error("says what it was not asked for");
  return is_later(errno) ? ok() : Result<void>(failure_of(errno));
}

}  // namespace skerry::devices::tpm
