// One processor with 2 MiB of memory, tables set up in one of four modes, and an IDT whose handlers halt: for tests of
// the privileged half of the interpreter.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "memory/guest_memory.hpp"
#include "x86/environment.hpp"
#include "x86/exception.hpp"
#include "x86/interp/interpreter.hpp"
#include "x86/segmentation.hpp"

namespace skerry::x86 {

class CpuModelPeer {
 public:
  static void set_amd(CpuModel& model, bool amd) { model.amd_ = amd; }
};

}  // namespace skerry::x86

namespace skerry::x86::test {

class FakeEnvironment final : public Environment {
 public:
  uint64_t pio_read(uint16_t port, unsigned) override { return ports[port]; }
  void pio_write(uint16_t port, unsigned, uint64_t value) override { ports[port] = value; }
  uint64_t mmio_read(uint64_t, unsigned) override { return ~uint64_t{0}; }
  void mmio_write(uint64_t, unsigned, uint64_t) override {}
  int acknowledge_interrupt() override { return interrupt; }
  uint8_t read_tpr() override { return tpr; }
  void write_tpr(uint8_t priority) override { tpr = priority; }
  MsrResult read_msr(uint32_t, uint64_t&) override { return MsrResult::kUnknown; }
  MsrResult write_msr(uint32_t, uint64_t) override { return MsrResult::kUnknown; }
  bool send_ipi(uint32_t apic_id, uint32_t icr) override {
    ipis.push_back({apic_id, icr});
    return apic_id < 2;  // there are two
  }
  uint64_t tsc() override { return now; }
  TscRate tsc_rate() override { return {}; }
  void tsc_offset_changed(uint64_t) override {}
  void exclusive(const std::function<void()>& work) override { work(); }
  void raise_ferr() override {}
  void spin_hint() override { ++pauses; }

