#include "devices/cfi_flash.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>

namespace skerry::devices {

namespace {

enum Command : uint8_t {
  kProgram = 0x40,
  kProgramAlternate = 0x10,
  kBlockErase = 0x20,
  kConfirm = 0xd0,
  kClearStatus = 0x50,
  kReadStatus = 0x70,
  kReadIdentifier = 0x90,
  kReadQuery = 0x98,
  kReadArray = 0xff,
};

// Status register.
constexpr uint8_t kReady = 0x80, kEraseFailed = 0x20, kProgramFailed = 0x10, kStatusBits = kReady | kEraseFailed | kProgramFailed;

// Intel, and a chip that nobody makes: who drives it goes by the query.
constexpr std::array<uint8_t, 2> kIdentifier = {0x89, 0x18};

constexpr uint64_t kQueryFirst = 0x10;

// JESD68, tables 2 to 4, from kQueryFirst on. Times and voltages are of no meaning here.
std::array<uint8_t, 0x21> query(uint64_t size) {
  const uint64_t blocks = size / CfiFlash::kBlock - 1;
  std::array<uint8_t, 0x21> table{};
  auto at = [&table](uint64_t offset) -> uint8_t& { return table[offset - kQueryFirst]; };
  at(0x10) = 'Q', at(0x11) = 'R', at(0x12) = 'Y';
  at(0x13) = 0x01;                                             // Intel/Sharp Extended
  at(0x1b) = 0x27, at(0x1c) = 0x36;                            // 2.7 to 3.6 V
  at(0x1f) = 0x01, at(0x21) = 0x01;                            // 2 us to program a byte, 2 ms to erase
  at(0x23) = 0x01, at(0x25) = 0x01;                            // at most twice that
  at(0x27) = static_cast<uint8_t>(std::bit_width(size - 1));   // the size as a power of two, rounded up
  at(0x2c) = 1;                                                // kinds of erase blocks
  at(0x2d) = static_cast<uint8_t>(blocks), at(0x2e) = static_cast<uint8_t>(blocks >> 8);
  at(0x2f) = CfiFlash::kBlock / 256 & 0xff, at(0x30) = CfiFlash::kBlock / 256 >> 8;
  return table;
}

}  // namespace

Result<std::unique_ptr<CfiFlash>> CfiFlash::create(std::string name, memory::GuestMemory& memory, Spaces spaces, memory::Gpa base,
                                                   std::span<const uint8_t> content, Host host) {
  std::unique_ptr<CfiFlash> flash(new CfiFlash(name, memory, base, content.size(), std::move(host)));
  if (auto good = memory.add_device_rom(base, content, name); !good) return std::move(good).error();
  bus::IoHandler& everybodys = spaces.smm_mmio ? static_cast<bus::IoHandler&>(flash->onlookers_) : *flash;
  if (auto good = spaces.mmio.add(base, content.size(), everybodys, name); !good) return std::move(good).error();
  if (spaces.smm_mmio)
    if (auto good = spaces.smm_mmio->add(base, content.size(), *flash, name); !good) return std::move(good).error();
  flash->reset();
  return flash;
}

void CfiFlash::reset() {
  std::lock_guard guard(lock_);
  keep();
  status_ = kReady;
  expects_ = Expects::kCommand;
  show(Reads::kArray);
}

void CfiFlash::describe(state::Fields& fields) {
  std::lock_guard guard(lock_);
  keep();
  fields.field("reads", reads_, state::up_to(static_cast<uint64_t>(Reads::kQuery)));
  fields.field("expects", expects_, state::up_to(static_cast<uint64_t>(Expects::kConfirmation)));
  fields.field("status", status_, state::in_mask(kStatusBits));
}

// The memory has come with the state, and what is kept outside is still that of another VM.
void CfiFlash::restored() {
  std::lock_guard guard(lock_);
  memory_.set_readable(base_, reads_ == Reads::kArray);
  changed_begin_ = 0;
  changed_end_ = size_;
  keep();
}

// Reached only while it does not show its content.
uint64_t CfiFlash::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  uint64_t value = 0;
  for (unsigned n = 0; n < size; ++n) value |= uint64_t{register_at(offset + n)} << (8 * n);
  return value;
}

