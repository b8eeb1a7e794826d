// A stream socket on which one side asks and the other answers, by a process that may say anything or nothing at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::devices::tpm {

// Of one thread. Nothing waits. Errors are what the other side did, for a sentence: "has ended".
class Channel {
 public:
  explicit Channel(UniqueFd socket) : socket_(std::move(socket)) {}  // non-blocking
  int fd() const { return socket_.get(); }

  // Puts `bytes` behind what is still to be sent. Of a descriptor the other side gets a copy, with the first of the bytes; only while
  // nothing else is to be sent.
  void send(std::span<const uint8_t> bytes, UniqueFd with = {});
  Result<void> flush();  // sends what can be sent now
  bool sending() const { return !to_send_.empty(); }

  // Goes on reading until there are `size` bytes, and not further. True: they are there.
  Result<bool> receive(size_t size);
  std::span<const uint8_t> received() const { return received_; }
  void forget_received() { received_.clear(); }
  // An error if there is something to be read, or the other side has ended.
  Result<void> check_silent() const;

 private:
  UniqueFd socket_, with_;
  std::vector<uint8_t> to_send_, received_;
  size_t sent_ = 0;  // of to_send_
};

}  // namespace skerry::devices::tpm
