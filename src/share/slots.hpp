// The memory that skerry-vm and skerry-fs share: kSlots times room for a request and for its answer. Thread-compatible.
#pragma once

#include <span>
#include <utility>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "share/protocol.hpp"

namespace skerry::share {

class Slots {
 public:
  static Result<Slots> create();
  // Of what create() has made in another process. Its size can change no more: no access to it fails.
  static Result<Slots> map(UniqueFd fd);
  Slots(Slots&& other) noexcept : fd_(std::move(other.fd_)), base_(std::exchange(other.base_, nullptr)) {}
  Slots& operator=(Slots&&) = delete;
  ~Slots();

  int fd() const { return fd_.get(); }
  // `slot` is less than kSlots. The other process may change the content at any time.
  std::span<uint8_t> request(unsigned slot) const { return {base_ + slot * kSlotBytes, kRequestBytes}; }
  std::span<uint8_t> answer(unsigned slot) const { return {base_ + slot * kSlotBytes + kRequestBytes, kAnswerBytes}; }

 private:
  Slots(UniqueFd fd, uint8_t* base) : fd_(std::move(fd)), base_(base) {}
  UniqueFd fd_;
  uint8_t* base_;
};

}  // namespace skerry::share
