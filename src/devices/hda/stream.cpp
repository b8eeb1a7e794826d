#include "devices/hda/stream.hpp"

#include <algorithm>
#include <utility>

#include "devices/vm_time.hpp"

namespace skerry::devices::hda {

namespace {
constexpr uint32_t kControlWritable =
    sdctl::SRST | sdctl::RUN | sdctl::IOCE | sdctl::FEIE | sdctl::DEIE | sdctl::TP | 0xfu << sdctl::kStreamNumber;
constexpr unsigned kStatusShift = 24, kFormatShift = 16;  // in their dwords
constexpr uint16_t kFormatWritable = 0x7f7f;
constexpr uint32_t kFifoSize = 0xbf;  // less 1: as the ICH9's
// 3.6.3: an entry of the list.
constexpr uint64_t kEntrySize = 16, kEntryLength = 8, kEntryFlags = 12;
constexpr uint32_t kInterruptOnCompletion = 1 << 0;
constexpr unsigned kMostPieces = 256;

constexpr uint64_t kSecond = kNanosecondsPerSecond;
constexpr uint64_t kMostTime = kSecond / 5;  // of a move
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

void Stream::reset() {
  control_ = 0;
  status_ = 0;
  position_ = cyclic_length_ = 0;
  last_piece_ = 0;
  format_ = {};
  pieces_ = 0;
  piece_ = 0;
  piece_offset_ = 0;
  moved_at_ = 0;
  fraction_ = 0;
}

void Stream::describe(state::Fields& fields) {
  fields.field("control", control_, state::in_mask(kControlWritable));
  fields.field("status", status_, state::in_mask(sdsts::kInterrupts));
  fields.field("position", position_);
  fields.field("cyclic_length", cyclic_length_);
  fields.field("last_piece", last_piece_);
  fields.field("format", format_.word, state::in_mask(kFormatWritable));
  fields.field("pieces", pieces_, state::in_mask(~uint64_t{0x7f}));
  fields.field("piece", piece_);
  fields.field("piece_offset", piece_offset_);
  fields.field("moved_at", moved_at_, instant());
  fields.field("fraction", fraction_, state::up_to(kSecond - 1));
}

// --- registers -------------------------------------------------------------------------------------------------------

uint32_t Stream::read(uint32_t offset) const {
  switch (offset) {
    case SDCTL:
      return control_ | uint32_t{status_ | (running() ? sdsts::FIFORDY : uint32_t{0})} << kStatusShift;
    case SDLPIB:
      return position_;
    case SDCBL:
      return cyclic_length_;
    case SDLVI:
      return last_piece_;
    case SDFIFOS:
      return kFifoSize | uint32_t{format_.word} << kFormatShift;
    case SDBDPL:
      return static_cast<uint32_t>(pieces_);
    case SDBDPU:
      return static_cast<uint32_t>(pieces_ >> 32);
    default:
      return 0;
  }
}

void Stream::write(uint32_t offset, uint32_t value, uint32_t mask, int64_t now) {
  if (offset == SDCTL) return write_control(value, mask, now);
  if (control_ & sdctl::SRST) return;
  switch (offset) {
    case SDCBL:
      cyclic_length_ = merged(cyclic_length_, value, mask, ~0u);
      break;
    case SDLVI:
      last_piece_ = static_cast<uint8_t>(merged(last_piece_, value, mask, 0xff));
      break;
    case SDFIFOS:
      format_.word = static_cast<uint16_t>(
          merged(uint32_t{format_.word} << kFormatShift, value, mask, kFormatWritable << kFormatShift) >> kFormatShift);
      break;
    case SDBDPL:
      pieces_ = (pieces_ & ~uint64_t{0xffff'ffff}) | merged(static_cast<uint32_t>(pieces_), value, mask, kBaseMask);
      break;
    case SDBDPU:
      pieces_ = (pieces_ & 0xffff'ffff) | uint64_t{merged(static_cast<uint32_t>(pieces_ >> 32), value, mask, ~0u)}
                                              << 32;
      break;
    default:
      break;
  }
}

// 3.3.35: while SRST is set nothing else can be. It goes on from where it was stopped, if it was not reset since.
void Stream::write_control(uint32_t value, uint32_t mask, int64_t now) {
  const bool ran = running();
  control_ = merged(control_, value, mask, kControlWritable);
  status_ &= static_cast<uint8_t>(~((value & mask) >> kStatusShift));
  if (control_ & sdctl::SRST) {
    reset();
    control_ = sdctl::SRST;
  } else if (running() && !ran) {
    moved_at_ = now;
    fraction_ = 0;
  }
}

// --- what moves ------------------------------------------------------------------------------------------------------

void Stream::move(int64_t now, bool held, std::vector<std::byte>* played) {
  const uint64_t passed = std::min(elapsed(std::exchange(moved_at_, now), now), kMostTime);
  if (!moves(held)) return;
  const uint64_t due = passed * format_.rate() + fraction_;
  fraction_ = due % kSecond;
  const uint64_t round = std::max(cyclic_length_ / format_.frame_bytes(), 1u);
  transfer(std::min(due / kSecond, round) * format_.frame_bytes(), played);
}

std::optional<Stream::Piece> Stream::piece() const {
  const uint64_t entry = pieces_ + kEntrySize * piece_;
  const auto address = dma_.memory.load<uint64_t>(entry);
  const auto length = dma_.memory.load<uint32_t>(entry + kEntryLength),
             flags = dma_.memory.load<uint32_t>(entry + kEntryFlags);
  if (!address || !length || !flags) return std::nullopt;
  return Piece{*address, *length, (*flags & kInterruptOnCompletion) != 0};
}

// Pieces of no length, too, are as many as the list has at the most.
void Stream::transfer(uint64_t bytes, std::vector<std::byte>* played) {
  for (unsigned count = 0; bytes > 0 && count <= kMostPieces; ++count) {
    const auto at = piece();
    if (!at) {  // 3.3.36: a fatal error
      status_ |= sdsts::DESE;
      control_ &= ~sdctl::RUN;
      return;
    }
    const uint32_t left = at->length - std::min(piece_offset_, at->length);
    const auto part = static_cast<uint32_t>(std::min<uint64_t>(left, bytes));
    if (part > 0 && !transfer_part(at->address + piece_offset_, part, played)) status_ |= sdsts::FIFOE;
    bytes -= part;
    position_ = static_cast<uint32_t>((uint64_t{position_} + part) % cyclic_length_);
    if (part < left) {
      piece_offset_ += part;
      return;
    }
    if (at->interrupt) status_ |= sdsts::BCIS;
    piece_ = piece_ >= last_piece_ ? 0 : static_cast<uint8_t>(piece_ + 1);
    piece_offset_ = 0;
  }
}

bool Stream::transfer_part(uint64_t address, uint32_t bytes, std::vector<std::byte>* played) {
  if (direction_ == Direction::kInput) return dma_.memory.fill(address, bytes, 0);
  if (!played) return true;
  const size_t before = played->size();
  played->resize(before + bytes);
  return dma_.memory.read(address, std::span(*played).subspan(before));
}

std::optional<uint64_t> Stream::piece_ends_in(bool held) const {
  if (!moves(held)) return std::nullopt;
  const auto at = piece();
  if (!at) return 0;
  const uint64_t bytes = at->length - std::min(piece_offset_, at->length);
  const uint64_t frames = (bytes + format_.frame_bytes() - 1) / format_.frame_bytes();
  const uint64_t left = frames * kSecond;
  return left <= fraction_ ? 0 : (left - fraction_ + format_.rate() - 1) / format_.rate();
}

}  // namespace skerry::devices::hda
