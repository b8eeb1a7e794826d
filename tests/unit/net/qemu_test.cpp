// Two cables that lead to one QEMU, which joins them by a hub: what goes in at one end comes out at the other, through
// its framing both ways.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "net/socket.hpp"
#include "unit/net/packets.hpp"

namespace skerry::net {
namespace {

constexpr const char* kQemu = "/usr/bin/qemu-system-x86_64";

TEST(CablePeer, QemuTakesOurFramesAndWeTakeIts) {
  if (::access(kQemu, X_OK) != 0) GTEST_SKIP() << "QEMU is not installed";
  char folder_name[] = "/tmp/skerry-qemu-XXXXXX";
  const std::string folder = ::mkdtemp(folder_name), a = folder + "/a", b = folder + "/b";
  Loop loop;
  FakeCard card_a, card_b;
  auto cable_a = listen_socket(a), cable_b = listen_socket(b);
  ASSERT_TRUE(cable_a && cable_b);
  ASSERT_TRUE((*cable_a)->start(*loop, card_a) && (*cable_b)->start(*loop, card_b));
  const std::string end_a = "stream,id=a,server=off,addr.type=unix,addr.path=" + a;
  const std::string end_b = "stream,id=b,server=off,addr.type=unix,addr.path=" + b;
  const pid_t qemu = ::fork();
  if (qemu == 0) {
    ::execl(kQemu, kQemu, "-machine", "none", "-nodefaults", "-display", "none", "-netdev", end_a.c_str(),
            "-netdev", "hubport,hubid=0,id=ha,netdev=a", "-netdev", end_b.c_str(), "-netdev",
            "hubport,hubid=0,id=hb,netdev=b",
            nullptr);
    ::_exit(1);
  }
  EXPECT_TRUE(loop.wait_for([&] { return card_a.link && card_b.link; }));
  // QEMU drops frames until its machine runs.
  const auto passes = [&](Backend& from, const FakeCard& to) {
    return loop.wait_for([&] { return !to.frames.empty() || !send_bytes(from, Bytes(60, 3)); });
  };
  EXPECT_TRUE(passes(**cable_a, card_b) && passes(**cable_b, card_a));
  for (const size_t size : {100, 1514, 9014, 65'000}) {
    const auto is_new = [size](const FakeCard::Frame& frame) { return frame.bytes.size() == size; };
    EXPECT_TRUE(send_bytes(**cable_a, Bytes(size, 1)));
    EXPECT_TRUE(send_bytes(**cable_b, Bytes(size, 2)));
    EXPECT_TRUE(loop.wait_for([&] {
      return std::any_of(card_a.frames.begin(), card_a.frames.end(), is_new) &&
             std::any_of(card_b.frames.begin(), card_b.frames.end(), is_new);
    }));
    ASSERT_FALSE(card_a.frames.empty() || card_b.frames.empty());
    EXPECT_EQ(card_a.frames.back().bytes, Bytes(size, 2));
    EXPECT_EQ(card_b.frames.back().bytes, Bytes(size, 1));
  }
  ::kill(qemu, SIGKILL);
  ::waitpid(qemu, nullptr, 0);
  EXPECT_TRUE(loop.wait_for([&] { return !card_a.link && !card_b.link; }));
  for (const std::string& path : {a, b}) ::unlink(path.c_str());
  ::rmdir(folder.c_str());
}

}  // namespace
}  // namespace skerry::net
