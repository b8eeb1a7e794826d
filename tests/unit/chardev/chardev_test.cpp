#include "chardev/chardev.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "chardev/stream.hpp"
#include "chardev/terminal_mode.hpp"

namespace skerry::chardev {
namespace {

std::span<const uint8_t> bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A file descriptor of the process, replaced for the time of a test.
class Redirect {
 public:
  Redirect(int fd, int by) : fd_(fd), saved_(::fcntl(fd, F_DUPFD_CLOEXEC, 100)) {
    if (by >= 0)
      ::dup2(by, fd);
    else
      ::close(fd);
  }
  ~Redirect() { ::dup2(saved_.get(), fd_); }

 private:
  int fd_;
  UniqueFd saved_;
};

struct Pipe {
  UniqueFd read, write;
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) std::abort();
    read = UniqueFd(fds[0]);
    write = UniqueFd(fds[1]);
  }
};

std::string read_now(int fd, size_t most = 1 << 22) {
  std::string text(most, '\0');
  pollfd wait{fd, POLLIN, 0};
  if (::poll(&wait, 1, 0) <= 0) return {};
  const ssize_t got = ::read(fd, text.data(), text.size());
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

struct Rig {
  VmClock clock;
  std::unique_ptr<EventLoop> loop = EventLoop::create(clock).value();
  std::unique_ptr<Chardev> chardev;
  std::string input;
  size_t room = ~size_t{0};
  unsigned writable = 0, breaks = 0, quits = 0;
  std::vector<bool> connected;

  Result<void> open(std::string_view text) {
    auto spec = parse_chardev(text);
    if (!spec) return std::move(spec).error();
    auto opened = open_chardev(*spec, {.quit = [this] { ++quits; }});
    if (!opened) return std::move(opened).error();
    chardev = std::move(opened).value();
    chardev->connect({.can_receive = [this] { return room; },
                      .receive =
                          [this](std::span<const uint8_t> got) {
                            ASSERT_LE(got.size(), room);
                            input.append(got.begin(), got.end());
                            room -= got.size();
                          },
                      .writable = [this] { ++writable; },
                      .receive_break = [this] { ++breaks; },
                      .connected = [this](bool is) { connected.push_back(is); }});
    return chardev->start(*loop);
  }
  void turn() {
    for (int i = 0; i < 20; ++i) loop->poll(0);
  }
  // Until `done`, for at most a few seconds.
  template <typename Done>
  bool until(Done done) {
    for (int i = 0; i < 500 && !done(); ++i) loop->poll(10);
    return done();
  }
  // A terminal passes bytes on when the kernel finds the time.
  bool arrives(int fd, std::string_view expected) {
    std::string got;
    return until([&] {
             got += read_now(fd);
             return got.size() >= expected.size();
           }) &&
           got == expected;
  }
  // Turns of the loop that found something to do, when nothing should.
  int busy_turns() {
    int busy = 0;
    for (int i = 0; i < 20; ++i) {
      const int64_t before = VmClock::host_now();
      loop->poll(5);
      if (VmClock::host_now() - before < 4'000'000) ++busy;
    }
    return busy;
  }
};

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct TemporaryFolder {
  std::string path = (std::filesystem::temp_directory_path() / "skerry-chardev-XXXXXX").string();
  TemporaryFolder() {
    if (!::mkdtemp(path.data())) std::abort();
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

// --- the option ------------------------------------------------------------------------------------------------------

TEST(ParseChardev, TakesWhatItOffers) {
  EXPECT_EQ(parse_chardev("stdio")->kind, Kind::kStdio);
  EXPECT_EQ(parse_chardev("pty")->kind, Kind::kPty);
  EXPECT_EQ(parse_chardev("none")->kind, Kind::kNone);
  const auto file = parse_chardev("file:/tmp/a:b");
  EXPECT_EQ(file->kind, Kind::kFile);
  EXPECT_EQ(file->path, "/tmp/a:b");
  EXPECT_EQ(parse_chardev("unix:x")->path, "x");
}

TEST(ParseChardev, SaysWhatIsWrong) {
  EXPECT_EQ(parse_chardev("sdtio").error().message(),
            "unknown console 'sdtio'; there are: stdio, pty, file:PATH, unix:PATH, none");
  EXPECT_EQ(parse_chardev("file:").error().message(), "console 'file:' needs a path: file:PATH");
  EXPECT_EQ(parse_chardev("unix").error().message(), "console 'unix' needs a path: unix:PATH");
  EXPECT_EQ(parse_chardev("pty:3").error().message(), "console 'pty:3' takes nothing after its name: use 'pty'");
  EXPECT_FALSE(parse_chardev(""));
}

// --- stdio -----------------------------------------------------------------------------------------------------------

TEST(Stdio, MovesBytesThroughPipesAndLeavesTheirFlagsAlone) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  EXPECT_EQ(::fcntl(0, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(1, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(rig.chardev->write(bytes("hello")), 5u);
  rig.turn();
  EXPECT_EQ(read_now(out.read.get()), "hello");
  ASSERT_EQ(::write(in.write.get(), "typed", 5), 5);
  rig.turn();
  EXPECT_EQ(rig.input, "typed");
}

TEST(Stdio, SlowPipeLosesNothingAndPushesBack) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  std::string sent, got;
  size_t taken = 0;
  do {
    const std::string line = "line " + std::to_string(sent.size()) + "\n";
    taken = rig.chardev->write(bytes(line));
    sent += line.substr(0, taken);
    if (sent.size() % 100 == 0) rig.turn();
    if (taken < line.size()) break;
  } while (true);
  EXPECT_GE(sent.size(), kOutputBuffer);
  EXPECT_EQ(rig.writable, 0u);
  EXPECT_TRUE(rig.until([&] {
    got += read_now(out.read.get());
    return got.size() >= sent.size();
  }));
  EXPECT_EQ(got, sent);
  EXPECT_EQ(rig.writable, 1u);
}

TEST(Stdio, WriterOnAnotherThreadIsNeverBlocked) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  std::string sent, got;
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 20'000; ++i) {
      const std::string line = std::to_string(i) + " a line of the guest's console, long enough to fill buffers\n";
      for (size_t at = 0; at < line.size();) at += rig.chardev->write(bytes(line).subspan(at));
      sent += line;
    }
    done = true;
  });
  while (!done) {
    rig.loop->poll(1);
    got += read_now(out.read.get());
  }
  writer.join();
  EXPECT_TRUE(rig.until([&] {
    got += read_now(out.read.get());
    return got.size() >= sent.size();
  }));
  EXPECT_TRUE(got == sent);
}

