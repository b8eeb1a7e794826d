// A shared folder as a guest's kernel sees it, and what it must not see.
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#include <set>

#include "unit/share/fuse_rig.hpp"

namespace skerry::share::test {
namespace {

constexpr uint64_t kRoot = FUSE_ROOT_ID;

TEST(Share, AgreesOnAVersionAndSizes) {
  FuseRig rig;
  EXPECT_EQ(rig.init.major, 7u);
  EXPECT_EQ(rig.init.max_write, 1u << 20);
  EXPECT_EQ(rig.init.max_pages, 256u);
  EXPECT_TRUE(rig.init.flags & FUSE_MAX_PAGES);
  EXPECT_FALSE(rig.init.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS)) << "the guest's kernel keeps locks";
  fuse_init_in old{};
  old.major = 7;
  old.minor = 30;
  EXPECT_EQ(rig.ask_in(FUSE_INIT, 0, old).error, EPROTO);
  old.major = 8;
  EXPECT_EQ(rig.ask_in(FUSE_INIT, 0, old).as<fuse_init_out>().major, 7u);
}

TEST(Share, NothingIsServedBeforeASessionBegins) {
  FuseRig rig;
  rig.ask(FUSE_DESTROY, 0);
  EXPECT_EQ(rig.look_up(kRoot, "to-file").error, EIO);
  rig.begin();
  EXPECT_EQ(rig.look_up(kRoot, "to-file").error, 0);
}

TEST(Share, ASessionThatBeginsForgetsTheOneBefore) {
  FuseRig rig;
  const auto created = rig.create("file").as<FuseRig::Created>();
  rig.begin();
  EXPECT_EQ(rig.files.nodes(), 1u);
  EXPECT_EQ(rig.files.handles(), 0u);
  EXPECT_EQ(rig.read(created.entry.nodeid, created.open.fh, 0, 1).error, EBADF);
  EXPECT_NE(rig.node("file"), created.entry.nodeid) << "numbers are not used again";
}

TEST(Share, WritesAndReads) {
  FuseRig rig;
  const auto created = rig.create("file", 0640).as<FuseRig::Created>();
  const uint64_t id = created.entry.nodeid, fh = created.open.fh;
  EXPECT_EQ(rig.write(id, fh, 2, "hello").as<fuse_write_out>().size, 5u);
  EXPECT_EQ(rig.folders.read("/share/file"), std::string("\0\0hello", 7));
  EXPECT_EQ(rig.read(id, fh, 3, 100).text(), "ello");
  EXPECT_EQ(rig.attributes(id).size, 7u);
  EXPECT_EQ(rig.attributes(id).mode, S_IFREG | 0640u);
  EXPECT_EQ(rig.ask_in(FUSE_FLUSH, id, fuse_flush_in{fh, 0, 0, 0}).error, 0);
  EXPECT_EQ(rig.ask_in(FUSE_FSYNC, id, fuse_fsync_in{fh, 0, 0}).error, 0);
  EXPECT_EQ(rig.ask(FUSE_SYNCFS, kRoot, Bytes(8)).error, 0);
  EXPECT_EQ(rig.ask_in(FUSE_RELEASE, id, fuse_release_in{fh, 0, 0, 0}).error, 0);
  EXPECT_EQ(rig.files.handles(), 0u);
  EXPECT_EQ(rig.read(id, fh, 0, 1).error, EBADF);
}

TEST(Share, AppendsWhereTheFileEndsButWritesPagesWhereTheyAre) {
  FuseRig rig;
  rig.folders.write("/share/log", "one.");
  const uint64_t id = rig.node("log"), fh = rig.handle(id, O_WRONLY | O_APPEND);
  EXPECT_EQ(rig.write(id, fh, 0, "two.", O_WRONLY | O_APPEND).error, 0);
  EXPECT_EQ(rig.folders.read("/share/log"), "one.two.");
  fuse_write_in page{fh, 0, 3, FUSE_WRITE_CACHE, 0, O_WRONLY | O_APPEND, 0};
  EXPECT_EQ(rig.ask_in(FUSE_WRITE, id, page, bytes_of("ONE")).error, 0);
  EXPECT_EQ(rig.folders.read("/share/log"), "ONE.two.");
}

TEST(Share, OpensTruncateIfAsked) {
  FuseRig rig;
  rig.folders.write("/share/file", "something");
  rig.handle(rig.node("file"), O_WRONLY | O_TRUNC);
  EXPECT_EQ(rig.folders.read("/share/file"), "");
}

TEST(Share, CreatesOnlyOnce) {
  FuseRig rig;
  rig.folders.write("/share/there", "content");
  EXPECT_EQ(rig.create("there", 0644, O_RDWR | O_EXCL).error, EEXIST);
  const auto opened = rig.create("there").as<FuseRig::Created>();
  EXPECT_EQ(rig.read(opened.entry.nodeid, opened.open.fh, 0, 100).text(), "content");
}

TEST(Share, ChangesAttributes) {
  FuseRig rig;
  rig.folders.write("/share/file", "0123456789");
  const uint64_t id = rig.node("file");
  fuse_setattr_in in{};
  in.valid = FATTR_MODE | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME;
  in.mode = 0600;
  in.size = 4;
  in.atime = 1000;
  in.mtime = 2000;
  in.mtimensec = 7;
  const fuse_attr now = rig.set(id, in).as<fuse_attr_out>().attr;
  EXPECT_EQ(now.mode, S_IFREG | 0600u);
  EXPECT_EQ(now.size, 4u);
  EXPECT_EQ(now.atime, 1000u);
  EXPECT_EQ(now.mtime, 2000u);
  EXPECT_EQ(now.mtimensec, 7u);
  in = {};
  in.valid = FATTR_MTIME | FATTR_MTIME_NOW;
  EXPECT_GT(rig.set(id, in).as<fuse_attr_out>().attr.mtime, 2000u);
  in.valid = FATTR_SIZE;
  EXPECT_EQ(rig.set(kRoot, in).error, EISDIR);
}

TEST(Share, MakesRemovesAndRenames) {
  FuseRig rig;
  const auto folder = rig.ask_in(FUSE_MKDIR, kRoot, fuse_mkdir_in{0750, 0}, bytes_of("folder", true)).as<fuse_entry_out>();
  EXPECT_EQ(folder.attr.mode, S_IFDIR | 0750u);
  rig.create("a");
  rig.create("b");
  const auto rename = [&](uint32_t flags, std::string_view from, uint64_t to, std::string_view name) {
    return rig.ask_in(FUSE_RENAME2, kRoot, fuse_rename2_in{to, flags, 0}, bytes_of(from, true), bytes_of(name, true)).error;
  };
  EXPECT_EQ(rename(RENAME_NOREPLACE, "a", kRoot, "b"), EEXIST);
  EXPECT_EQ(rename(RENAME_WHITEOUT, "a", kRoot, "b"), EINVAL);
  EXPECT_EQ(rename(0, "a", folder.nodeid, "moved"), 0);
  EXPECT_EQ(rig.ask_in(FUSE_RENAME, kRoot, fuse_rename_in{kRoot}, bytes_of("b", true), bytes_of("c", true)).error, 0);
  EXPECT_TRUE(std::filesystem::exists(rig.folders.share() + "/folder/moved"));
  EXPECT_EQ(rig.ask(FUSE_RMDIR, kRoot, bytes_of("folder", true)).error, ENOTEMPTY);
  EXPECT_EQ(rig.ask(FUSE_UNLINK, folder.nodeid, bytes_of("moved", true)).error, 0);
  EXPECT_EQ(rig.ask(FUSE_RMDIR, kRoot, bytes_of("folder", true)).error, 0);
  EXPECT_EQ(rig.ask(FUSE_UNLINK, kRoot, bytes_of("c", true)).error, 0);
}

TEST(Share, LinksOfBothKinds) {
  FuseRig rig;
  rig.folders.write("/share/file", "text");
  const uint64_t file = rig.node("file");
  EXPECT_EQ(rig.ask_in(FUSE_LINK, kRoot, fuse_link_in{file}, bytes_of("other", true)).as<fuse_entry_out>().nodeid, file);
  EXPECT_EQ(rig.attributes(file).nlink, 2u);
  const auto link = rig.ask(FUSE_SYMLINK, kRoot, bytes_of("sym", true), bytes_of("/any/where", true)).as<fuse_entry_out>();
  EXPECT_TRUE(S_ISLNK(link.attr.mode));
  EXPECT_EQ(rig.ask(FUSE_READLINK, link.nodeid).text(), "/any/where");
  // A second name of the link, not of what it leads to.
  const auto again = rig.ask_in(FUSE_LINK, kRoot, fuse_link_in{link.nodeid}, bytes_of("sym2", true)).as<fuse_entry_out>();
  EXPECT_EQ(again.nodeid, link.nodeid);
}

TEST(Share, MakesNodesButNoDevices) {
  FuseRig rig;
  const auto make = [&](uint32_t mode, std::string_view name) {
    return rig.ask_in(FUSE_MKNOD, kRoot, fuse_mknod_in{mode, 0x103, 0, 0}, bytes_of(name, true));
  };
  EXPECT_TRUE(S_ISFIFO(make(S_IFIFO | 0600, "fifo").as<fuse_entry_out>().attr.mode));
  EXPECT_TRUE(S_ISSOCK(make(S_IFSOCK | 0600, "socket").as<fuse_entry_out>().attr.mode));
  EXPECT_TRUE(S_ISREG(make(S_IFREG | 0600, "plain").as<fuse_entry_out>().attr.mode));
  EXPECT_EQ(make(S_IFCHR | 0600, "null").error, EPERM);
  EXPECT_EQ(make(S_IFBLK | 0600, "disk").error, EPERM);
  EXPECT_EQ(make(0600, "nothing").error, EPERM);
}

// A FIFO that nobody reads would keep an open waiting for ever.
TEST(Share, OpensNothingThatIsNoFile) {
  FuseRig rig;
  ASSERT_EQ(::mkfifo((rig.folders.share() + "/fifo").c_str(), 0666), 0);
  for (const uint32_t flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
    EXPECT_EQ(rig.ask_in(FUSE_OPEN, rig.node("fifo"), fuse_open_in{flags, 0}).error, ENXIO);
    EXPECT_EQ(rig.create("fifo", 0666, flags).error, ENXIO);
  }
  EXPECT_EQ(rig.ask_in(FUSE_OPEN, rig.node("to-file"), fuse_open_in{O_RDONLY, 0}).error, ELOOP);
  EXPECT_EQ(rig.ask_in(FUSE_OPEN, kRoot, fuse_open_in{O_RDONLY, 0}).error, EISDIR);
  EXPECT_EQ(rig.ask_in(FUSE_OPENDIR, rig.node("to-folder"), fuse_open_in{}).error, ENOTDIR);
}

std::set<std::string> names_in(FuseRig& rig, uint64_t id, uint32_t opcode, uint32_t room, std::vector<uint64_t>* ids = nullptr) {
  const uint64_t fh = rig.ask_in(FUSE_OPENDIR, id, fuse_open_in{}).as<fuse_open_out>().fh;
  std::set<std::string> names;
  const bool plus = opcode == FUSE_READDIRPLUS;
  for (uint64_t offset = 0;;) {
    const Reply part = rig.read(id, fh, offset, room, opcode);
    EXPECT_EQ(part.error, 0);
    if (part.bytes.empty()) break;
    for (size_t at = 0; at < part.bytes.size();) {
      fuse_entry_out entry{};
      if (plus) std::memcpy(&entry, part.bytes.data() + at, sizeof entry);
      const size_t head = at + (plus ? sizeof entry : 0);
      fuse_dirent found;
      std::memcpy(&found, part.bytes.data() + head, FUSE_NAME_OFFSET);
      const std::string name(reinterpret_cast<const char*>(part.bytes.data()) + head + FUSE_NAME_OFFSET, found.namelen);
      EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
      if (ids && entry.nodeid) ids->push_back(entry.nodeid);
      offset = found.off;
      at += FUSE_DIRENT_ALIGN((plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET) + found.namelen);
    }
  }
  rig.ask_in(FUSE_RELEASEDIR, id, fuse_release_in{fh, 0, 0, 0});
  return names;
}

TEST(Share, ReadsFoldersInPartsOfAnySize) {
  FuseRig rig;
  std::set<std::string> expected{".", ".."};
  std::filesystem::create_directory(rig.folders.share() + "/many");
  for (int i = 0; i < 300; ++i) {
    const std::string name = std::string(static_cast<size_t>(1 + i % 200), 'n') + std::to_string(i);
    rig.folders.write("/share/many/" + name, "");
    expected.insert(name);
  }
  const uint64_t id = rig.node("many");
  for (const uint32_t room : {500u, 4096u, 65536u, 1u << 20}) {
    EXPECT_EQ(names_in(rig, id, FUSE_READDIR, room), expected) << room;
    std::vector<uint64_t> ids;
    EXPECT_EQ(names_in(rig, id, FUSE_READDIRPLUS, room, &ids), expected) << room;
    EXPECT_EQ(ids.size(), 300u);
    for (const uint64_t found : ids) rig.ask_in(FUSE_FORGET, found, fuse_forget_in{1});
    EXPECT_EQ(rig.files.nodes(), 2u) << "what was forgotten is gone";
  }
}

TEST(Share, KnowsOneFileByOneNumberUntilItIsForgotten) {
  FuseRig rig;
  rig.folders.write("/share/file", "");
  const uint64_t id = rig.node("file");
  EXPECT_EQ(rig.node("file"), id);
  rig.ask_in(FUSE_FORGET, id, fuse_forget_in{1});
  EXPECT_EQ(rig.attributes(id).size, 0u);
  const fuse_forget_one ones[] = {{id, 1}, {kRoot, 1}, {12345, 9}};
  rig.ask_in(FUSE_BATCH_FORGET, 0, fuse_batch_forget_in{1000, 0}, bytes_of_value(ones));
  EXPECT_EQ(rig.ask_in(FUSE_GETATTR, id, fuse_getattr_in{}).error, ESTALE);
  EXPECT_EQ(rig.ask_in(FUSE_GETATTR, kRoot, fuse_getattr_in{}).error, 0) << "the root stays";
}

TEST(Share, ADescriptorHoldsAFileThatIsRemovedAndOneThatTakesItsName) {
  FuseRig rig;
  rig.folders.write("/share/file", "old");
  const uint64_t id = rig.node("file"), fh = rig.handle(id, O_RDONLY);
  std::filesystem::remove(rig.folders.share() + "/file");
  rig.folders.write("/share/file", "new one");
  EXPECT_EQ(rig.read(id, fh, 0, 100).text(), "old");
  EXPECT_NE(rig.node("file"), id);
}

TEST(Share, RefusesWhatItHasNoDescriptorsFor) {
  FuseRig rig({false, Owners::of_one(::geteuid(), ::getegid()), 3, 2});
  for (const char* name : {"a", "b", "c", "d"}) rig.folders.write(std::string("/share/") + name, name);
  rig.node("a");
  rig.node("b");
  rig.node("c");
  EXPECT_EQ(rig.look_up(kRoot, "d").error, ENFILE);
  const uint64_t a = rig.node("a");
  rig.handle(a, O_RDONLY);
  const uint64_t second = rig.handle(a, O_RDONLY);
  EXPECT_EQ(rig.ask_in(FUSE_OPEN, a, fuse_open_in{}).error, ENFILE);
  EXPECT_EQ(rig.ask_in(FUSE_OPENDIR, kRoot, fuse_open_in{}).error, ENFILE);
  EXPECT_EQ(rig.create("e").error, ENFILE);
  rig.ask_in(FUSE_RELEASE, a, fuse_release_in{second, 0, 0, 0});
  EXPECT_EQ(names_in(rig, kRoot, FUSE_READDIRPLUS, 65536).count("d"), 1u) << "it is listed, without a number";
}

TEST(Share, NamesAreOneComponent) {
  FuseRig rig;
  for (const std::string name : {"", ".", "..", "a/b", "../outside", "/etc", "to-folder/canary"})
    EXPECT_EQ(rig.look_up(kRoot, name).error, EINVAL) << name;
  EXPECT_EQ(rig.look_up(kRoot, std::string(256, 'x')).error, ENAMETOOLONG);
  EXPECT_EQ(rig.ask(FUSE_LOOKUP, kRoot, bytes_of("unterminated")).error, EINVAL);
  for (const char* name : {"..", "../outside/new", "/tmp/new"}) {
    EXPECT_EQ(rig.create(name).error, EINVAL);
    EXPECT_EQ(rig.ask_in(FUSE_MKDIR, kRoot, fuse_mkdir_in{0777, 0}, bytes_of(name, true)).error, EINVAL);
    EXPECT_EQ(rig.ask(FUSE_SYMLINK, kRoot, bytes_of(name, true), bytes_of("x", true)).error, EINVAL);
    EXPECT_EQ(rig.ask(FUSE_UNLINK, kRoot, bytes_of(name, true)).error, EINVAL);
    EXPECT_EQ(rig.ask_in(FUSE_RENAME, kRoot, fuse_rename_in{kRoot}, bytes_of("to-file", true), bytes_of(name, true)).error, EINVAL);
  }
  rig.folders.expect_outside_untouched();
}

TEST(Share, SymbolicLinksLeadNowhere) {
  FuseRig rig;
  for (const char* name : {"to-folder", "to-file", "absolute", "to-root"}) {
    const uint64_t link = rig.node(name);
    EXPECT_TRUE(S_ISLNK(rig.attributes(link).mode)) << name;
    EXPECT_NE(rig.look_up(link, "canary").error, 0) << name;
    EXPECT_NE(rig.look_up(link, "etc").error, 0) << name;
    EXPECT_NE(rig.create("canary", 0666, O_RDWR, link).error, 0) << name;
    EXPECT_NE(rig.ask(FUSE_UNLINK, link, bytes_of("canary", true)).error, 0) << name;
    EXPECT_NE(rig.ask_in(FUSE_OPEN, link, fuse_open_in{O_RDWR, 0}).error, 0) << name;
    EXPECT_NE(rig.create(name, 0666, O_RDWR | O_TRUNC).error, 0) << name;
    EXPECT_NE(rig.ask_in(FUSE_SETXATTR, link, std::array<uint32_t, 2>{1, 0}, bytes_of("user.x", true), bytes_of("v")).error, 0) << name;
    fuse_setattr_in in{};
    in.valid = FATTR_MODE;
    in.mode = 0777;
    EXPECT_NE(rig.set(link, in).error, 0) << name;
    in.valid = FATTR_SIZE;
    EXPECT_NE(rig.set(link, in).error, 0) << name;
    in.valid = FATTR_MTIME;  // the link's own
    in.mtime = 5;
    EXPECT_EQ(rig.set(link, in).as<fuse_attr_out>().attr.mtime, 5u) << name;
  }
  rig.folders.expect_outside_untouched();
}

TEST(Share, ReadOnlyLetsNothingBeChanged) {
  FuseRig rig({true, Owners::of_one(::geteuid(), ::getegid()), 1000, 100});
  rig.folders.write("/share/file", "content");
  const uint64_t id = rig.node("file");
  for (const uint32_t flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC}) EXPECT_EQ(rig.ask_in(FUSE_OPEN, id, fuse_open_in{flags, 0}).error, EROFS);
  EXPECT_EQ(rig.create("new").error, EROFS);
  EXPECT_EQ(rig.create("file", 0, O_RDONLY).error, EROFS);
  EXPECT_EQ(rig.ask(FUSE_UNLINK, kRoot, bytes_of("file", true)).error, EROFS);
  EXPECT_EQ(rig.set(id, fuse_setattr_in{}).error, EROFS);
  EXPECT_EQ(rig.ask_in(FUSE_LINK, kRoot, fuse_link_in{id}, bytes_of("other", true)).error, EROFS);
  EXPECT_EQ(rig.write(id, rig.handle(id, O_RDONLY), 0, "x").error, EROFS);
  EXPECT_EQ(rig.read(id, rig.handle(id, O_RDONLY), 0, 100).text(), "content");
}

