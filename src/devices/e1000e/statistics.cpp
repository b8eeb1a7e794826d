#include "devices/e1000e/statistics.hpp"

#include <algorithm>
#include <utility>

namespace skerry::devices::e1000e {

namespace {
constexpr uint32_t kHighest = ~uint32_t{0};
size_t index_of(uint32_t offset) { return (offset - CRCERRS) / 4; }
bool is_low_half(uint32_t offset) { return offset == GORCL || offset == GOTCL || offset == TORL || offset == TOTL; }
bool is_high_half(uint32_t offset) { return is_low_half(offset - 4); }

// Which of six counters a frame is for, by its size on the wire: 64, 65-127, 128-255, 256-511, 512-1023, longer.
uint32_t size_class(uint64_t octets) {
  constexpr uint64_t kLongest[] = {64, 127, 255, 511, 1023};
  return static_cast<uint32_t>(std::ranges::lower_bound(kLongest, octets) - std::begin(kLongest));
}
bool is_broadcast(std::span<const uint8_t> start) {
  return std::all_of(start.begin(), start.begin() + 6, [](uint8_t byte) { return byte == 0xff; });
}
}  // namespace

// Of the counters of 64 bits the high half is read last, and clears both.
uint32_t Statistics::read(uint32_t offset) {
  uint32_t& counter = counters_[index_of(offset)];
  if (is_low_half(offset)) return counter;
  if (is_high_half(offset)) counters_[index_of(offset - 4)] = 0;
  return std::exchange(counter, 0);
}

void Statistics::count(uint32_t offset, uint64_t by) {
  uint32_t& counter = counters_[index_of(offset)];
  counter = static_cast<uint32_t>(std::min<uint64_t>(kHighest, counter + by));
}

void Statistics::count_octets(uint32_t low, uint64_t by) {
  uint32_t& first = counters_[index_of(low)];
  uint32_t& second = counters_[index_of(low + 4)];
  const uint64_t before = first | uint64_t{second} << 32;
  const uint64_t after = before + by < before ? ~uint64_t{0} : before + by;
  first = static_cast<uint32_t>(after);
  second = static_cast<uint32_t>(after >> 32);
}

void Statistics::received(std::span<const uint8_t> start, uint64_t size) {
  const uint64_t octets = size + kFrameCheck;
  count(GPRC);
  count(TPR);
  count_octets(GORCL, octets);
  count_octets(TORL, octets);
  count(PRC64 + 4 * size_class(octets));
  if (is_broadcast(start)) count(BPRC);
  else if (start[0] & 1) count(MPRC);
}

void Statistics::sent(std::span<const uint8_t> start, uint64_t frames, uint64_t octets) {
  count(GPTC, frames);
  count(TPT, frames);
  count_octets(GOTCL, octets);
  count_octets(TOTL, octets);
  count(PTC64 + 4 * size_class(octets / frames), frames);
  if (is_broadcast(start)) count(BPTC, frames);
  else if (start[0] & 1) count(MPTC, frames);
}

}  // namespace skerry::devices::e1000e
