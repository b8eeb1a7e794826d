// "unix:PATH": a listening socket, one client at a time; the next client is served when the first has gone.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "chardev/backends.hpp"
#include "chardev/stream.hpp"

namespace skerry::chardev {

namespace {
constexpr size_t kInputBacklog = 4 * KiB;

class UnixSocket final : public Stream {
 public:
  UnixSocket(UniqueFd listener, std::string path)
      : Stream(kInputBacklog, WhenFull::kDropOldest), listener_(std::move(listener)), path_(std::move(path)) {}
  ~UnixSocket() override {
    if (listening_) loop().remove(listener_.get());
    ::unlink(path_.c_str());
  }

  Result<void> start(EventLoop& event_loop) override {
    if (auto started = Stream::start(event_loop); !started) return started;
    return listen_again();
  }

 private:
  // While a client is served the listener is not watched: others wait in the kernel's queue.
  Result<void> listen_again() {
    if (auto added = loop().add(listener_.get(), EPOLLIN, [this](uint32_t) { accept_one(); }); !added)
      return std::move(added).error().in(fmt::format("console socket '{}'", path_));
    listening_ = true;
    return ok();
  }
  void accept_one() {
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) return;
    loop().remove(listener_.get());
    listening_ = false;
    set_when_full(WhenFull::kBackPressure);  // somebody reads now: nothing is lost however slowly
    open_both(HostFd::owned(std::move(client)));
  }
  void client_gone() {
    close_both();
    set_when_full(WhenFull::kDropOldest);
    if (!listening_) (void)listen_again();
  }
  void input_ended() override { client_gone(); }
  void output_ended(int) override { client_gone(); }

  UniqueFd listener_;
  std::string path_;
  bool listening_ = false;
};

// Makes way for our socket: removes one that a dead process left behind, refuses anything else.
Result<void> clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat about {};
  if (::lstat(path.c_str(), &about) != 0) return ok();
  if (!S_ISSOCK(about.st_mode)) return error("console socket '{}': something that is no socket is there", path);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!probe) return errno_error(errno, "cannot create a socket");
  const int connected = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  // EAGAIN: somebody listens, and has more callers than it wants.
  if (connected == 0 || errno == EAGAIN)
    return error("console socket '{}': another program is listening there; use another path", path);
  if (errno != ECONNREFUSED) return errno_error(errno, fmt::format("console socket '{}': cannot reuse it", path));
  if (::unlink(path.c_str()) != 0)
    return errno_error(errno, fmt::format("console socket '{}': cannot remove the stale socket", path));
  return ok();
}
}  // namespace

Result<std::unique_ptr<Chardev>> open_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return error("console socket '{}': the path is longer than the {} bytes that a socket may have; use a shorter one",
                 path, sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.data(), path.size());
  if (auto cleared = clear_path(path, address); !cleared) return std::move(cleared).error();

  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) return errno_error(errno, "cannot create a socket");
  ::fchmod(listener.get(), 0600);  // before bind(): a console is the machine, and there is no moment when others may
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 1) != 0)
    return errno_error(errno, fmt::format("console socket '{}': cannot listen there", path));
  return std::unique_ptr<Chardev>(std::make_unique<UnixSocket>(std::move(listener), path));
}

}  // namespace skerry::chardev
