#include "migrate/restore.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.hpp"
#include "config/saved_config.hpp"
#include "migrate/compatibility.hpp"
#include "migrate/crc32c.hpp"
#include "migrate/page_map.hpp"
#include "state/stream.hpp"

namespace skerry::migrate {

using memory::GuestMemory;

namespace {

// Of one machine. More would take mappings away from others (vm.max_map_count is 65530 by default).
constexpr size_t kMaxMappings = 4096;

std::span<const uint8_t> as_stream(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

Result<MachineFacts> read_facts(const StateFile& file) {
  const auto bytes = file.read(Part::kMachine);
  if (!bytes) return bytes.error();
  MachineFacts facts;
  state::Loader loader(as_stream(*bytes));
  facts.describe(loader);
  if (auto good = loader.finish(); !good) return std::move(good).error().in(file.label());
  return facts;
}

// What the state is of has to be what the machine has, in the same order.
Result<void> check_devices(machine::Machine& machine, std::span<const uint8_t> state) {
  auto names = state::group_names(state);
  if (!names) return std::move(names).error();
  std::vector<std::string> here;
  for (const bus::Device* device : machine.devices()) here.emplace_back(device->name());
  for (unsigned i = 0; i < machine.vcpu_count(); ++i) here.push_back(fmt::format("vcpu{}", i));
  const auto lacks = [](const std::vector<std::string>& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) == list.end();
  };
  for (const std::string& name : *names)
    if (lacks(here, name)) return error("it has a device '{:.64}', which this machine has not", name);
  for (const std::string& name : here)
    if (lacks(*names, name)) return error("it has no state of the device '{}', which this machine has", name);
  if (*names != here) return error("its devices are not in the order of this machine's");
  return ok();
}

Result<void> check_regions(const GuestMemory& memory, const std::vector<SavedRegion>& saved) {
  const std::vector<SavedRegion> here = regions_of(memory);
  for (size_t i = 0; i < std::max(here.size(), saved.size()); ++i) {
    if (i >= saved.size()) return error("it has no memory '{}' at {:#x}, which this machine has", here[i].name, here[i].base);
    const SavedRegion& region = saved[i];
    if (i >= here.size() || here[i].base != region.base || here[i].size != region.size ||
        here[i].writable != region.writable)
      return error("its memory '{}' is {} at {:#x}; this machine has none like it", region.name, format_size(region.size),
                   region.base);
  }
  return ok();
}

// Reads memory out of the file, in order, as checksums. Holes are known to be zero without being read.
class MemoryChecker {
 public:
  explicit MemoryChecker(const StateFile& file)
      : file_(file), start_(file.place(Part::kMemory).offset), end_(start_ + file.place(Part::kMemory).length) {}

  Result<void> check(const SavedRegion& region) {
    for (size_t i = 0; i < region.chunks.size(); ++i) {
      const Chunk& chunk = region.chunks[i];
      const uint64_t size = region.chunk_size(i), offset = start_ + region.offset + i * kChunk;
      find_data(offset);
      if (!chunk.stored && data_begin_ >= offset + size) continue;  // a hole, as it should be
      const auto crc = crc_of(offset, size);
      if (!crc) return crc.error();
      if (*crc != (chunk.stored ? chunk.crc : crc32c_zeros(0, size)))
        return error("{}: is damaged: the checksum of guest memory {:#x}-{:#x} is wrong", file_.label(),
                     region.base + i * kChunk, region.base + i * kChunk + size - 1);
    }
    return ok();
  }

 private:
  Result<uint32_t> crc_of(uint64_t offset, uint64_t size) {
    uint32_t crc = 0;
    for (const uint64_t end = offset + size; offset < end;) {
      find_data(offset);
      const uint64_t zeros = std::min(std::max(data_begin_, offset), end) - offset;
      crc = crc32c_zeros(crc, zeros);
      offset += zeros;
      const uint64_t data = std::min<uint64_t>({data_end_ > offset ? data_end_ - offset : 0, end - offset, buffer_.size()});
      const std::span part = std::span(buffer_).first(data);
      if (auto good = file_.read_at(offset, part); !good) return std::move(good).error();
      crc = crc32c(crc, part);
      offset += data;
    }
    return crc;
  }

