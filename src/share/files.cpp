// Of FileSystem: open files, and the attributes that users give to files.
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "share/file_system.hpp"
#include "share/protocol.hpp"

namespace skerry::share {

namespace {

constexpr uint64_t kMostCopied = uint64_t{64} << 20;  // by one request: others wait meanwhile, and the guest asks again
constexpr uint32_t kAllocations = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
// The attributes that mean nothing to the host. All others are its own affair: capabilities, access lists, labels.
constexpr std::string_view kUserAttributes = "user.";
constexpr size_t kMaxAttributeName = 255;                                             // XATTR_NAME_MAX
constexpr size_t kMaxAttribute = size_t{64} << 10, kMaxList = size_t{64} << 10;  // XATTR_SIZE_MAX, XATTR_LIST_MAX

bool has_data(const Node& node) { return S_ISREG(node.type) || S_ISDIR(node.type); }

std::span<const uint8_t> first_of(const std::vector<char>& bytes, size_t size) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), size};
}

// Of a question about an attribute: with no room for the value it is how long that is.
Outcome answer_attribute(Answer& answer, uint32_t wanted, std::span<const uint8_t> value) {
  if (wanted == 0) return answer.is(fuse_getxattr_out{static_cast<uint32_t>(value.size()), 0});
  if (value.size() > wanted || !answer.put_bytes(value)) return Outcome::failed(ERANGE);
  return {0, answer.size()};
}

}  // namespace

Outcome FileSystem::open_file(Request& request, Answer& answer) {
  fuse_open_in in;
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  if (!request.take(in) || (in.flags & O_ACCMODE) == O_ACCMODE) return Outcome::failed(EINVAL);
  if (S_ISDIR(node->type)) return Outcome::failed(EISDIR);
  const int flags = static_cast<int>(in.flags) & kOpenFlags;
  if (options_.read_only && flags & (O_ACCMODE | O_TRUNC)) return Outcome::failed(EROFS);
  if (handles_.full()) return Outcome::failed(ENFILE);
  UniqueFd opened = open_node(*node, flags);
  if (!opened) return Outcome::failed_by_errno();
  fuse_open_out out{};
  out.fh = handles_.add(std::move(opened), false);
  return answer.is(out);
}

Outcome FileSystem::read(Request& request, Answer& answer) {
  fuse_read_in in;
  if (!request.take(in)) return Outcome::failed(EINVAL);
  const Handle* handle = handles_.find(in.fh, false);
  if (!handle) return Outcome::failed(EBADF);
  const std::span<uint8_t> room = answer.left();
  const ssize_t got = ::pread(handle->fd.get(), room.data(), std::min<size_t>(room.size(), in.size), static_cast<off_t>(in.offset));
  return got < 0 ? Outcome::failed_by_errno() : Outcome{0, static_cast<size_t>(got)};
}

// An append goes to where the file ends by now, which the guest may not know. The pages of a mapping (FUSE_WRITE_CACHE) go to
// their places, by whatever handle.
Outcome FileSystem::write(Request& request, Answer& answer) {
  fuse_write_in in;
  if (!request.take(in) || request.shared_rest().size() < in.size) return Outcome::failed(EINVAL);
  const Handle* handle = handles_.find(in.fh, false);
  if (!handle) return Outcome::failed(EBADF);
  const iovec data{const_cast<uint8_t*>(request.shared_rest().data()), in.size};
  const bool append = in.flags & O_APPEND && !(in.write_flags & FUSE_WRITE_CACHE);
  const ssize_t put = ::pwritev2(handle->fd.get(), &data, 1, static_cast<off_t>(in.offset), append ? RWF_APPEND : 0);
  if (put < 0) return Outcome::failed_by_errno();
  return answer.is(fuse_write_out{static_cast<uint32_t>(put), 0});
}

// At each close by the guest. What is written has been given to the host's kernel; network file systems say here what became of it.
Outcome FileSystem::flush(Request& request, Answer&) {
  fuse_flush_in in;
  if (!request.take(in)) return Outcome::failed(EINVAL);
  const Handle* handle = handles_.find(in.fh, false);
  if (!handle) return Outcome::failed(EBADF);
  const int copy = ::dup(handle->fd.get());
  return copy >= 0 && ::close(copy) == 0 ? Outcome{} : Outcome::failed_by_errno();
}

Outcome FileSystem::release(Request& request, Answer&) {
  fuse_release_in in;
  if (!request.take(in)) return Outcome::failed(EINVAL);
  handles_.remove(in.fh);
  return {};
}

Outcome FileSystem::sync_file(Request& request, Answer&) {
  fuse_fsync_in in;
  if (!request.take(in)) return Outcome::failed(EINVAL);
  const Handle* handle = handles_.find(in.fh, false);
  if (!handle) return Outcome::failed(EBADF);
  const int done = in.fsync_flags & FUSE_FSYNC_FDATASYNC ? ::fdatasync(handle->fd.get()) : ::fsync(handle->fd.get());
  return done == 0 ? Outcome{} : Outcome::failed_by_errno();
}

Outcome FileSystem::sync_all(Request&, Answer&) {
  const UniqueFd root = open_node(*nodes_.find(FUSE_ROOT_ID), O_RDONLY | O_DIRECTORY);
  return root && ::syncfs(root.get()) == 0 ? Outcome{} : Outcome::failed_by_errno();
}

