// The picture of the VGA itself, text and graphics: line after line as its CRT controller counts them, so that every
// combination of registers has a picture ("IBM VGA Technical Reference", "CRT Controller", "Attribute Controller").
#pragma once

#include <vector>

#include "devices/vga/registers.hpp"
#include "devices/vga/row_writer.hpp"
#include "devices/vga/vram.hpp"

namespace skerry::devices::vga {

// What is to be seen at the moment of what blinks.
struct Blink {
  bool cursor = true;
  bool characters = true;
};

class LegacyPicture {
 public:
  LegacyPicture(const Registers& registers, const Vram& vram, Blink blink);
  uint32_t width() const { return characters_ * character_width(); }  // up to 256 * 18
  uint32_t height() const { return height_; }                         // up to 1024
  void draw(RowWriter& rows);

 private:
  // The counters of the CRT controller.
  struct Line {
    uint32_t address;      // of the line's first character, in each plane
    uint32_t row_scan;     // the line within a row of characters, 0 to 31
    uint32_t panned;       // dots that have left the screen at the left
    bool repeated = false;  // under SCAN_DOUBLING: the second of two
  };
  uint32_t character_dots() const { return text_ && nine_dots_ ? 9 : 8; }
  uint32_t character_width() const { return character_dots() * dot_width_; }
  Line first_line() const;
  uint32_t panning() const;
  void next_line(Line& line, uint32_t finished) const;
  void text_line(const Line& line);
  uint32_t glyph(uint32_t character, bool set_a, uint32_t row_scan) const;
  bool cursor_at(uint32_t address, uint32_t row_scan) const;
  void graphics_line(const Line& line);

  const Registers& registers_;
  const Vram& vram_;
  const Blink blink_;
  const bool text_;
  const bool nine_dots_;
  const uint32_t dot_width_;   // pixels: 2 if the dot clock is halved
  const uint32_t characters_;  // of a line
  const uint32_t height_;
  const uint32_t line_compare_;
  std::vector<uint8_t> dots_;  // the colours of a line and of one character more, before the palette
};

}  // namespace skerry::devices::vga