TEST(Share, AttributesOfUsersOnly) {
  FuseRig rig;
  rig.folders.write("/share/file", "");
  const uint64_t id = rig.node("file");
  const auto set = [&](std::string_view name, std::string_view value) {
    return rig.ask_in(FUSE_SETXATTR, id, std::array<uint32_t, 2>{static_cast<uint32_t>(value.size()), 0}, bytes_of(name, true), bytes_of(value)).error;
  };
  EXPECT_EQ(set("trusted.overlay.opaque", "y"), EOPNOTSUPP);
  EXPECT_EQ(set("security.capability", "y"), EOPNOTSUPP);
  EXPECT_EQ(set("system.posix_acl_access", "y"), EOPNOTSUPP);
  const int first = set("user.colour", "blue");
  if (first == EOPNOTSUPP) GTEST_SKIP() << "/tmp has no attributes";
  ASSERT_EQ(first, 0);
  const auto get = [&](uint32_t size) { return rig.ask_in(FUSE_GETXATTR, id, fuse_getxattr_in{size, 0}, bytes_of("user.colour", true)); };
  EXPECT_EQ(get(0).as<fuse_getxattr_out>().size, 4u);
  EXPECT_EQ(get(3).error, ERANGE);
  EXPECT_EQ(get(100).text(), "blue");
  EXPECT_EQ(rig.ask_in(FUSE_LISTXATTR, id, fuse_getxattr_in{100, 0}).text(), std::string("user.colour\0", 12));
  EXPECT_EQ(rig.ask(FUSE_REMOVEXATTR, id, bytes_of("user.colour", true)).error, 0);
  EXPECT_EQ(get(100).error, ENODATA);
}

