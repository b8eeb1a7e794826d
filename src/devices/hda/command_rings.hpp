// Commands to the codec and its responses (High Definition Audio 1.0a, 4.4): a ring of each in guest memory, of 256
// entries, and immediate commands. They are answered at once, on the thread of the vCPU: a ring full of them is the
// most there can be. Owned by the card's lock.
#pragma once

#include <cstdint>

#include "devices/hda/codec.hpp"
#include "devices/hda/dma.hpp"
#include "devices/hda/registers.hpp"

namespace skerry::devices::hda {

class CommandRings {
 public:
  CommandRings(Dma dma, Codec& codec) : dma_(dma), codec_(codec) {}

  // A dword of those at CORBLBASE to ICIS; `mask` has the bytes that are written.
  uint32_t read(uint32_t offset) const;
  void write(uint32_t offset, uint32_t value, uint32_t mask);
  void run();  // commands that wait, if they can be had
  bool interrupts() const;

  void reset();
  void describe(state::Fields& fields);

 private:
  void write_corb_pointers(uint32_t value, uint32_t mask);
  void write_rirb_pointers(uint32_t value, uint32_t mask);
  void write_immediate_status(uint32_t value);
  void respond(uint32_t response);

  const Dma dma_;
  Codec& codec_;
  uint64_t corb_ = 0, rirb_ = 0;  // their addresses
  uint8_t command_write_ = 0, command_read_ = 0, response_write_ = 0, responses_per_interrupt_ = 0;
  bool command_read_reset_ = false;  // CORBRPRST: stays until it is taken back
  uint8_t command_control_ = 0, command_status_ = 0, response_control_ = 0, response_status_ = 0;
  uint32_t immediate_ = 0, immediate_response_ = 0;
  bool immediate_valid_ = false;
};

}  // namespace skerry::devices::hda
