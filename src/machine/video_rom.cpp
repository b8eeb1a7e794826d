#include "machine/video_rom.hpp"

#include <unistd.h>

#include "base/units.hpp"
#include "machine/loader/input_file.hpp"

namespace skerry::machine {

namespace {

// Where Debian, Arch and Fedora have it.
constexpr const char* kPlaces[] = {"/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/qemu/vgabios-stdvga.bin",
                                   "/usr/share/seavgabios/vgabios-stdvga.bin"};
constexpr uint64_t kMaxSize = 256 * KiB;  // there is no more room for ROMs below 1 MiB

}  // namespace

Result<std::vector<uint8_t>> load_video_rom(bool optional) {
  for (const char* const place : kPlaces) {
    if (::access(place, F_OK) != 0) continue;
    auto file = InputFile::open("VGA BIOS", place);
    if (!file) return std::move(file).error();
    if (file->size() > kMaxSize) return error("{}: has {}; a VGA BIOS has at most {}", file->label(), format_size(file->size()), format_size(kMaxSize));
    std::vector<uint8_t> content(file->size());
    if (auto good = file->read(0, std::as_writable_bytes(std::span(content))); !good) return std::move(good).error();
    return content;
  }
  if (optional) return std::vector<uint8_t>();
  return error("video vga: there is no '{}', by which the BIOS shows something; install the Debian package seabios, or use --firmware uefi", kPlaces[0]);
}

}  // namespace skerry::machine
