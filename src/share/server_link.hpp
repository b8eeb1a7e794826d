// skerry-vm's end of a share: its server, skerry-fs, which is asked by slots. The server parses what a hostile guest sends, so
// nothing that it says is believed: one that breaks the protocol is left alone for good.
//
// Used on the thread of the loop by which it is watched.
#pragma once

#include <array>
#include <bitset>
#include <functional>
#include <optional>
#include <string>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "share/protocol.hpp"
#include "share/slots.hpp"

namespace skerry::share {

class ServerLink {
 public:
  // Starts skerry-fs for the folder `path`. Before the sandbox closes. Errors name the folder.
  static Result<ServerLink> start(const std::string& path, bool read_only);
  // `control` is our side of a SOCK_SEQPACKET pair, non-blocking, at whose other side there is a server with these slots.
  ServerLink(std::string path, Slots slots, UniqueFd control)
      : path_(std::move(path)), slots_(std::move(slots)), control_(std::move(control)) {}

  // `heard` is called when next() may have something, which is also how the end of the server is found.
  Result<void> watch(EventLoop& loop, std::function<void()> heard);
  void forget();  // no further call of it
  bool alive() const { return static_cast<bool>(control_); }

  // A slot that nothing is under way in, now taken; none: wait for an answer.
  std::optional<unsigned> take();
  void give_back(unsigned slot) { taken_.reset(slot); }
  std::span<uint8_t> request(unsigned slot) const { return slots_.request(slot); }
  std::span<const uint8_t> answer(unsigned slot) const { return slots_.answer(slot); }
  // Asks what is in the slot. False: the server has ended, and the slot is the caller's as before.
  bool ask(unsigned slot, size_t size, size_t room);

  // The next answer: its slot is one that was asked, whose server is done with it, and its size is at most the room of the
  // question. None: there is none now, or (alive() is false) there will be none.
  std::optional<Done> next();

 private:
  void lose(std::string_view why);

  std::string path_;  // for messages
  Slots slots_;
  UniqueFd control_;
  EventLoop* loop_ = nullptr;  // while watched
  std::bitset<kSlots> taken_, asked_;
  std::array<uint32_t, kSlots> rooms_{};
};

}  // namespace skerry::share