  // The next data at or after `offset`. A file system that has no holes says that all is data.
  void find_data(uint64_t offset) {
    if (offset < data_end_) return;
    const off_t data = ::lseek(file_.fd(), static_cast<off_t>(offset), SEEK_DATA);
    const off_t hole = data < 0 ? -1 : ::lseek(file_.fd(), data, SEEK_HOLE);
    const bool none = data < 0 && errno == ENXIO;
    data_begin_ = none ? end_ : data < 0 ? offset : static_cast<uint64_t>(data);
    data_end_ = hole < 0 ? end_ : std::min(static_cast<uint64_t>(hole), end_);
    if (data_end_ <= data_begin_) data_end_ = data_begin_ = end_;
  }

  const StateFile& file_;
  const uint64_t start_, end_;
  uint64_t data_begin_ = 0, data_end_ = 0;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(256 * KiB);
};

// The runs of chunks to be mapped from the file. Runs that are near each other become one until they are few.
std::vector<GuestMemory::Range> runs_of(const SavedRegion& region, size_t gap) {
  std::vector<GuestMemory::Range> runs;
  for (size_t i = 0; i < region.chunks.size(); ++i) {
    if (!region.chunks[i].stored) continue;
    const memory::Gpa at = region.base + i * kChunk, end = at + region.chunk_size(i);
    if (!runs.empty() && at - runs.back().end <= gap * kChunk)
      runs.back().end = end;
    else
      runs.push_back({at, end});
  }
  return runs;
}

Result<void> map_memory(GuestMemory& memory, const StateFile& file, const std::vector<SavedRegion>& regions) {
  const size_t most = kMaxMappings / regions.size();
  for (const SavedRegion& region : regions) {
    std::vector<GuestMemory::Range> runs = runs_of(region, 0);
    for (size_t gap = 1; runs.size() > most; gap *= 2) runs = runs_of(region, gap);
    for (const auto& run : runs) {
      const uint64_t offset = file.place(Part::kMemory).offset + region.offset + (run.begin - region.base);
      if (auto good = memory.map_file(run.begin, run.end - run.begin, file.fd(), offset); !good)
        return std::move(good).error().in(file.label());
    }
  }
  return ok();
}

// What no guest could have set on this processor, and the accelerators do not look for.
Result<void> check_processors(machine::Machine& machine) {
  const x86::CpuModel& model = machine.cpu_model();
  for (unsigned i = 0; i < machine.vcpu_count(); ++i) {
    const x86::CpuState& state = machine.vcpu(i).vcpu().state();
    const uint64_t xcr0 = model.xcr0_allowed() | 1;
    if (state.cr4 & ~model.cr4_allowed() || state.efer & ~model.efer_allowed() || state.xcr0 & ~xcr0)
      return error("its vCPU {} has control bits set that a processor like this one has not", i);
  }
  return ok();
}

Result<void> load_state(machine::Machine& machine, std::span<const uint8_t> state) {
  state::Loader loader(state);
  machine.describe(loader);
  if (auto good = loader.finish(); !good) return good;
  if (auto good = check_processors(machine); !good) return good;
  return machine.restored();
}

}  // namespace

Result<void> restore(machine::Machine& machine, const config::VmConfig& config, const StateFile& file, Verify verify) {
  const auto in_file = [&](Result<void> result) { return result ? ok() : std::move(result).error().in(file.label()); };
  const auto saved_config = file.config();
  if (!saved_config) return saved_config.error();
  if (auto good = in_file(config::check_same_machine(*saved_config, config)); !good) return good;
  const auto facts = read_facts(file);
  if (!facts) return facts.error();
  const MachineFacts here = facts_of(machine.cpu_model(), machine.accelerator().name());
  if (auto good = in_file(check_compatible(*facts, here)); !good) return good;
  const auto state = file.read(Part::kState);
  if (!state) return state.error();
  if (auto good = in_file(check_devices(machine, as_stream(*state))); !good) return good;
  const auto pages = file.read(Part::kPages);
  if (!pages) return pages.error();
  auto regions = decode(*pages, file.place(Part::kMemory).length);
  if (!regions) return std::move(regions).error().in(file.label());
  if (auto good = in_file(check_regions(machine.memory(), *regions)); !good) return good;
  if (verify == Verify::kYes) {
    MemoryChecker checker(file);
    for (const SavedRegion& region : *regions)
      if (auto good = checker.check(region); !good) return good;
  }

  if (auto good = map_memory(machine.memory(), file, *regions); !good) return good;
  if (auto good = in_file(load_state(machine, as_stream(*state))); !good) return good;
  machine.advance_time_of_day(here.saved_at > facts->saved_at ? here.saved_at - facts->saved_at : 0);
  log::debug(log::Category::kVm, "restored from {}, saved under accelerator {}", file.label(), facts->accelerator);
  return ok();
}

}  // namespace skerry::migrate
