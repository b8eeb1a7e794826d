// Connections to the unix sockets PREFIX_0 to PREFIX_4294967295, for a VM that may make none itself: a skerry-net makes
// them (`skerry-net --dial-ports=PREFIX`), so that a skerry-vm that an attacker has taken over reaches these and no others.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::net {

// The VM's side. On the thread of the loop that it is watched by.
class PortDialer {
 public:
  static constexpr unsigned kMostAsked = 64;

  // Starts a skerry-net. Before the sandbox closes.
  static Result<PortDialer> start(const std::string& prefix);
  // `control` is our side of a SOCK_SEQPACKET pair, whose other side answer_dial() serves.
  explicit PortDialer(UniqueFd control) : control_(std::move(control)) {}

  // Asks for a connection. Each that is asked for is answered, in the order of asking. False: too many are under way, or
  // skerry-net has ended; there will be no answer.
  bool ask(uint32_t port);
  unsigned asked() const { return asked_; }

  // `answered` gets a connected non-blocking socket, or nothing if nobody listens at that port. If skerry-net ends, what
  // was asked is answered so too.
  Result<void> watch(EventLoop& loop, std::function<void(UniqueFd)> answered);
  void forget(EventLoop& loop);

 private:
  void hear(EventLoop& loop);

  UniqueFd control_;
  unsigned asked_ = 0;
  bool watched_ = false;
  std::function<void(UniqueFd)> answered_;
};

// skerry-net's side: waits for a question at `control` and answers it. False: there will be no more.
bool answer_dial(int control, const std::string& prefix);

}  // namespace skerry::net
