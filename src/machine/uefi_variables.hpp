// The file that the variables of a VM's UEFI are kept in: what is to be booted, keys of Secure Boot, the clock's zone. As QEMU and libvirt
// have them: byte for byte what is in the flash memory below the firmware.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "block/image_lock.hpp"
#include "machine/loader/input_file.hpp"

namespace skerry::machine {

class UefiVariables {
 public:
  static constexpr uint64_t kMaxSize = 4 << 20;

  // `path`, which is made from `first` if it is not there; or, if it is empty, what `first` holds, kept nowhere. `first` may be empty if
  // there is a file at `path`. The file is locked against other VMs. Before the sandbox closes; needs no rights later.
  static Result<UefiVariables> open(const std::string& path, const std::string& first);

  // When it was opened; whole blocks of devices::CfiFlash.
  std::span<const uint8_t> content() const { return content_; }

  // Writes to the file, through to the host's disk. False: it could not, which has been logged. One thread at a time.
  bool store(uint64_t offset, std::span<const std::byte> bytes);

 private:
  UefiVariables() = default;
  Result<void> load(const InputFile& file);

  std::string path_;
  std::vector<uint8_t> content_;
  UniqueFd file_;  // none: they are kept nowhere
  std::optional<block::ImageLock> lock_;
  bool failed_ = false;
};

}  // namespace skerry::machine
