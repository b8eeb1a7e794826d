// A stream descriptor and its DMA (High Definition Audio 1.0a, 3.3.35 to 3.3.43 and 4.5): a cyclic buffer that is in
// pieces all over guest memory, and what moves through it in the VM's time.
//
// Whatever the list of buffers says, a move is of 200 ms and of one round of the buffer at the most: who comes later
// has lost what is between. Memory that is not there is silence, and tells FIFOE. Owned by the card's lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "devices/hda/dma.hpp"
#include "devices/hda/registers.hpp"
#include "devices/hda/stream_format.hpp"

namespace skerry::devices::hda {

class Stream {
 public:
  enum class Direction : uint8_t { kInput, kOutput };
  Stream(Dma dma, Direction direction) : dma_(dma), direction_(direction) {}

  // The dword at `offset` from the descriptor's beginning; `mask` has the bytes that are written. What was due at `now`
  // has been moved.
  uint32_t read(uint32_t offset) const;
  void write(uint32_t offset, uint32_t value, uint32_t mask, int64_t now);

  // Moves what is due at `now`, an instant of the VM's clock; nothing while it is `held` (SSYNC). An input stream gets
  // silence; what an output stream brings, whole frames, is appended to `played`, if there is one.
  void move(int64_t now, bool held, std::vector<std::byte>* played);
  // How many nanoseconds after that the end of the buffer's present piece is due, if the stream moves.
  std::optional<uint64_t> piece_ends_in(bool held) const;

  bool running() const { return control_ & sdctl::RUN; }
  unsigned number() const { return control_ >> sdctl::kStreamNumber; }
  StreamFormat format() const { return format_; }
  uint32_t position() const { return position_; }
  bool interrupts() const { return status_ & control_ & sdsts::kInterrupts; }

  void reset();
  void describe(state::Fields& fields);

 private:
  struct Piece {
    uint64_t address;
    uint32_t length;  // bytes; a guest may say 0
    bool interrupt;   // IOC
  };
  bool moves(bool held) const { return running() && !held && cyclic_length_ != 0 && dma_.allowed(); }
  std::optional<Piece> piece() const;
  void write_control(uint32_t value, uint32_t mask, int64_t now);
  void transfer(uint64_t bytes, std::vector<std::byte>* played);
  bool transfer_part(uint64_t address, uint32_t bytes, std::vector<std::byte>* played);

  const Dma dma_;
  const Direction direction_;
  uint32_t control_ = 0;   // SDCTL
  uint8_t status_ = 0;     // SDSTS, but for FIFORDY
  uint32_t position_ = 0;  // SDLPIB
  uint32_t cyclic_length_ = 0;
  uint8_t last_piece_ = 0;
  StreamFormat format_;
  uint64_t pieces_ = 0;        // the address of the list
  uint8_t piece_ = 0;          // under way
  uint32_t piece_offset_ = 0;  // what of it has been moved
  int64_t moved_at_ = 0;       // of the VM's clock
  uint64_t fraction_ = 0;      // of the next frame: its nanoseconds times the rate
};

}  // namespace skerry::devices::hda
