// TRBs in guest memory, and reading them from a ring (4.9 and 6.4).
#pragma once

#include <cstdint>
#include <optional>

#include "devices/usb/xhci_layout.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices::usb::xhci {

struct Trb {
  uint64_t parameter = 0;
  uint32_t status = 0, control = 0;
  memory::Gpa at = 0;  // where it was read

  Type type() const { return static_cast<Type>(control >> trb::kTypeShift & 0x3f); }
  bool has(uint32_t flag) const { return control & flag; }
  uint32_t length() const { return status & trb::kLength; }
  unsigned interrupter() const { return status >> trb::kInterrupterShift; }
  unsigned slot() const { return control >> trb::kSlotShift; }
  unsigned endpoint() const { return control >> trb::kEndpointShift & 0x1f; }
};

// None: it is not in memory.
std::optional<Trb> read_trb(const memory::GuestMemory& memory, memory::Gpa at);
// The cycle bit comes to memory last. False: it is no RAM.
bool write_trb(memory::GuestMemory& memory, memory::Gpa at, const Trb& trb);

// A place in a ring that the guest fills: the next TRB, and its cycle bit if it is the controller's.
struct RingPlace {
  memory::Gpa at = 0;
  bool cycle = true;
  bool operator==(const RingPlace&) const = default;
};

// Reads on from a place. Of link TRBs only a few follow one another: a ring of nothing else has an end, too.
class RingReader {
 public:
  enum class Failure : uint8_t { kNone, kEmpty, kBroken };  // kBroken: no memory, or too many links
  RingReader(const memory::GuestMemory& memory, RingPlace place) : memory_(memory), place_(place) {}

  std::optional<Trb> next();
  Failure failure() const { return failure_; }
  RingPlace place() const { return place_; }  // behind what next() gave

 private:
  static constexpr unsigned kMostLinks = 16;
  const memory::GuestMemory& memory_;
  RingPlace place_;
  Failure failure_ = Failure::kNone;
};

}  // namespace skerry::devices::usb::xhci