TEST(Stdio, InputWaitsUntilTheDeviceTakesIt) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  rig.room = 3;
  ASSERT_TRUE(rig.open("stdio"));
  ASSERT_EQ(::write(in.write.get(), "abcdef", 6), 6);
  rig.turn();
  EXPECT_EQ(rig.input, "abc");
  rig.chardev->receive_ready();
  rig.turn();
  EXPECT_EQ(rig.input, "abc");
  rig.room = 10;
  rig.chardev->receive_ready();
  rig.turn();
  EXPECT_EQ(rig.input, "abcdef");
}

TEST(Stdio, EndOfInputIsNoMoreInputAndDoesNotSpin) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  ASSERT_EQ(::write(in.write.get(), "last", 4), 4);
  in.write.reset();
  rig.turn();
  EXPECT_EQ(rig.input, "last");
  EXPECT_LE(rig.busy_turns(), 2);
  EXPECT_EQ(rig.chardev->write(bytes("on")), 2u);
  rig.turn();
  EXPECT_EQ(read_now(out.read.get()), "on");
}

TEST(Stdio, HungUpInputThatNobodyTakesDoesNotSpin) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  rig.room = 0;
  ASSERT_TRUE(rig.open("stdio"));
  const std::string much(60'000, 'x');
  ASSERT_EQ(::write(in.write.get(), much.data(), much.size()), 60'000);
  rig.turn();
  ASSERT_EQ(::write(in.write.get(), much.data(), much.size()), 60'000);
  in.write.reset();
  rig.turn();
  EXPECT_LE(rig.busy_turns(), 2);
  rig.room = ~size_t{0};
  rig.chardev->receive_ready();
  EXPECT_TRUE(rig.until([&] { return rig.input.size() == 120'000; }));
}

TEST(Stdio, WorksWithDevNull) {
  const UniqueFd null(::open("/dev/null", O_RDWR));
  Redirect stdin_is(0, null.get()), stdout_is(1, null.get());
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(rig.chardev->write(bytes(std::string(100'000, 'x'))), 100'000u);
    rig.turn();
  }
  EXPECT_LE(rig.busy_turns(), 2);
}

TEST(Stdio, WorksWithFilesFromWhereTheyAre) {
  TemporaryFolder folder;
  std::ofstream(folder.path + "/in") << "skipped:" << std::string(100'000, 'i');
  std::ofstream(folder.path + "/out") << "kept";
  const UniqueFd in(::open((folder.path + "/in").c_str(), O_RDONLY));
  const UniqueFd out(::open((folder.path + "/out").c_str(), O_WRONLY | O_APPEND));
  ::lseek(in.get(), 8, SEEK_SET);
  Redirect stdin_is(0, in.get()), stdout_is(1, out.get());
  Rig rig;
  rig.room = 50;
  ASSERT_TRUE(rig.open("stdio"));
  rig.turn();
  EXPECT_EQ(rig.input, std::string(50, 'i'));
  EXPECT_LE(rig.busy_turns(), 2);
  rig.room = ~size_t{0};
  rig.chardev->receive_ready();
  EXPECT_TRUE(rig.until([&] { return rig.input.size() == 100'000; }));
  EXPECT_LE(rig.busy_turns(), 2);
  const std::string much(300'000, 'o');
  EXPECT_EQ(rig.chardev->write(bytes(much)), much.size());
  EXPECT_TRUE(rig.until([&] { return contents(folder.path + "/out") == "kept" + much; }));
}

TEST(Stdio, WorksWithSockets) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  UniqueFd ours(pair[0]), theirs(pair[1]);
  Redirect stdin_is(0, theirs.get()), stdout_is(1, theirs.get());
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  ASSERT_EQ(::write(ours.get(), "in", 2), 2);
  rig.chardev->write(bytes("out"));
  rig.turn();
  EXPECT_EQ(rig.input, "in");
  EXPECT_EQ(read_now(ours.get()), "out");
  EXPECT_EQ(::fcntl(0, F_GETFL) & O_NONBLOCK, 0);
}

TEST(Stdio, WorksWhenClosed) {
  Rig rig;  // first: what it opens must not become standard input
  Redirect stdin_is(0, -1), stdout_is(1, -1);
  ASSERT_TRUE(rig.open("stdio"));
  for (int i = 0; i < 30; ++i) EXPECT_EQ(rig.chardev->write(bytes(std::string(100'000, 'x'))), 100'000u);
  rig.chardev->flush(10);
  EXPECT_LE(rig.busy_turns(), 2);
}

TEST(Stdio, ReaderOfTheOutputMayLeave) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  out.read.reset();
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(rig.chardev->write(bytes(std::string(100'000, 'x'))), 100'000u);
    rig.turn();
  }
  EXPECT_LE(rig.busy_turns(), 2);
}

TEST(Stdio, EscapesAreForThePerson) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  rig.room = 3;  // the guest hangs, and Ctrl-A x gets through all the same
  ASSERT_TRUE(rig.open("stdio"));
  const std::string_view typed =
      "a\x01\x01"
      "b\x01"
      "acd\x01"
      "b\x01"
      "z\x01"
      "h\x01"
      "c\x01"
      "x";
  ASSERT_EQ(::write(in.write.get(), typed.data(), typed.size()), static_cast<ssize_t>(typed.size()));
  rig.turn();
  EXPECT_EQ(rig.quits, 1u);
  EXPECT_EQ(rig.breaks, 1u);
  rig.room = 100;
  rig.chardev->receive_ready();
  rig.turn();
  EXPECT_EQ(rig.input,
            "a\x01"
            "b\x01"
            "cd");
  const std::string said = read_now(out.read.get());
  EXPECT_NE(said.find("Ctrl-A x"), std::string::npos);
  EXPECT_NE(said.find("no monitor"), std::string::npos);
}

TEST(Stdio, FlushDrainsToAReaderAndGivesUpWithoutOne) {
  Pipe in, out;
  Redirect stdin_is(0, in.read.get()), stdout_is(1, out.write.get());
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  const std::string much(500'000, 'x');
  rig.chardev->write(bytes(much));
  const int64_t before = VmClock::host_now();
  rig.chardev->flush(10'000);
  EXPECT_LT(VmClock::host_now() - before, 5'000'000'000) << "nobody reads";
  std::string got;
  std::thread reader([&] {
    char buffer[4096];
    while (got.size() < much.size()) {
      const ssize_t count = ::read(out.read.get(), buffer, sizeof buffer);
      if (count <= 0) break;
      got.append(buffer, static_cast<size_t>(count));
    }
  });
  rig.chardev->flush(30'000);
  reader.join();
  EXPECT_EQ(got.size(), much.size());
}

// --- the others ------------------------------------------------------------------------------------------------------

TEST(None, TakesEverything) {
  Rig rig;
  ASSERT_TRUE(rig.open("none"));
  EXPECT_EQ(rig.chardev->write(bytes("gone")), 4u);
}

TEST(File, IsEmptiedFirst) {
  TemporaryFolder folder;
  const std::string path = folder.path + "/console";
  std::ofstream(path) << "old";
  Rig rig;
  ASSERT_TRUE(rig.open("file:" + path));
  EXPECT_EQ(contents(path), "");
  rig.chardev->write(bytes("new"));
  rig.turn();
  EXPECT_EQ(contents(path), "new");
  EXPECT_LE(rig.busy_turns(), 2);
}

TEST(File, SaysWhyItCannotBeOpened) {
  Rig rig;
  EXPECT_EQ(rig.open("file:/nowhere/console").error().message(),
            "console file '/nowhere/console': cannot open it for writing: No such file or directory");
}

TEST(Pty, TalksToWhoOpensIt) {
  testing::internal::CaptureStderr();
  Rig rig;
  ASSERT_TRUE(rig.open("pty"));
  const std::string log = testing::internal::GetCapturedStderr();
  const size_t at = log.find("/dev/pts/");
  ASSERT_NE(at, std::string::npos) << log;
  const std::string path = log.substr(at, log.find('\n', at) - at);
  rig.chardev->write(bytes("before\n"));
  rig.turn();
  EXPECT_LE(rig.busy_turns(), 2);
  for (int visit = 0; visit < 2; ++visit) {
    UniqueFd other(::open(path.c_str(), O_RDWR | O_NOCTTY));
    ASSERT_TRUE(other);
    rig.chardev->write(bytes("hi\n"));
    EXPECT_TRUE(rig.arrives(other.get(), visit == 0 ? "before\nhi\n" : "hi\n"));
    ASSERT_EQ(::write(other.get(), "yo\r", 3), 3);
    EXPECT_TRUE(rig.until([&] { return rig.input == "yo\r"; }));
    rig.input.clear();
    other.reset();
    EXPECT_LE(rig.busy_turns(), 2) << "nobody is there";
  }
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(rig.chardev->write(bytes(std::string(100'000, 'x'))), 100'000u) << "output is dropped, the guest goes on";
    rig.turn();
  }
}

TEST(Unix, ServesOneClientAfterTheOther) {
  TemporaryFolder folder;
  const std::string path = folder.path + "/console";
  Rig rig;
  ASSERT_TRUE(rig.open("unix:" + path));
  struct stat about {};
  ASSERT_EQ(::stat(path.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  rig.chardev->write(bytes("early "));
  rig.turn();
  UniqueFd first = connect_to(path);
  ASSERT_TRUE(first);
  rig.turn();
  rig.chardev->write(bytes("one"));
  rig.turn();
  EXPECT_EQ(read_now(first.get()), "early one");
  ASSERT_EQ(::write(first.get(), "abc", 3), 3);
  rig.turn();
  EXPECT_EQ(rig.input, "abc");

  UniqueFd second = connect_to(path);  // waits in the kernel's queue
  ASSERT_TRUE(second);
  rig.turn();
  rig.chardev->write(bytes("two"));
  rig.turn();
  EXPECT_EQ(read_now(second.get()), "");
  EXPECT_EQ(read_now(first.get()), "two");
  first.reset();
  rig.turn();
  rig.chardev->write(bytes("three"));
  rig.turn();
  EXPECT_EQ(read_now(second.get()), "three");
  EXPECT_LE(rig.busy_turns(), 2);
  second.reset();
  rig.turn();
  EXPECT_LE(rig.busy_turns(), 2);
  rig.chardev.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Unix, TellsOfThoseWhoComeAndGo) {
  TemporaryFolder folder;
  Rig rig;
  ASSERT_TRUE(rig.open("unix:" + folder.path + "/console"));
  rig.turn();
  EXPECT_EQ(rig.connected, std::vector<bool>{false});
  UniqueFd client = connect_to(folder.path + "/console");
  rig.turn();
  EXPECT_EQ(rig.connected, (std::vector<bool>{false, true}));
  client.reset();
  rig.turn();
  EXPECT_EQ(rig.connected, (std::vector<bool>{false, true, false}));
}

TEST(File, SomebodyIsAlwaysThere) {
  TemporaryFolder folder;
  Rig rig;
  ASSERT_TRUE(rig.open("file:" + folder.path + "/out"));
  rig.turn();
  EXPECT_EQ(rig.connected, std::vector<bool>{true});
}

TEST(Unix, KeepsTheLatestOutputForWhoComesLater) {
  TemporaryFolder folder;
  Rig rig;
  ASSERT_TRUE(rig.open("unix:" + folder.path + "/console"));
  for (int i = 0; i < 30; ++i) EXPECT_EQ(rig.chardev->write(bytes(std::string(100'000, 'x'))), 100'000u);
  rig.chardev->write(bytes("the end"));
  UniqueFd client = connect_to(folder.path + "/console");
  std::string got;
  EXPECT_TRUE(rig.until([&] {
    got += read_now(client.get());
    return got.ends_with("the end");
  }));
  EXPECT_EQ(got.size(), kOutputBuffer);
}

TEST(Unix, ReplacesAStaleSocketAndNothingElse) {
  TemporaryFolder folder;
  const std::string path = folder.path + "/console";
  {
    UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(stale.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  Rig rig;
  ASSERT_TRUE(rig.open("unix:" + path));
  Rig other;
  EXPECT_EQ(other.open("unix:" + path).error().message(),
            "console socket '" + path + "': another program is listening there; use another path");
  std::ofstream(folder.path + "/file") << "precious";
  EXPECT_FALSE(other.open("unix:" + folder.path + "/file"));
  EXPECT_EQ(contents(folder.path + "/file"), "precious");
  EXPECT_NE(other.open("unix:/" + std::string(200, 'x')).error().message().find("use a shorter one"),
            std::string::npos);
}

TEST(ByteQueue, DropsTheOldestAndBoundsItsMemory) {
  ByteQueue queue(4);
  EXPECT_EQ(queue.push(bytes("abcdef")), 4u);
  queue.push_dropping_oldest(bytes("xy"));
  EXPECT_EQ(std::string(queue.front(9).begin(), queue.front(9).end()), "cdxy");
  queue.drop(1);
  queue.push_dropping_oldest(bytes("123456"));
  EXPECT_EQ(std::string(queue.front(9).begin(), queue.front(9).end()), "3456");
}

// --- the terminal ----------------------------------------------------------------------------------------------------

TEST(TerminalMode, TakesTheTerminalRawAndGivesItBack) {
  int master = -1, terminal = -1;
  ASSERT_EQ(::openpty(&master, &terminal, nullptr, nullptr, nullptr), 0);
  UniqueFd keep_master(master), keep_terminal(terminal);
  termios before{}, during{}, after{};
  ::tcgetattr(terminal, &before);
  {
    TerminalMode mode(terminal);
    ASSERT_TRUE(mode.make_raw());
    ::tcgetattr(terminal, &during);
    EXPECT_EQ(during.c_lflag & (ECHO | ICANON | ISIG), 0u);
    EXPECT_EQ(during.c_oflag, before.c_oflag);
  }
  ::tcgetattr(terminal, &after);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_iflag, before.c_iflag);
  Pipe pipe;
  TerminalMode none(pipe.read.get());
  EXPECT_TRUE(none.make_raw());
  EXPECT_FALSE(none.raw());
}

TEST(Stdio, TalksToATerminal) {
  int master = -1, terminal = -1;
  ASSERT_EQ(::openpty(&master, &terminal, nullptr, nullptr, nullptr), 0);
  UniqueFd keep_master(master), keep_terminal(terminal);
  TerminalMode mode(terminal);
  ASSERT_TRUE(mode.make_raw());
  Redirect stdin_is(0, terminal), stdout_is(1, terminal);
  Rig rig;
  ASSERT_TRUE(rig.open("stdio"));
  EXPECT_EQ(::fcntl(terminal, F_GETFL) & O_NONBLOCK, 0);
  ASSERT_EQ(::write(master, "key", 3), 3);
  EXPECT_TRUE(rig.until([&] { return rig.input == "key"; }));
  rig.chardev->write(bytes("text\n"));
  EXPECT_TRUE(rig.arrives(master, "text\r\n"));
  rig.chardev->write(bytes(std::string(200'000, 'x')));
  rig.turn();
  EXPECT_LE(rig.busy_turns(), 2) << "a terminal that nobody reads from blocks nobody";
}

}  // namespace
}  // namespace skerry::chardev
