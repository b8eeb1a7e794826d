#include "devices/vga/legacy_picture.hpp"

#include "devices/vga/colours.hpp"

namespace skerry::devices::vga {

namespace {

constexpr uint32_t kPlaneMask = 0xffff;  // a plane of the VGA has 64 KiB
constexpr uint32_t kGlyphBytes = 32;

uint32_t vertical_display_end(const Registers& registers) {
  const uint8_t overflow = registers.crtc[crtc::OVERFLOW_BITS];
  uint32_t end = registers.crtc[crtc::VERTICAL_DISPLAY_END];
  if (overflow & crtc::VERTICAL_DISPLAY_END_8) end |= 0x100;
  if (overflow & crtc::VERTICAL_DISPLAY_END_9) end |= 0x200;
  return end;
}

uint32_t line_compare(const Registers& registers) {
  uint32_t line = registers.crtc[crtc::LINE_COMPARE];
  if (registers.crtc[crtc::OVERFLOW_BITS] & crtc::LINE_COMPARE_8) line |= 0x100;
  if (registers.crtc[crtc::MAXIMUM_SCAN_LINE] & crtc::LINE_COMPARE_9) line |= 0x200;
  return line;
}

uint32_t pair(const Registers& registers, crtc::Index high, crtc::Index low) {
  return registers.crtc[high] << 8 | registers.crtc[low];
}

// Where in plane 2 a set of characters begins: 16 KiB each, those with the upper bit 8 KiB behind the others.
uint32_t character_set(uint32_t low_bits, bool upper_bit) { return low_bits * 0x4000 + (upper_bit ? 0x2000 : 0); }

// So many dots of a colour; where the next goes.
uint8_t* put(uint8_t* to, uint8_t colour, uint32_t times) {
  for (uint32_t i = 0; i < times; ++i) *to++ = colour;
  return to;
}

// Two of the address bits are of the line instead, as the CGA's memory has them. The counter is the VGA's in byte mode; in
// word mode the VGA counts half of these (see planes.cpp).
uint32_t cga_address(const Registers& registers, uint32_t address, uint32_t row_scan) {
  const uint8_t mode = registers.crtc[crtc::MODE_CONTROL];
  const unsigned bit = mode & crtc::BYTE_MODE ? 13 : 12;
  if (!(mode & crtc::MAP13)) address = (address & ~(1u << bit)) | (row_scan & 1) << bit;
  if (!(mode & crtc::MAP14)) address = (address & ~(2u << bit)) | (row_scan >> 1 & 1) << (bit + 1);
  return address;
}

}  // namespace

LegacyPicture::LegacyPicture(const Registers& registers, const Vram& vram, Blink blink)
    : registers_(registers),
      vram_(vram),
      blink_(blink),
      text_(registers.text()),
      nine_dots_(!(registers.sequencer[sequencer::CLOCKING_MODE] & sequencer::EIGHT_DOTS)),
      dot_width_(registers.sequencer[sequencer::CLOCKING_MODE] & sequencer::DOT_CLOCK_HALVED ? 2 : 1),
      characters_(registers.crtc[crtc::END_HORIZONTAL_DISPLAY] + 1u),
      height_(vertical_display_end(registers) + 1),
      line_compare_(line_compare(registers)) {
  dots_.resize((characters_ + 1) * character_width());
}

void LegacyPicture::draw(RowWriter& rows) {
  const bool of_256 = !text_ && registers_.graphics[graphics::GRAPHICS_MODE] & graphics::SHIFT_256;
  const Colours colours = of_256 ? dac_colours(registers_) : attribute_colours(registers_);
  Line line = first_line();
  for (uint32_t y = 0; y < height_; ++y) {
    if (text_)
      text_line(line);
    else
      graphics_line(line);
    const std::span<uint32_t> row = rows.next();
    for (size_t x = 0; x < row.size(); ++x) row[x] = colours[dots_[x + line.panned]];
    next_line(line, y);
  }
}

// --- the CRT controller's counters -----------------------------------------------------------------------------------

LegacyPicture::Line LegacyPicture::first_line() const {
  const uint8_t preset = registers_.crtc[crtc::PRESET_ROW_SCAN];
  const uint32_t byte_panning = preset >> 5 & 3;
  return {.address = pair(registers_, crtc::START_ADDRESS_HIGH, crtc::START_ADDRESS_LOW) + byte_panning,
          .row_scan = preset & 0x1fu,
          .panned = panning()};
}

// HORIZONTAL_PIXEL_PANNING in pixels, less than those of a character.
uint32_t LegacyPicture::panning() const {
  const uint32_t value = registers_.attribute[attribute::HORIZONTAL_PIXEL_PANNING] & 0xf;
  if (!text_ && registers_.graphics[graphics::GRAPHICS_MODE] & graphics::SHIFT_256) return (value & 6) * dot_width_;
  if (character_dots() == 8) return (value & 7) * dot_width_;
  return value >= 8 ? 0 : (value + 1) * dot_width_;
}

void LegacyPicture::next_line(Line& line, uint32_t finished) const {
  if (finished == line_compare_) {
    const bool panned_too = !(registers_.attribute[attribute::MODE_CONTROL] & attribute::PIXEL_PANNING_MODE);
    line = {.address = 0, .row_scan = 0, .panned = panned_too ? line.panned : 0};
    return;
  }
  const uint8_t maximum = registers_.crtc[crtc::MAXIMUM_SCAN_LINE];
  if (maximum & crtc::SCAN_DOUBLING) {
    line.repeated = !line.repeated;
    if (line.repeated) return;
  }
  if (line.row_scan == (maximum & 0x1fu)) {
    line.row_scan = 0;
    line.address += registers_.crtc[crtc::OFFSET] * 2u;
  } else {
    line.row_scan = (line.row_scan + 1) & 0x1f;
  }
}

// --- text ------------------------------------------------------------------------------------------------------------

void LegacyPicture::text_line(const Line& line) {
  const uint8_t mode = registers_.attribute[attribute::MODE_CONTROL];
  const bool blinks = mode & attribute::BLINK_ENABLE;
  const uint32_t underline = registers_.crtc[crtc::UNDERLINE_LOCATION] & 0x1f;
  uint8_t* to = dots_.data();
  for (uint32_t i = 0; i <= characters_; ++i) {
    const uint32_t address = (line.address + i) & kPlaneMask;
    const uint32_t planes = vram_.planes(address);
    const uint8_t character = static_cast<uint8_t>(planes), look = static_cast<uint8_t>(planes >> 8);
    const uint8_t foreground = look & 0xf;
    const uint8_t background = look >> 4 & (blinks ? 7 : 0xf);

    uint32_t bits = glyph(character, look & 8, line.row_scan) << 1;
    // The ninth dot: space between characters, but for those that draw lines.
    if (mode & attribute::LINE_GRAPHICS_ENABLE && (character & 0xe0) == 0xc0) bits |= bits >> 1 & 1;
    if ((look & 0x77) == 1 && line.row_scan == underline) bits = 0x1ff;
    if (blinks && look & 0x80 && !blink_.characters) bits = 0;
    if (cursor_at(address, line.row_scan)) bits = 0x1ff;
    for (uint32_t dot = 0; dot < character_dots(); ++dot)
      to = put(to, bits >> (8 - dot) & 1 ? foreground : background, dot_width_);
  }
}

// A line of a character: the leftmost dot is bit 7.
uint32_t LegacyPicture::glyph(uint32_t character, bool set_a, uint32_t row_scan) const {
  const uint8_t select = registers_.sequencer[sequencer::CHARACTER_MAP_SELECT];
  const uint32_t set = set_a ? character_set(select >> 2 & 3, select & 0x20) : character_set(select & 3, select & 0x10);
  const uint32_t address = (set + character * kGlyphBytes + row_scan) & kPlaneMask;
  return vram_.planes(address) >> 16 & 0xff;
}

bool LegacyPicture::cursor_at(uint32_t address, uint32_t row_scan) const {
  const uint8_t start = registers_.crtc[crtc::CURSOR_START], end = registers_.crtc[crtc::CURSOR_END];
  if (!blink_.cursor || start & crtc::CURSOR_DISABLE) return false;
  const uint32_t skew = end >> 5 & 3;  // characters
  const uint32_t location = pair(registers_, crtc::CURSOR_LOCATION_HIGH, crtc::CURSOR_LOCATION_LOW) + skew;
  return address == (location & kPlaneMask) && row_scan >= (start & 0x1fu) && row_scan <= (end & 0x1fu);
}

// --- graphics --------------------------------------------------------------------------------------------------------

void LegacyPicture::graphics_line(const Line& line) {
  const uint8_t mode = registers_.graphics[graphics::GRAPHICS_MODE];
  uint8_t* to = dots_.data();
  for (uint32_t i = 0; i <= characters_; ++i) {
    const uint32_t planes = vram_.planes(cga_address(registers_, line.address + i, line.row_scan) & kPlaneMask);
    if (mode & graphics::SHIFT_256) {
      for (unsigned pixel = 0; pixel < 4; ++pixel) to = put(to, static_cast<uint8_t>(planes >> pixel * 8), 2 * dot_width_);
    } else if (mode & graphics::SHIFT_INTERLEAVE) {
      // Two bits of a pixel from one byte: planes 0 and 2 have the left half, 1 and 3 the right.
      for (unsigned pixel = 0; pixel < 8; ++pixel) {
        const uint32_t bits = planes >> pixel / 4 * 8 >> (6 - pixel % 4 * 2);
        to = put(to, (bits & 3) | (bits >> 16 & 3) << 2, dot_width_);
      }
    } else {
      for (unsigned pixel = 0; pixel < 8; ++pixel) {
        const uint32_t bits = planes >> (7 - pixel) & 0x0101'0101;
        to = put(to, (bits | bits >> 7 | bits >> 14 | bits >> 21) & 0xf, dot_width_);
      }
    }
  }
}

}  // namespace skerry::devices::vga
