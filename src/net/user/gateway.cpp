#include "net/user/gateway.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

namespace skerry::net::user {

namespace {

constexpr unsigned kFramesAtOnce = 256;  // of the guest, before the host's sockets are looked at
constexpr size_t kFirstSocket = 2;       // in the list for poll(): after our own
constexpr uint32_t kIdleMs = 1000;       // how long libslirp waits when it waits for nothing
constexpr size_t kMtu = 65521;           // the most libslirp takes: frames of the guest come unsegmented

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

in_addr ipv4(const char* text) {
  in_addr address{};
  ::inet_pton(AF_INET, text, &address);
  return address;
}
in6_addr ipv6(const char* text) {
  in6_addr address{};
  ::inet_pton(AF_INET6, text, &address);
  return address;
}

int to_poll(int events) {
  return (events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
         (events & SLIRP_POLL_PRI ? POLLPRI : 0) | (events & SLIRP_POLL_ERR ? POLLERR : 0) |
         (events & SLIRP_POLL_HUP ? POLLHUP : 0);
}
int from_poll(int events) {
  return (events & POLLIN ? SLIRP_POLL_IN : 0) | (events & POLLOUT ? SLIRP_POLL_OUT : 0) |
         (events & POLLPRI ? SLIRP_POLL_PRI : 0) | (events & POLLERR ? SLIRP_POLL_ERR : 0) |
         (events & POLLHUP ? SLIRP_POLL_HUP : 0);
}

}  // namespace

const SlirpCb& Gateway::callbacks() {
  static const SlirpCb kCallbacks = {
      .send_packet = [](const void* frame, size_t size, void* self) -> ssize_t {
        static_cast<Gateway*>(self)->link_.send({static_cast<const uint8_t*>(frame), size});
        return static_cast<ssize_t>(size);
      },
      .guest_error = [](const char*, void*) {},  // as often as the guest likes: nothing to log
      .clock_get_ns = [](void*) { return now_ns(); },
      .timer_new = nullptr,
      .timer_free = [](void* timer, void* self) {
        static_cast<Gateway*>(self)->timers_.remove_if([timer](const Timer& each) { return &each == timer; });
      },
      .timer_mod = [](void* timer, int64_t due_ms, void*) { static_cast<Timer*>(timer)->due_ms = due_ms; },
      .register_poll_fd = [](int, void*) {},
      .unregister_poll_fd = [](int, void*) {},
      .notify = [](void*) {},  // one thread: it is awake
      .init_completed = nullptr,
      .timer_new_opaque = [](SlirpTimerId id, void* opaque, void* self) -> void* {
        return &static_cast<Gateway*>(self)->timers_.emplace_back(Timer{id, opaque});
      },
  };
  return kCallbacks;
}

Result<std::unique_ptr<Gateway>> Gateway::create(GuestLink link, bool restricted) {
  std::unique_ptr<Gateway> gateway(new Gateway(std::move(link)));
  SlirpConfig config{};
  config.version = 4;
  config.restricted = restricted;
  config.in_enabled = true;
  config.vnetwork = ipv4("10.0.2.0");
  config.vnetmask = ipv4("255.255.255.0");
  config.vhost = ipv4("10.0.2.2");
  config.vdhcp_start = ipv4("10.0.2.15");
  config.vnameserver = ipv4("10.0.2.3");
  config.in6_enabled = true;
  config.vprefix_addr6 = ipv6("fec0::");
  config.vprefix_len = 64;
  config.vhost6 = ipv6("fec0::2");
  config.vnameserver6 = ipv6("fec0::3");
  config.if_mtu = kMtu;
  config.if_mru = kMtu;
  gateway->slirp_ = ::slirp_new(&config, &callbacks(), gateway.get());
  if (!gateway->slirp_) return error("libslirp {} does not start", ::slirp_version_string());
  return gateway;
}

Gateway::~Gateway() {
  if (slirp_) ::slirp_cleanup(slirp_);
}

Result<void> Gateway::run(int control) {
  for (;;) {
    auto goes_on = turn(control);
    if (!goes_on) return std::move(goes_on).error();
    if (!*goes_on) return ok();
  }
}

// One sleep and what there is to do after it. False: the VM is gone.
Result<bool> Gateway::turn(int control) {
  polled_.assign({{control, POLLIN, 0}, {link_.wake_fd(), POLLIN, 0}});
  uint32_t wanted = UINT32_MAX;
  // While the guest does not take what it is sent, nothing is made that would have to be sent too.
  const bool blocked = !link_.flush();
  if (!blocked) {
    const auto add = [](int fd, int events, void* self) {
      auto& polled = static_cast<Gateway*>(self)->polled_;
      polled.push_back({fd, static_cast<short>(to_poll(events)), 0});
      return static_cast<int>(polled.size() - 1);
    };
    ::slirp_pollfds_fill(slirp_, &wanted, add, this);
  }
  link_.sent();
  if (!more_frames_ && !blocked && !link_.sleep()) more_frames_ = true;
  const int timeout = blocked ? -1 : more_frames_ ? 0 : wait_ms(wanted);
  const int ready = ::poll(polled_.data(), polled_.size(), timeout);
  if (ready < 0 && errno != EINTR) return errno_error(errno, "cannot wait for sockets");
  if (ready > 0 && polled_[0].revents != 0) return false;  // nothing is ever sent: it is the end
  if (ready > 0 && polled_[1].revents & POLLIN) link_.woken();
  if (blocked) return true;
  const auto events_of = [](int index, void* self) {
    const auto& polled = static_cast<Gateway*>(self)->polled_;
    const auto at = static_cast<size_t>(index);
    return at >= kFirstSocket && at < polled.size() ? from_poll(polled[at].revents) : 0;
  };
  ::slirp_pollfds_poll(slirp_, ready < 0, events_of, this);
  run_timers();
  if (auto taken = take_frames(); !taken) return std::move(taken).error();
  return true;
}

int Gateway::wait_ms(uint32_t wanted) const {
  int64_t wait = wanted >= kIdleMs ? INT64_MAX : wanted;
  const int64_t now = now_ns() / 1'000'000;
  for (const Timer& timer : timers_)
    if (timer.due_ms >= 0) wait = std::min(wait, std::max<int64_t>(timer.due_ms - now, 0));
  return wait == INT64_MAX ? -1 : static_cast<int>(std::min<int64_t>(wait, INT_MAX));
}

void Gateway::run_timers() {
  const int64_t now = now_ns() / 1'000'000;
  for (Timer& timer : timers_) {
    if (timer.due_ms < 0 || timer.due_ms > now) continue;
    timer.due_ms = -1;
    ::slirp_handle_timer(slirp_, timer.id, timer.opaque);  // sets it again
  }
}

Result<void> Gateway::take_frames() {
  more_frames_ = true;
  for (unsigned taken = 0; taken < kFramesAtOnce && more_frames_; ++taken) {
    std::span<uint8_t> frame;
    switch (link_.receive(frame)) {
      case GuestLink::Got::kBroken: return error("the VM has sent what no frame is");
      case GuestLink::Got::kNothing: more_frames_ = false; break;
      case GuestLink::Got::kFrame:
        if (const auto whole = reassembly_.take(frame, now_ns()))
          ::slirp_input(slirp_, whole->data(), static_cast<int>(whole->size()));
        break;
    }
  }
  link_.received();
  link_.sent();
  return ok();
}

}  // namespace skerry::net::user
