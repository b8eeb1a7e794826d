#include "vm/qmp.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <sys/mman.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "unit/vm/fake_vm.hpp"

namespace skerry::vm {
namespace {

using nlohmann::json;

class Qmp : public ::testing::Test {
 protected:
  Qmp() {
    vm.listener = &session;
    session.connected();
  }
  // What came since the last call, one value a line.
  std::vector<json> take() {
    std::vector<json> all;
    size_t at = 0;
    for (size_t end; (end = sent.find("\r\n", at)) != sent.npos; at = end + 2)
      all.push_back(json::parse(sent.substr(at, end - at)));
    sent.clear();
    return all;
  }
  json ask(std::string_view text) {
    session.received(text);
    const auto all = take();
    return all.empty() ? json() : all.back();
  }
  void negotiate() {
    take();
    ask(R"({"execute":"qmp_capabilities"})");
  }
  std::string error_class(std::string_view text) { return ask(text)["error"]["class"]; }

  FakeVm vm;
  std::string sent;
  QmpSession session{vm, [this](std::string_view bytes) { sent += bytes; }};
};

TEST_F(Qmp, GreetsWithItsVersion) {
  const json greeting = take()[0];
  EXPECT_TRUE(greeting["QMP"]["version"]["qemu"]["major"].is_number());
  EXPECT_TRUE(greeting["QMP"]["capabilities"].is_array());
}

TEST_F(Qmp, WantsNegotiationFirst) {
  EXPECT_EQ(error_class(R"({"execute":"query-status"})"), "CommandNotFound");
  EXPECT_EQ(ask(R"({"execute":"qmp_capabilities"})"), json::parse(R"({"return":{}})"));
  EXPECT_EQ(error_class(R"({"execute":"qmp_capabilities"})"), "CommandNotFound");
  EXPECT_TRUE(ask(R"({"execute":"query-status"})").contains("return"));
}

TEST_F(Qmp, RefusesCapabilitiesItDoesNotOffer) {
  EXPECT_EQ(error_class(R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}})"), "GenericError");
  EXPECT_TRUE(ask(R"({"execute":"qmp_capabilities","arguments":{"enable":[]}})").contains("return"));
}

TEST_F(Qmp, TellsTheStatus) {
  negotiate();
  const json status = ask(R"({"execute":"query-status"})")["return"];
  EXPECT_EQ(status["status"], "running");
  EXPECT_EQ(status["running"], true);
}

TEST_F(Qmp, StopAndContGiveEventsBeforeTheAnswer) {
  negotiate();
  session.received(R"({"execute":"stop","id":1})");
  auto got = take();
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0]["event"], "STOP");
  EXPECT_TRUE(got[0]["timestamp"]["seconds"].is_number());
  EXPECT_EQ(got[1], json::parse(R"({"return":{},"id":1})"));
  EXPECT_EQ(ask(R"({"execute":"query-status"})")["return"]["status"], "paused");
  session.received(R"({"execute":"stop"})");
  EXPECT_EQ(take().size(), 1u) << "stopping a stopped VM is no event";
  session.received(R"({"execute":"cont"})");
  EXPECT_EQ(take()[0]["event"], "RESUME");
}

TEST_F(Qmp, PassesRequestsOn) {
  negotiate();
  for (const char* command : {"system_powerdown", "system_reset", "quit"})
    EXPECT_EQ(ask(json{{"execute", command}}.dump()), json::parse(R"({"return":{}})"));
  EXPECT_EQ(vm.asked, (std::vector<std::string>{"powerdown", "reset host-qmp-system-reset", "quit host-qmp-quit"}));
}

TEST_F(Qmp, EventsSayWhoAndWhy) {
  negotiate();
  vm.emit({VmEvent::Kind::kShutdown, Cause::kGuestShutdown});
  vm.emit({VmEvent::Kind::kReset, Cause::kHostQmpSystemReset});
  const auto got = take();
  EXPECT_EQ(got[0]["event"], "SHUTDOWN");
  EXPECT_EQ(got[0]["data"], json::parse(R"({"guest":true,"reason":"guest-shutdown"})"));
  EXPECT_EQ(got[1]["event"], "RESET");
  EXPECT_EQ(got[1]["data"], json::parse(R"({"guest":false,"reason":"host-qmp-system-reset"})"));
}