  std::map<uint16_t, uint64_t> ports;
  std::vector<std::pair<uint32_t, uint32_t>> ipis;
  int interrupt = -1;
  uint8_t tpr = 0;
  uint64_t now = 1'000'000;
  unsigned pauses = 0;
};

// Where things are. The selectors of what fill_gdt() writes.
constexpr uint32_t kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kLdtBase = 0x4000, kTask = 0x5000;
constexpr uint32_t kCode = 0x8000, kHandlers = 0x9000, kData = 0xc000;
constexpr uint32_t kStack0 = 0x20000, kIstStack = 0x28000, kStack = 0x30000, kPml4 = 0x40000;
constexpr uint16_t kGdtEntries = 32;
constexpr uint16_t kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1b, kData3 = 0x23, kTssSelector = 0x28;
constexpr uint16_t kCode64 = 0x38, kCode64User = 0x43, kLdtSelector = 0x48, kFree = 0x80;

constexpr uint64_t kPresent = 0x80, kNonSystem = 0x10, kRing3 = 0x60;

// A descriptor with access byte `access` and `flags` (G, D/B, L, AVL); `limit` is as it is in the descriptor.
constexpr uint64_t descriptor(uint32_t base, uint32_t limit, uint64_t access, uint64_t flags) {
  return (limit & 0xffff) | uint64_t{base & 0xffffff} << 16 | access << 40 | uint64_t{limit >> 16 & 15} << 48 |
         flags << 52 | uint64_t{base >> 24} << 56;
}
constexpr uint64_t gate(uint16_t selector, uint64_t offset, uint64_t access, uint64_t parameters = 0) {
  return (offset & 0xffff) | uint64_t{selector} << 16 | parameters << 32 | access << 40 | (offset >> 16 & 0xffff) << 48;
}

struct Fault {
  unsigned vector = 0;
  uint64_t error_code = 0, rip = 0, flags = 0;
  friend bool operator==(const Fault&, const Fault&) = default;
};

class Rig {
 public:
  explicit Rig(std::string_view model_name = "host")
      : model(CpuModel::create(model_name, 4, 2'000'000'000).value()),
        cpu((prepare(), 0), memory, env, model),
        s(cpu.state) {}

  template <typename T>
  void put(uint64_t at, T value) {
    ASSERT_TRUE(memory.write(at, std::as_bytes(std::span(&value, 1))));
  }
  template <typename T>
  T get(uint64_t at) {
    T value{};
    EXPECT_TRUE(memory.read(at, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  void put_descriptor(uint16_t selector, uint64_t value) { put<uint64_t>(kGdt + (selector & ~7), value); }
  uint64_t get_descriptor(uint16_t selector) { return get<uint64_t>(kGdt + (selector & ~7)); }

  void real_mode() {
    s.reset(0, false);
    set_real_segments(false);
    s.gpr[kRsp] = 0x7000;
    for (unsigned n = 0; n < 256; ++n) put<uint32_t>(4 * n, handler(n));
    s.idtr = {0, 0x3ff};
    at_code();
  }

  void protected_mode(unsigned cpl = 0) {
    s.reset(0, false);
    s.cr0 = cr0::kPe | cr0::kEt | cr0::kNe;
    fill_gdt();
    for (unsigned n = 0; n < 256; ++n)
      put<uint64_t>(kIdt + 8 * n, gate(kCode0, handler(n), kPresent | kRing3 | kInterruptGate32));
    s.idtr = {kIdt, 0x7ff};
    load_flat(cpl ? kCode3 : kCode0, cpl ? kData3 : kData0);
    put<uint32_t>(kTss + 4, kStack0);
    put<uint16_t>(kTss + 8, kData0);
    put<uint16_t>(kTss + 0x66, 0x68);
    at_code();
  }

  void v86_mode() {
    protected_mode(0);
    s.rflags |= flags::kVm;
    set_real_segments(true);
    s.gpr[kRsp] = 0x7000;
    at_code();
  }

  void long_mode(unsigned cpl = 0) {
    s.reset(0, false);
    s.cr0 = cr0::kPe | cr0::kEt | cr0::kNe | cr0::kPg | cr0::kWp;
    s.cr4 = cr4::kPae;
    s.cr3 = kPml4;
    s.efer = efer::kLme | efer::kLma | efer::kNxe | efer::kSce;
    put<uint64_t>(kPml4, (kPml4 + 0x1000) | 7);
    put<uint64_t>(kPml4 + 0x1000, 0x87);  // the first GiB, for all
    fill_gdt();
    for (unsigned n = 0; n < 256; ++n) {
      put<uint64_t>(kIdt + 16 * n, gate(kCode64, handler(n), kPresent | kRing3 | kInterruptGate32));
      put<uint64_t>(kIdt + 16 * n + 8, 0);
    }
    s.idtr = {kIdt, 0xfff};
    load_flat(cpl ? kCode64User : kCode64, cpl ? kData3 : kData0);
    put<uint64_t>(kTss + 4, kStack0);
    at_code();
  }

  // Puts the bytes where the processor goes on, and says where that is.
  uint64_t code(std::vector<uint8_t> bytes) {
    at_code();
    EXPECT_TRUE(memory.write(kCode, std::as_bytes(std::span(bytes))));
    return kCode;
  }
  // Executes one instruction. What it raised, or nothing.
  std::optional<Fault> step() {
    cpu.state_changed();
    last_stop = cpu.step();
    if (s.activity == Activity::kShutdown) return Fault{kShutdownVector};
    const uint64_t linear = s.seg[kCs].base * !cpu.code64() + s.rip;
    if (linear < kHandlers || linear >= kHandlers + 0x1000) return std::nullopt;
    return read_frame(static_cast<unsigned>((linear - kHandlers) / 16));
  }
  std::optional<Fault> run(std::vector<uint8_t> bytes) {
    code(std::move(bytes));
    return step();
  }

  static constexpr uint32_t handler(unsigned vector) { return kHandlers + 16 * vector; }
  static constexpr unsigned kShutdownVector = 256;

  memory::GuestMemory memory;
  FakeEnvironment env;
  CpuModel model;
  Interpreter cpu;
  CpuState& s;
  StopReason last_stop = StopReason::kStepped;

 private:
  void prepare() {
    EXPECT_TRUE(memory.add_ram(0, 2 * MiB, "ram"));
    for (unsigned n = 0; n < 256; ++n) put<uint8_t>(handler(n), 0xf4);
  }
  void at_code() { s.rip = kCode - (cpu.code64() || s.code64() ? 0 : s.seg[kCs].base); }

  void set_real_segments(bool v86) {
    for (Segment& segment : s.seg) segment = make_real_segment(0, v86);
    if (!v86) s.seg[kCs].type |= segment_type::kCode;
  }

  void fill_gdt() {
    put_descriptor(0, 0);
    put_descriptor(kCode0, descriptor(0, 0xfffff, kPresent | kNonSystem | 0xb, 0xc));
    put_descriptor(kData0, descriptor(0, 0xfffff, kPresent | kNonSystem | 3, 0xc));
    put_descriptor(kCode3, descriptor(0, 0xfffff, kPresent | kNonSystem | kRing3 | 0xb, 0xc));
    put_descriptor(kData3, descriptor(0, 0xfffff, kPresent | kNonSystem | kRing3 | 3, 0xc));
    put_descriptor(kTssSelector, descriptor(kTss, 0x67, kPresent | kTss32Busy, 0));
    put_descriptor(kTssSelector + 8, 0);
    put_descriptor(kCode64, descriptor(0, 0xfffff, kPresent | kNonSystem | 0xb, 0xa));
    put_descriptor(kCode64User, descriptor(0, 0xfffff, kPresent | kNonSystem | kRing3 | 0xb, 0xa));
    put_descriptor(kLdtSelector, descriptor(kLdtBase, 0xff, kPresent | kLdt, 0));
    put_descriptor(kLdtSelector + 8, 0);
    s.gdtr = {kGdt, kGdtEntries * 8 - 1};
    s.tr = make_segment(kTssSelector, {get_descriptor(kTssSelector)});
    s.ldtr = make_null_segment(0, 0);
  }

  void load_flat(uint16_t code_selector, uint16_t data_selector) {
    for (Segment& segment : s.seg) segment = make_segment(data_selector, {get_descriptor(data_selector)});
    s.seg[kCs] = make_segment(code_selector, {get_descriptor(code_selector)});
    s.gpr[kRsp] = kStack;
  }

  Fault read_frame(unsigned vector) {
    const unsigned size = s.efer & efer::kLma ? 8 : s.cr0 & cr0::kPe ? 4 : 2;
    uint64_t at = s.gpr[kRsp];
    const auto pop = [&] {
      uint64_t value = 0;
      EXPECT_TRUE(memory.read(at, std::as_writable_bytes(std::span(&value, 1)).first(size)));
      at += size;
      return value;
    };
    Fault fault{vector};
    if (size != 2 && pushes_error_code(vector)) fault.error_code = pop();
    fault.rip = pop();
    (void)pop();
    fault.flags = pop();
    return fault;
  }
};

// "#GP(0) at the instruction": most checks are of this kind.
inline ::testing::AssertionResult raises(Rig& rig, std::vector<uint8_t> bytes, unsigned vector,
                                         uint64_t error_code = 0) {
  const uint64_t before = rig.code(std::move(bytes));
  const auto fault = rig.step();
  if (!fault) return ::testing::AssertionFailure() << "nothing was raised; RIP is " << std::hex << rig.s.rip;
  if (fault->vector == vector && fault->error_code == error_code && (fault->rip == before || vector == kDebug))
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "exception " << fault->vector << std::hex << " error " << fault->error_code
                                       << " at " << fault->rip;
}
inline ::testing::AssertionResult succeeds(Rig& rig, std::vector<uint8_t> bytes) {
  const auto fault = rig.run(std::move(bytes));
  if (!fault) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "exception " << fault->vector << std::hex << " error " << fault->error_code
                                       << " at " << fault->rip;
}

}  // namespace skerry::x86::test
