#include "devices/usb/xhci_ring.hpp"

#include <array>

namespace skerry::devices::usb::xhci {

// The cycle bit says that the rest is there, so it is read first.
std::optional<Trb> read_trb(const memory::GuestMemory& memory, memory::Gpa at) {
  const auto control = memory.load<uint32_t>(at + 12);
  if (!control) return std::nullopt;
  const auto low = memory.load<uint64_t>(at);
  const auto status = memory.load<uint32_t>(at + 8);
  if (!low || !status) return std::nullopt;
  return Trb{*low, *status, *control, at};
}

bool write_trb(memory::GuestMemory& memory, memory::Gpa at, const Trb& trb) {
  return memory.store<uint64_t>(at, trb.parameter) && memory.store<uint32_t>(at + 8, trb.status) &&
         memory.store<uint32_t>(at + 12, trb.control);
}

std::optional<Trb> RingReader::next() {
  for (unsigned links = 0; links <= kMostLinks; ++links) {
    const auto trb = read_trb(memory_, place_.at);
    if (!trb) break;
    if (trb->has(trb::C) != place_.cycle) {
      failure_ = Failure::kEmpty;
      return std::nullopt;
    }
    if (trb->type() != Type::kLink) {
      place_.at += kTrbSize;
      return trb;
    }
    place_.at = trb->parameter & ~uint64_t{kTrbSize - 1};
    if (trb->has(trb::TC)) place_.cycle = !place_.cycle;
  }
  failure_ = Failure::kBroken;
  return std::nullopt;
}

}  // namespace skerry::devices::usb::xhci