TEST_F(Qmp, EventsWaitForNegotiation) {
  take();
  vm.emit({VmEvent::Kind::kStop});
  EXPECT_TRUE(take().empty());
}

TEST_F(Qmp, ListsVcpusByTheirThreads) {
  negotiate();
  const json cpus = ask(R"({"execute":"query-cpus-fast"})")["return"];
  ASSERT_EQ(cpus.size(), 2u);
  EXPECT_EQ(cpus[1]["cpu-index"], 1);
  EXPECT_EQ(cpus[1]["thread-id"], 102);
  EXPECT_EQ(cpus[1]["target"], "x86_64");
}

TEST_F(Qmp, ListsItsCommandsAndAnswersEachOfThem) {
  negotiate();
  const json commands = ask(R"({"execute":"query-commands"})")["return"];
  for (const char* name : {"query-status", "stop", "cont", "system_powerdown", "system_reset", "quit",
                           "query-cpus-fast", "query-version", "query-commands", "query-name", "qmp_capabilities"})
    EXPECT_NE(std::find(commands.begin(), commands.end(), json{{"name", name}}), commands.end()) << name;
  const std::set<std::string> wants_more = {"qmp_capabilities", "migrate", "getfd", "closefd", "screendump", "send-key", "set_password"};
  for (const json& command : commands) {
    if (wants_more.contains(command["name"])) continue;
    EXPECT_TRUE(ask(json{{"execute", command["name"]}}.dump()).contains("return")) << command;
  }
}

TEST_F(Qmp, EchoesAnyId) {
  negotiate();
  for (const char* id : {"7", R"("x")", "null", R"({"a":[1]})"})
    EXPECT_EQ(ask(fmt::format(R"({{"execute":"query-name","id":{}}})", id))["id"], json::parse(id));
  EXPECT_EQ(ask(R"({"execute":"nonsense","id":9})")["id"], 9);
}

TEST_F(Qmp, SeveralCommandsInOnePacketAndOneInSeveral) {
  negotiate();
  session.received(R"({"execute":"query-name","id":1}{"execute":"query-name","id":2} {"exec)");
  session.received(R"(ute":"query-name","id":3})");
  const auto got = take();
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[2]["id"], 3);
}

TEST_F(Qmp, MalformedInputIsAnsweredAndTheConnectionLivesOn) {
  negotiate();
  for (const char* text : {"{]", "{\"execute\" \"stop\"}", "hello\n", "[1]", "{}", R"({"execute":7})", R"({"exec":"stop"})",
                           R"({"execute":"stop","arguments":[]})", R"({"execute":"stop","arguments":{"x":1}})",
                           R"({"execute":"stop","extra":1})", "{\"execute\":\"\x80\"}", "{\"a\":1e99999}", "\xff"}) {
    EXPECT_EQ(error_class(text), "GenericError") << text;
    EXPECT_TRUE(ask(R"({"execute":"query-name"})").contains("return")) << "after " << text;
  }
  EXPECT_EQ(vm.state, RunState::kRunning);
  EXPECT_EQ(error_class(R"({"execute":"device_add"})"), "CommandNotFound");
}

TEST_F(Qmp, TheNextClientBeginsAnew) {
  negotiate();
  session.received(R"({"execute":"que)");
  session.disconnected();
  vm.emit({VmEvent::Kind::kStop});
  EXPECT_TRUE(take().empty());
  session.connected();
  EXPECT_TRUE(take()[0].contains("QMP"));
  EXPECT_EQ(error_class(R"({"execute":"query-name"})"), "CommandNotFound");
}

UniqueFd some_file() { return UniqueFd(::memfd_create("passed", MFD_CLOEXEC)); }
bool same_file(int a, int b) {
  struct stat first {}, second {};
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_ino == second.st_ino;
}
std::string description(const json& answer) { return answer["error"]["desc"]; }

