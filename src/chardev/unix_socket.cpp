// "unix:PATH": a listening socket, one client at a time; the next client is served when the first has gone.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unix_socket.hpp"
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
    tell_connected();
  }
  void client_gone() {
    close_both();
    set_when_full(WhenFull::kDropOldest);
    if (!listening_) (void)listen_again();
    tell_connected();
  }
  bool has_peer() const override { return !listening_; }
  void input_ended() override { client_gone(); }
  void output_ended(int) override { client_gone(); }

  UniqueFd listener_;
  std::string path_;
  bool listening_ = false;
};

}  // namespace

Result<std::unique_ptr<Chardev>> open_unix(const std::string& path) {
  auto listener = listen_unix(fmt::format("console socket '{}'", path), path, 1);
  if (!listener) return std::move(listener).error();
  return std::unique_ptr<Chardev>(std::make_unique<UnixSocket>(*std::move(listener), path));
}

}  // namespace skerry::chardev
