#include "display/rfb_server.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <list>
#include <utility>

#include "base/io_thread.hpp"
#include "base/log.hpp"
#include "display/rfb/viewer.hpp"
#include "display/rfb_listener.hpp"

namespace skerry::display {

namespace {

// Not let in yet: who comes when there are so many takes the place of the oldest.
constexpr size_t kMaxArriving = 8;
constexpr unsigned kMaxViewers = 64;
constexpr size_t kMaxPassword = 255;
// After the viewers have been told of a change, for so long none is told to the server: a guest that draws all the time
// does not wake it all the time.
constexpr int64_t kBetweenTurns = 16'000'000;
// How often a screen is looked at whose device does not tell what is drawn: while it changes, and while it does not.
constexpr int64_t kRefreshPeriod = 33'000'000, kStillRefreshPeriod = 66'000'000;
constexpr int64_t kWithoutDescriptors = 1'000'000'000;  // until accepting is tried again

Result<void> check_password(const std::string& password, bool with_user) {
  const size_t most = with_user ? kMaxPassword : rfb::kMaxVncPassword;
  if (password.size() <= most) return ok();
  return error("screen: the password has {} bytes; {}", password.size(),
               with_user ? fmt::format("up to {} are taken", most)
                         : fmt::format("VNC knows {} of them, so give no more, or use TLS with a certificate and a user", most));
}

Result<void> check_options(const RfbOptions& options) {
  if (options.max_viewers == 0 || options.max_viewers > kMaxViewers)
    return error("screen: {} viewers at a time: give a number from 1 to {}", options.max_viewers, kMaxViewers);
  if (options.name.size() > RfbOptions::kMaxName)
    return error("screen: its name has {} bytes; up to {} are taken", options.name.size(), RfbOptions::kMaxName);
  if (options.tls == RfbOptions::Tls::kX509 ? options.certificate.empty() || options.key.empty()
                                            : !options.certificate.empty() || !options.key.empty() || !options.client_ca.empty())
    return error("screen: TLS with a certificate needs the files of the certificate and of its key; other kinds have none");
  if (!options.user.empty() && (options.tls != RfbOptions::Tls::kX509 || options.password.empty()))
    return error("screen: a user's name is sent with the password through TLS with a certificate; give both");
  if (options.user.size() > kMaxPassword) return error("screen: the user's name has more than {} bytes", kMaxPassword);
  return check_password(options.password, !options.user.empty());
}

Result<std::unique_ptr<rfb::TlsContext>> open_tls(const RfbOptions& options) {
  if (options.tls == RfbOptions::Tls::kAnonymous) return rfb::TlsContext::anonymous();
  if (options.tls == RfbOptions::Tls::kX509)
    return rfb::TlsContext::x509({options.certificate, options.key, options.client_ca});
  return std::unique_ptr<rfb::TlsContext>();
}

class Server final : public RfbServer {
 public:
  Server(Screen& screen, Input& input, sound::Outlet* outlet, const RfbOptions& options, RfbListener listener,
         std::unique_ptr<rfb::TlsContext> tls)
      : max_viewers_(options.max_viewers),
        listener_(std::move(listener)),
        shared_{.screen = screen,
                .input = input,
                .outlet = outlet,
                .facts = {.name = options.name, .sound = outlet != nullptr},
                .security = {!options.password.empty(), options.password, options.user, std::move(tls)},
                .guesses = rfb::GuessLimit(options.wrong_password_delay_ns),
                .handshake_ns = options.handshake_ns} {}
  ~Server() override { stop(); }
  Result<void> make_thread();

  Result<void> start() override;
  void stop() override;
  std::vector<ViewerInfo> viewers() override;
  Result<void> set_password(std::string password) override;
  void leds_changed(Leds leds) override;
  void pointer_changed() override;
  void set_name(std::string name) override;
  uint16_t port() const override { return listener_.port; }

 private:
  using Viewers = std::list<std::unique_ptr<rfb::Viewer>>;  // in the order in which they came

