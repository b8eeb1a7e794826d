// The PHY (82574 datasheet, chapter 9; IEEE 802.3, clause 22 and 28), as far as drivers look at it: identity, negotiation, link.
// Its partner is the cable of the backend, always 1000BASE-T full duplex without flow control.
//
// Negotiating takes some time, as drivers expect: what asks for it has not yet enabled the interrupt that tells its end.
// Owned by the card's lock.
#pragma once

#include <array>
#include <cstdint>

#include "state/fields.hpp"

namespace skerry::devices::e1000e {

class Phy {
 public:
  static constexpr int64_t kNegotiation = 100'000'000;  // ns

  explicit Phy(bool cable) : cable_(cable) { reset(); }

  // What MDIC (10.2.2.7) reads after `value` was written to it. `changed` is set if the link or the negotiation may have.
  uint32_t command(uint32_t value, bool& changed);

  bool link() const { return cable_ && !powered_down() && !negotiating_; }
  void set_cable(bool plugged) { cable_ = plugged; }

  // negotiating() from a reset, a restart or the end of power down on; whoever has the clock calls negotiated().
  bool negotiating() const { return negotiating_; }
  void negotiated() { negotiating_ = false; }

  void reset();             // as when power comes: it has negotiated
  void restart() { reset_registers(), negotiating_ = true; }  // as by CTRL.PHY_RST
  void describe(state::Fields& fields);

 private:
  static constexpr unsigned kPages = 8, kFlat = 16;
  uint16_t read(unsigned reg) const;
  void write(unsigned reg, uint16_t value);
  void write_control(uint16_t value);
  bool powered_down() const;
  void reset_registers();

  bool cable_;
  bool negotiating_ = false;
  uint16_t page_ = 0;
  std::array<uint16_t, kFlat> flat_{};                             // registers 0 to 15
  std::array<std::array<uint16_t, 32 - kFlat>, kPages> paged_{};  // the others, of each page
};

}  // namespace skerry::devices::e1000e
