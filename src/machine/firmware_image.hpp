// The firmware of a board: an image, read whole while files can still be opened.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"

namespace skerry::machine {

// What distributions bring.
struct KnownFirmware {
  std::string_view name;       // as config::VmConfig has it
  std::string_view path;
  std::string_view variables;  // what they are at first, in flash memory below the image; empty: it has none
  std::string_view package;    // Debian's
};

class FirmwareImage {
 public:
  // In the order in which they are looked for: of each name the first that is there is taken.
  static std::span<const KnownFirmware> known();
  static constexpr std::string_view kBios = "bios", kUefi = "uefi";
  static constexpr uint64_t kMinSize = 64 * KiB, kMaxSize = 8 * MiB;
  static constexpr uint64_t kLowSize = 128 * KiB;  // at most this much of it is below 1 MiB too

  // A known name, or a file; "" is kBios.
  static Result<FirmwareImage> load(const std::string& given);

  const std::string& path() const { return path_; }
  // KnownFirmware::variables
  const std::string& variables() const { return variables_; }
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
  std::string path_, variables_;
  std::vector<uint8_t> content_;
};

}  // namespace skerry::machine
