// Of FileSystem: reading folders.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "share/file_system.hpp"

namespace skerry::share {

namespace {

constexpr uint64_t kUnknownPosition = ~uint64_t{0};
constexpr size_t kLeastRead = 512, kMostRead = size_t{32} << 10;  // the least has room for the longest entry
// An entry of the host's takes about so much less than what the guest gets: what is read and has no room is read again.
constexpr size_t kPlainShare = 2, kFullShare = 5;

size_t size_of_entry(size_t name, bool with_attributes) {
  return FUSE_DIRENT_ALIGN((with_attributes ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET) + name);
}

}  // namespace

Outcome FileSystem::open_folder(Request& request, Answer& answer) {
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  if (!S_ISDIR(node->type)) return Outcome::failed(ENOTDIR);
  if (handles_.full()) return Outcome::failed(ENFILE);
  UniqueFd opened = open_node(*node, O_RDONLY | O_DIRECTORY);
  if (!opened) return Outcome::failed_by_errno();
  fuse_open_out out{};
  out.fh = handles_.add(std::move(opened), true);
  return answer.is(out);
}

Outcome FileSystem::read_folder(Request& request, Answer& answer) { return list(request, answer, false); }

Outcome FileSystem::read_folder_with_attributes(Request& request, Answer& answer) { return list(request, answer, true); }

Outcome FileSystem::sync_folder(Request& request, Answer&) {
  fuse_fsync_in in;
  if (!request.take(in)) return Outcome::failed(EINVAL);
  const Handle* handle = handles_.find(in.fh, true);
  if (!handle) return Outcome::failed(EBADF);
  return ::fsync(handle->fd.get()) == 0 ? Outcome{} : Outcome::failed_by_errno();
}

// As many entries as fit from the place that the guest names: a cookie of the host's file system, which it has from the entry before.
Outcome FileSystem::list(Request& request, Answer& answer, bool with_attributes) {
  fuse_read_in in;
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  if (!request.take(in)) return Outcome::failed(EINVAL);
  Handle* handle = handles_.find(in.fh, true);
  if (!handle) return Outcome::failed(EBADF);
  if (handle->position != in.offset && ::lseek(handle->fd.get(), static_cast<off_t>(in.offset), SEEK_SET) < 0)
    return Outcome::failed_by_errno();
  Answer part(answer.left().first(std::min<size_t>(answer.left().size(), in.size)));
  alignas(dirent64) std::array<char, kMostRead> buffer;
  const size_t wanted = std::clamp(part.left().size() / (with_attributes ? kFullShare : kPlainShare), kLeastRead, kMostRead);
  const ssize_t got = ::getdents64(handle->fd.get(), buffer.data(), wanted);
  handle->position = kUnknownPosition;
  if (got < 0) return Outcome::failed_by_errno();
  uint64_t position = in.offset;
  for (ssize_t at = 0; at < got;) {
    const auto& found = *reinterpret_cast<const dirent64*>(buffer.data() + at);
    if (!put_entry(*folder, found, with_attributes, part)) return part.size() > 0 ? Outcome{0, part.size()} : Outcome::failed(EINVAL);
    position = static_cast<uint64_t>(found.d_off);
    at += found.d_reclen;
  }
  handle->position = position;
  return {0, part.size()};
}

// False: there is no room. What cannot be looked up, as it has gone or there is no descriptor left, is there by its name alone.
bool FileSystem::put_entry(const Node& folder, const dirent64& found, bool with_attributes, Answer& answer) {
  const std::string_view name(found.d_name);
  const size_t size = size_of_entry(name.size(), with_attributes);
  if (answer.left().size() < size) return false;
  const size_t end = answer.size() + size;
  if (with_attributes) {
    fuse_entry_out entry{};
    if (name == "." || name == ".." || enter(folder, found.d_name, entry).error) entry = {};
    answer.put(entry);
  }
  fuse_dirent head{};
  head.ino = found.d_ino;
  head.off = static_cast<uint64_t>(found.d_off);
  head.namelen = static_cast<uint32_t>(name.size());
  head.type = found.d_type;
  answer.put_bytes({reinterpret_cast<const uint8_t*>(&head), FUSE_NAME_OFFSET});
  answer.put_bytes({reinterpret_cast<const uint8_t*>(name.data()), name.size()});
  constexpr std::array<uint8_t, 8> kPadding{};
  answer.put_bytes(std::span(kPadding).first(end - answer.size()));
  return true;
}

}  // namespace skerry::share
