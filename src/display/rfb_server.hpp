// The RFB (VNC) server: shows a Screen to viewers, and gives their keys and pointer to an Input.
//
// It speaks protocol 3.3, 3.7 and 3.8 (RFC 6143), with or without a password, with or without TLS (VeNCrypt 0.2), and the
// encodings Raw, CopyRect, ZRLE and Tight. Viewers that know QEMU's audio messages hear the VM's sound card.
//
// It has a thread of its own, "display", so that compressing pictures delays no guest. Life: listen() opens everything
// (files, sockets, libraries) and may fail; start() makes the thread, after rights are dropped and before the system call
// filter closes; afterwards the thread makes only these system calls: accept4, recvfrom, sendto, close, epoll_wait, epoll_ctl,
// timerfd_settime, read, write, getrandom, getpid, clock_gettime, futex, and those of memory (mmap, munmap, mremap, madvise, brk).
//
// Every length that a viewer gives is bounded; what a viewer does not read costs at most about 2 MiB; and one that is slow
// delays no other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "display/input.hpp"
#include "display/screen.hpp"
#include "sound/outlet.hpp"

namespace skerry::display {

struct RfbOptions {
  enum class Tls : uint8_t {
    kNone,
    kAnonymous,  // encrypted, but against eavesdroppers only: nothing proves who the server is
    kX509,
  };
  std::string listen;    // "ADDRESS:PORT", "[IPv6 ADDRESS]:PORT", "unix:PATH"; port 0: any that is free
  std::string name;      // of the VM, for the viewer's title; up to kMaxName bytes of UTF-8
  std::string password;  // empty: everybody who can connect is let in. At most 8 bytes, but with `user` 255
  std::string user;      // not empty, with kX509 and a password only: viewers give this name too
  Tls tls = Tls::kNone;
  std::string certificate, key;  // of kX509: PEM files
  std::string client_ca;         // of kX509: not empty: viewers need a certificate from one of those in this PEM file
  unsigned max_viewers = 16;     // let in at a time; 1 to 64
  int64_t handshake_ns = 30'000'000'000;          // how long a viewer may take until it is let in
  int64_t wrong_password_delay_ns = 1'000'000'000;  // after a wrong one until the next is looked at; doubled up to 8 times

  static constexpr size_t kMaxName = 255;
};

struct ViewerInfo {
  std::string name;  // where it comes from: "127.0.0.1:45678", or "unix" and a number
  bool encrypted = false;
  int32_t encoding = 0;  // of its pictures: RFC 6143, 7.7
};

class RfbServer {
 public:
  // `screen`, `input` and `outlet` outlive the server. `input` may be called on the server's thread from start() on. `outlet` is null
  // where there is no sound card: then no viewer is offered sound.
  static Result<std::unique_ptr<RfbServer>> listen(Screen& screen, Input& input, sound::Outlet* outlet, const RfbOptions& options);
  virtual ~RfbServer() = default;

  virtual Result<void> start() = 0;
  // Ends all connections and the thread; then no more calls of `input` come. Destruction does the same.
  virtual void stop() = 0;

  // From any thread that is not the server's, holding no lock that `input` takes, from start() on.

  virtual std::vector<ViewerInfo> viewers() = 0;  // that have been let in
  // For viewers from now on. Empty: none is let in any more, but if there was never one. Fails as in the options.
  virtual Result<void> set_password(std::string password) = 0;

  // From any thread, also one that holds a device's lock.

  virtual void leds_changed(Leds leds) = 0;  // the guest has set its keyboard's
  virtual void pointer_changed() = 0;        // what Input::wants_absolute() says
  virtual void set_name(std::string name) = 0;

  virtual uint16_t port() const = 0;  // 0: it listens on a unix socket
};

}  // namespace skerry::display