TEST_F(Qmp, SavesToADescriptorThatWasPassed) {
  negotiate();
  EXPECT_EQ(ask(R"({"execute":"query-migrate"})"), json::parse(R"({"return":{}})"));
  const UniqueFd file = some_file();
  session.descriptor(UniqueFd(::dup(file.get())));
  EXPECT_EQ(ask(R"({"execute":"getfd","arguments":{"fdname":"out"}})"), json::parse(R"({"return":{}})"));
  session.received(R"({"execute":"migrate","arguments":{"uri":"fd:out"}})");
  const auto messages = take();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0]["event"], "MIGRATION");
  EXPECT_EQ(messages[0]["data"]["status"], "active");
  EXPECT_TRUE(messages[1].contains("return"));
  EXPECT_TRUE(same_file(vm.saved_to.get(), file.get()));

  vm.save.total = 8192;
  vm.save.done = 4096;
  const json info = ask(R"({"execute":"query-migrate"})")["return"];
  EXPECT_EQ(info["status"], "active");
  EXPECT_EQ(info["ram"]["total"], 8192);
  EXPECT_EQ(info["ram"]["remaining"], 4096);
  EXPECT_EQ(info["ram"]["duplicate"], 1);
  ask(R"({"execute":"migrate_cancel"})");
  EXPECT_EQ(ask(R"({"execute":"query-migrate"})")["return"]["status"], "cancelled");
}

TEST_F(Qmp, TellsWhyASaveHasFailed) {
  negotiate();
  vm.save.state = SaveStatus::State::kFailed;
  vm.save.error = "no room";
  EXPECT_EQ(ask(R"({"execute":"query-migrate"})")["return"]["error-desc"], "no room");
}

TEST_F(Qmp, RefusesDescriptorsThatAreNotThere) {
  negotiate();
  EXPECT_EQ(description(ask(R"({"execute":"getfd","arguments":{"fdname":"a"}})")), "No file descriptor supplied via SCM_RIGHTS");
  EXPECT_EQ(description(ask(R"({"execute":"getfd"})")), "Parameter 'fdname' is missing");
  EXPECT_EQ(description(ask(R"({"execute":"getfd","arguments":{"fdname":7}})")), "Invalid parameter type for 'fdname', expected: string");
  EXPECT_EQ(description(ask(R"({"execute":"getfd","arguments":{"fdname":"1"}})")), "Parameter 'fdname' expects a name not starting with a digit");
  EXPECT_EQ(description(ask(R"({"execute":"closefd","arguments":{"fdname":"a"}})")), "File descriptor named 'a' has not been found");
  EXPECT_EQ(description(ask(R"({"execute":"migrate","arguments":{"uri":"fd:a"}})")), "File descriptor named 'a' has not been found");
  EXPECT_NE(description(ask(R"({"execute":"migrate","arguments":{"uri":"file:/tmp/x"}})")).find("skerry save"), std::string::npos);
}

TEST_F(Qmp, WritesWhatIsOnTheScreen) {
  negotiate();
  EXPECT_EQ(description(ask(R"({"execute":"screendump","arguments":{"filename":"fd:out"}})")), "The VM has no screen");
  auto screen = display::Screen::create({8, 4});
  ASSERT_TRUE(screen);
  vm.a_screen = std::move(*screen);
  unsigned drawn = 0;
  vm.a_screen->set_source([&] { ++drawn; });
  EXPECT_EQ(description(ask(R"({"execute":"screendump","arguments":{"filename":"fd:out"}})")), "File descriptor named 'out' has not been found");
  EXPECT_NE(description(ask(R"({"execute":"screendump","arguments":{"filename":"/tmp/a.png"}})")).find("skerry screenshot"), std::string::npos);
  EXPECT_NE(description(ask(R"({"execute":"screendump","arguments":{"filename":"fd:out","format":"ppm"}})")).find("png"), std::string::npos);
  const UniqueFd file = some_file();
  session.descriptor(UniqueFd(::dup(file.get())));
  ask(R"({"execute":"getfd","arguments":{"fdname":"out"}})");
  EXPECT_EQ(ask(R"({"execute":"screendump","arguments":{"filename":"fd:out","format":"png"}})"), json::parse(R"({"return":{}})"));
  EXPECT_EQ(drawn, 1u) << "what the guest has drawn since";
  std::array<char, 8> head{};
  ASSERT_EQ(::pread(file.get(), head.data(), head.size(), 0), 8);
  EXPECT_EQ(std::string_view(head.data(), 8), "\x89PNG\r\n\x1a\n");
}

