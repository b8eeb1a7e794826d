// The user network: libslirp between the guest's frames and the host's sockets.
#pragma once

#include <libslirp.h>
#include <poll.h>

#include <list>
#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "net/reassembly.hpp"
#include "net/user/guest_link.hpp"

namespace skerry::net::user {

class Gateway {
 public:
  // 10.0.2.0/24 and fec0::/64 as QEMU has them, so that images that rely on it find what they know.
  static Result<std::unique_ptr<Gateway>> create(GuestLink link, bool restricted);
  ~Gateway();

  Slirp& slirp() { return *slirp_; }
  // Serves until the other side of `control`, the VM, is gone.
  Result<void> run(int control);

 private:
  struct Timer {
    SlirpTimerId id;
    void* opaque;
    int64_t due_ms = -1;  // on now_ns()'s clock; -1: not set
  };

  explicit Gateway(GuestLink link) : link_(std::move(link)) {}
  static const SlirpCb& callbacks();
  int wait_ms(uint32_t wanted) const;
  Result<bool> turn(int control);
  Result<void> take_frames();
  void run_timers();

  GuestLink link_;
  Reassembly reassembly_;
  Slirp* slirp_ = nullptr;
  std::vector<pollfd> polled_;
  std::list<Timer> timers_;
  bool more_frames_ = false;  // there may be some that nobody will wake us for
};

}  // namespace skerry::net::user
