// Of FileSystem: what makes, moves and removes names. All by calls for one component of a folder that is open, none of which follows
// a symbolic link there.
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "share/file_system.hpp"

namespace skerry::share {

Outcome FileSystem::make_link(Request& request, Answer& answer) {
  fuse_link_in in;
  Outcome wrong = Outcome::failed(EINVAL);
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  const char* name = request.take(in) ? take_name(request, wrong) : nullptr;
  if (!name) return wrong;
  const Node* target = nodes_.find(in.oldnodeid);
  if (!target) return Outcome::failed(ESTALE);
  // What /proc/self/fd/N leads to is the very file, a symbolic link too. AT_EMPTY_PATH would need a capability.
  if (::linkat(own_descriptors_.get(), std::to_string(target->fd.get()).c_str(), folder->fd.get(), name, AT_SYMLINK_FOLLOW) != 0)
    return Outcome::failed_by_errno();
  return answer_entry(*folder, name, answer);
}

Outcome FileSystem::make_symbolic_link(Request& request, Answer& answer) {
  Outcome wrong;
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  const char* name = take_name(request, wrong);
  if (!name) return wrong;
  const char* target = request.take_text(PATH_MAX - 1);
  if (!target) return Outcome::failed(ENAMETOOLONG);
  {
    const Creator creator(options_.owners, request.header().uid, request.header().gid);
    if (!creator.worked()) return Outcome::failed(EPERM);
    if (::symlinkat(target, folder->fd.get(), name) != 0) return Outcome::failed_by_errno();
  }
  return answer_entry(*folder, name, answer);
}

// Device nodes would be those of the host.
Outcome FileSystem::make_node(Request& request, Answer& answer) {
  fuse_mknod_in in;
  Outcome wrong = Outcome::failed(EINVAL);
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  const char* name = request.take(in) ? take_name(request, wrong) : nullptr;
  if (!name) return wrong;
  const mode_t type = in.mode & S_IFMT;
  if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK) return Outcome::failed(EPERM);
  {
    const Creator creator(options_.owners, request.header().uid, request.header().gid);
    if (!creator.worked()) return Outcome::failed(EPERM);
    if (::mknodat(folder->fd.get(), name, type | options_.owners.mode_of_guest(in.mode), 0) != 0) return Outcome::failed_by_errno();
  }
  return answer_entry(*folder, name, answer);
}

Outcome FileSystem::make_folder(Request& request, Answer& answer) {
  fuse_mkdir_in in;
  Outcome wrong = Outcome::failed(EINVAL);
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  const char* name = request.take(in) ? take_name(request, wrong) : nullptr;
  if (!name) return wrong;
  {
    const Creator creator(options_.owners, request.header().uid, request.header().gid);
    if (!creator.worked()) return Outcome::failed(EPERM);
    const mode_t mode = options_.owners.mode_of_guest((in.mode & 07777) | S_IFDIR);
    if (::mkdirat(folder->fd.get(), name, mode) != 0) return Outcome::failed_by_errno();
  }
  return answer_entry(*folder, name, answer);
}

Outcome FileSystem::remove_name(Request& request, Answer&) {
  Outcome wrong;
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  const char* name = take_name(request, wrong);
  if (!name) return wrong;
  return ::unlinkat(folder->fd.get(), name, 0) == 0 ? Outcome{} : Outcome::failed_by_errno();
}

Outcome FileSystem::remove_folder(Request& request, Answer&) {
  Outcome wrong;
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  const char* name = take_name(request, wrong);
  if (!name) return wrong;
  return ::unlinkat(folder->fd.get(), name, AT_REMOVEDIR) == 0 ? Outcome{} : Outcome::failed_by_errno();
}

Outcome FileSystem::rename(Request& request, Answer&) {
  fuse_rename_in in;
  if (!request.take(in)) return Outcome::failed(EINVAL);
  return rename_to(request, in.newdir, 0);
}

// A whiteout is a device node: RENAME_WHITEOUT is not passed on.
Outcome FileSystem::rename_with_flags(Request& request, Answer&) {
  fuse_rename2_in in;
  if (!request.take(in) || in.flags & ~static_cast<uint32_t>(RENAME_NOREPLACE | RENAME_EXCHANGE)) return Outcome::failed(EINVAL);
  return rename_to(request, in.newdir, in.flags);
}

Outcome FileSystem::rename_to(Request& request, uint64_t new_folder, unsigned flags) {
  Outcome wrong;
  const Node *from = node_of(request), *to = nodes_.find(new_folder);
  if (!from || !to) return Outcome::failed(ESTALE);
  const char* old_name = take_name(request, wrong);
  const char* new_name = old_name ? take_name(request, wrong) : nullptr;
  if (!new_name) return wrong;
  const int done = ::renameat2(from->fd.get(), old_name, to->fd.get(), new_name, flags);
  return done == 0 ? Outcome{} : Outcome::failed_by_errno();
}

// What is there already is opened as open_file() does it, which looks at what it is first: it may be a device or a FIFO.
Outcome FileSystem::create_file(Request& request, Answer& answer) {
  fuse_create_in in;
  Outcome wrong = Outcome::failed(EINVAL);
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  const char* name = request.take(in) ? take_name(request, wrong) : nullptr;
  if (!name) return wrong;
  if (handles_.full()) return Outcome::failed(ENFILE);
  const int flags = static_cast<int>(in.flags) & kOpenFlags;
  UniqueFd made;
  {
    const Creator creator(options_.owners, request.header().uid, request.header().gid);
    if (!creator.worked()) return Outcome::failed(EPERM);
    constexpr int kNew = O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    const mode_t mode = options_.owners.mode_of_guest((in.mode & 07777) | S_IFREG);
    made = UniqueFd(::openat(folder->fd.get(), name, flags | kNew, mode));
  }
  if (!made && (errno != EEXIST || in.flags & O_EXCL)) return Outcome::failed_by_errno();
  fuse_entry_out entry;
  const Outcome entered = made ? enter(reopen(made.get(), O_PATH), entry) : enter(*folder, name, entry);
  if (entered.error) return entered;
  if (!made) made = open_node(*nodes_.find(entry.nodeid), flags);
  if (!made) {
    const Outcome failed = Outcome::failed_by_errno();
    nodes_.forget(entry.nodeid, 1);  // which the guest never hears of
    return failed;
  }
  fuse_open_out out{};
  out.fh = handles_.add(std::move(made), false);
  return answer.put(entry) ? answer.is(out) : Outcome::failed(EIO);
}

}  // namespace skerry::share
