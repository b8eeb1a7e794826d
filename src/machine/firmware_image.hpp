// The firmware of a board: a BIOS image, read whole while files can still be opened.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"

namespace skerry::machine {

class FirmwareImage {
 public:
  static constexpr std::string_view kSeaBios = "/usr/share/seabios/bios-256k.bin";
  static constexpr uint64_t kMinSize = 64 * KiB, kMaxSize = 8 * MiB;
  static constexpr uint64_t kLowSize = 128 * KiB;  // at most this much of it is below 1 MiB too

  // The file `given`; if that is empty, `usual`, which Debian's package seabios brings.
  static Result<FirmwareImage> load(const std::string& given, std::string_view usual = kSeaBios);

  const std::string& path() const { return path_; }
  // The image, and where it is: it ends at 4 GiB.
  std::span<const uint8_t> content() const { return content_; }
  uint64_t base() const { return 4 * GiB - content_.size(); }
  // Its end, and where that is: it ends at 1 MiB.
  std::span<const uint8_t> low_content() const {
    return content().last(content_.size() < kLowSize ? content_.size() : kLowSize);
  }
  uint64_t low_base() const { return 1 * MiB - low_content().size(); }

 private:
  FirmwareImage() = default;
  std::string path_;
  std::vector<uint8_t> content_;
};

}  // namespace skerry::machine
