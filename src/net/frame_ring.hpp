// A one-way queue of records in memory that two processes share: how frames pass between skerry-vm and skerry-net. A
// system call is made only to wake the other side when it sleeps.
//
// Neither side trusts the other: positions and lengths are checked, records are copied out once, and what the other
// side does to the memory meanwhile can spoil only what it sends. One thread writes, one reads.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "net/backend.hpp"

namespace skerry::net {

constexpr uint32_t kRingBytes = 512 * 1024;  // several frames of the largest size; a power of two
constexpr uint32_t kMaxRecord = kMaxFrame + 64;

// What both sides see of one ring; zeros are an empty ring whose reader is awake. Positions count bytes and wrap.
struct RingControl {
  alignas(64) std::atomic<uint32_t> written;       // the writer's position
  alignas(64) std::atomic<uint32_t> read;          // the reader's position
  alignas(64) std::atomic<uint32_t> reader_sleeps;  // 1: the writer is to wake it
  alignas(64) std::atomic<uint32_t> writer_waits;   // 1: the reader is to wake it when there is room
};
static_assert(std::atomic<uint32_t>::is_always_lock_free && sizeof(RingControl) <= 4096);

// The memory of two rings, one each way.
class RingMemory {
 public:
  // Makes it; it cannot be made smaller by whoever has its descriptor.
  static Result<RingMemory> create();
  // Maps what create() has made.
  static Result<RingMemory> map(UniqueFd fd);
  RingMemory(RingMemory&& other) noexcept : fd_(std::move(other.fd_)), base_(std::exchange(other.base_, nullptr)) {}
  RingMemory& operator=(RingMemory&&) = delete;
  ~RingMemory();

  int fd() const { return fd_.get(); }
  RingControl& control(unsigned ring) const;  // 0: frames of the guest; 1: frames for it
  uint8_t* bytes(unsigned ring) const;

 private:
  RingMemory(UniqueFd fd, uint8_t* base) : fd_(std::move(fd)), base_(base) {}
  UniqueFd fd_;
  uint8_t* base_;
};

class RingWriter {
 public:
  RingWriter(RingControl& control, uint8_t* bytes) : control_(control), bytes_(bytes) {}
  // At most kMaxRecord bytes. False: no room now, or the reader has broken the ring.
  bool put(std::span<const iovec> parts);
  // After put(): whether the reader has to be woken; said once for each of its sleeps.
  bool reader_must_wake();
  // After put() has said false: asks to be woken. True: there is room after all.
  bool wait_for_room();

 private:
  uint32_t room() const;
  void copy_in(const void* from, size_t size);
  RingControl& control_;
  uint8_t* const bytes_;
  uint32_t position_ = 0;
};

class RingReader {
 public:
  enum class Got { kRecord, kNothing, kBroken };
  RingReader(RingControl& control, uint8_t* bytes) : control_(control), bytes_(bytes) {}
  // Copies the next record to the front of `into`, which has kMaxRecord bytes at least. kBroken is for ever.
  Got take(std::span<uint8_t> into, size_t& size);
  // After some take(): whether the writer waits for the room that they made; said once for each of its waits.
  bool writer_must_wake();
  // Asks to be woken. False: there is something to take, and nobody will wake us.
  bool sleep();
  // Takes that back: who is not asleep looks by itself, and ends with sleep() again.
  void stay_awake() { control_.reader_sleeps.store(0, std::memory_order_relaxed); }

 private:
  void copy_out(void* to, size_t size);
  RingControl& control_;
  const uint8_t* const bytes_;
  uint32_t position_ = 0;
};

}  // namespace skerry::net