TEST_F(Qmp, PressesKeys) {
  negotiate();
  ask(R"({"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"ctrl"},{"type":"number","data":59}],"hold-time":7}})");
  ask(R"({"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"ret"}]}})");
  EXPECT_EQ(vm.asked, (std::vector<std::string>{"keys 7 ms ctrl f1", "keys 100 ms ret"}));
  for (const char* keys : {R"("keys":[])", R"("keys":[7])", R"("keys":[{"type":"qcode"}])", R"("keys":[{"type":"qcode","data":"nokey"}])",
                           R"("keys":[{"type":"qcode","data":1}])", R"("keys":[{"type":"number","data":-1}])", R"("keys":"a")",
                           R"("keys":[{"type":"number","data":4294967355}])", R"("keys":[{"type":"qcode","data":"unmapped"}])",
                           R"("keys":[{"type":"qcode","data":"a"}],"hold-time":-1)", R"("keys":[{"type":"qcode","data":"a"}],"hold-time":60001)",
                           R"("keys":[{"type":"qcode","data":"a"}],"hold-time":1.5)", R"("keys":[{"type":"qcode","data":"\ud800"}])", R"("hold-time":1)"})
    EXPECT_EQ(error_class(fmt::format(R"({{"execute":"send-key","arguments":{{{}}}}})", keys)), "GenericError") << keys;
  EXPECT_EQ(vm.asked.size(), 2u);
}

TEST_F(Qmp, TellsOfViewers) {
  negotiate();
  EXPECT_EQ(ask(R"({"execute":"query-vnc"})")["return"], json::parse(R"({"enabled":false})"));
  vm.viewers = VmControl::Viewing{"[::1]:5901", "vnc", {"127.0.0.1:4711", "unix 3"}};
  const json info = ask(R"({"execute":"query-vnc"})")["return"];
  EXPECT_EQ(info, json::parse(R"({"enabled":true,"host":"::1","service":"5901","family":"ipv6","auth":"vnc","clients":[
    {"host":"127.0.0.1","service":"4711","family":"ipv4","websocket":false},{"host":"","service":"3","family":"unix","websocket":false}]})"));
  vm.viewers->address = "unix:/run/vnc";
  EXPECT_EQ(ask(R"({"execute":"query-vnc"})")["return"]["service"], "/run/vnc");
  ask(R"({"execute":"set_password","arguments":{"protocol":"vnc","password":"new"}})");
  EXPECT_EQ(vm.asked, std::vector<std::string>{"password new"});
  EXPECT_EQ(error_class(R"({"execute":"set_password","arguments":{"protocol":"spice","password":"new"}})"), "GenericError");
}

TEST_F(Qmp, KeepsNoMoreDescriptorsThanItSays) {
  negotiate();
  for (size_t i = 0; i < 3 * QmpDescriptors::kMost; ++i) session.descriptor(some_file());
  size_t claimed = 0;
  while (ask(fmt::format(R"({{"execute":"getfd","arguments":{{"fdname":"n{}"}}}})", claimed)).contains("return")) ++claimed;
  EXPECT_EQ(claimed, QmpDescriptors::kMost);
  session.descriptor(some_file());
  EXPECT_NE(description(ask(R"({"execute":"getfd","arguments":{"fdname":"more"}})")).find("close one"), std::string::npos);
  session.descriptor(some_file());
  EXPECT_TRUE(ask(R"({"execute":"getfd","arguments":{"fdname":"n0"}})").contains("return")) << "one name, one descriptor";
}

TEST_F(Qmp, ForgetsTheDescriptorsOfAClientThatHasGone) {
  negotiate();
  session.descriptor(some_file());
  ask(R"({"execute":"getfd","arguments":{"fdname":"mine"}})");
  session.disconnected();
  session.connected();
  negotiate();
  EXPECT_EQ(description(ask(R"({"execute":"closefd","arguments":{"fdname":"mine"}})")), "File descriptor named 'mine' has not been found");
}

TEST_F(Qmp, DoesNotLetAVmGoOnThatIsBeingSaved) {
  negotiate();
  vm.state = RunState::kSaving;
  EXPECT_NE(description(ask(R"({"execute":"cont"})")).find("being saved"), std::string::npos);
  EXPECT_EQ(ask(R"({"execute":"query-status"})")["return"]["status"], "finish-migrate");
}

}  // namespace
}  // namespace skerry::vm
