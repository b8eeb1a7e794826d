// The picture of a mode of the Bochs VBE extensions.
#pragma once

#include "devices/vga/dispi.hpp"
#include "devices/vga/row_writer.hpp"
#include "devices/vga/vram.hpp"

namespace skerry::devices::vga {

void draw_vbe(const Registers& registers, const VbeMode& mode, const Vram& vram, RowWriter& rows);

}  // namespace skerry::devices::vga
