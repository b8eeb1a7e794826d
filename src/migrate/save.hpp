// Saving: writes a machine at rest to a state file, a bit at a time, so that who does it can do other things in between.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "config/vm_config.hpp"
#include "machine/machine.hpp"
#include "migrate/page_map.hpp"
#include "migrate/state_file.hpp"

namespace skerry::migrate {

struct SaveProgress {
  uint64_t total = 0;    // bytes of guest memory
  uint64_t done = 0;     // of them, looked at
  uint64_t written = 0;  // of them, written; the rest is zero
};

// Of the thread that controls the machine, which outlives this and stays at rest for as long.
class SaveTask {
 public:
  // Captures the state of processors and devices. `file` is open for writing, regular and empty; it is complete only when
  // its header has been written, by the last step. Syncing and naming it is for who opened it.
  static Result<std::unique_ptr<SaveTask>> start(machine::Machine& machine, const config::VmConfig& config, UniqueFd file);

  // Goes on for at most 2 MiB of memory. True: the file is complete.
  Result<bool> step();
  const SaveProgress& progress() const { return progress_; }

 private:
  SaveTask(machine::Machine& machine, UniqueFd file) : machine_(machine), file_(std::move(file)) {}
  Result<void> check_file() const;
  Result<void> write_front(const config::VmConfig& config);
  Result<void> put(Part part, std::span<const std::byte> bytes);
  Result<void> write_at(uint64_t offset, std::span<const std::byte> bytes);
  Result<void> write_chunk(SavedRegion& region, size_t index);
  Result<void> write_pages(const SavedRegion& region, memory::GuestMemory::Range range, Chunk& chunk);
  memory::GuestMemory::Range data_at(const SavedRegion& region, memory::Gpa from);
  Result<void> finish();

  machine::Machine& machine_;
  const UniqueFd file_;
  FileLayout layout_;
  std::vector<SavedRegion> regions_;
  size_t region_ = 0, chunk_ = 0;  // the next
  memory::GuestMemory::Range data_{0, 0};  // what next_data() said last
  SaveProgress progress_;
};

}  // namespace skerry::migrate
