// What answers a TPM's commands: the side behind the interface that a guest has to it.
//
// Of the thread of one event loop, but for established(). One thing is done at a time: a command waits until a power cycle under way
// has ended, and a power cycle until the answer to the last command is there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace skerry::devices::tpm {

// The room for a command and for its answer, which the backend has to keep to: the buffer of the CRB interface.
constexpr size_t kBufferSize = 3968;
// Tag, size of the whole, and command or response code; big-endian (TPM 2.0 Library, part 1, 18.2).
constexpr size_t kHeaderSize = 10;
constexpr size_t kMaxBlobSize = 1 << 20;

// Everything that a TPM knows, in the form of the backend that it comes from.
struct State {
  enum Kind : uint8_t { kPermanent, kVolatile, kSaveState, kKinds };
  struct Blob {
    uint32_t flags = 0;
    std::vector<uint8_t> content;  // at most kMaxBlobSize; empty: there is none
    bool operator==(const Blob&) const = default;
  };
  std::array<Blob, kKinds> blobs;
  bool operator==(const State&) const = default;
};

class Backend {
 public:
  virtual ~Backend() = default;

  struct Events {
    // The answer to the last command: kHeaderSize to kBufferSize bytes.
    std::function<void(std::span<const uint8_t> response)> answered;
    // For good, and why: nothing is answered any more.
    std::function<void(const std::string& why)> failed;
  };
  // To be given before anything else; what they refer to outlives the backend's use.
  virtual void connect(Events events) = 0;

  // As by a reset of the machine. The answer to a command that is under way is dropped.
  virtual void power_cycle() = 0;
  // kHeaderSize to kBufferSize bytes, the number that is in them. Not while another is under way.
  virtual void execute(std::vector<uint8_t> command) = 0;
  // Asks for the command under way to end soon; it is answered all the same.
  virtual void cancel() = 0;

  // These wait, and not for ever.
  virtual Result<void> finish() = 0;  // until nothing is under way
  virtual Result<State> state() = 0;
  // Instead of power_cycle(): goes on from `state`.
  virtual Result<void> power_on(const State& state) = 0;

  virtual bool failed() const = 0;
  virtual bool established() const = 0;  // a dynamic launch has been measured since the bit was reset last; any thread
};

}  // namespace skerry::devices::tpm
