// One viewer's connection: bytes in and out, TLS, the handshake and then the session, with their time limits. Everything on
// the server's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "display/rfb/handshake.hpp"
#include "display/rfb/session.hpp"

namespace skerry::display::rfb {

// Lines of the log about viewers that do what they should not: they must not fill it.
class Complaints {
 public:
  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    if (!may_say()) return log::debug(log::Category::kDisplay, format, std::forward<Args>(args)...);
    log::info(format, std::forward<Args>(args)...);
    if (said_ == kMost) log::info("viewers: for the next minutes more of this is only told by --debug display");
  }

 private:
  static constexpr unsigned kMost = 20;  // in a period
  static constexpr int64_t kPeriod = 600'000'000'000;
  bool may_say() {
    const int64_t now = VmClock::host_now();
    if (said_ == 0 || now - since_ > kPeriod) {
      since_ = now;
      said_ = 0;
    }
    return said_ < kMost && ++said_ != 0;
  }
  unsigned said_ = 0;
  int64_t since_ = 0;
};

// What the viewers of a server share. Outlives them.
struct Shared {
  Screen& screen;
  Input& input;
  sound::Outlet* outlet;  // null: the VM has no sound card
  GuestFacts facts;
  Security security;
  GuessLimit guesses;
  Complaints complaints;
  int64_t handshake_ns;  // how long a viewer may take until it is let in, and how long what it is told last may take
  EventLoop* loop = nullptr;
  // A viewer has ended and is to be destroyed, not before its callback has returned.
  std::function<void()> ended;
  // A viewer is being let in that wants to be the only one.
  std::function<void(const void* viewer)> alone;
  std::function<bool()> full;  // no more viewers are to be let in
};

class Viewer {
 public:
  Viewer(Shared& shared, UniqueFd socket, std::string name);
  ~Viewer();
  Viewer(const Viewer&) = delete;
  Viewer& operator=(const Viewer&) = delete;

  Result<void> start();
  // Something is new: sends it, if it was asked for and the viewer keeps up.
  void update();
  void end(std::string_view why);  // at once

  bool ended() const { return ended_; }
  bool let_in() const { return session_ != nullptr; }
  bool encrypted() const { return tls_ != nullptr; }
  const std::string& name() const { return name_; }
  Updates& updates() { return session_->updates(); }  // once let in

 private:
  void on_socket(uint32_t events);
  void on_timer();
  void go_on();
  bool read_some();
  void take_input();
  bool handshake_step(std::span<const uint8_t> in, size_t& used);
  void after(Handshake::Step step);
  void try_check();
  bool tls_step();
  void begin_session();
  void send();
  bool send_picture();
  size_t most_output() const;
  void flush();
  bool write_some();
  void watch();
  void go_on_soon();
  void heard();
  // Who waits for its password to be looked at, or is being told why not, is not listened to.
  bool listens() const { return !closes_ && !check_waits_; }
  bool waits_for_tls() const { return starts_tls_ || tls_handshake_; }

  Shared& shared_;
  UniqueFd socket_;
  const std::string name_;
  std::unique_ptr<Channel> plain_;
  std::unique_ptr<TlsChannel> tls_;  // instead of it
  Channel& channel() { return tls_ && !tls_handshake_ ? *tls_ : *plain_; }
  Timer timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);

  Bytes in_, out_;
  size_t written_ = 0;  // of out_
  std::unique_ptr<Handshake> handshake_;
  std::unique_ptr<Session> session_;
  bool starts_tls_ = false;     // when out_ is empty
  bool tls_handshake_ = false;  // under way
  bool check_waits_ = false;    // for the GuessLimit
  bool closes_ = false;         // when out_ is empty
  bool ended_ = false;
  bool goes_on_ = false;  // go_on() has been posted
  int64_t deadline_ = 0;
  int64_t next_update_ = 0;
};

}  // namespace skerry::display::rfb
