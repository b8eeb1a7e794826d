// The parsers of what comes over sockets, fed with mutated conversations. Runs under ASan and UBSan in the gate; the
// suites tests/fuzz/qmp and tests/fuzz/gdb run it for longer, and against a live VM.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "unit/vm/fake_vm.hpp"
#include "vm/gdb_stub.hpp"
#include "vm/qmp.hpp"

namespace skerry::vm {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 0) : otherwise;
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}
  size_t below(size_t n) { return n == 0 ? 0 : random_() % n; }

  // A message from the corpus, perhaps with a few bytes changed, removed, repeated, or strange ones put in.
  std::string mutate(std::string text) {
    constexpr std::string_view kStrange = "{}[]\"\\:,$#*}+-\x03\xff;0fF \n\x01x";
    for (size_t n = below(6); n > 0 && !text.empty(); --n) {
      const size_t at = below(text.size());
      switch (below(5)) {
        case 0: text[at] = static_cast<char>(random_()); break;
        case 1: text.erase(at, below(8)); break;
        case 2: text.insert(at, 1 + below(16), kStrange[below(kStrange.size())]); break;
        case 3: text.insert(at, text.substr(below(text.size()), below(24))); break;
        default: text[at] = kStrange[below(kStrange.size())]; break;
      }
    }
    return text;
  }
  // In pieces, as sockets give them.
  template <typename Receive>
  void deliver(std::string_view text, Receive receive) {
    while (!text.empty()) {
      const size_t size = 1 + below(below(4) ? text.size() : 3);
      receive(text.substr(0, size));
      text.remove_prefix(std::min(size, text.size()));
    }
  }

 private:
  std::mt19937_64 random_;
};

constexpr std::string_view kQmpCorpus[] = {
    R"({"execute":"qmp_capabilities"})", R"({"execute":"query-status","id":1})",
    R"({"execute":"stop","arguments":{}})", R"({"execute":"cont","id":{"a":[1,2,{"b":null}]}})",
    R"({"execute":"query-commands"})", R"({"execute":"query-cpus-fast","id":"\u00e9\ud83d\ude00"})",
    R"({"execute":"query-version"})", R"([[[[{}]]]])", R"({"id":1e308,"execute":-0.0})", "\xff", "true\n"};

TEST(Fuzz, QmpAnswersInWholeLinesWhateverComes) {
  const uint64_t seed = from_environment("SKERRY_SEED", std::random_device{}());
  SCOPED_TRACE(fmt::format("SKERRY_SEED={}", seed));
  Mutator mutator(seed);
  FakeVm vm;
  std::string sent;
  QmpSession session(vm, [&](std::string_view bytes) { sent += bytes; });
  vm.listener = &session;
  session.connected();
  for (uint64_t left = from_environment("SKERRY_FUZZ_ROUNDS", 3000); left > 0; --left) {
    const std::string text = mutator.mutate(std::string(kQmpCorpus[mutator.below(std::size(kQmpCorpus))]));
    mutator.deliver(text, [&](std::string_view part) { session.received(part); });
    ASSERT_TRUE(sent.empty() || sent.ends_with("\r\n"));
    for (size_t at = 0, end; (end = sent.find("\r\n", at)) != sent.npos; at = end + 2)
      ASSERT_TRUE(nlohmann::json::accept(sent.substr(at, end - at))) << sent.substr(at, end - at);
    sent.clear();
    if (mutator.below(50) == 0) {
      session.disconnected();
      session.connected();
    }
  }
  session.received("\n\xff");
  sent.clear();
  session.received(R"({"execute":"nothing","id":77})");
  EXPECT_NE(sent.find("77"), std::string::npos) << "it still answers";
}

class AnyTarget final : public DebugTarget {
 public:
  unsigned vcpu_count() const override { return 3; }
  bool running() const override { return runs; }
  void halt() override { runs = false; }
  void resume() override { runs = true; }
  void step(unsigned vcpu, bool) override {
    ASSERT_LT(vcpu, 3u);
    runs = true;
  }
  const x86::CpuState& state(unsigned vcpu) override { return states[vcpu]; }
  void set_state(unsigned vcpu, const x86::CpuState& state) override {
    EXPECT_FALSE(runs);
    EXPECT_EQ(state.mxcsr >> 16, 0u);
    EXPECT_EQ(state.cr0, 0u);
    states[vcpu] = state;
  }
  bool read_memory(unsigned, uint64_t address, std::span<std::byte> to) override {
    EXPECT_LE(to.size(), 4096u);
    std::fill(to.begin(), to.end(), std::byte(address));
    return address % 3;
  }
  bool write_memory(unsigned, uint64_t, std::span<const std::byte>) override { return true; }
  void set_debug(const accel::DebugControls& controls) override {
    EXPECT_FALSE(runs);
    EXPECT_LE(controls.breakpoints.size(), GdbStub::kMaxBreakpoints);
  }
  uint64_t watch_address(unsigned) override { return 0; }
  void reset_machine() override {}
  void kill() override {}

  bool runs = true;
  x86::CpuState states[3];
};

constexpr std::string_view kGdbCorpus[] = {
    "qSupported:multiprocess+;swbreak+;hwbreak+", "?", "g", "p10", "P10=0010008100000000", "P0=1122334455667788",
    "mffffffff81000000,40", "M1000,2:abcd", "X1000,3:abc", "X1000,0:", "Z0,1000,1", "z0,1000,1", "Z2,3000,8", "Hg2",
    "Hc-1", "T3", "qfThreadInfo", "qsThreadInfo", "qC", "qThreadExtraInfo,2", "qXfer:features:read:target.xml:0,ffb",
    "vCont?", "vCont;c", "vCont;s:1;c", "vCont;C05:2;s", "s", "c1000", "S05;1000", "C05", "QStartNoAckMode", "D", "k",
    "qRcmd,696e666f20726567697374657273", "qRcmd,6172636820693338360a", "vMustReplyEmpty", "G00112233"};

TEST(Fuzz, TheGdbStubAnswersInWholePacketsWhateverComes) {
  const uint64_t seed = from_environment("SKERRY_SEED", std::random_device{}());
  SCOPED_TRACE(fmt::format("SKERRY_SEED={}", seed));
  Mutator mutator(seed);
  AnyTarget target;
  std::string sent;
  GdbStub stub(target, [&](std::string_view bytes) { sent += bytes; });
  stub.connected();
  const auto receive = [&](std::string_view part) { stub.received(part); };
  for (uint64_t left = from_environment("SKERRY_FUZZ_ROUNDS", 3000); left > 0; --left) {
    const std::string payload(kGdbCorpus[mutator.below(std::size(kGdbCorpus))]);
    // The frame is mutated, or what is in it: else hardly anything would have a right checksum.
    const std::string bytes = mutator.below(4) ? gdb_frame(mutator.mutate(payload)) : mutator.mutate(gdb_frame(payload));
    mutator.deliver(bytes, receive);
    for (const char byte : sent.substr(0, sent.find('$'))) ASSERT_TRUE(byte == '+' || byte == '-');
    sent.clear();
    if (target.runs && mutator.below(2)) {
      target.runs = false;
      stub.debug_stopped(static_cast<unsigned>(mutator.below(3)), static_cast<accel::Exit>(3 + mutator.below(3)));
    }
    if (mutator.below(50) == 0) {
      stub.disconnected();
      stub.connected();
    }
  }
  stub.disconnected();
  stub.connected();
  sent.clear();
  stub.received(gdb_frame("qC"));
  EXPECT_NE(sent.find("QC1"), std::string::npos) << "it still answers";
}

}  // namespace
}  // namespace skerry::vm
