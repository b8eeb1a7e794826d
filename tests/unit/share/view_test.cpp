// What of the host's files is left to a process that has a View, in processes of their own.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "share/view.hpp"
#include "unit/share/fuse_rig.hpp"

namespace skerry::share::test {
namespace {

bool can_open(int folder, const char* path, int flags = O_RDONLY) {
  return static_cast<bool>(UniqueFd(::openat(folder, path, flags, 0600)));
}

// 0: the folder can be used and nothing else can be reached.
int look_around(const Folders& folders, bool read_only) {
  auto view = open_view(folders.share(), read_only);
  if (!view) return 1;
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (!close_view(*view)) return 2;
  const int root = view->root.get(), own = view->own_descriptors.get();
  if (!can_open(root, "file") || !can_open(root, ".", O_RDONLY | O_DIRECTORY)) return 3;
  if (can_open(root, "new", O_WRONLY | O_CREAT) == read_only) return 4;
  if (!can_open(own, fmt::format("{}", root).c_str())) return 5;
  if (can_open(root, "../outside/canary") || can_open(root, "to-file") || can_open(root, "absolute/canary")) return 6;
  if (can_open(root, "../outside/new", O_WRONLY | O_CREAT)) return 7;
  for (const char* path : {"/etc/passwd", "../etc/passwd", "../../../etc/passwd", "../../../../../../etc/passwd"})
    if (can_open(AT_FDCWD, path) || can_open(root, path) || can_open(own, path)) return 8;
  return 0;
}

template <typename Work>
int status_of_child(Work work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void give_up(unsigned capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  ::syscall(SYS_capget, &header, data.data());
  data[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
  data[CAP_TO_INDEX(capability)].permitted &= ~CAP_TO_MASK(capability);
  ::syscall(SYS_capset, &header, data.data());
}

struct ViewTest : ::testing::Test {
  ViewTest() {
    folders.write("/share/file", "text");
    ::chmod(folders.root.c_str(), 0755);
    ::chmod(folders.share().c_str(), 0777);
  }
  Folders folders;
};

TEST_F(ViewTest, EndsAtTheFolder) {
  if (::geteuid() != 0) GTEST_SKIP() << "for root, or where user namespaces may be had";
  EXPECT_EQ(status_of_child([&] { return look_around(folders, false); }), 0);
}

TEST_F(ViewTest, OfOneThatIsReadOnlyIsSo) {
  if (::geteuid() != 0) GTEST_SKIP() << "for root, or where user namespaces may be had";
  EXPECT_EQ(status_of_child([&] { return look_around(folders, true); }), 0);
}

TEST_F(ViewTest, EndsAtTheFolderByLandlock) {
  if (::geteuid() != 0) GTEST_SKIP() << "for root, who can give up what a mount namespace takes";
  if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
    GTEST_SKIP() << "this kernel has no Landlock";
  for (const bool read_only : {true, false}) {
    EXPECT_EQ(status_of_child([&] {
                give_up(CAP_SYS_ADMIN);
                return look_around(folders, read_only);
              }),
              0)
        << read_only;
  }
}

TEST_F(ViewTest, OfWhatIsNoFolderIsAnError) {
  const auto why = [&](const std::string& path) {
    auto view = open_view(path, false);
    return view ? "it is one" : view.error().message();
  };
  EXPECT_THAT(why(folders.share() + "/missing"), ::testing::HasSubstr("no such"));
  EXPECT_THAT(why(folders.share() + "/file"), ::testing::HasSubstr("Not a directory"));
}

}  // namespace
}  // namespace skerry::share::test