Outcome FileSystem::allocate(Request& request, Answer&) {
  fuse_fallocate_in in;
  if (!request.take(in)) return Outcome::failed(EINVAL);
  const Handle* handle = handles_.find(in.fh, false);
  if (!handle) return Outcome::failed(EBADF);
  if (in.mode & ~kAllocations) return Outcome::failed(EOPNOTSUPP);
  const int done = ::fallocate(handle->fd.get(), static_cast<int>(in.mode), static_cast<off_t>(in.offset), static_cast<off_t>(in.length));
  return done == 0 ? Outcome{} : Outcome::failed_by_errno();
}

// For data and holes; all else of lseek() the guest's kernel knows itself.
Outcome FileSystem::seek(Request& request, Answer& answer) {
  fuse_lseek_in in;
  if (!request.take(in) || (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)) return Outcome::failed(EINVAL);
  const Handle* handle = handles_.find(in.fh, false);
  if (!handle) return Outcome::failed(EBADF);
  const off_t found = ::lseek(handle->fd.get(), static_cast<off_t>(in.offset), static_cast<int>(in.whence));
  if (found < 0) return Outcome::failed_by_errno();
  return answer.is(fuse_lseek_out{static_cast<uint64_t>(found)});
}

Outcome FileSystem::copy_range(Request& request, Answer& answer) {
  fuse_copy_file_range_in in;
  if (!request.take(in) || in.flags != 0) return Outcome::failed(EINVAL);
  const Handle *from = handles_.find(in.fh_in, false), *to = handles_.find(in.fh_out, false);
  if (!from || !to) return Outcome::failed(EBADF);
  auto source = static_cast<off64_t>(in.off_in), target = static_cast<off64_t>(in.off_out);
  const ssize_t copied = ::copy_file_range(from->fd.get(), &source, to->fd.get(), &target, std::min(in.len, kMostCopied), 0);
  if (copied < 0) return Outcome::failed_by_errno();
  return answer.is(fuse_write_out{static_cast<uint32_t>(copied), 0});
}

// --- attributes of users ---------------------------------------------------------------------------------------------

Outcome FileSystem::set_attribute(Request& request, Answer&) {
  struct {  // fuse_setxattr_in without FUSE_SETXATTR_EXT
    uint32_t size, flags;
  } in;
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  const char* name = request.take(in) ? request.take_text(kMaxAttributeName) : nullptr;
  if (!name || in.size > kMaxAttribute || request.take_rest().size() < in.size) return Outcome::failed(EINVAL);
  if (!std::string_view(name).starts_with(kUserAttributes)) return Outcome::failed(EOPNOTSUPP);
  if (!has_data(*node)) return Outcome::failed(EPERM);
  const UniqueFd opened = open_node(*node, O_RDONLY);
  if (!opened || ::fsetxattr(opened.get(), name, request.take_rest().data(), in.size, static_cast<int>(in.flags)) != 0)
    return Outcome::failed_by_errno();
  return {};
}

Outcome FileSystem::get_attribute(Request& request, Answer& answer) {
  fuse_getxattr_in in;
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  const char* name = request.take(in) ? request.take_text(kMaxAttributeName) : nullptr;
  if (!name) return Outcome::failed(EINVAL);
  if (!std::string_view(name).starts_with(kUserAttributes)) return Outcome::failed(EOPNOTSUPP);
  if (!has_data(*node)) return Outcome::failed(ENODATA);
  const UniqueFd opened = open_node(*node, O_RDONLY);
  std::vector<char> value(kMaxAttribute);
  const ssize_t size = opened ? ::fgetxattr(opened.get(), name, value.data(), value.size()) : -1;
  if (size < 0) return Outcome::failed_by_errno();
  return answer_attribute(answer, in.size, first_of(value, static_cast<size_t>(size)));
}

Outcome FileSystem::list_attributes(Request& request, Answer& answer) {
  fuse_getxattr_in in;
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  if (!request.take(in)) return Outcome::failed(EINVAL);
  if (!has_data(*node)) return answer_attribute(answer, in.size, {});
  const UniqueFd opened = open_node(*node, O_RDONLY);
  std::vector<char> all(kMaxList), users;
  const ssize_t size = opened ? ::flistxattr(opened.get(), all.data(), all.size()) : -1;
  if (size < 0) return Outcome::failed_by_errno();
  std::string_view names(all.data(), static_cast<size_t>(size));
  for (size_t end; (end = names.find('\0')) != names.npos; names.remove_prefix(end + 1))
    if (names.starts_with(kUserAttributes)) users.insert(users.end(), names.begin(), names.begin() + static_cast<ptrdiff_t>(end) + 1);
  return answer_attribute(answer, in.size, first_of(users, users.size()));
}

Outcome FileSystem::remove_attribute(Request& request, Answer&) {
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  const char* name = request.take_text(kMaxAttributeName);
  if (!name) return Outcome::failed(EINVAL);
  if (!std::string_view(name).starts_with(kUserAttributes)) return Outcome::failed(EOPNOTSUPP);
  if (!has_data(*node)) return Outcome::failed(ENODATA);
  const UniqueFd opened = open_node(*node, O_RDONLY);
  return opened && ::fremovexattr(opened.get(), name) == 0 ? Outcome{} : Outcome::failed_by_errno();
}

}  // namespace skerry::share
