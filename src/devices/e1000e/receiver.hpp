// The receiving half of the card (82574 datasheet, 7.1): frames of the cable into guest memory, by descriptors of three formats.
// Frames wait in the backend while the driver has no descriptors for them, instead of being missed. The packet checksum (PCSS) of
// legacy descriptors is not made. Owned by the card's lock.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "devices/e1000e/card.hpp"
#include "devices/e1000e/receive_filter.hpp"
#include "devices/e1000e/ring.hpp"
#include "devices/e1000e/rss.hpp"

namespace skerry::devices::e1000e {

class Receiver {
 public:
  Receiver(Card& card, const Mac& own) : card_(card), filter_(own) { reset(); }

  bool read(uint32_t offset, uint32_t& value) const;
  bool write(uint32_t offset, uint32_t value);
  bool enabled() const { return control_ & rctl::EN; }

  enum class Taken : uint8_t { kYes, kDropped, kNoRoom };
  // A frame that is complete, with its checksums. Raises the interrupts that are `due`.
  Taken receive(std::span<const uint8_t> frame, uint32_t& due);

  void reset();
  void describe(state::Fields& fields);

 private:
  static constexpr unsigned kMostBuffers = 4;  // of a descriptor
  // What descriptors say of a frame.
  struct About {
    uint32_t status = 0;  // extended status and error (7.1.5.2); of legacy descriptors a part of it
    uint16_t vlan = 0;
    Rss::Result rss;
    size_t header = 0;  // where the payload begins; 0: headers are not known
    uint16_t ip_identification = 0;
  };
  struct Sizes {
    std::array<uint32_t, kMostBuffers> of{};
    unsigned count = 1;
    uint32_t all() const;
  };

  bool extended() const;
  bool splits() const;
  unsigned units() const { return splits() ? 2 : 1; }  // of a ring, that a descriptor takes
  Sizes buffer_sizes() const;
  uint32_t longest() const;
  About examine(std::span<const uint8_t> frame) const;
  bool place(Ring& ring, const Sizes& sizes, std::span<const uint8_t> part, bool last, size_t header, const About& about);
  bool write_back(memory::Gpa at, std::span<const uint16_t> lengths, bool split, bool last, const About& about);
  bool below_threshold(const Ring& ring) const;

  Card& card_;
  ReceiveFilter filter_;
  Rss rss_;
  uint32_t control_ = 0;    // RCTL
  uint32_t checksum_ = 0;   // RXCSUM
  uint32_t filter_control_ = 0;  // RFCTL
  uint32_t split_ = 0;      // PSRCTL
  std::array<Ring, kQueues> rings_;
  std::array<uint8_t, 16384> frame_;  // as the guest gets it
};

}  // namespace skerry::devices::e1000e
