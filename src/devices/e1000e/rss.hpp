// Receive side scaling (82574 datasheet, 7.1.11): a hash of a frame's addresses and ports, and which of the two queues it chooses.
// Owned by the card's lock.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "devices/e1000e/registers.hpp"
#include "net/frame.hpp"
#include "state/fields.hpp"

namespace skerry::devices::e1000e {

class Rss {
 public:
  struct Result {
    uint8_t type = 0;  // 0: no hash
    uint32_t hash = 0;
    unsigned queue = 0;
  };
  bool read(uint32_t offset, uint32_t& value) const;
  bool write(uint32_t offset, uint32_t value);
  Result look_at(std::span<const uint8_t> frame, const std::optional<net::FrameLayout>& layout) const;

  void reset() { *this = {}; }
  void describe(state::Fields& fields);

 private:
  static constexpr unsigned kKeyWords = 10, kTableWords = 32;
  uint32_t hash(std::span<const uint8_t> input) const;

  uint32_t control_ = 0;  // MRQC
  std::array<uint32_t, kKeyWords> key_{};
  std::array<uint32_t, kTableWords> table_{};  // RETA: a byte an entry
};

}  // namespace skerry::devices::e1000e
