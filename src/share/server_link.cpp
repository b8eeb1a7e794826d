#include "share/server_link.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/helper.hpp"
#include "base/log.hpp"

namespace skerry::share {

Result<ServerLink> ServerLink::start(const std::string& path, bool read_only) {
  auto slots = Slots::create();
  if (!slots) return std::move(slots).error();
  std::vector<std::string> arguments{"--share=" + path};
  if (read_only) arguments.emplace_back("--read-only");
  auto control = start_helper("skerry-fs", arguments, {slots->fd()});
  if (!control) return std::move(control).error();
  return ServerLink(path, std::move(*slots), std::move(*control));
}

Result<void> ServerLink::watch(EventLoop& loop, std::function<void()> heard) {
  if (loop_ || !alive()) return ok();
  auto added = loop.add(control_.get(), EPOLLIN, [heard = std::move(heard)](uint32_t) { heard(); });
  if (added) loop_ = &loop;
  return added;
}

void ServerLink::forget() {
  if (loop_) loop_->remove(control_.get());
  loop_ = nullptr;
}

std::optional<unsigned> ServerLink::take() {
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    if (taken_[slot]) continue;
    taken_.set(slot);
    return slot;
  }
  return std::nullopt;
}

bool ServerLink::ask(unsigned slot, size_t size, size_t room) {
  if (!alive()) return false;
  const Ask ask{slot, static_cast<uint32_t>(size), static_cast<uint32_t>(room)};
  if (::send(control_.get(), &ask, sizeof ask, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof ask) {
    lose("it has ended");
    return false;
  }
  asked_.set(slot);
  rooms_[slot] = ask.room;
  return true;
}

std::optional<Done> ServerLink::next() {
  if (!alive()) return std::nullopt;
  Done done;
  const ssize_t got = ::recv(control_.get(), &done, sizeof done, MSG_DONTWAIT | MSG_TRUNC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (got <= 0) {
    lose("it has ended");
  } else if (got != sizeof done || done.slot >= kSlots || !asked_[done.slot] || done.size > rooms_[done.slot]) {
    lose("it has answered what was not asked");
  } else {
    asked_.reset(done.slot);
    return done;
  }
  return std::nullopt;
}

void ServerLink::lose(std::string_view why) {
  forget();
  control_.reset();
  log::warn("shared folder '{}': skerry-fs is lost: {}; the guest cannot use the folder until the VM is started again", path_,
            why);
}

}  // namespace skerry::share