uint64_t CfiFlash::Onlookers::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(flash_.lock_);
  uint64_t value = 0;
  for (unsigned n = 0; n < size; ++n) value |= uint64_t{flash_.byte_at(offset + n)} << (8 * n);
  return value;
}

uint8_t CfiFlash::byte_at(uint64_t offset) const {
  return static_cast<uint8_t>(memory_.content({base_ + offset, base_ + offset + 1})[0]);
}

uint8_t CfiFlash::register_at(uint64_t offset) const {
  switch (reads_) {
    case Reads::kArray: break;  // another vCPU has just made it so
    case Reads::kStatus: return status_;
    case Reads::kIdentifier: return offset % kBlock < kIdentifier.size() ? kIdentifier[offset % kBlock] : 0;
    case Reads::kQuery: {
      const auto table = query(size_);
      const uint64_t index = offset % kBlock - kQueryFirst;
      return index < table.size() ? table[index] : 0;
    }
  }
  return byte_at(offset);
}

void CfiFlash::io_write(uint64_t offset, unsigned size, uint64_t value) {
  std::lock_guard guard(lock_);
  switch (std::exchange(expects_, Expects::kCommand)) {
    case Expects::kCommand: return command(static_cast<uint8_t>(value));
    case Expects::kData: return program(offset, size, value);
    case Expects::kConfirmation:
      if (static_cast<uint8_t>(value) == kConfirm) return erase(offset);
      return finish(kEraseFailed | kProgramFailed);  // a wrong sequence of commands
  }
}

void CfiFlash::command(uint8_t value) {
  switch (value) {
    case kProgram:
    case kProgramAlternate: expects_ = Expects::kData; return show(Reads::kStatus);
    case kBlockErase: expects_ = Expects::kConfirmation; return show(Reads::kStatus);
    case kClearStatus: status_ = 0; return;
    case kReadStatus: return show(Reads::kStatus);
    case kReadIdentifier: return show(Reads::kIdentifier);
    case kReadQuery: return show(Reads::kQuery);
    default: break;  // reserved ones do nothing that can be relied on
  }
  keep();
  show(Reads::kArray);
}

// Bits become 0; only an erased block has them 1 again.
void CfiFlash::program(uint64_t offset, unsigned size, uint64_t value) {
  std::array<std::byte, 8> bytes;
  const auto old = memory_.content({base_ + offset, base_ + offset + size});
  for (unsigned n = 0; n < size; ++n) bytes[n] = old[n] & static_cast<std::byte>(value >> (8 * n));
  put(offset, std::span(bytes).first(size));
  finish(0);
}

void CfiFlash::erase(uint64_t offset) {
  std::array<std::byte, kBlock> erased;
  erased.fill(std::byte{0xff});
  put(offset - offset % kBlock, erased);
  finish(0);
}

void CfiFlash::put(uint64_t offset, std::span<const std::byte> bytes) {
  memory_.put(base_ + offset, bytes);
  if (changed_begin_ == changed_end_) changed_begin_ = changed_end_ = offset;
  changed_begin_ = std::min(changed_begin_, offset);
  changed_end_ = std::max(changed_end_, offset + bytes.size());
}

// Once for a run of bytes that are programmed one after the other: the guest reads none of them before.
void CfiFlash::keep() {
  if (changed_begin_ == changed_end_) return;
  const auto bytes = memory_.content({base_ + changed_begin_, base_ + changed_end_});
  if (!host_.store(changed_begin_, bytes)) status_ |= kProgramFailed;
  changed_begin_ = changed_end_ = 0;
}

void CfiFlash::finish(uint8_t failure) { status_ |= kReady | failure; }

void CfiFlash::show(Reads what) {
  if (std::exchange(reads_, what) == what) return;
  memory_.set_readable(base_, what == Reads::kArray);
  host_.kick_all();
}

}  // namespace skerry::devices
