// The statistics (82574 datasheet, 10.2.7): counters that stay at their highest, and are cleared by being read. Owned by the
// card's lock.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "devices/e1000e/registers.hpp"
#include "state/fields.hpp"

namespace skerry::devices::e1000e {

constexpr uint32_t MPC = 0x4010, ROC = 0x40ac, RNBC = 0x40a0, GPRC = 0x4074, BPRC = 0x4078, MPRC = 0x407c, GPTC = 0x4080;
constexpr uint32_t GORCL = 0x4088, GOTCL = 0x4090, TORL = 0x40c0, TOTL = 0x40c8, TPR = 0x40d0, TPT = 0x40d4;
constexpr uint32_t PRC64 = 0x405c, PTC64 = 0x40d8, MPTC = 0x40f0, BPTC = 0x40f4, TSCTC = 0x40f8, TSCTFC = 0x40fc, IAC = 0x4100;

class Statistics {
 public:
  uint32_t read(uint32_t offset);
  void count(uint32_t offset, uint64_t by = 1);

  // A good frame, without its frame check sequence, of which `start` is the beginning; `frames` of them, of `octets` together
  // with their frame check sequences.
  void received(std::span<const uint8_t> start, uint64_t size);
  void sent(std::span<const uint8_t> start, uint64_t frames, uint64_t octets);

  void reset() { counters_ = {}; }
  void describe(state::Fields& fields) { fields.field("counters", counters_); }

 private:
  void count_octets(uint32_t low, uint64_t by);

  std::array<uint32_t, (kStatisticsEnd - CRCERRS) / 4> counters_{};
};

}  // namespace skerry::devices::e1000e