TEST(Share, AllocatesSeeksAndCopies) {
  FuseRig rig;
  const auto created = rig.create("file").as<FuseRig::Created>();
  const uint64_t id = created.entry.nodeid, fh = created.open.fh;
  EXPECT_EQ(rig.ask_in(FUSE_FALLOCATE, id, fuse_fallocate_in{fh, 0, 8192, 0, 0}).error, 0);
  EXPECT_EQ(rig.attributes(id).size, 8192u);
  EXPECT_EQ(rig.ask_in(FUSE_FALLOCATE, id, fuse_fallocate_in{fh, 0, 8192, FALLOC_FL_COLLAPSE_RANGE, 0}).error, EOPNOTSUPP);
  rig.write(id, fh, 4096, "data");
  EXPECT_EQ(rig.ask_in(FUSE_LSEEK, id, fuse_lseek_in{fh, 4096, SEEK_DATA, 0}).as<fuse_lseek_out>().offset, 4096u);
  EXPECT_EQ(rig.ask_in(FUSE_LSEEK, id, fuse_lseek_in{fh, 0, SEEK_SET, 0}).error, EINVAL);
  const auto copy = rig.create("copy").as<FuseRig::Created>();
  const fuse_copy_file_range_in in{fh, 4096, copy.entry.nodeid, copy.open.fh, 0, 4, 0};
  EXPECT_EQ(rig.ask_in(FUSE_COPY_FILE_RANGE, id, in).as<fuse_write_out>().size, 4u);
  EXPECT_EQ(rig.folders.read("/share/copy"), "data");
  EXPECT_EQ(rig.ask(FUSE_STATFS, kRoot).as<fuse_statfs_out>().st.namelen, 255u);
}