  EventLoop& loop() { return thread_->loop(); }
  Result<void> listen_again();
  void accept_some();
  void admit(UniqueFd socket, std::string name);
  void sweep();
  void left_alone(const void* viewer);
  void screen_changed();
  void tell_viewers();
  void refresh();
  size_t count(bool let_in) const;
  template <typename Each>
  void for_each_session(Each each);

  const unsigned max_viewers_;
  VmClock clock_;  // the host's time: viewers wait for no guest
  std::unique_ptr<IoThread> thread_;
  RfbListener listener_;
  rfb::Shared shared_;
  std::unique_ptr<Timer> turn_timer_, listen_timer_, refresh_timer_;
  std::atomic<bool> turn_posted_{false};  // or the timer is set
  bool sweep_posted_ = false;
  bool refreshing_ = false;  // its timer is set: there are viewers
  bool started_ = false;
  uint64_t unix_connections_ = 0;
  Viewers viewers_;
};

Result<void> Server::make_thread() {
  auto thread = IoThread::create(clock_, "display");
  if (!thread) return std::move(thread).error();
  thread_ = std::move(*thread);
  shared_.loop = &loop();
  shared_.ended = [this] {
    if (!std::exchange(sweep_posted_, true)) loop().post([this] { sweep(); });
  };
  shared_.alone = [this](const void* viewer) { left_alone(viewer); };
  shared_.full = [this] { return count(true) >= max_viewers_; };
  listen_timer_ = std::make_unique<Timer>(loop(), [this] { (void)listen_again(); });
  refresh_timer_ = std::make_unique<Timer>(loop(), [this] { refresh(); });
  turn_timer_ = std::make_unique<Timer>(loop(), [this] {
    turn_posted_.store(false);
    tell_viewers();
  });
  return ok();
}

Result<void> Server::start() {
  if (auto listening = listen_again(); !listening) return listening;
  shared_.facts.absolute = shared_.input.wants_absolute();
  shared_.screen.set_listener([this] { screen_changed(); });
  started_ = true;
  thread_->start();
  return ok();
}

void Server::stop() {
  if (!std::exchange(started_, false)) return;
  shared_.screen.set_listener({});
  thread_->call([this] {
    loop().remove(listener_.socket.get());
    for (const auto& viewer : viewers_) viewer->end("the server has been stopped");
  });
  thread_->stop();
  viewers_.clear();
  turn_timer_->cancel();
  refresh_timer_->cancel();
  listen_timer_->cancel();
}

// --- connections -----------------------------------------------------------------------------------------------------

Result<void> Server::listen_again() {
  auto added = loop().add(listener_.socket.get(), EPOLLIN, [this](uint32_t) { accept_some(); });
  if (!added) return std::move(added).error().in("screen");
  return ok();
}

void Server::accept_some() {
  std::string from;
  UniqueFd socket = listener_.accept(from);
  if (!socket) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    // There are no descriptors left, or no memory: the viewer waits in the kernel's queue.
    shared_.complaints.say("viewers: none can be accepted for now: {}", ::strerror(errno));
    loop().remove(listener_.socket.get());
    return listen_timer_->set(clock_.now() + kWithoutDescriptors);
  }
  if (listener_.port == 0) from += fmt::format(" {}", ++unix_connections_);
  admit(std::move(socket), std::move(from));
}

size_t Server::count(bool let_in) const {
  return static_cast<size_t>(std::count_if(viewers_.begin(), viewers_.end(), [&](const auto& viewer) {
    return !viewer->ended() && viewer->let_in() == let_in;
  }));
}

void Server::admit(UniqueFd socket, std::string name) {
  if (count(false) >= kMaxArriving) {
    const auto oldest = std::find_if(viewers_.begin(), viewers_.end(),
                                     [](const auto& viewer) { return !viewer->ended() && !viewer->let_in(); });
    (*oldest)->end("too many come at a time");
  }
  viewers_.push_back(std::make_unique<rfb::Viewer>(shared_, std::move(socket), std::move(name)));
  if (auto started = viewers_.back()->start(); !started) {
    shared_.complaints.say("viewer {}: {}", viewers_.back()->name(), started.error().message());
    viewers_.pop_back();
  } else if (!std::exchange(refreshing_, true)) {
    refresh_timer_->set(clock_.now());
  }
}

void Server::sweep() {
  sweep_posted_ = false;
  std::erase_if(viewers_, [](const auto& viewer) { return viewer->ended(); });
}

// RFC 6143, 7.3.1: a viewer that does not want to share. Those that have been let in go.
void Server::left_alone(const void* alone) {
  for (const auto& viewer : viewers_)
    if (viewer.get() != alone && viewer->let_in()) viewer->end("another viewer wants the screen for itself");
}

// --- what is new -----------------------------------------------------------------------------------------------------

// On the thread of who draws, with the Screen's lock held.
void Server::screen_changed() {
  if (turn_posted_.load(std::memory_order_relaxed) || turn_posted_.exchange(true)) return;
  loop().post([this] {
    tell_viewers();
    turn_timer_->set(clock_.now() + kBetweenTurns);
  });
}

// Only for somebody who looks.
void Server::refresh() {
  refreshing_ = !viewers_.empty();
  if (!refreshing_) return;
  const bool wanted = std::any_of(viewers_.begin(), viewers_.end(), [](const auto& viewer) {
    return !viewer->ended() && viewer->let_in() && viewer->updates().wants_pixels();
  });
  const bool changed = wanted && shared_.screen.refresh();
  refresh_timer_->set(clock_.now() + (changed ? kRefreshPeriod : kStillRefreshPeriod));
}

void Server::tell_viewers() {
  for (const auto& viewer : viewers_) viewer->update();
}

template <typename Each>
void Server::for_each_session(Each each) {
  for (const auto& viewer : viewers_) {
    if (viewer->ended() || !viewer->let_in()) continue;
    each(viewer->updates());
    viewer->update();
  }
}

void Server::leds_changed(Leds leds) {
  loop().post([this, leds] {
    shared_.facts.leds = {leds, true};
    for_each_session([](rfb::Updates& updates) { updates.leds_changed(); });
  });
}

void Server::pointer_changed() {
  loop().post([this] {
    const bool absolute = shared_.input.wants_absolute();
    if (std::exchange(shared_.facts.absolute, absolute) == absolute) return;
    for_each_session([](rfb::Updates& updates) { updates.pointer_changed(); });
  });
}

void Server::set_name(std::string name) {
  name.resize(std::min(name.size(), RfbOptions::kMaxName));
  loop().post([this, name = std::move(name)] {
    shared_.facts.name = name;
    for_each_session([](rfb::Updates& updates) { updates.name_changed(); });
  });
}

std::vector<ViewerInfo> Server::viewers() {
  std::vector<ViewerInfo> found;
  thread_->call([&] {
    for (const auto& viewer : viewers_)
      if (!viewer->ended() && viewer->let_in())
        found.push_back({viewer->name(), viewer->encrypted(), viewer->updates().encoding()});
  });
  return found;
}

// The kinds of security that viewers in the midst of their handshake have been offered must stay what they are.
Result<void> Server::set_password(std::string password) {
  if (!shared_.security.asks_for_password) return error("screen: it was opened without a password, and asks for none");
  if (auto checked = check_password(password, !shared_.security.user.empty()); !checked) return checked;
  thread_->call([&] { shared_.security.password = std::move(password); });
  return ok();
}

}  // namespace

Result<std::unique_ptr<RfbServer>> RfbServer::listen(Screen& screen, Input& input, sound::Outlet* outlet,
                                                    const RfbOptions& options) {
  if (auto checked = check_options(options); !checked) return std::move(checked).error();
  auto tls = open_tls(options);
  if (!tls) return std::move(tls).error().in("screen");
  auto listener = RfbListener::open(options.listen);
  if (!listener) return std::move(listener).error();
  auto server = std::make_unique<Server>(screen, input, outlet, options, std::move(*listener), std::move(*tls));
  if (auto made = server->make_thread(); !made) return std::move(made).error();
  return std::unique_ptr<RfbServer>(std::move(server));
}

}  // namespace skerry::display
