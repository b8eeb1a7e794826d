#include "net/frame_ring.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/frame.hpp"

namespace skerry::net {

namespace {
constexpr size_t kControlBytes = 4096;  // of each ring
constexpr size_t kRingSpan = kControlBytes + kRingBytes, kMemoryBytes = 2 * kRingSpan;
constexpr uint32_t kLengthBytes = 4, kAlignment = 4;

uint32_t space_of(size_t record) {
  return static_cast<uint32_t>((kLengthBytes + record + kAlignment - 1) / kAlignment * kAlignment);
}

// The other side's word must not be read before our own is there for it to see (and the other way round on its side):
// one of us sees the other. A plain load first, because the exchange is rarely needed.
bool take_request(std::atomic<uint32_t>& request) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return request.load(std::memory_order_relaxed) != 0 && request.exchange(0, std::memory_order_seq_cst) != 0;
}
}  // namespace

Result<RingMemory> RingMemory::create() {
  UniqueFd fd(::memfd_create("skerry-frames", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ::ftruncate(fd.get(), kMemoryBytes) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return errno_error(errno, "cannot make the memory for frames");
  return map(std::move(fd));
}

Result<RingMemory> RingMemory::map(UniqueFd fd) {
  struct stat about{};
  if (::fstat(fd.get(), &about) != 0 || about.st_size != static_cast<off_t>(kMemoryBytes))
    return error("descriptor {} is no memory for frames", fd.get());
  void* base = ::mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return errno_error(errno, "cannot map the memory for frames");
  return RingMemory(std::move(fd), static_cast<uint8_t*>(base));
}

RingMemory::~RingMemory() {
  if (base_) ::munmap(base_, kMemoryBytes);
}

RingControl& RingMemory::control(unsigned ring) const {
  return *reinterpret_cast<RingControl*>(base_ + ring * kRingSpan);
}
uint8_t* RingMemory::bytes(unsigned ring) const { return base_ + ring * kRingSpan + kControlBytes; }

uint32_t RingWriter::room() const {
  const uint32_t used = position_ - control_.read.load(std::memory_order_acquire);
  return used <= kRingBytes ? kRingBytes - used : 0;
}

void RingWriter::copy_in(const void* from, size_t size) {
  const size_t at = position_ % kRingBytes, first = std::min<size_t>(size, kRingBytes - at);
  if (first != 0) std::memcpy(bytes_ + at, from, first);
  if (first != size) std::memcpy(bytes_, static_cast<const uint8_t*>(from) + first, size - first);
  position_ += static_cast<uint32_t>(size);
}

bool RingWriter::put(std::span<const iovec> parts) {
  const size_t size = total_size(parts);
  if (size > kMaxRecord || space_of(size) > room()) return false;
  const uint32_t end = position_ + space_of(size), length = static_cast<uint32_t>(size);
  copy_in(&length, sizeof length);
  for (const iovec& part : parts) copy_in(part.iov_base, part.iov_len);
  position_ = end;
  control_.written.store(position_, std::memory_order_release);
  return true;
}

bool RingWriter::reader_must_wake() { return take_request(control_.reader_sleeps); }

bool RingWriter::wait_for_room() {
  control_.writer_waits.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (room() < space_of(kMaxRecord)) return false;
  control_.writer_waits.store(0, std::memory_order_seq_cst);
  return true;
}

void RingReader::copy_out(void* to, size_t size) {
  const size_t at = position_ % kRingBytes, first = std::min<size_t>(size, kRingBytes - at);
  if (first != 0) std::memcpy(to, bytes_ + at, first);
  if (first != size) std::memcpy(static_cast<uint8_t*>(to) + first, bytes_, size - first);
  position_ += static_cast<uint32_t>(size);
}

RingReader::Got RingReader::take(std::span<uint8_t> into, size_t& size) {
  const uint32_t there = control_.written.load(std::memory_order_acquire) - position_;
  if (there == 0) return Got::kNothing;
  if (there > kRingBytes || there < kLengthBytes) return Got::kBroken;
  const uint32_t start = position_;
  uint32_t length = 0;
  copy_out(&length, sizeof length);
  if (length > kMaxRecord || length > into.size() || space_of(length) > there) {
    position_ = start;
    return Got::kBroken;
  }
  copy_out(into.data(), length);
  size = length;
  position_ = start + space_of(length);
  control_.read.store(position_, std::memory_order_release);
  return Got::kRecord;
}

bool RingReader::writer_must_wake() { return take_request(control_.writer_waits); }

bool RingReader::sleep() {
  control_.reader_sleeps.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (control_.written.load(std::memory_order_acquire) == position_) return true;
  control_.reader_sleeps.store(0, std::memory_order_seq_cst);
  return false;
}

}  // namespace skerry::net
