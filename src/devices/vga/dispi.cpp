#include "devices/vga/dispi.hpp"

#include <algorithm>

namespace skerry::devices::vga {

namespace {

bool supported(uint16_t bits) { return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32; }

uint8_t low_byte(uint32_t value) { return static_cast<uint8_t>(value); }

}  // namespace

void Dispi::describe(state::Fields& fields) {
  fields.field("dispi_id", id_, {kId0, kId5, ~uint64_t{0}});
  fields.field("xres", xres_);
  fields.field("yres", yres_);
  fields.field("bpp", bpp_, state::up_to(32));
  fields.field("enable", enable_);
  fields.field("bank", bank_);
  fields.field("virt_width", virt_width_);
  fields.field("x_offset", x_offset_);
  fields.field("y_offset", y_offset_);
}

VbeMode Dispi::mode() const {
  VbeMode mode;
  mode.bits = supported(bpp_) ? bpp_ : 8;
  const uint32_t granule = mode.bits == 4 ? 8 : 1;  // pixels: planes have bytes of 8
  mode.width = std::clamp<uint32_t>(xres_ & ~(granule - 1), 8, kMaxXres);
  mode.virtual_width = std::max<uint32_t>(mode.width, virt_width_ & ~(granule - 1));
  const uint32_t unit = mode.bits == 4 ? 1 : (mode.bits + 7) / 8;  // bits, or bytes
  mode.stride = mode.virtual_width * unit / granule;
  const size_t rows = (mode.bits == 4 ? memory_ / 4 : memory_) / mode.stride;  // at least 1: 65535 * 4 fit into 256 KiB
  mode.virtual_height = static_cast<uint32_t>(std::min<size_t>(rows, 0xffff));
  mode.height = std::clamp<uint32_t>(yres_, 1, std::min<uint32_t>(kMaxYres, mode.virtual_height));
  mode.y = std::min<uint32_t>(y_offset_, mode.virtual_height - mode.height);
  // Rows may go on at the left of the next, if there is a next.
  const bool room = mode.y + mode.height < rows;
  mode.x = std::min<uint32_t>(x_offset_, room ? mode.virtual_width - 1 : mode.virtual_width - mode.width);
  return mode;
}

uint16_t Dispi::read(uint16_t index) const {
  const bool capabilities = enable_ & VBE_DISPI_GETCAPS;
  const VbeMode now = mode();
  switch (index) {
    case VBE_DISPI_INDEX_ID: return id_;
    case VBE_DISPI_INDEX_XRES: return capabilities ? kMaxXres : static_cast<uint16_t>(now.width);
    case VBE_DISPI_INDEX_YRES: return capabilities ? kMaxYres : static_cast<uint16_t>(now.height);
    case VBE_DISPI_INDEX_BPP: return capabilities ? 32 : static_cast<uint16_t>(now.bits);
    case VBE_DISPI_INDEX_ENABLE: return enable_;
    case VBE_DISPI_INDEX_BANK: return bank_;
    case VBE_DISPI_INDEX_VIRT_WIDTH: return static_cast<uint16_t>(now.virtual_width);
    case VBE_DISPI_INDEX_VIRT_HEIGHT: return static_cast<uint16_t>(now.virtual_height);
    case VBE_DISPI_INDEX_X_OFFSET: return static_cast<uint16_t>(now.x);
    case VBE_DISPI_INDEX_Y_OFFSET: return static_cast<uint16_t>(now.y);
    case VBE_DISPI_INDEX_VIDEO_MEMORY_64K: return static_cast<uint16_t>(std::min<size_t>(memory_ >> 16, 0xffff));
    default: return 0;
  }
}

bool Dispi::write(uint16_t index, uint16_t value) {
  switch (index) {
    case VBE_DISPI_INDEX_ID:
      // A guest asks for a version by writing it and reading whether it stays.
      if (value >= kId0 && value <= kId5) id_ = value;
      break;
    case VBE_DISPI_INDEX_XRES: xres_ = value; break;
    case VBE_DISPI_INDEX_YRES: yres_ = value; break;
    case VBE_DISPI_INDEX_BPP:
      if (value == 0) value = 8;
      if (supported(value)) bpp_ = value;
      break;
    case VBE_DISPI_INDEX_ENABLE: return write_enable(value);
    case VBE_DISPI_INDEX_BANK: bank_ = value; break;
    case VBE_DISPI_INDEX_VIRT_WIDTH: virt_width_ = value; break;
    case VBE_DISPI_INDEX_X_OFFSET: x_offset_ = value; break;
    case VBE_DISPI_INDEX_Y_OFFSET: y_offset_ = value; break;
    default: break;  // VIRT_HEIGHT follows from the memory
  }
  return false;
}

bool Dispi::write_enable(uint16_t value) {
  const bool begins = value & VBE_DISPI_ENABLED && !enabled();
  enable_ = value;
  if (!begins) return false;
  virt_width_ = x_offset_ = y_offset_ = bank_ = 0;
  return !(value & VBE_DISPI_NOCLEARMEM);
}

void program(Registers& registers, const VbeMode& mode) {
  auto& crt = registers.crtc;
  crt[crtc::END_HORIZONTAL_DISPLAY] = low_byte(mode.width / 8 - 1);
  crt[crtc::OFFSET] = low_byte(mode.bits == 4 ? mode.stride / 2 : mode.stride / 8);
  const uint32_t last = mode.height - 1;
  crt[crtc::VERTICAL_DISPLAY_END] = low_byte(last);
  crt[crtc::LINE_COMPARE] = 0xff;  // with both bits elsewhere: no split
  uint8_t overflow = crt[crtc::OVERFLOW_BITS] & ~(crtc::VERTICAL_DISPLAY_END_8 | crtc::VERTICAL_DISPLAY_END_9);
  if (last & 0x100) overflow |= crtc::VERTICAL_DISPLAY_END_8;
  if (last & 0x200) overflow |= crtc::VERTICAL_DISPLAY_END_9;
  crt[crtc::OVERFLOW_BITS] = overflow | crtc::LINE_COMPARE_8;
  crt[crtc::MAXIMUM_SCAN_LINE] = (crt[crtc::MAXIMUM_SCAN_LINE] & 0x20) | crtc::LINE_COMPARE_9;
  crt[crtc::MODE_CONTROL] |= crtc::MAP13 | crtc::MAP14;

  auto& gr = registers.graphics;
  constexpr uint8_t kAt0xa0000 = 1 << 2;
  gr[graphics::MISCELLANEOUS_GRAPHICS] = graphics::ALPHA_DISABLE | kAt0xa0000;
  auto& sr = registers.sequencer;
  if (mode.bits == 4) {
    gr[graphics::GRAPHICS_MODE] &= graphics::WRITE_MODE | graphics::READ_MODE;
    sr[sequencer::SEQUENCER_MEMORY_MODE] = (sr[sequencer::SEQUENCER_MEMORY_MODE] & ~sequencer::CHAIN_4) | sequencer::ODD_EVEN_DISABLE;
    sr[sequencer::CLOCKING_MODE] &= static_cast<uint8_t>(~sequencer::DOT_CLOCK_HALVED);
    return;
  }
  // What is written is what is in the memory, whatever the mode before needed.
  gr[graphics::GRAPHICS_MODE] = graphics::SHIFT_256;
  gr[graphics::ENABLE_SET_RESET] = 0;
  gr[graphics::DATA_ROTATE] = 0;
  gr[graphics::BIT_MASK] = 0xff;
  sr[sequencer::MAP_MASK] = 0x0f;
  sr[sequencer::SEQUENCER_MEMORY_MODE] |= sequencer::CHAIN_4 | sequencer::ODD_EVEN_DISABLE;
}

}  // namespace skerry::devices::vga
