#include "devices/tpm/swtpm.hpp"

#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/passed_fd.hpp"
#include "devices/tpm/swtpm_process.hpp"
#include "unit/devices/fuzz_sessions.hpp"
#include "unit/devices/test_time.hpp"

namespace skerry::devices::tpm {
namespace {

using Bytes = std::vector<uint8_t>;
using testing::ElementsAre;
using testing::HasSubstr;

std::pair<UniqueFd, UniqueFd> sockets() {
  int pair[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

Bytes words(std::initializer_list<uint32_t> values) {
  Bytes bytes;
  for (const uint32_t value : values)
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
  return bytes;
}

uint32_t word_at(const Bytes& bytes, size_t at) {
  return uint32_t{bytes.at(at)} << 24 | uint32_t{bytes.at(at + 1)} << 16 | uint32_t{bytes.at(at + 2)} << 8 | bytes.at(at + 3);
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes command_of(uint32_t size) {
  Bytes bytes = Bytes{0x80, 0x01} + words({size, 0x17b});
  bytes.resize(size, 0x33);
  return bytes;
}

Bytes text(std::string_view characters) { return {characters.begin(), characters.end()}; }

// The other side, in a thread: does as swtpm does, but where the test says otherwise.
class Peer {
 public:
  // The answer to a request on the control channel; none: the usual one. Empty: it is not answered.
  std::map<uint32_t, Bytes> otherwise;
  // The answer to a command.
  std::function<Bytes(const Bytes&)> process = [](const Bytes& command) { return command; };
  bool dies_of_commands = false;

  UniqueFd start() {
    auto [ours, theirs] = sockets();
    control_ = std::move(theirs);
    thread_ = std::thread([this] { run(); });
    return std::move(ours);
  }
  ~Peer() {
    ::shutdown(control_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }
  // What has happened, in its order: requests by their number, and 'c' for a command.
  std::vector<uint32_t> log() {
    std::lock_guard guard(lock_);
    return log_;
  }
  Bytes blob(uint32_t type) {
    std::lock_guard guard(lock_);
    return blobs_[type].second;
  }
  void give_blob(uint32_t type, uint32_t flags, Bytes content) { blobs_[type] = {flags, std::move(content)}; }
  uint32_t init_flags() {
    std::lock_guard guard(lock_);
    return init_flags_;
  }
  void say(const Bytes& bytes) { EXPECT_EQ(::send(control_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size())); }

 private:
  void run() {
    for (;;) {
      pollfd fds[] = {{control_.get(), POLLIN, 0}, {data_ ? data_.get() : -1, POLLIN, 0}};
      if (::poll(fds, 2, -1) < 0) continue;
      if (fds[1].revents && !serve_data()) data_.reset();
      if (fds[0].revents && !serve_control()) return ::shutdown(control_.get(), SHUT_RDWR), void();
    }
  }
  static bool read_all(int fd, Bytes& bytes, size_t size) {
    for (const size_t before = bytes.size(); bytes.size() < before + size;) {
      Bytes part(before + size - bytes.size());
      const ssize_t got = ::recv(fd, part.data(), part.size(), 0);
      if (got <= 0) return false;
      bytes.insert(bytes.end(), part.begin(), part.begin() + got);
    }
    return true;
  }
  bool serve_data() {
    Bytes command;
    if (!read_all(data_.get(), command, 10) || !read_all(data_.get(), command, word_at(command, 2) - 10)) return false;
    note('c');
    if (dies_of_commands) {
      ::shutdown(control_.get(), SHUT_RDWR);
      return false;
    }
    const Bytes answer = process(command);
    return ::send(data_.get(), answer.data(), answer.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(answer.size());
  }
  bool serve_control() {
    Bytes request(4);
    UniqueFd passed;
    if (receive_with_fd(control_.get(), request.data(), 4, passed) != 4) return false;
    if (passed) data_ = std::move(passed);
    const uint32_t command = word_at(request, 0);
    constexpr size_t kArguments[] = {0, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0, 12, 12, 0, 0, 0, 4, 16};
    if (command >= std::size(kArguments) || !read_all(control_.get(), request, kArguments[command])) return false;
    if (command == 0x0d && !read_all(control_.get(), request, word_at(request, 12))) return false;
    note(command);
    const auto special = otherwise.find(command);
    const Bytes answer = special != otherwise.end() ? special->second : usual(command, request);
    for (size_t sent = 0; sent < answer.size();) {
      const ssize_t now = ::send(control_.get(), &answer[sent], std::min<size_t>(answer.size() - sent, 5000), MSG_NOSIGNAL);
      if (now <= 0) return false;
      sent += static_cast<size_t>(now);
    }
    return true;
  }
  Bytes usual(uint32_t command, const Bytes& request) {
    std::lock_guard guard(lock_);
    switch (command) {
      case 0x01: return words({0, 0xffff});
      case 0x02: init_flags_ = word_at(request, 4); break;
      case 0x04: return words({0, 0x0100'0000});
      case 0x0c: {
        const auto& [flags, content] = blobs_[word_at(request, 8)];
        const auto size = static_cast<uint32_t>(content.size());
        return words({size ? 0u : 0x800u, flags, size, size}) + content;
      }
      case 0x0d: blobs_[word_at(request, 8)] = {word_at(request, 4), Bytes(request.begin() + 16, request.end())}; break;
      case 0x11: return words({0, 3968, 2816, 4096});
      case 0x12: {
        const Bytes info = text(R"({"TPMSpecification":{"family":"2.0","level":0,"revision":164}})");
        return words({0, static_cast<uint32_t>(info.size()), static_cast<uint32_t>(info.size())}) + info;
      }
      default: break;
    }
    return words({0});
  }
  void note(uint32_t what) {
    std::lock_guard guard(lock_);
    log_.push_back(what);
  }

  UniqueFd control_, data_;
  std::mutex lock_;
  std::vector<uint32_t> log_;
  std::map<uint32_t, std::pair<uint32_t, Bytes>> blobs_;
  uint32_t init_flags_ = 99;
  std::thread thread_;
};

struct Rig {
  skerry::test::TestTime time;
  Peer peer;
  std::unique_ptr<Swtpm> swtpm;
  std::vector<Bytes> answers;
  unsigned failures = 0;

  void open() {
    auto opened = Swtpm::open(peer.start(), "--tpm 'here'");
    ASSERT_TRUE(opened) << opened.error().message();
    swtpm = std::move(*opened);
    swtpm->connect({[this](std::span<const uint8_t> answer) { answers.emplace_back(answer.begin(), answer.end()); }, [this](const std::string&) { ++failures; }});
  }
  void start() {
    open();
    swtpm->power_cycle();
    const auto started = swtpm->start(time.loop());
    ASSERT_TRUE(started) << started.error().message();
  }
  // Turns of the loop, each of which waits for something to happen, until it has.
  void until(const std::function<bool()>& happened) {
    for (int i = 0; i < 10'000 && !happened(); ++i) time.loop().poll(10'000);
    EXPECT_TRUE(happened());
  }
};

std::string complaint(Peer& peer, int64_t patience = 0) {
  auto opened = Swtpm::open(peer.start(), "--tpm 'here'");
  if (!opened) return opened.error().message();
  if (patience) (*opened)->set_patience(patience);
  (*opened)->power_cycle();
  const auto done = (*opened)->finish();
  return done ? "" : done.error().message();
}

TEST(Swtpm, IsAskedWhatItCanDoAndStarted) {
  Rig rig;
  rig.start();
  EXPECT_THAT(rig.peer.log(), ElementsAre(0x01, 0x12, 0x0e, 0x11, 0x10, 0x0e, 0x02, 0x05, 0x04));
  EXPECT_EQ(rig.peer.init_flags(), 0u);
  EXPECT_TRUE(rig.swtpm->established());
}

TEST(Swtpm, AnswersCommandsInTheLoop) {
  Rig rig;
  rig.start();
  for (const uint32_t size : {10u, 12u, 3968u}) {
    rig.answers.clear();
    rig.swtpm->execute(command_of(size));
    EXPECT_TRUE(rig.answers.empty() || rig.answers.size() == 1);
    rig.until([&] { return !rig.answers.empty(); });
    EXPECT_EQ(rig.answers, std::vector<Bytes>{command_of(size)});
  }
  EXPECT_EQ(rig.failures, 0u);
}

TEST(Swtpm, APowerCycleWaitsForTheCommandUnderWayAndDropsItsAnswer) {
  Rig rig;
  std::atomic<bool> go = false;
  rig.peer.process = [&](const Bytes& command) {
    go.wait(false);
    return command;
  };
  rig.start();
  const size_t before = rig.peer.log().size();
  rig.swtpm->execute(command_of(20));
  rig.swtpm->cancel();
  rig.swtpm->cancel();
  rig.swtpm->power_cycle();
  rig.swtpm->execute(command_of(30));
  go = true;
  go.notify_all();
  rig.until([&] { return !rig.answers.empty(); });
  EXPECT_EQ(rig.answers, std::vector<Bytes>{command_of(30)});
  auto log = rig.peer.log();
  log.erase(log.begin(), log.begin() + static_cast<ptrdiff_t>(before));
  EXPECT_EQ(std::count(log.begin(), log.end(), 0x09u), 1) << "cancelled once";
  log.erase(std::find(log.begin(), log.end(), 0x09u));  // beside the first command
  EXPECT_THAT(log, ElementsAre('c', 0x0e, 0x02, 0x05, 0x04, 'c'));
}

TEST(Swtpm, GivesAndTakesItsState) {
  Rig rig;
  Bytes large(kMaxBlobSize);
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<uint8_t>(i * 31 >> 4);
  rig.peer.give_blob(1, 2, large);
  rig.peer.give_blob(2, 0, {1, 2, 3});
  rig.start();
  rig.swtpm->execute(command_of(20));
  const auto state = rig.swtpm->state();
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(rig.answers.size(), 1u) << "the command under way comes first";
  EXPECT_EQ(state->blobs[State::kPermanent], (State::Blob{2, large}));
  EXPECT_EQ(state->blobs[State::kVolatile], (State::Blob{0, {1, 2, 3}}));
  EXPECT_EQ(state->blobs[State::kSaveState], State::Blob());

  Rig other;
  other.open();
  const auto taken = other.swtpm->power_on(*state);
  ASSERT_TRUE(taken) << taken.error().message();
  EXPECT_TRUE(other.swtpm->start(other.time.loop()));
  EXPECT_EQ(other.peer.blob(1), large);
  EXPECT_EQ(other.peer.blob(2), (Bytes{1, 2, 3}));
  EXPECT_EQ(other.peer.init_flags(), 1u) << "the volatile state is for this start only";
  EXPECT_THAT(other.peer.log(), ElementsAre(0x01, 0x12, 0x0e, 0x11, 0x10, 0x0e, 0x0d, 0x0d, 0x02, 0x05, 0x04));
}

TEST(Swtpm, RefusalsAreToldInOneLine) {
  const auto with = [](uint32_t command, Bytes answer) {
    Peer peer;
    peer.otherwise[command] = std::move(answer);
    return complaint(peer);
  };
  EXPECT_THAT(with(0x01, words({0, 0x7})), HasSubstr("cannot do what is needed of it"));
  EXPECT_THAT(with(0x12, words({0, 16, 16}) + text("{\"family\":\"1.2\"}")), HasSubstr("is no TPM 2.0; start it with --tpm2"));
  EXPECT_THAT(with(0x12, words({0, 5000, 5000})), HasSubstr("tells more about itself than it can"));
  EXPECT_THAT(with(0x11, words({0, 4096, 2816, 4096})), HasSubstr("answers of 4096 bytes"));
  EXPECT_THAT(with(0x10, words({9})), HasSubstr("refuses to take a socket (does another program use it?): error 0x9"));
  EXPECT_EQ(with(0x02, words({9})), "--tpm 'here': swtpm refuses to start with the state it has: error 0x9");
}

TEST(Swtpm, OneThatDoesNotAnswerIsNotWaitedForForEver) {
  Peer peer;
  peer.otherwise[0x02] = {};
  EXPECT_THAT(complaint(peer, 1'000'000), HasSubstr("--tpm 'here': swtpm does not answer"));
}

TEST(Swtpm, ItsEndIsAFailure) {
  Rig rig;
  rig.peer.dies_of_commands = true;
  rig.start();
  rig.swtpm->execute(command_of(20));
  rig.until([&] { return rig.failures == 1; });
  EXPECT_TRUE(rig.swtpm->failed());
  rig.swtpm->execute(command_of(20));
  rig.swtpm->cancel();
  rig.swtpm->power_cycle();
  EXPECT_THAT(rig.swtpm->finish().error().message(), HasSubstr("has ended"));
  EXPECT_FALSE(rig.swtpm->state());
  rig.time.loop().poll(0);
  EXPECT_EQ(rig.failures, 1u) << "told once";
  EXPECT_TRUE(rig.answers.empty());
}

TEST(Swtpm, RubbishIsAFailure) {
  for (const Bytes& answer : {Bytes{0x80, 1} + words({9, 0}), Bytes{0x80, 1} + words({3969, 0}), Bytes{0x80, 1} + words({~0u, 0}),
                              command_of(20) + Bytes{0}}) {
    Rig rig;
    rig.peer.process = [&](const Bytes&) { return answer; };
    rig.start();
    rig.swtpm->execute(command_of(20));
    rig.until([&] { return rig.failures == 1; });
  }
  Rig rig;
  rig.start();
  rig.peer.say({0});
  rig.until([&] { return rig.failures == 1; });
}

TEST(Swtpm, AStateThatIsTooLargeIsNotTaken) {
  for (const Bytes& answer : {words({0, 0, kMaxBlobSize + 1, kMaxBlobSize + 1}), words({0, 0, 100, 50}), words({8, 0, 0, 0})}) {
    Rig rig;
    rig.peer.otherwise[0x0c] = answer;
    rig.start();
    EXPECT_FALSE(rig.swtpm->state());
    EXPECT_EQ(rig.failures, 1u);
  }
}

TEST(SwtpmProcess, TheFolderHasToBeOne) {
  const auto file = start_swtpm("/dev/null", "--tpm");
  EXPECT_THAT(file.error().message(), HasSubstr("--tpm: is no folder"));
  const auto nowhere = start_swtpm("/nonexistent/folder", "--tpm");
  EXPECT_THAT(nowhere.error().message(), HasSubstr("--tpm: cannot make this folder"));
  const auto socket = connect_swtpm("/nonexistent/socket", "--tpm");
  EXPECT_THAT(socket.error().message(), HasSubstr("--tpm: cannot connect; start 'swtpm socket"));
}

// With a program of that name that ends at once.
TEST(SwtpmProcess, WhatItSaysBeforeItEndsIsTold) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("skerry-tpm-test-{}", ::getpid());
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "swtpm") << "#!/bin/sh\necho 'first line' > /proc/self/fd/4/swtpm.log\necho 'no\tmore' >> /proc/self/fd/4/swtpm.log\n";
  std::filesystem::permissions(folder / "swtpm", std::filesystem::perms::owner_all);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", fmt::format("{}:{}", folder.string(), path).c_str(), 1);
  const auto failed = start_swtpm((folder / "state").string(), "--tpm");
  ::setenv("PATH", (folder / "state").c_str(), 1);
  const auto absent = start_swtpm((folder / "state").string(), "--tpm");
  ::setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "--tpm: swtpm has ended; it says: no?more");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().message(), "--tpm: there is no program swtpm; install the package swtpm");
  EXPECT_EQ(std::filesystem::status(folder / "state").permissions(), std::filesystem::perms::owner_all);
  std::filesystem::remove_all(folder);
}

// A swtpm that says anything, in any portions, from the first byte on or after it has begun well.
TEST(TpmFuzz, AHostileSwtpm) {
  skerry::test::sessions("TpmFuzz.AHostileSwtpm", [](skerry::test::Random& random) {
    const auto rubbish = [&](size_t most) {
      Bytes bytes(random() % most);
      for (auto& byte : bytes) byte = static_cast<uint8_t>(random() % 3 ? 0 : random());
      return bytes;
    };
    const auto bent = [&](Bytes bytes) {
      if (!bytes.empty() && random() % 6 == 0) bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
      return bytes;
    };
    auto [ours, theirs] = sockets();
    const auto say = [](const UniqueFd& to, const Bytes& bytes) { (void)::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT); };
    const Bytes info = text(R"({"family":"2.0"})");
    const bool well = random() % 4 != 0;
    const auto size = static_cast<uint32_t>(info.size());
    const Bytes hello = words({0, 0xffff}) + words({0, size, size}) + info + words({0}) + words({0, 3968, 0, 4096}) + words({0});
    say(theirs, well ? hello : bent(hello) + rubbish(100));
    if (!well) ::shutdown(theirs.get(), SHUT_WR);
    auto opened = Swtpm::open(std::move(ours), "swtpm");
    if (!opened) return;
    UniqueFd data;
    uint8_t byte;
    while (!data && receive_with_fd(theirs.get(), &byte, 1, data, MSG_DONTWAIT) == 1) continue;
    ASSERT_TRUE(data);
    skerry::test::TestTime time;
    unsigned answers = 0, failures = 0;
    (*opened)->connect({[&](std::span<const uint8_t> answer) {
                          ++answers;
                          ASSERT_TRUE(answer.size() >= kHeaderSize && answer.size() <= kBufferSize);
                        },
                        [&](const std::string&) { ++failures; }});
    (*opened)->set_patience(1'000'000);
    if (!(*opened)->start(time.loop())) return;
    bool executing = false;
    for (int i = 0; i < 40; ++i) {
      switch (random() % 8) {
        case 0: (*opened)->power_cycle(); executing = false; break;
        case 1:
          if (!executing) (*opened)->execute(command_of(static_cast<uint32_t>(10 + random() % 3959)));
          executing = true;
          break;
        case 2: (*opened)->cancel(); break;
        case 3: say(theirs, bent(words({0}))); break;
        case 4: say(data, bent(command_of(static_cast<uint32_t>(10 + random() % 100)))); break;
        case 5: say(random() % 2 ? data : theirs, rubbish(40)); break;
        case 6:
          say(theirs, bent(words({0, 0, 3, 3}) + Bytes(3) + words({0, 0, 0, 0}) + words({0x800, 0, 0, 0})));
          if (random() % 8 == 0) {
            const auto state = (*opened)->state();
            if (state) {
              ASSERT_LE(state->blobs[0].content.size(), kMaxBlobSize);
            }
          }
          break;
        default: say(theirs, bent(words({0}) + words({0}) + words({0}) + words({0, 0}))); break;
      }
      const unsigned before = answers;
      time.loop().poll(0);
      if (answers != before) executing = false;
      if (random() % 200 == 0) theirs.reset(), data.reset();
    }
    EXPECT_LE(failures, 1u);
  });
}

}  // namespace
}  // namespace skerry::devices::tpm
