#include "config/vm_config.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <random>

#include "base/fd.hpp"
#include "base/log.hpp"

namespace skerry::config {
namespace {

using testing::HasSubstr;

VmConfig small() {
  VmConfig config;
  config.kernel.path = "/boot/vmlinuz";
  return config;
}

VmConfig full() {
  VmConfig config = small();
  config.name = "web-1";
  config.accelerator = "interpreter";
  config.cpu_model = "x86-64-v2";
  config.vcpus = 255;
  config.memory = kMaxMemory;
  config.kernel = {"/k\"ern\\el", "/init rd,b c", "console=ttyS0 a=\"b\tc\" \xc3\xa9\xf0\x9f\x90\xa7"};
  config.console = {Console::Type::kFile, "/tmp/log"};
  config.no_reboot = true;
  config.isa_debug_exit = 0xf4;
  config.qmp = "/run/qmp.sock";
  config.gdb = GdbAddress{GdbAddress::Type::kTcp, "::1", 1234, ""};
  config.debug = {"cpu", "msr"};
  return config;
}

std::string why_invalid(const VmConfig& config) {
  auto good = validate(config);
  return good ? "valid" : good.error().message();
}

std::string why_refused(std::string_view json) {
  auto config = from_json(json);
  return config ? "accepted" : config.error().message();
}

TEST(VmConfig, GivesTheSameValueBackThroughJson) {
  for (const VmConfig& config : {small(), full()}) {
    const std::string text = to_json(config);
    auto back = from_json(text);
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(*back, config);
    EXPECT_EQ(to_json(*back), text);
  }
}

TEST(VmConfig, GivesEveryConsoleAndGdbAddressBackThroughJson) {
  for (const char* text : {"stdio", "pty", "none", "file:/a:b", "unix:/run/c"}) {
    auto console = parse_console(text);
    ASSERT_TRUE(console) << text;
    EXPECT_EQ(to_string(*console), text);
    VmConfig config = small();
    config.console = *console;
    EXPECT_EQ(from_json(to_json(config)).value(), config);
  }
  for (const char* text : {"tcp::1234", "tcp:0.0.0.0:1", "tcp:[::1]:65535", "unix:/run/gdb"}) {
    auto gdb = parse_gdb(text);
    ASSERT_TRUE(gdb) << text;
    EXPECT_EQ(to_string(*gdb), text);
    VmConfig config = small();
    config.gdb = *gdb;
    EXPECT_EQ(from_json(to_json(config)).value(), config);
  }
}

TEST(VmConfig, IsReadFromADescriptor) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  UniqueFd reader(ends[0]), writer(ends[1]);
  const std::string text = to_json(full());
  ASSERT_EQ(::write(writer.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  writer.reset();
  EXPECT_EQ(read_json(reader.get()).value(), full());
  EXPECT_THAT(read_json(-1).error().message(), HasSubstr("Bad file descriptor"));
}

TEST(VmConfig, TakesDefaultsForWhatIsLeftOut) {
  EXPECT_EQ(from_json(R"({"version": 1, "kernel": {"path": "/boot/vmlinuz"}, "qmp": null, "gdb": null})").value(),
            small());
}

struct Refusal {
  const char* what;
  void (*change)(VmConfig&);
  const char* message;
};

TEST(VmConfig, RefusesWhatIsNoVmInOneLineThatNamesTheFieldAndWhatIsRight) {
  const Refusal refusals[] = {
      {"no name", [](VmConfig& c) { c.name = ""; }, "name: '' is not a VM name; use 1 to 64"},
      {"a path as name", [](VmConfig& c) { c.name = "../x"; }, "name: '../x' is not a VM name"},
      {"escape in name", [](VmConfig& c) { c.name = "a\033[2J"; }, "name: '?' is not a VM name"},
      {"board", [](VmConfig& c) { c.board = "q36"; }, "board: 'q36' is not known; use plain-1, microvm-1, q35-1, pc-1"},
      {"UEFI of a pc",
       [](VmConfig& c) {
         c.board = kPcBoard;
         c.kernel = {};
         c.firmware = "uefi";
       },
       "firmware: board pc-1 starts by a BIOS; for a UEFI use board q35-1"},
      {"accelerator", [](VmConfig& c) { c.accelerator = "tcg"; },
       "accelerator: 'tcg' is not known; use auto, bt, interpreter, kvm"},
      {"cpu model", [](VmConfig& c) { c.cpu_model = "486"; },
       "cpu.model: '486' is not known; use host, x86-64-v1, x86-64-v2, x86-64-v3, x86-64-v4"},
      {"no vCPU", [](VmConfig& c) { c.vcpus = 0; }, "cpu.count: 0 is too few; a VM has 1 to 255 vCPUs"},
      {"256 vCPUs", [](VmConfig& c) { c.vcpus = 256; }, "cpu.count: 256 is too many; board plain-1 has 1 to 255 vCPUs"},
      {"4K", [](VmConfig& c) { c.memory = 4096; }, "memory: 4 KiB is too small; at least 2 MiB"},
      {"1 TiB", [](VmConfig& c) { c.memory = 1024 * GiB; }, "memory: 1024 GiB is too large; at most 1022 GiB"},
      {"odd memory", [](VmConfig& c) { c.memory = 64 * MiB + 1; },
       "memory: 67108865 bytes is not a multiple of 4 KiB; use 65540 KiB"},
      {"no kernel", [](VmConfig& c) { c.kernel.path = ""; }, "kernel.path: is empty; this board has no firmware"},
      {"NUL", [](VmConfig& c) { c.kernel.command_line = std::string("a\0b", 3); },
       "kernel.command_line: contains a NUL character"},
      {"not UTF-8", [](VmConfig& c) { c.kernel.path = "/a\xff"; }, "kernel.path: byte 2 is not UTF-8"},
      {"overlong UTF-8", [](VmConfig& c) { c.kernel.initrd = "\xc0\x80"; }, "kernel.initrd: byte 0 is not UTF-8"},
      {"surrogate", [](VmConfig& c) { c.kernel.initrd = "\xed\xa0\x80"; }, "kernel.initrd: byte 0 is not UTF-8"},
      {"cut off UTF-8", [](VmConfig& c) { c.kernel.initrd = "a\xe2\x82"; }, "kernel.initrd: byte 1 is not UTF-8"},
      {"long command line", [](VmConfig& c) { c.kernel.command_line.assign(65536, 'a'); },
       "kernel.command_line: is 65536 bytes long; at most 65535"},
      {"console without path",
       [](VmConfig& c) {
         c.console = {Console::Type::kFile, ""};
       },
       "console.path: is empty"},
      {"stdio with path",
       [](VmConfig& c) {
         c.console = {Console::Type::kStdio, "/a"};
       },
       "console.path: a console of type 'stdio' has no"},
      {"long socket path", [](VmConfig& c) { c.qmp = std::string(108, 'a'); },
       "qmp: the socket path is 108 bytes long; a unix socket's is at most 107"},
      {"gdb port", [](VmConfig& c) { c.gdb.emplace(); }, "gdb.port: 0 is not a TCP port; use 1 to 65535"},
      {"debug exit port", [](VmConfig& c) { c.isa_debug_exit = 0xfffd; },
       "isa_debug_exit: port 0xfffd is too high for 4 ports; at most 0xfffc"},
      {"debug category", [](VmConfig& c) { c.debug = {"cpus"}; }, "debug: 'cpus' is not known; use cpu, msr"},
  };
  for (const Refusal& refusal : refusals) {
    VmConfig config = full();
    refusal.change(config);
    EXPECT_THAT(why_invalid(config), testing::StartsWith(refusal.message)) << refusal.what;
    EXPECT_EQ(why_invalid(config).find('\n'), std::string::npos);
    // What is invalid is refused in JSON too (its text may have been mended by the JSON library).
    if (refusal.what != std::string_view("cut off UTF-8")) (void)from_json(to_json(config));
  }
}

TEST(VmConfig, RefusesJsonWithThePathOfWhatIsWrong) {
  const std::pair<const char*, const char*> refusals[] = {
      {"", "is not JSON"},
      {"{", "is not JSON: error near line 1"},
      {"{\"version\":1,\n\n!}", "is not JSON: error near line 3"},
      {"\"\xff\"", "is not JSON"},
      {"[1]", "VM description: is an array; it must be an object"},
      {"{}", "version: is missing"},
      {R"({"version":2})", "version: 2 is not known; this program reads version 1"},
      {R"({"version":"1"})", "version: is a string; it must be a whole number"},
      {R"({"version":1,"cpus":2})", "key \"cpus\" is not known; the keys are accelerator, board, cloud_init"},
      {R"({"version":1,"cpu":{"models":"host"}})", "cpu: key \"models\" is not known; the keys are count, features, model, tsc_hz"},
      {R"({"version":1,"cpu":3})", "cpu: is the number 3; it must be an object"},
      {R"({"version":1,"cpu":{"count":-1}})", "cpu.count: is the number -1; it must be a whole number from 0 to"},
      {R"({"version":1,"cpu":{"count":4294967296}})", "cpu.count: is the number 4294967296; it must be a whole"},
      {R"({"version":1,"memory":1e9})", "memory: is a number with a fraction; it must be a whole number"},
      {R"({"version":1,"memory":99999999999999999999})", "memory: is a number with a fraction"},
      {R"({"version":1,"memory":null})", "memory: is null; it must be"},
      {R"({"version":1,"no_reboot":1})", "no_reboot: is the number 1; it must be true or false"},
      {R"({"version":1,"kernel":{"path":true}})", "kernel.path: is true; it must be a string"},
      {R"({"version":1,"console":{"type":"tty"}})",
       "console.type: \"tty\" is not known; use stdio, pty, file, unix, none"},
      {R"({"version":1,"gdb":{"port":65536}})",
       "gdb.port: is the number 65536; it must be a whole number from 0 to 65535"},
      {R"({"version":1,"gdb":{"type":"unix","path":"/a","port":3}})", "gdb: key \"port\" is not known"},
      {R"({"version":1,"debug":["cpu",1]})", "debug: is another array; it must be an array of strings"},
      {R"({"version":1,"name":"a","name":"b"})", "key \"name\" is there twice"},
      {R"({"version":1})", "kernel.path: is empty"},
      {R"({"version":1,"kernel":{"path":"a\u0000b"}})", "kernel.path: contains a NUL character"},
  };
  for (const auto& [json, message] : refusals) {
    EXPECT_THAT(why_refused(json), HasSubstr(message)) << json;
    EXPECT_EQ(why_refused(json).find('\n'), std::string::npos) << json;
  }
}

TEST(VmConfig, RefusesJsonWithoutBounds) {
  EXPECT_THAT(why_refused(std::string(kMaxJsonSize + 1, ' ')), HasSubstr("is larger than 4 MiB"));
  EXPECT_THAT(why_refused(std::string(MiB, '[')), HasSubstr("nested more than 8 levels deep"));
  const auto refusal = [](const std::string& key) { return why_refused("{\"" + key + "\": 1, \"version\": 1}"); };
  // Beside the key it tells those that there are, which become more.
  EXPECT_LT(refusal(std::string(500000, 'k')).size(), refusal("k").size() + 64) << "the key is not told whole";
}

TEST(VmConfig, RefusesTextThatIsNoConsoleOrAddress) {
  for (const char* text : {"", "tty", "file:", "unix:", "STDIO", "pty:"}) EXPECT_FALSE(parse_console(text)) << text;
  for (const char* text :
       {"", "1234", "tcp:", "tcp:1234", "tcp::", "tcp::0", "tcp::65536", "tcp:h:1x", "unix:", "udp::1"})
    EXPECT_FALSE(parse_gdb(text)) << text;
}

// Any change of a description is either refused or read back as what it now says; never a crash.
TEST(VmConfig, SurvivesRandomChangesOfItsJson) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const std::string text = to_json(full());
  for (int i = 0; i < 1500; ++i) {
    std::string changed = text;
    for (uint64_t n = random() % 3 + 1; n > 0; --n) {
      const size_t at = random() % changed.size();
      switch (random() % 3) {
        case 0:
          changed[at] = static_cast<char>(random());
          break;
        case 1:
          changed.erase(at, random() % 8);
          break;
        default:
          changed.insert(at, changed.substr(random() % changed.size(), random() % 8));
          break;
      }
      if (changed.empty()) changed.assign(1, ' ');
    }
    if (auto config = from_json(changed)) {
      EXPECT_EQ(from_json(to_json(*config)).value(), *config) << changed;
    }
  }
}

}  // namespace
}  // namespace skerry::config
