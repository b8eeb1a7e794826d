#include "devices/vga/vga_core.hpp"

#include <algorithm>

#include "devices/vga/legacy_picture.hpp"
#include "devices/vga/vbe_picture.hpp"

namespace skerry::devices::vga {

namespace {

// The cursor blinks at 2 Hz, characters at 1 Hz: a VGA does it twice as fast, for viewers that are nearer.
Blink blink_at(int64_t host_ns) {
  constexpr uint64_t kPhase = 250'000'000;
  const uint64_t phase = static_cast<uint64_t>(host_ns) / kPhase;
  return {.cursor = phase % 2 == 0, .characters = phase % 4 < 2};
}

// Row by row and not by fill(), which tells viewers that all is new.
void draw_black(display::Screen& screen) {
  const display::Screen::Size size = screen.size();
  RowWriter rows(screen, size.width);
  for (uint32_t y = 0; y < size.height; ++y) std::ranges::fill(rows.next(), 0);
}

}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

VgaCore::VgaCore(std::span<std::byte> vram) : vram_(vram), planes_(vram_), dispi_(vram.size()) {}

void VgaCore::reset() {
  std::lock_guard guard(lock_);
  registers_ = {};
  planes_.latches = 0;
  dispi_.reset();
}

void VgaCore::describe(state::Fields& fields) {
  registers_.describe(fields);
  fields.field("latches", planes_.latches);
  dispi_.describe(fields);
}

void VgaCore::restored() {
  std::lock_guard guard(lock_);
  registers_.dac.eight_bits = dispi_.eight_bit_dac();
}

// --- registers and memory --------------------------------------------------------------------------------------------

uint8_t VgaCore::read_port(uint16_t port) {
  std::lock_guard guard(lock_);
  return vga::read_port(registers_, port);
}

void VgaCore::write_port(uint16_t port, uint8_t value) {
  std::lock_guard guard(lock_);
  vga::write_port(registers_, port, value);
}

uint64_t VgaCore::read_window(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  uint64_t value = 0;
  for (unsigned i = 0; i < size && i < 8; ++i)
    value |= uint64_t{planes_.read(registers_, offset + i, dispi_.bank())} << i * 8;
  return value;
}

void VgaCore::write_window(uint64_t offset, unsigned size, uint64_t value) {
  std::lock_guard guard(lock_);
  for (unsigned i = 0; i < size && i < 8; ++i)
    planes_.write(registers_, offset + i, dispi_.bank(), static_cast<uint8_t>(value >> i * 8));
}

uint16_t VgaCore::read_dispi(uint16_t index) {
  std::lock_guard guard(lock_);
  return dispi_.read(index);
}

void VgaCore::write_dispi(uint16_t index, uint16_t value) {
  std::lock_guard guard(lock_);
  const bool clear = dispi_.write(index, value);
  registers_.dac.eight_bits = dispi_.eight_bit_dac();
  if (!dispi_.enabled()) return;
  const VbeMode mode = dispi_.mode();
  program(registers_, mode);
  if (clear) vram_.clear(size_t{mode.stride} * mode.height * (mode.bits == 4 ? 4 : 1));
}

// --- the monitor -----------------------------------------------------------------------------------------------------

void VgaCore::draw(display::Screen& screen, int64_t host_ns) {
  Registers registers;
  VbeMode mode;
  bool vbe;
  {
    std::lock_guard guard(lock_);
    registers = registers_;
    vbe = dispi_.enabled() && !registers.text();
    mode = dispi_.mode();
  }
  if (registers.screen_off()) return draw_black(screen);
  if (vbe) {
    if (!screen.resize({mode.width, mode.height})) return;
    RowWriter rows(screen, mode.width);
    return draw_vbe(registers, mode, vram_, rows);
  }
  LegacyPicture picture(registers, vram_, blink_at(host_ns));
  if (!screen.resize({picture.width(), picture.height()})) return;
  RowWriter rows(screen, picture.width());
  picture.draw(rows);
}

}  // namespace skerry::devices::vga