TEST(Share, UnknownRequestsAreRefused) {
  FuseRig rig;
  for (const uint32_t opcode : {0u, unsigned{FUSE_GETLK}, unsigned{FUSE_SETLK}, unsigned{FUSE_IOCTL}, unsigned{FUSE_SETUPMAPPING}, 4096u, ~0u})
    EXPECT_EQ(rig.ask(opcode, kRoot, Bytes(64)).error, ENOSYS) << opcode;
}

// --- owners ----------------------------------------------------------------------------------------------------------

TEST(ShareOwners, OfAnOrdinaryUserAreRootAndNobody) {
  const Owners owners = Owners::of_one(1000, 100);
  EXPECT_EQ(owners.user_for_guest(1000), 0u);
  EXPECT_EQ(owners.group_for_guest(100), 0u);
  EXPECT_EQ(owners.user_for_guest(0), 65534u);
  EXPECT_EQ(owners.group_for_guest(1000), 65534u);
  EXPECT_EQ(owners.user_of_guest(0), 1000u);
  EXPECT_EQ(owners.user_of_guest(1000), std::nullopt);
  EXPECT_EQ(owners.group_of_guest(65534), std::nullopt);
  EXPECT_EQ(owners.mode_of_guest(S_IFREG | 06755), 0755u) << "nobody else's programs run as this user";
  EXPECT_EQ(owners.mode_of_guest(S_IFDIR | 02755), 02755u);
}

