#include "share/file_system.hpp"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "share/protocol.hpp"

namespace skerry::share {

namespace {

constexpr uint32_t kLeastMinor = 31;
constexpr uint64_t kBelievedSeconds = 1;
constexpr uint16_t kMaxPages = kMaxData / 4096;
constexpr uint32_t kFeatures = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA |
                               FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
                               FUSE_MAX_PAGES;
// Of requests that the guest's kernel sends by itself, and where it begins to hold them back.
constexpr uint16_t kMaxBackground = 64, kCongestion = 48;

// One component below `folder`, whatever it is: what O_PATH gives of a symbolic link is the link.
UniqueFd open_component(int folder, const char* name) {
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, folder, name, &how, sizeof how)));
}

timespec time_of(uint64_t seconds, uint32_t nanoseconds) {
  return {static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
}

}  // namespace

Result<FileSystem> FileSystem::create(UniqueFd root, UniqueFd own_descriptors, Options options) {
  struct stat about{};
  if (::fstatat(root.get(), "", &about, AT_EMPTY_PATH) != 0) return errno_error(errno, "cannot be looked at");
  if (!S_ISDIR(about.st_mode)) return error("is no folder; share one");
  FileSystem made(std::move(root), about, std::move(own_descriptors), options);
  if (!made.reopen(made.nodes_.find(FUSE_ROOT_ID)->fd.get(), O_RDONLY | O_DIRECTORY))
    return errno_error(errno, "cannot be read");
  return made;
}

// --- requests --------------------------------------------------------------------------------------------------------

struct FileSystem::Entry {
  uint32_t opcode;
  Operation operation;
  bool writes = false;  // refused where the share is read-only
};

const FileSystem::Entry* FileSystem::find_entry(uint32_t opcode) {
  static constexpr Entry kEntries[] = {
      {FUSE_LOOKUP, &FileSystem::look_up},
      {FUSE_FORGET, &FileSystem::forget},
      {FUSE_GETATTR, &FileSystem::get_attributes},
      {FUSE_SETATTR, &FileSystem::set_attributes, true},
      {FUSE_READLINK, &FileSystem::read_link},
      {FUSE_SYMLINK, &FileSystem::make_symbolic_link, true},
      {FUSE_MKNOD, &FileSystem::make_node, true},
      {FUSE_MKDIR, &FileSystem::make_folder, true},
      {FUSE_UNLINK, &FileSystem::remove_name, true},
      {FUSE_RMDIR, &FileSystem::remove_folder, true},
      {FUSE_RENAME, &FileSystem::rename, true},
      {FUSE_LINK, &FileSystem::make_link, true},
      {FUSE_OPEN, &FileSystem::open_file},
      {FUSE_READ, &FileSystem::read},
      {FUSE_WRITE, &FileSystem::write, true},
      {FUSE_STATFS, &FileSystem::statistics},
      {FUSE_RELEASE, &FileSystem::release},
      {FUSE_FSYNC, &FileSystem::sync_file},
      {FUSE_SETXATTR, &FileSystem::set_attribute, true},
      {FUSE_GETXATTR, &FileSystem::get_attribute},
      {FUSE_LISTXATTR, &FileSystem::list_attributes},
      {FUSE_REMOVEXATTR, &FileSystem::remove_attribute, true},
      {FUSE_FLUSH, &FileSystem::flush},
      {FUSE_INIT, &FileSystem::init},
      {FUSE_OPENDIR, &FileSystem::open_folder},
      {FUSE_READDIR, &FileSystem::read_folder},
      {FUSE_RELEASEDIR, &FileSystem::release},
      {FUSE_FSYNCDIR, &FileSystem::sync_folder},
      {FUSE_CREATE, &FileSystem::create_file, true},
      {FUSE_INTERRUPT, &FileSystem::ignore},  // no request waits for long
      {FUSE_DESTROY, &FileSystem::destroy},
      {FUSE_BATCH_FORGET, &FileSystem::batch_forget},
      {FUSE_FALLOCATE, &FileSystem::allocate, true},
      {FUSE_READDIRPLUS, &FileSystem::read_folder_with_attributes},
      {FUSE_RENAME2, &FileSystem::rename_with_flags, true},
      {FUSE_LSEEK, &FileSystem::seek},
      {FUSE_COPY_FILE_RANGE, &FileSystem::copy_range, true},
      {FUSE_SYNCFS, &FileSystem::sync_all},
  };
  const auto found = std::ranges::find(kEntries, opcode, &Entry::opcode);
  return found == std::end(kEntries) ? nullptr : found;
}

