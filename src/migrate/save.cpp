#include "migrate/save.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "config/saved_config.hpp"
#include "migrate/compatibility.hpp"
#include "migrate/crc32c.hpp"
#include "state/stream.hpp"

namespace skerry::migrate {

using memory::Gpa;
using memory::GuestMemory;
using memory::kPageSize;

namespace {

std::vector<std::byte> bytes_of(std::span<const uint8_t> data) {
  const auto bytes = std::as_bytes(data);
  return {bytes.begin(), bytes.end()};
}

template <typename Describe>
std::vector<std::byte> saved(Describe describe) {
  state::Saver saver;
  describe(saver);
  return bytes_of(saver.data());
}

bool is_zero(std::span<const std::byte> page) {
  // Equal to itself one byte on, and beginning with zero.
  return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

}  // namespace

Result<std::unique_ptr<SaveTask>> SaveTask::start(machine::Machine& machine, const config::VmConfig& config, UniqueFd file) {
  std::unique_ptr<SaveTask> task(new SaveTask(machine, std::move(file)));
  if (auto good = task->check_file(); !good) return std::move(good).error();
  task->regions_ = regions_of(machine.memory());
  task->progress_.total = total_size(task->regions_);
  if (auto good = machine.prepare_save(); !good) return std::move(good).error();
  if (auto good = task->write_front(config); !good) return std::move(good).error();
  return task;
}

Result<void> SaveTask::check_file() const {
  struct stat about {};
  if (::fstat(file_.get(), &about) != 0) return errno_error(errno, "cannot look at the file for the state");
  if (!S_ISREG(about.st_mode)) return error("the file for the state is no regular file; give one");
  if (about.st_size != 0) return error("the file for the state is not empty; give a new one");
  const int flags = ::fcntl(file_.get(), F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & (O_APPEND | O_DIRECT)))
    return error("the file for the state is not open for writing at any place; open it without O_APPEND and O_DIRECT");
  return ok();
}

// All that stands before the memory. The map of pages and the header follow when they are known.
Result<void> SaveTask::write_front(const config::VmConfig& config) {
  MachineFacts facts = facts_of(machine_.cpu_model(), machine_.accelerator().name());
  config::VmConfig saved_config = config::for_saving(config);
  saved_config.tsc_hz = facts.tsc_hz;  // the guest goes on counting at this rate, on any host
  saved_config.cpu_features = facts.cpu_features;
  const std::string json = config::to_json(saved_config);
  const std::vector<std::byte> parts[] = {
      bytes_of({reinterpret_cast<const uint8_t*>(json.data()), json.size()}),
      saved([&](state::Fields& fields) { facts.describe(fields); }),
      saved([&](state::Fields& fields) { machine_.describe(fields); }),
  };
  for (size_t i = 0; i < std::size(parts); ++i) layout_.parts[i].length = parts[i].size();
  layout_[Part::kPages].length = encode(regions_).size();
  layout_[Part::kMemory].length = progress_.total;
  layout_.place();
  if (::ftruncate(file_.get(), static_cast<off_t>(layout_.file_size())) != 0)
    return errno_error(errno, fmt::format("cannot make the state {} long", format_size(layout_.file_size())));
  for (size_t i = 0; i < std::size(parts); ++i)
    if (auto good = put(static_cast<Part>(i), parts[i]); !good) return good;
  return ok();
}

Result<void> SaveTask::put(Part part, std::span<const std::byte> bytes) {
  layout_[part].crc = crc32c(0, bytes);
  return write_at(layout_[part].offset, bytes);
}

Result<void> SaveTask::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error(errno, "cannot write the state");
    if (put == 0) return error("cannot write the state: the file takes no more");
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return ok();
}

Result<bool> SaveTask::step() {
  if (region_ == regions_.size()) {
    if (auto good = finish(); !good) return std::move(good).error();
    return true;
  }
  SavedRegion& region = regions_[region_];
  if (auto good = write_chunk(region, chunk_); !good) return std::move(good).error();
  progress_.done += region.chunk_size(chunk_);
  if (++chunk_ == region.chunks.size()) {
    ++region_;
    chunk_ = 0;
  }
  return false;
}

// The next pages at or after `from` that may hold something; an empty range at the region's end if there are none.
// What the memory said is kept: asking it about each chunk would take time quadratic in what is used.
GuestMemory::Range SaveTask::data_at(const SavedRegion& region, Gpa from) {
  const Gpa end = region.base + region.size;
  const bool of_region = data_.begin >= region.base && data_.begin <= end;
  if (!of_region || data_.end <= from) data_ = machine_.memory().next_data(from).value_or(GuestMemory::Range{end, end});
  return {std::max(data_.begin, from), std::max(data_.end, from)};
}

Result<void> SaveTask::write_chunk(SavedRegion& region, size_t index) {
  Chunk& chunk = region.chunks[index];
  const Gpa begin = region.base + index * kChunk, end = begin + region.chunk_size(index);
  if (data_at(region, begin).begin >= end) return ok();
  for (Gpa at = begin; at < end;) {
    const GuestMemory::Range data = data_at(region, at);
    const Gpa zeros_end = std::min(data.begin, end), data_end = std::min(data.end, end);
    chunk.crc = crc32c_zeros(chunk.crc, zeros_end - at);
    at = zeros_end;
    if (at == end) break;
    if (data_end <= at) return error("cannot find out what memory at {:#x} holds", at);
    if (auto good = write_pages(region, {at, data_end}, chunk); !good) return good;
    at = data_end;
  }
  if (!chunk.stored) chunk.crc = 0;
  return ok();
}

// Pages that are not zero, each run of them at once.
Result<void> SaveTask::write_pages(const SavedRegion& region, GuestMemory::Range range, Chunk& chunk) {
  const std::span<const std::byte> bytes = machine_.memory().content(range);
  if (bytes.empty()) return error("cannot read guest memory at {:#x}", range.begin);
  chunk.crc = crc32c(chunk.crc, bytes);
  const uint64_t offset = layout_[Part::kMemory].offset + region.offset + (range.begin - region.base);
  for (uint64_t at = 0; at < bytes.size();) {
    uint64_t run_end = at;
    while (run_end < bytes.size() && !is_zero(bytes.subspan(run_end, kPageSize))) run_end += kPageSize;
    if (run_end > at) {
      if (auto good = write_at(offset + at, bytes.subspan(at, run_end - at)); !good) return good;
      chunk.stored = true;
      progress_.written += run_end - at;
    }
    at = run_end + kPageSize;  // past the zero page that ended the run
  }
  return ok();
}

// The header comes last: a file without one is no state file.
Result<void> SaveTask::finish() {
  if (auto good = put(Part::kPages, encode(regions_)); !good) return good;
  return write_at(0, layout_.header());
}

}  // namespace skerry::migrate
