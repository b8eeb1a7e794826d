// The state file: one VM, brought to rest, as a file. docs/state-format.md describes every byte of it.
//
//   header     4 KiB: magic, format version, length, the place and checksum of each part, its own checksum
//   CONF       the description of the VM, as JSON
//   MACH       what its state depends on: processor features, TSC frequency, time of day
//   STAT       the state of processors and devices (state/stream.hpp)
//   PAGE       which memory is stored, with a checksum for each 2 MiB of it (page_map.hpp)
//   RAM        guest memory, byte by byte; what is zero is a hole of the file
//
// Each part begins at the next multiple of 4 KiB; what is between them is zero. Numbers are little-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "config/vm_config.hpp"

namespace skerry::migrate {

constexpr uint32_t kFormatVersion = 1;
constexpr uint64_t kBlock = 4 * KiB;

enum class Part : uint8_t { kConfig, kMachine, kState, kPages, kMemory };
constexpr size_t kPartCount = 5;

struct PartPlace {
  uint64_t offset = 0, length = 0;  // bytes
  uint32_t crc = 0;                 // of the part's bytes; 0 for kMemory, whose checksums are in kPages
};

// Where everything is. As a header it fills the file's first block.
struct FileLayout {
  std::array<PartPlace, kPartCount> parts;
  PartPlace& operator[](Part part) { return parts[static_cast<size_t>(part)]; }
  const PartPlace& operator[](Part part) const { return parts[static_cast<size_t>(part)]; }

  // Gives the parts, whose lengths are set, their offsets.
  void place();
  uint64_t file_size() const;
  std::array<std::byte, kBlock> header() const;
};

// A state file for reading. Nothing in it is trusted; what is given out has been compared with its checksum.
// Thread-compatible.
class StateFile {
 public:
  // Reads the header and compares it with the file. `path` is for messages. The file must be a regular one, and must not
  // change while this is in use.
  static Result<StateFile> open(std::string path, UniqueFd file);

  const std::string& label() const { return label_; }  // "state file 'a.state'", to start a message with
  int fd() const { return file_.get(); }
  const PartPlace& place(Part part) const { return layout_[part]; }
  // A part as a whole; not kMemory.
  Result<std::vector<std::byte>> read(Part part) const;
  // The description of the VM that was saved.
  Result<config::VmConfig> config() const;
  // Fills `to` from `offset` of the file.
  Result<void> read_at(uint64_t offset, std::span<std::byte> to) const;

 private:
  StateFile() = default;
  Result<void> read_header();
  Result<void> check_padding() const;

  std::string label_;
  UniqueFd file_;
  FileLayout layout_;
};

}  // namespace skerry::migrate
