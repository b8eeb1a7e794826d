#include "vm/gdb_stub.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace skerry::vm {
namespace {

// Two vCPUs and one page of memory at kBase.
class FakeTarget final : public DebugTarget {
 public:
  static constexpr uint64_t kBase = 0xffffffff81000000;

  unsigned vcpu_count() const override { return 2; }
  bool running() const override { return runs; }
  void halt() override { runs = false; }
  void resume() override {
    runs = true;
    log += "resume ";
  }
  void step(unsigned vcpu, bool others_run) override {
    runs = true;
    log += fmt::format("step {} {} ", vcpu, others_run ? "others" : "alone");
  }
  const x86::CpuState& state(unsigned vcpu) override { return states[vcpu]; }
  void set_state(unsigned vcpu, const x86::CpuState& state) override { states[vcpu] = state; }
  bool read_memory(unsigned, uint64_t address, std::span<std::byte> to) override {
    if (address - kBase > sizeof memory || to.size() > sizeof memory - (address - kBase)) return false;
    std::memcpy(to.data(), memory + (address - kBase), to.size());
    return true;
  }
  bool write_memory(unsigned, uint64_t address, std::span<const std::byte> from) override {
    if (address - kBase > sizeof memory || from.size() > sizeof memory - (address - kBase)) return false;
    std::memcpy(memory + (address - kBase), from.data(), from.size());
    return true;
  }
  void set_debug(const accel::DebugControls& wanted) override { controls = wanted; }
  uint64_t watch_address(unsigned) override { return watch_hit; }
  void reset_machine() override { log += "reset "; }
  void kill() override { log += "kill "; }

  bool runs = true;
  x86::CpuState states[2];
  uint8_t memory[4096] = {1, 2, 3, 4};
  accel::DebugControls controls;
  uint64_t watch_hit = 0;
  std::string log;
};

class Gdb : public ::testing::Test {
 protected:
  Gdb() {
    for (x86::CpuState& state : target.states) {
      state.efer = x86::efer::kLma;
      state.seg[x86::kCs].long_mode = true;
    }
    stub.connected();
  }
  void send(std::string_view payload) { stub.received(gdb_frame(payload)); }
  std::string take() {
    GdbPacketReader reader;
    std::string_view rest = sent;
    std::string all;
    while (auto item = reader.next(rest)) {
      if (item->kind != GdbPacketReader::Kind::kPacket) continue;
      if (!all.empty()) all += '|';
      all += gdb_unescape(item->payload);
    }
    sent.clear();
    return all;
  }
  std::string ask(std::string_view payload) {
    send(payload);
    return take();
  }