TEST(ShareOwners, OfAnOrdinaryUserCannotBeGivenAway) {
  FuseRig rig;
  rig.folders.write("/share/file", "");
  const uint64_t id = rig.node("file");
  EXPECT_EQ(rig.attributes(id).uid, 0u);
  fuse_setattr_in in{};
  in.valid = FATTR_UID | FATTR_GID;
  EXPECT_EQ(rig.set(id, in).error, 0);
  in.uid = 5;
  EXPECT_EQ(rig.set(id, in).error, EPERM);
}

TEST(ShareOwners, OfRootAreWhoTheGuestSays) {
  if (::geteuid() != 0) GTEST_SKIP() << "for root";
  FuseRig rig({false, Owners::unchanged(), 1000, 100});
  ::chmod(rig.folders.share().c_str(), 0755);  // that only root may write to: who may is for the guest to say
  rig.uid = 1234;
  rig.gid = 567;
  const auto owner_of = [&](const char* name) {
    struct stat about{};
    ::lstat((rig.folders.share() + "/" + name).c_str(), &about);
    return std::pair(about.st_uid, about.st_gid);
  };
  const std::pair<uid_t, gid_t> theirs(1234, 567);
  EXPECT_EQ(rig.create("file", 06755).as<FuseRig::Created>().entry.attr.uid, 1234u);
  rig.ask_in(FUSE_MKDIR, kRoot, fuse_mkdir_in{0700, 0}, bytes_of("folder", true));
  rig.ask(FUSE_SYMLINK, kRoot, bytes_of("link", true), bytes_of("x", true));
  rig.ask_in(FUSE_MKNOD, kRoot, fuse_mknod_in{S_IFIFO | 0600, 0, 0, 0}, bytes_of("fifo", true));
  for (const char* name : {"file", "folder", "link", "fifo"}) EXPECT_EQ(owner_of(name), theirs) << name;
  EXPECT_EQ(rig.attributes(rig.node("file")).mode, S_IFREG | 06755u);
  // Afterwards it is root again.
  fuse_setattr_in in{};
  in.valid = FATTR_UID | FATTR_GID;
  in.uid = 9;
  in.gid = 8;
  EXPECT_EQ(rig.set(rig.node("file"), in).as<fuse_attr_out>().attr.gid, 8u);
  EXPECT_EQ(owner_of("file"), (std::pair<uid_t, gid_t>(9, 8)));
  rig.uid = ~0u;
  EXPECT_EQ(rig.create("nobody's").error, EPERM) << "-1 is no user";
  rig.uid = rig.gid = 0;
  rig.create("root's");
  EXPECT_EQ(owner_of("root's"), (std::pair<uid_t, gid_t>(0, 0)));
}

}  // namespace
}  // namespace skerry::share::test
