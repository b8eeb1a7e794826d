#include "migrate/state_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "migrate/crc32c.hpp"

namespace skerry::migrate {

namespace {

// The control characters show what a transfer as text would change.
constexpr std::string_view kMagic("SKERRY\x1a\n", 8);
constexpr std::array<std::string_view, kPartCount> kTags = {"CONF", "MACH", "STAT", "PAGE", "RAM "};
// More than any VM needs: a reader takes no more memory than this, whatever a header says.
constexpr std::array<uint64_t, kPartCount> kMaxLength = {config::kMaxJsonSize, 64 * KiB, 64 * MiB, 16 * MiB, 1024 * GiB};

struct PartEntry {
  char tag[4];
  uint32_t crc;
  uint64_t offset, length;
};
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t part_count;
  uint64_t file_size;
  uint64_t reserved;
  PartEntry parts[kPartCount];
  std::byte zero[kBlock - 32 - kPartCount * sizeof(PartEntry) - 4];
  uint32_t crc;  // of all before it
};
static_assert(sizeof(Header) == kBlock && std::is_trivially_copyable_v<Header>);

uint32_t crc_of(const Header& header) {
  return crc32c(0, std::as_bytes(std::span(&header, 1)).first(offsetof(Header, crc)));
}

}  // namespace

void FileLayout::place() {
  uint64_t at = kBlock;
  for (PartPlace& part : parts) {
    part.offset = at;
    at = align_up(at + part.length, kBlock);
  }
}

uint64_t FileLayout::file_size() const {
  const PartPlace& last = parts.back();
  return align_up(last.offset + last.length, kBlock);
}

std::array<std::byte, kBlock> FileLayout::header() const {
  Header header{};
  std::copy(kMagic.begin(), kMagic.end(), header.magic);
  header.version = kFormatVersion;
  header.part_count = kPartCount;
  header.file_size = file_size();
  for (size_t i = 0; i < kPartCount; ++i) {
    std::copy(kTags[i].begin(), kTags[i].end(), header.parts[i].tag);
    header.parts[i].crc = parts[i].crc;
    header.parts[i].offset = parts[i].offset;
    header.parts[i].length = parts[i].length;
  }
  header.crc = crc_of(header);
  std::array<std::byte, kBlock> bytes;
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

Result<StateFile> StateFile::open(std::string path, UniqueFd fd) {
  StateFile file;
  file.label_ = fmt::format("state file '{}'", path);
  file.file_ = std::move(fd);
  if (auto good = file.read_header(); !good) return std::move(good).error();
  if (auto good = file.check_padding(); !good) return std::move(good).error();
  return file;
}

Result<void> StateFile::read_at(uint64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t got = ::pread(file_.get(), to.data(), to.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, fmt::format("{}: cannot read", label_));
    if (got == 0) return error("{}: ends at byte {}; it is truncated", label_, offset);
    to = to.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return ok();
}

Result<void> StateFile::read_header() {
  struct stat about {};
  if (::fstat(fd(), &about) != 0) return errno_error(errno, fmt::format("{}: cannot read", label_));
  if (!S_ISREG(about.st_mode))
    return error("{}: is no regular file; memory is taken from it as it is used, so copy it into one", label_);
  const uint64_t size = static_cast<uint64_t>(about.st_size);
  Header header{};
  if (auto good = read_at(0, std::as_writable_bytes(std::span(&header, 1)).first(std::min<uint64_t>(size, kBlock))); !good)
    return good;
  if (size < kMagic.size() || std::string_view(header.magic, sizeof header.magic) != kMagic)
    return error("{}: is not a state file; give one that 'skerry save' wrote to its end", label_);
  if (size < kBlock) return error("{}: is truncated: it has {} bytes, less than a header", label_, size);
  if (header.version != kFormatVersion)
    return error("{}: its format is version {}; this program reads version {}", label_, header.version, kFormatVersion);
  if (header.crc != crc_of(header)) return error("{}: is damaged: the checksum of its header is wrong", label_);

  if (header.part_count != kPartCount || header.reserved != 0)
    return error("{}: has {} parts; version {} has {}", label_, header.part_count, kFormatVersion, kPartCount);
  FileLayout expected;
  for (size_t i = 0; i < kPartCount; ++i) {
    const PartEntry& entry = header.parts[i];
    layout_.parts[i] = {entry.offset, entry.length, entry.crc};
    if (std::string_view(entry.tag, sizeof entry.tag) != kTags[i])
      return error("{}: its part {} is not '{}'; a newer program may have written it", label_, i, kTags[i]);
    if (entry.length > kMaxLength[i])
      return error("{}: its part '{}' has {} bytes; at most {} are possible", label_, kTags[i], entry.length, kMaxLength[i]);
    expected.parts[i].length = entry.length;
  }
  expected.place();
  for (size_t i = 0; i < kPartCount; ++i)
    if (layout_.parts[i].offset != expected.parts[i].offset)
      return error("{}: its part '{}' is at byte {} and not at {}", label_, kTags[i], layout_.parts[i].offset,
                   expected.parts[i].offset);
  if (header.file_size != expected.file_size() || layout_[Part::kMemory].length % kBlock != 0)
    return error("{}: its length in the header, {} bytes, is not that of its parts", label_, header.file_size);
  if (size < header.file_size) return error("{}: is truncated: it has {} of {} bytes", label_, size, header.file_size);
  if (size > header.file_size)
    return error("{}: something follows its end: it has {} bytes instead of {}", label_, size, header.file_size);
  return ok();
}

// So that no byte of the file may change unnoticed.
Result<void> StateFile::check_padding() const {
  std::array<std::byte, kBlock> buffer;
  for (size_t i = 0; i < kPartCount; ++i) {
    const uint64_t end = layout_.parts[i].offset + layout_.parts[i].length;
    const std::span padding = std::span(buffer).first(align_up(end, kBlock) - end);
    if (auto good = read_at(end, padding); !good) return good;
    if (std::any_of(padding.begin(), padding.end(), [](std::byte byte) { return byte != std::byte{0}; }))
      return error("{}: is damaged: the bytes after its part '{}' are not zero", label_, kTags[i]);
  }
  return ok();
}

Result<std::vector<std::byte>> StateFile::read(Part part) const {
  const PartPlace& where = place(part);
  std::vector<std::byte> bytes(where.length);  // at most kMaxLength, and no more than the file has
  if (auto good = read_at(where.offset, bytes); !good) return std::move(good).error();
  if (crc32c(0, bytes) != where.crc)
    return error("{}: is damaged: the checksum of its part '{}' is wrong", label_, kTags[static_cast<size_t>(part)]);
  return bytes;
}

Result<config::VmConfig> StateFile::config() const {
  const auto bytes = read(Part::kConfig);
  if (!bytes) return bytes.error();
  auto config = config::from_json({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (!config) return std::move(config).error().in(label_);
  return config;
}

}  // namespace skerry::migrate
