// Writes ISO 9660 images of a few files in one folder, with Rock Ridge and Joliet. Its bytes depend on nothing but what it
// is given: no clock, no time zone, no temporary file.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace skerry::machine {

struct IsoFile {
  std::string_view iso_name;  // as ECMA-119, 7.5 has it for interchange level 1: "USER_DAT.;1"
  std::string_view name;      // ASCII, at most 60 characters
  std::string_view content;   // less than 4 GiB
};

// `files` are in the order of both their names, and so few that a folder of them fits in one sector: at most 10.
// `volume` is ASCII, at most 16 characters.
std::vector<uint8_t> make_iso_image(std::string_view volume, std::span<const IsoFile> files);

}  // namespace skerry::machine
