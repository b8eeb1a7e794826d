// A VGA with a monitor, and what a BIOS does to set its modes.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bus/device.hpp"
#include "devices/vga/vga_core.hpp"

namespace skerry::devices::vga::test {

// The registers of a mode, as tables of the BIOS have them ("IBM VGA Technical Reference", "BIOS mode tables").
struct Mode {
  uint8_t misc;
  std::array<uint8_t, 4> sequencer;  // from 1 on
  std::array<uint8_t, 25> crtc;
  std::array<uint8_t, 5> attribute;  // from 0x10 on
  std::array<uint8_t, 9> graphics;
};
constexpr Mode kMode3 = {0x67,  // 80 x 25 characters of 9 x 16
                         {0x00, 0x03, 0x00, 0x02},
                         {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                          0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
                         {0x0c, 0x00, 0x0f, 0x08, 0x00},
                         {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff}};
constexpr Mode kMode1 = {0x67,  // 40 x 25
                         {0x08, 0x03, 0x00, 0x02},
                         {0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                          0x8f, 0x14, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
                         {0x0c, 0x00, 0x0f, 0x08, 0x00},
                         {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff}};
constexpr Mode kMode4 = {0x63,  // 320 x 200, 4 colours
                         {0x09, 0x03, 0x00, 0x02},
                         {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                          0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
                         {0x01, 0x00, 0x03, 0x00, 0x00},
                         {0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x0f, 0xff}};
constexpr Mode kMode6 = {0x63,  // 640 x 200, 2 colours
                         {0x01, 0x01, 0x00, 0x06},
                         {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                          0x8f, 0x28, 0x00, 0x96, 0xb9, 0xc2, 0xff},
                         {0x01, 0x00, 0x01, 0x00, 0x00},
                         {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0d, 0x0f, 0xff}};
constexpr Mode kMode0d = {0x63,  // 320 x 200, 16 colours
                          {0x09, 0x0f, 0x00, 0x06},
                          {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                           0x8f, 0x14, 0x00, 0x96, 0xb9, 0xe3, 0xff},
                          {0x01, 0x00, 0x0f, 0x00, 0x00},
                          {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff}};
constexpr Mode kMode12 = {0xe3,  // 640 x 480, 16 colours
                          {0x01, 0x0f, 0x00, 0x06},
                          {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xea, 0x8c,
                           0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
                          {0x01, 0x00, 0x0f, 0x00, 0x00},
                          {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff}};
constexpr Mode kMode13 = {0x63,  // 320 x 200, 256 colours
                          {0x01, 0x0f, 0x00, 0x0e},
                          {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                           0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
                          {0x41, 0x00, 0x0f, 0x00, 0x00},
                          {0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff}};

class VgaDevice final : public bus::Device {
 public:
  explicit VgaDevice(VgaCore& core) : core_(core) {}
  std::string_view name() const override { return "vga"; }
  void reset() override { core_.reset(); }
  void describe(state::Fields& fields) override { core_.describe(fields); }
  void restored() override { core_.restored(); }

 private:
  VgaCore& core_;
};

struct VgaRig {
  explicit VgaRig(size_t bytes = 256 * 1024) : memory(bytes / 8) {}

  std::vector<uint64_t> memory;
  std::span<std::byte> vram{reinterpret_cast<std::byte*>(memory.data()), memory.size() * 8};
  VgaCore core{vram};
  VgaDevice as_device{core};
  std::unique_ptr<display::Screen> screen = display::Screen::create({1, 1}).value();
  std::vector<uint32_t> shown;
  display::Screen::Size size;
  bus::Device& device() { return as_device; }
  void follow(const VgaRig& other) { std::ranges::copy(other.memory, memory.begin()); }

  void out(uint16_t port, unsigned value) { core.write_port(port, static_cast<uint8_t>(value)); }
  uint8_t in(uint16_t port) { return core.read_port(port); }
  void indexed(uint16_t port, unsigned index, unsigned value) {
    out(port, index);
    out(static_cast<uint16_t>(port + 1), value);
  }
  uint8_t indexed(uint16_t port, unsigned index) {
    out(port, index);
    return in(static_cast<uint16_t>(port + 1));
  }
  void seq(unsigned index, unsigned value) { indexed(0x3c4, index, value); }
  void gr(unsigned index, unsigned value) { indexed(0x3ce, index, value); }
  void crtc(unsigned index, unsigned value) { indexed(0x3d4, index, value); }
  void ar(unsigned index, unsigned value) {
    in(0x3da);
    out(0x3c0, index | 0x20);
    out(0x3c0, value);
  }
  void dispi(uint16_t index, unsigned value) { core.write_dispi(index, static_cast<uint16_t>(value)); }
  uint16_t dispi(uint16_t index) { return core.read_dispi(index); }
  void vbe(unsigned width, unsigned height, unsigned bits, unsigned flags = 0x40) {
    dispi(Dispi::VBE_DISPI_INDEX_ENABLE, 0);
    dispi(Dispi::VBE_DISPI_INDEX_XRES, width);
    dispi(Dispi::VBE_DISPI_INDEX_YRES, height);
    dispi(Dispi::VBE_DISPI_INDEX_BPP, bits);
    dispi(Dispi::VBE_DISPI_INDEX_ENABLE, flags | 1);
    out(0x3c2, 0xe3);
    in(0x3da);
    out(0x3c0, 0x20);
  }

  void set(const Mode& mode) {
    out(0x3c2, mode.misc);
    for (unsigned i = 0; i < 4; ++i) seq(i + 1, mode.sequencer[i]);
    crtc(0x11, 0);
    for (unsigned i = 0; i < 25; ++i) crtc(i, mode.crtc[i]);
    for (unsigned i = 0; i < 9; ++i) gr(i, mode.graphics[i]);
    for (unsigned i = 0; i < 16; ++i) ar(i, i);
    for (unsigned i = 0; i < 5; ++i) ar(0x10 + i, mode.attribute[i]);
    out(0x3c8, 0);
    for (unsigned i = 0; i < 256; ++i)
      for (const unsigned component : components(i)) out(0x3c9, component);
  }
  // All 256 colours differ.
  static std::array<unsigned, 3> components(unsigned i) { return {i % 64, i / 4, 63 - i % 64}; }
  static uint32_t colour(unsigned i) {
    uint32_t pixel = 0;
    for (const unsigned c : components(i)) pixel = pixel << 8 | c * 4 | c / 16;
    return pixel;
  }

  // Of the text window at 0xb8000.
  void put(unsigned offset, unsigned character, unsigned look) {
    core.write_window(0x18000 + offset, 2, character | look << 8);
  }
  // A line of a character in plane 2, by its address there.
  void put_font(unsigned address, unsigned bits) { vram[address * 4 + 2] = static_cast<std::byte>(bits); }
  void put_glyph(unsigned character, unsigned bits, unsigned set = 0) {
    for (unsigned line = 0; line < 32; ++line) put_font(set + character * 32 + line, bits);
  }

  void draw(int64_t ns = 0) {
    core.draw(*screen, ns);
    size = screen->size();
    shown.assign(size_t{size.width} * size.height, 0);
    const uint32_t at_once = display::Screen::kReadAtOnce / size.width;
    for (uint32_t y = 0; y < size.height; y += at_once) {
      const uint32_t rows = std::min(at_once, size.height - y);
      screen->read({0, y, size.width, rows}, std::span(shown).subspan(size_t{y} * size.width), false);
    }
  }
  uint32_t pixel(uint32_t x, uint32_t y) const { return shown.at(size_t{y} * size.width + x); }
  // A row of pixels as colour numbers below 16, in hexadecimal; '?' for other colours.
  std::string row(uint32_t x, uint32_t y, uint32_t count) const {
    std::string text;
    for (uint32_t i = 0; i < count; ++i) {
      unsigned number = 0;
      while (number < 16 && colour(number) != pixel(x + i, y)) ++number;
      text += "0123456789abcdef?"[number];
    }
    return text;
  }
};

}  // namespace skerry::devices::vga::test
