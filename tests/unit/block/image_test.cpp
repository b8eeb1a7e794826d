// Which images are refused, and in which words.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <filesystem>

#include "block/raw_file.hpp"
#include "unit/block/support.hpp"

namespace skerry::block {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Image : public testing::Test {
 protected:
  std::string failure(const std::string& path, RawFileOptions options = {}) {
    auto disk = RawFile::open(*bench_.aio, path, options);
    return disk ? "" : disk.error().message();
  }
  std::unique_ptr<RawFile> open(bool read_only) {
    auto disk = RawFile::open(*bench_.aio, file_.path(), {.read_only = read_only});
    EXPECT_TRUE(disk) << disk.error().message();
    return disk ? std::move(*disk) : nullptr;
  }

  Bench bench_{AioOptions::Driver::kThreads};
  TempFile file_{64 * KiB};
};

TEST_F(Image, ThatIsNotThereIsNamedWithWhereItWasLookedFor) {
  EXPECT_THAT(failure("no-such.img"), AllOf(HasSubstr("disk 'no-such.img': not found"), HasSubstr("looked in /")));
  EXPECT_THAT(failure("/no-such-folder/a/b.img"), HasSubstr("there is no folder '/no-such-folder'"));
  const std::string link = file_.path() + ".link";
  std::filesystem::create_symlink("/nowhere", link);
  EXPECT_THAT(failure(link), HasSubstr("symbolic link to '/nowhere', which does not exist"));
  std::filesystem::remove(link);
}

TEST_F(Image, ThatIsNoFileIsRefused) {
  EXPECT_THAT(failure("/tmp"), HasSubstr("is a folder"));
  EXPECT_THAT(failure("/tmp", {.read_only = true}), HasSubstr("is a folder"));
  EXPECT_THAT(failure("/dev/null"), HasSubstr("is a character device"));
  const std::string pipe = file_.path() + ".pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(failure(pipe, {.read_only = true}), HasSubstr("is a pipe"));
  std::filesystem::remove(pipe);
}

TEST_F(Image, OfAnImpossibleSizeIsRefused) {
  EXPECT_THAT(failure(TempFile(0).path()), HasSubstr("truncate -s 10G"));
  EXPECT_THAT(failure(TempFile(1000).path()), HasSubstr("1000 bytes long, which is not a multiple of 512"));
}

TEST_F(Image, OfAnotherFormatIsWarnedOf) {
  const UniqueFd fd(::open(file_.path().c_str(), O_WRONLY));
  ASSERT_EQ(::pwrite(fd.get(), "QFI\xfb\0\0\0\3", 8, 0), 8);
  testing::internal::CaptureStderr();
  EXPECT_EQ(failure(file_.path()), "");
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("begins as a qcow2 image does"));
}

// Rights are those of an ordinary user while this is there.
class OrdinaryUser {
 public:
  OrdinaryUser() {
    if (::geteuid() == 0) changed_ = ::seteuid(65534) == 0;
  }
  ~OrdinaryUser() {
    if (changed_ && ::seteuid(0) != 0) ADD_FAILURE() << "cannot be root again";
  }

 private:
  bool changed_ = false;
};

TEST_F(Image, ThatIsClosedToUsIsRefusedWithTheReason) {
  const std::string folder = file_.path() + ".d", inside = folder + "/a.img";
  std::filesystem::create_directory(folder);
  std::filesystem::copy_file(file_.path(), inside);
  ASSERT_EQ(::chmod(file_.path().c_str(), 0444), 0);
  ASSERT_EQ(::chmod(inside.c_str(), 0666), 0);
  ASSERT_EQ(::chmod(folder.c_str(), 0000), 0);
  {
    const OrdinaryUser user;
    EXPECT_THAT(failure(file_.path()), AllOf(HasSubstr("is read-only for user"), HasSubstr("use readonly=on")));
    EXPECT_EQ(failure(file_.path(), {.read_only = true}), "");
    EXPECT_THAT(failure(inside), AllOf(HasSubstr("may not enter the folder '" + folder + "'"), HasSubstr("chmod o+x")));
  }
  ASSERT_EQ(::chmod(file_.path().c_str(), 0000), 0);
  {
    const OrdinaryUser user;
    EXPECT_THAT(failure(file_.path(), {.read_only = true}),
                AllOf(HasSubstr("may not read it"), HasSubstr("mode 0000")));
  }
  ::chmod(folder.c_str(), 0700);
  std::filesystem::remove_all(folder);
}

TEST_F(Image, IsWrittenByOneOrReadByMany) {
  auto reader = open(true);
  EXPECT_EQ(failure(file_.path(), {.read_only = true}), "") << "readers share";
  EXPECT_THAT(failure(file_.path()), HasSubstr("is in use by this VM already"));
  reader.reset();
  auto writer = open(false);
  EXPECT_THAT(failure(file_.path()), HasSubstr("is in use by this VM already"));
  EXPECT_NE(failure(file_.path(), {.read_only = true}), "");
  writer.reset();
  EXPECT_EQ(failure(file_.path()), "") << "the lock goes with the disk";
}

// A process that has the image, until it goes.
class OtherProcess {
 public:
  OtherProcess(const std::string& path, bool read_only) {
    int ends[2], life[2];
    EXPECT_EQ(::pipe(ends), 0);
    EXPECT_EQ(::pipe(life), 0);
    pid_ = ::fork();
    if (pid_ == 0) hold(path, read_only, ends[1], life[0], life[1]);
    ::close(ends[1]);
    ::close(life[0]);
    life_ = UniqueFd(life[1]);
    char answer = 0;
    EXPECT_EQ(::read(ends[0], &answer, 1), 1);
    ::close(ends[0]);
  }
  ~OtherProcess() {
    life_.reset();
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  void ends_soon() {
    const char byte = 1;
    EXPECT_EQ(::write(life_.get(), &byte, 1), 1);
  }

 private:
  [[noreturn]] static void hold(const std::string& path, bool read_only, int ready, int until, int not_ours) {
    ::close(not_ours);
    const UniqueFd fd(::open(path.c_str(), read_only ? O_RDONLY : O_RDWR));
    const auto lock = ImageLock::take(fd.get(), !read_only);
    char byte = 1;
    if (lock && ::write(ready, &byte, 1) == 1 && ::read(until, &byte, 1) == 1) ::usleep(50'000);
    ::_exit(0);
  }
  pid_t pid_ = -1;
  UniqueFd life_;
};

TEST_F(Image, InUseElsewhereIsRefusedWithTheProcessThatHasIt) {
  {
    const OtherProcess writer(file_.path(), false);
    EXPECT_THAT(failure(file_.path()),
                HasSubstr(fmt::format("is in use by process {} ({})", writer.pid(), program_invocation_short_name)));
    EXPECT_THAT(
        failure(file_.path(), {.read_only = true}),
        HasSubstr(fmt::format("is being written by process {} ({})", writer.pid(), program_invocation_short_name)));
  }
  const OtherProcess reader(file_.path(), true);
  EXPECT_THAT(failure(file_.path()),
              HasSubstr(fmt::format("is in use by process {} ({})", reader.pid(), program_invocation_short_name)));
  EXPECT_EQ(failure(file_.path(), {.read_only = true}), "");
}

TEST_F(Image, WhoIsAboutToEndIsWaitedFor) {
  OtherProcess writer(file_.path(), false);
  writer.ends_soon();
  EXPECT_EQ(failure(file_.path()), "");
}

}  // namespace
}  // namespace skerry::block