Outcome FileSystem::serve(std::span<const uint8_t> bytes, std::span<const uint8_t> shared, std::span<uint8_t> room) {
  if (bytes.size() < sizeof(fuse_in_header)) return Outcome::failed(EINVAL);
  Request request(bytes, shared);
  Answer answer(room);
  const Entry* entry = find_entry(request.header().opcode);
  if (!entry) return Outcome::failed(ENOSYS);  // the guest's kernel does without, or itself
  if (!begun_ && entry->opcode != FUSE_INIT) return Outcome::failed(EIO);
  if (options_.read_only && entry->writes) return Outcome::failed(EROFS);
  return (this->*entry->operation)(request, answer);
}

const char* FileSystem::take_name(Request& request, Outcome& outcome) {
  const char* name = request.take_text(PATH_MAX);
  const std::string_view text = name ? name : "";
  outcome = Outcome::failed(text.size() > NAME_MAX ? ENAMETOOLONG : EINVAL);
  const bool component = !text.empty() && text != "." && text != ".." && text.find('/') == text.npos;
  return component && text.size() <= NAME_MAX ? name : nullptr;
}

UniqueFd FileSystem::reopen(int fd, int flags) const {
  // O_NONBLOCK: nobody waits for the lease of another process.
  return UniqueFd(::openat(own_descriptors_.get(), std::to_string(fd).c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
}

UniqueFd FileSystem::open_node(const Node& node, int flags) const {
  if (S_ISREG(node.type) || S_ISDIR(node.type)) return reopen(node.fd.get(), flags);
  errno = S_ISLNK(node.type) ? ELOOP : ENXIO;  // what is no file of data is the guest's own matter
  return UniqueFd();
}

// --- session ---------------------------------------------------------------------------------------------------------

Outcome FileSystem::init(Request& request, Answer& answer) {
  // As it was before version 7.36 made it longer.
  struct {
    uint32_t major, minor, max_readahead, flags;
  } in;
  if (!request.take(in)) return Outcome::failed(EINVAL);
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = FUSE_KERNEL_MINOR_VERSION;
  if (in.major > FUSE_KERNEL_VERSION) return answer.is(out);  // it asks again, for ours
  if (in.major < FUSE_KERNEL_VERSION || in.minor < kLeastMinor) return Outcome::failed(EPROTO);
  nodes_.forget_all();
  handles_.clear();
  begun_ = true;
  out.max_readahead = in.max_readahead;
  out.flags = in.flags & kFeatures;
  out.max_background = kMaxBackground;
  out.congestion_threshold = kCongestion;
  out.max_write = kMaxData;
  out.time_gran = 1;
  out.max_pages = kMaxPages;
  return answer.is(out);
}

Outcome FileSystem::destroy(Request&, Answer&) {
  nodes_.forget_all();
  handles_.clear();
  begun_ = false;
  return {};
}

Outcome FileSystem::ignore(Request&, Answer&) { return {}; }

// --- lookups ---------------------------------------------------------------------------------------------------------

Outcome FileSystem::enter(UniqueFd fd, fuse_entry_out& entry) {
  struct stat about{};
  if (!fd || ::fstatat(fd.get(), "", &about, AT_EMPTY_PATH) != 0) return Outcome::failed_by_errno();
  entry = {};
  entry.nodeid = nodes_.look_up(std::move(fd), about);
  if (entry.nodeid == 0) return Outcome::failed(ENFILE);
  entry.entry_valid = entry.attr_valid = kBelievedSeconds;
  entry.attr = attributes_of(about);
  return {};
}

Outcome FileSystem::enter(const Node& folder, const char* name, fuse_entry_out& entry) {
  return enter(open_component(folder.fd.get(), name), entry);
}

Outcome FileSystem::answer_entry(const Node& folder, const char* name, Answer& answer) {
  fuse_entry_out entry;
  if (const Outcome entered = enter(folder, name, entry); entered.error) return entered;
  return answer.is(entry);
}

Outcome FileSystem::look_up(Request& request, Answer& answer) {
  Outcome wrong;
  const Node* folder = node_of(request);
  if (!folder) return Outcome::failed(ESTALE);
  const char* name = take_name(request, wrong);
  return name ? answer_entry(*folder, name, answer) : wrong;
}

Outcome FileSystem::forget(Request& request, Answer&) {
  fuse_forget_in in;
  if (request.take(in)) nodes_.forget(request.header().nodeid, in.nlookup);
  return {};
}

Outcome FileSystem::batch_forget(Request& request, Answer&) {
  fuse_batch_forget_in in;
  if (!request.take(in)) return {};
  fuse_forget_one one;
  for (uint32_t i = 0; i < in.count && request.take(one); ++i) nodes_.forget(one.nodeid, one.nlookup);
  return {};
}

// --- attributes ------------------------------------------------------------------------------------------------------

fuse_attr FileSystem::attributes_of(const struct stat& about) const {
  fuse_attr attributes{};
  attributes.ino = about.st_ino;
  attributes.size = static_cast<uint64_t>(about.st_size);
  attributes.blocks = static_cast<uint64_t>(about.st_blocks);
  attributes.atime = static_cast<uint64_t>(about.st_atim.tv_sec);
  attributes.mtime = static_cast<uint64_t>(about.st_mtim.tv_sec);
  attributes.ctime = static_cast<uint64_t>(about.st_ctim.tv_sec);
  attributes.atimensec = static_cast<uint32_t>(about.st_atim.tv_nsec);
  attributes.mtimensec = static_cast<uint32_t>(about.st_mtim.tv_nsec);
  attributes.ctimensec = static_cast<uint32_t>(about.st_ctim.tv_nsec);
  attributes.mode = about.st_mode;
  attributes.nlink = static_cast<uint32_t>(about.st_nlink);
  attributes.uid = options_.owners.user_for_guest(about.st_uid);
  attributes.gid = options_.owners.group_for_guest(about.st_gid);
  attributes.rdev = static_cast<uint32_t>(about.st_rdev);
  attributes.blksize = static_cast<uint32_t>(about.st_blksize);
  return attributes;
}

Outcome FileSystem::get_attributes(Request& request, Answer& answer) {
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  struct stat about{};
  if (::fstatat(node->fd.get(), "", &about, AT_EMPTY_PATH) != 0) return Outcome::failed_by_errno();
  fuse_attr_out out{};
  out.attr_valid = kBelievedSeconds;
  out.attr = attributes_of(about);
  return answer.is(out);
}

Outcome FileSystem::set_attributes(Request& request, Answer& answer) {
  fuse_setattr_in in;
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  if (!request.take(in)) return Outcome::failed(EINVAL);
  if (const Outcome changed = change(*node, in); changed.error) return changed;
  return get_attributes(request, answer);
}

// A new owner takes the set-user-ID bit away, so the mode comes after it; a new size changes times, so they come last.
Outcome FileSystem::change(const Node& node, const fuse_setattr_in& in) {
  if (in.valid & (FATTR_UID | FATTR_GID))
    if (const Outcome changed = change_owner(node, in); changed.error) return changed;
  if (in.valid & FATTR_MODE) {
    if (S_ISLNK(node.type)) return Outcome::failed(EOPNOTSUPP);
    const mode_t mode = options_.owners.mode_of_guest((in.mode & 07777) | node.type);
    if (::fchmodat(own_descriptors_.get(), std::to_string(node.fd.get()).c_str(), mode, 0) != 0) return Outcome::failed_by_errno();
  }
  if (in.valid & FATTR_SIZE)
    if (const Outcome changed = change_size(node, in); changed.error) return changed;
  if (in.valid & (FATTR_ATIME | FATTR_MTIME)) {
    std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, timespec{0, UTIME_OMIT}};
    constexpr timespec kNow{0, UTIME_NOW};
    if (in.valid & FATTR_ATIME) times[0] = in.valid & FATTR_ATIME_NOW ? kNow : time_of(in.atime, in.atimensec);
    if (in.valid & FATTR_MTIME) times[1] = in.valid & FATTR_MTIME_NOW ? kNow : time_of(in.mtime, in.mtimensec);
    if (::utimensat(node.fd.get(), "", times.data(), AT_EMPTY_PATH) != 0) return Outcome::failed_by_errno();
  }
  return {};
}

Outcome FileSystem::change_owner(const Node& node, const fuse_setattr_in& in) const {
  auto user = static_cast<uid_t>(-1);  // stays
  auto group = static_cast<gid_t>(-1);
  if (in.valid & FATTR_UID) {
    const auto found = options_.owners.user_of_guest(in.uid);
    if (!found) return Outcome::failed(EPERM);
    user = *found;
  }
  if (in.valid & FATTR_GID) {
    const auto found = options_.owners.group_of_guest(in.gid);
    if (!found) return Outcome::failed(EPERM);
    group = *found;
  }
  return ::fchownat(node.fd.get(), "", user, group, AT_EMPTY_PATH) == 0 ? Outcome{} : Outcome::failed_by_errno();
}

Outcome FileSystem::change_size(const Node& node, const fuse_setattr_in& in) {
  if (!S_ISREG(node.type)) return Outcome::failed(S_ISDIR(node.type) ? EISDIR : EINVAL);
  const auto size = static_cast<off_t>(in.size);
  const Handle* handle = in.valid & FATTR_FH ? handles_.find(in.fh, false) : nullptr;
  const UniqueFd opened = handle ? UniqueFd() : open_node(node, O_WRONLY);
  if (!handle && !opened) return Outcome::failed_by_errno();
  const int fd = handle ? handle->fd.get() : opened.get();
  return ::ftruncate(fd, size) == 0 ? Outcome{} : Outcome::failed_by_errno();
}

Outcome FileSystem::read_link(Request& request, Answer& answer) {
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  if (!S_ISLNK(node->type)) return Outcome::failed(EINVAL);
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlinkat(node->fd.get(), "", target.data(), target.size());
  if (size < 0) return Outcome::failed_by_errno();
  const auto* bytes = reinterpret_cast<const uint8_t*>(target.data());
  if (!answer.put_bytes({bytes, static_cast<size_t>(size)})) return Outcome::failed(ENAMETOOLONG);
  return {0, answer.size()};
}

Outcome FileSystem::statistics(Request& request, Answer& answer) {
  const Node* node = node_of(request);
  if (!node) return Outcome::failed(ESTALE);
  struct statvfs about{};
  if (::fstatvfs(node->fd.get(), &about) != 0) return Outcome::failed_by_errno();
  fuse_statfs_out out{};
  out.st.blocks = about.f_blocks;
  out.st.bfree = about.f_bfree;
  out.st.bavail = about.f_bavail;
  out.st.files = about.f_files;
  out.st.ffree = about.f_ffree;
  out.st.bsize = static_cast<uint32_t>(about.f_bsize);
  out.st.namelen = NAME_MAX;
  out.st.frsize = static_cast<uint32_t>(about.f_frsize);
  return answer.is(out);
}

}  // namespace skerry::share