  FakeTarget target;
  std::string sent;
  GdbStub stub{target, [this](std::string_view bytes) { sent += bytes; }};
};

TEST_F(Gdb, AttachingStopsTheVmAndSaysSo) {
  EXPECT_FALSE(target.runs);
  EXPECT_EQ(ask("?"), "T05thread:1;");
}

TEST_F(Gdb, AcknowledgesUntilToldNotTo) {
  send("?");
  EXPECT_EQ(sent[0], '+');
  take();
  send("QStartNoAckMode");
  take();
  send("?");
  EXPECT_EQ(sent[0], '$');
}

TEST_F(Gdb, SendsAgainWhenAsked) {
  const std::string first = ask("?");
  stub.received("-");
  EXPECT_EQ(take(), first);
  stub.received("$?#00");
  EXPECT_EQ(sent, "-");
}

TEST_F(Gdb, UnknownPacketsGetAnEmptyAnswer) {
  for (const char* packet : {"vMustReplyEmpty", "qTStatus", "!", "qSymbol::", "QNonStop:1", "Z9,0,0"})
    EXPECT_EQ(ask(packet), "") << packet;
}

TEST_F(Gdb, DescribesTheRegistersByTheMode) {
  EXPECT_NE(ask("qXfer:features:read:target.xml:0,fff").find("i386:x86-64"), std::string::npos);
  for (x86::CpuState& state : target.states) state.efer = 0;
  stub.disconnected();
  stub.connected();
  EXPECT_NE(ask("qXfer:features:read:target.xml:0,fff").find("<architecture>i386<"), std::string::npos);
  EXPECT_EQ(from_hex(ask("qRcmd," + to_hex(std::string_view("arch x86-64"))))->substr(0, 4), "from");
  stub.disconnected();
  stub.connected();
  EXPECT_NE(ask("qXfer:features:read:target.xml:0,fff").find("i386:x86-64"), std::string::npos);
}

TEST_F(Gdb, TheDescriptionIsReadInPieces) {
  std::string xml;
  for (;;) {
    const std::string piece = ask(fmt::format("qXfer:features:read:target.xml:{:x},40", xml.size()));
    xml += piece.substr(1);
    if (piece[0] == 'l') break;
  }
  EXPECT_EQ(xml, GdbRegisters::of(GdbArch::kX8664).target_xml());
}

TEST_F(Gdb, ReadsAndWritesRegisters) {
  target.states[0].gpr[x86::kRax] = 0x1122334455667788;
  EXPECT_EQ(ask("p0"), "8877665544332211");
  EXPECT_EQ(ask("P10=0010008100000000"), "OK");
  EXPECT_EQ(target.states[0].rip, 0x81001000u);
  const std::string all = ask("g");
  EXPECT_EQ(all.size(), 2 * GdbRegisters::of(GdbArch::kX8664).total_size());
  EXPECT_EQ(ask("G" + std::string(16, '0') + all.substr(16)), "OK");
  EXPECT_EQ(target.states[0].gpr[x86::kRax], 0u);
  EXPECT_EQ(target.states[0].rip, 0x81001000u);
}

TEST_F(Gdb, RefusesRegisterValuesThatNoProcessorHolds) {
  const GdbRegisters& registers = GdbRegisters::of(GdbArch::kX8664);
  x86::CpuState state = target.states[0];
  for (size_t i = 0; i < registers.count(); ++i) {
    const std::vector<uint8_t> ones(registers.size(i), 0xff);
    (void)registers.write(state, i, ones);
  }
  EXPECT_EQ(state.mxcsr, 0x1f80u);
  EXPECT_EQ(state.cr0, 0u);
  EXPECT_EQ(state.efer, x86::efer::kLma);
  EXPECT_FALSE(state.rflags & x86::flags::kVm);
  EXPECT_TRUE(state.rflags & x86::flags::kFixed1);
  EXPECT_EQ(state.seg[x86::kCs].selector, 0);
  EXPECT_EQ(ask("P10=0000000000008000")[0], 'E') << "rip that is not canonical";
}

TEST_F(Gdb, ReadsMemoryUpToWhereItEnds) {
  EXPECT_EQ(ask("mffffffff81000000,4"), "01020304");
  EXPECT_EQ(ask("mffffffff81000ffe,10"), "0000");
  EXPECT_EQ(ask("m0,4")[0], 'E');
  EXPECT_EQ(ask("mffffffffffffffff,ffffffffffffffff")[0], 'E');
}

TEST_F(Gdb, WritesMemoryInBothForms) {
  EXPECT_EQ(ask("Mffffffff81000000,2:abcd"), "OK");
  EXPECT_EQ(target.memory[1], 0xcd);
  stub.received(gdb_frame("Xffffffff81000000,3:#$}"));
  EXPECT_EQ(take(), "OK");
  EXPECT_EQ(std::memcmp(target.memory, "#$}", 3), 0);
  EXPECT_EQ(ask("Xffffffff81000000,0:"), "OK");
  EXPECT_EQ(ask("Mffffffff81000000,3:abcd")[0], 'E');
  EXPECT_EQ(ask("M0,1:00")[0], 'E');
}

TEST_F(Gdb, BreakpointsAndWatchpointsReachTheVcpus) {
  EXPECT_EQ(ask("Z0,1000,1"), "OK");
  EXPECT_EQ(ask("Z1,2000,1"), "OK");
  EXPECT_EQ(ask("Z2,3000,8"), "OK");
  EXPECT_EQ(ask("Z4,4000,4"), "OK");
  EXPECT_EQ(target.controls.breakpoints, (std::vector<uint64_t>{0x1000, 0x2000}));
  EXPECT_EQ(target.controls.watchpoints,
            (std::vector<accel::Watchpoint>{{0x3000, 8, false, true}, {0x4000, 4, true, true}}));
  EXPECT_EQ(ask("z0,1000,1"), "OK");
  EXPECT_EQ(ask("z0,1000,1"), "OK") << "twice is harmless";
  EXPECT_EQ(target.controls.breakpoints, std::vector<uint64_t>{0x2000});
}

TEST_F(Gdb, TheNumberOfBreakpointsIsBounded) {
  std::string last = "OK";
  for (size_t i = 0; i <= GdbStub::kMaxBreakpoints; ++i) last = ask(fmt::format("Z0,{:x},1", i));
  EXPECT_EQ(last[0], 'E');
  EXPECT_EQ(target.controls.breakpoints.size(), GdbStub::kMaxBreakpoints);
}

TEST_F(Gdb, ListsVcpusAsThreads) {
  EXPECT_EQ(ask("qfThreadInfo"), "m1,2");
  EXPECT_EQ(ask("qsThreadInfo"), "l");
  EXPECT_EQ(ask("T2"), "OK");
  EXPECT_EQ(ask("T3")[0], 'E');
  EXPECT_EQ(ask("Hg2"), "OK");
  EXPECT_EQ(ask("qC"), "QC2");
  EXPECT_NE(from_hex(ask("qThreadExtraInfo,2"))->find("vCPU 1"), std::string::npos);
}

TEST_F(Gdb, ContinuesUntilABreakpoint) {
  ask("qSupported:swbreak+");
  ask("Z0,1000,1");
  EXPECT_EQ(ask("vCont;c"), "");
  EXPECT_TRUE(target.runs);
  target.runs = false;
  target.states[1].rip = 0x1000;
  stub.debug_stopped(1, accel::Exit::kBreakpoint);
  EXPECT_EQ(take(), "T05thread:2;swbreak:;");
}

TEST_F(Gdb, TellsWhichWatchpointWasHit) {
  ask("Z2,3000,8");
  ask("c");
  target.watch_hit = 0x3004;
  stub.debug_stopped(0, accel::Exit::kWatchpoint);
  EXPECT_EQ(take(), "T05thread:1;watch:3004;");
}

TEST_F(Gdb, StepsOneThreadWhileOthersRestOrRun) {
  ask("vCont;s:2");
  stub.debug_stopped(1, accel::Exit::kStepped);
  EXPECT_EQ(take(), "T05thread:2;");
  ask("vCont;s:1;c");
  EXPECT_EQ(target.log, "step 1 alone step 0 others ");
  EXPECT_EQ(ask("vCont;s:9").substr(0, 3), "T02") << "a packet while running interrupts first";
}

TEST_F(Gdb, CtrlCInterrupts) {
  ask("vCont;c");
  stub.received("\x03");
  EXPECT_FALSE(target.runs);
  EXPECT_EQ(take(), "T02thread:1;");
  stub.received("\x03");
  EXPECT_EQ(take(), "") << "nothing runs that could be interrupted";
}

TEST_F(Gdb, TellsOfAStopByTheMonitorAndOfTheEnd) {
  ask("c");
  target.runs = false;
  stub.vm_event({VmEvent::Kind::kStop});
  EXPECT_EQ(take(), "T02thread:1;");
  ask("c");
  stub.vm_event({VmEvent::Kind::kShutdown, Cause::kGuestShutdown, 33});
  EXPECT_EQ(take(), "W21");
}

TEST_F(Gdb, LeavingRemovesBreakpointsAndLetsTheVmGo) {
  ask("Z0,1000,1");
  EXPECT_EQ(ask("D"), "OK");
  EXPECT_TRUE(target.runs);
  EXPECT_TRUE(target.controls.breakpoints.empty());
  target.log.clear();
  stub.disconnected();
  EXPECT_EQ(target.log, "") << "after a goodbye the end of the connection is nothing new";
  stub.connected();
  ask("Z0,1000,1");
  stub.disconnected();
  EXPECT_TRUE(target.runs);
  EXPECT_TRUE(target.controls.breakpoints.empty());
}

TEST_F(Gdb, MonitorCommands) {
  target.states[0].gpr[x86::kRbx] = 0xabcdef;
  EXPECT_NE(from_hex(ask("qRcmd," + to_hex(std::string_view("info registers"))))->find("0000000000abcdef"), std::string::npos);
  ask("qRcmd," + to_hex(std::string_view("system_reset")));
  EXPECT_EQ(target.log, "reset ");
  EXPECT_NE(from_hex(ask("qRcmd," + to_hex(std::string_view("nonsense"))))->find("help"), std::string::npos);
}

TEST(GdbRegisters, TagWordFromItsAbridgedForm) {
  x86::X87 x87;
  EXPECT_EQ(full_tag_word(x87), 0xffff);
  x87.fsw = 7 << 11;  // TOP = 7: ST(0) is physical register 7
  x87.ftw = 0x80;
  x87.st[0] = {0x8000000000000000, 0x3fff};
  EXPECT_EQ(full_tag_word(x87), 0x3fff);
  x87.st[0] = {0, 0};
  EXPECT_EQ(full_tag_word(x87), 0x7fff);
}

}  // namespace
}  // namespace skerry::vm
