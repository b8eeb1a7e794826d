// A vCPU under a real KVM executes a few instructions in real mode, with Skerry's local APIC and with the kernel's. Left out
// where there is no /dev/kvm.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <functional>
#include <map>

#include "accel/kvm/cpuid.hpp"
#include "accel/kvm/runner.hpp"
#include "accel/kvm/vm.hpp"
#include "irqchip/lapic_bits.hpp"

namespace skerry::accel::kvm {
namespace {

namespace apic = irqchip::apic;

constexpr uint16_t kDone = 0xf4, kReady = 0xf5;  // ports
constexpr uint32_t kCode = 0x1000, kHandler = 0x2000, kCount = 0x500, kTold = 0x501, kDevice = 0x80000;
constexpr uint8_t kVector = 0x41;
constexpr uint32_t kX2apic = 0x800;  // MSRs of the registers

class Board final : public x86::Environment {
 public:
  uint64_t pio_read(uint16_t, unsigned) override { return 0; }
  void pio_write(uint16_t port, unsigned, uint64_t) override {
    if (on_port) on_port(port);
  }
  uint64_t mmio_read(uint64_t, unsigned) override { return 0; }
  void mmio_write(uint64_t gpa, unsigned size, uint64_t value) override { writes.push_back({gpa, size, value}); }
  int acknowledge_interrupt() override { return on_acknowledge ? on_acknowledge() : -1; }
  uint8_t read_tpr() override { return 0; }
  void write_tpr(uint8_t) override {}
  x86::MsrResult read_msr(uint32_t index, uint64_t& value) override {
    if (index != 0x1b) return x86::MsrResult::kUnknown;
    value = 0xfee00900;
    return x86::MsrResult::kDone;
  }
  x86::MsrResult write_msr(uint32_t, uint64_t) override { return x86::MsrResult::kUnknown; }
  bool send_ipi(uint32_t, uint32_t) override { return false; }
  uint64_t tsc() override { return 0; }
  TscRate tsc_rate() override { return {}; }
  void tsc_offset_changed(uint64_t) override {}
  void exclusive(const std::function<void()>& work) override { work(); }
  void raise_ferr() override {}
  void spin_hint() override {}

  std::function<void(uint16_t)> on_port;
  std::function<int()> on_acknowledge;
  std::vector<std::tuple<uint64_t, unsigned, uint64_t>> writes;
};

// The host's time-stamp counter, as KVM knows it; the machine's own calibration is a floor above.
uint64_t tsc_hz() {
  constexpr uint64_t kAny = 2'000'000'000;
  const auto system = System::open();
  if (!system) return kAny;
  const auto vm = system->create_vm();
  if (!vm) return kAny;
  const UniqueFd vcpu(call(vm->get(), KVM_CREATE_VCPU, 0ul));
  const int khz = vcpu ? call(vcpu.get(), KVM_GET_TSC_KHZ, 0) : 0;
  return khz > 0 ? static_cast<uint64_t>(khz) * 1000 : kAny;
}

// Machine code for real mode.
class Code {
 public:
  Code& put(std::initializer_list<uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes);
    return *this;
  }
  Code& put32(uint32_t value) {
    for (unsigned n = 0; n < 4; ++n) bytes_.push_back(static_cast<uint8_t>(value >> (8 * n)));
    return *this;
  }
  Code& start() { return put({0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70}); }  // DS and SS 0, SP 7000
  Code& wrmsr(uint32_t index, uint32_t value) {
    put({0x66, 0xb9}).put32(index);
    put({0x66, 0xb8}).put32(value);
    return put({0x66, 0x31, 0xd2, 0x0f, 0x30});
  }
  Code& out(uint16_t port) { return put({0xe6, static_cast<uint8_t>(port)}); }
  // Until the byte there is no longer 0: the handler has counted.
  Code& wait(uint16_t at = kCount) { return put({0x80, 0x3e, static_cast<uint8_t>(at), static_cast<uint8_t>(at >> 8), 0x00, 0x74, 0xf9}); }
  Code& end() { return out(kDone).put({0xeb, 0xfe}); }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_)); }

 private:
  std::vector<uint8_t> bytes_;
};

class KvmGuest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    auto system = System::open();
    if (!system) GTEST_SKIP() << system.error().message();
    if (GetParam() && !system->check(KVM_CAP_SPLIT_IRQCHIP)) GTEST_SKIP() << "this kernel has no local APICs alone";
    prepare_interrupts();
    ASSERT_TRUE(memory_.add_ram(0, kDevice, "ram"));
    ASSERT_TRUE(cut(model_, system->supported_cpuid(), GetParam()));
    auto vm = Vm::create(std::move(*system), memory_, uint64_t{1} << 40, GetParam());
    ASSERT_TRUE(vm) << vm.error().message();
    vm_ = std::move(*vm);
    auto runner = Runner::create(0, board_, *vm_, model_, {.short_rescues = true});
    ASSERT_TRUE(runner) << runner.error().message();
    runner_ = std::move(*runner);
    board_.on_port = [this](uint16_t port) { on_port(port); };
    Code handler;
    handler.put({0xfe, 0x06, kCount & 0xff, kCount >> 8});  // inc byte [kCount]
    if (GetParam()) handler.wrmsr(kX2apic + apic::kEoi, 0);
    handler.put({0xcf});
    put(kHandler, handler.bytes());
    for (const unsigned vector : {unsigned{kVector}, 2u}) {
      const std::array<uint16_t, 2> gate = {kHandler, 0};
      put(4 * vector, std::as_bytes(std::span(gate)));
    }
  }
  void put(uint64_t at, std::span<const std::byte> bytes) { ASSERT_TRUE(memory_.write(at, bytes)); }
  void on_port(uint16_t port) {
    if (port == kReady && when_ready) when_ready();
    if (port != kDone) return;
    done_ = true;
    runner_->interpreter().set_request(x86::request::kKick);
  }
  // To its end.
  void run(const Code& code) {
    put(kCode, code.bytes());
    runner_->take();
    x86::CpuState& state = runner_->interpreter().state;
    state.reset(model_.signature(), false);
    state.seg[x86::kCs].selector = 0;
    state.seg[x86::kCs].base = 0;
    state.rip = kCode;
    runner_->changed();
    done_ = false;
    for (int n = 0; n < 1000 && !done_; ++n) {
      const Exit exit = runner_->run();
      ASSERT_EQ(exit, Exit::kKicked);
      if (const auto rest = std::exchange(at_rest, nullptr)) rest();
    }
    ASSERT_TRUE(done_);
  }
  unsigned count() {
    std::byte value{};
    EXPECT_TRUE(memory_.read(kCount, std::span(&value, 1)));
    return static_cast<unsigned>(value);
  }
  void power_on() {
    irqchip::LapicRegisters registers;
    registers.page[apic::kDfr] = 0xffffffff;
    registers.page[apic::kSvr] = 0xff;
    for (unsigned n = 0; n < 6; ++n) registers.page[apic::kLvtFirst + n] = apic::kLvtMasked;
    registers.apic_base = 0xfee00900;
    runner_->set_apic(registers);
  }
  // Enters x2APIC mode, and enables it by software.
  static Code& enable(Code& code) { return code.start().wrmsr(0x1b, 0xfee00d00).wrmsr(kX2apic + apic::kSvr, 0x1ff); }

  memory::GuestMemory memory_;
  x86::CpuModel model_ = x86::CpuModel::create("host", 2, tsc_hz()).value();
  Board board_;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<Runner> runner_;
  std::function<void()> when_ready, at_rest;  // at_rest: after the next kick
  bool done_ = false;
};

uint64_t signals(int fd) {
  uint64_t count = 0;
  return ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

TEST_P(KvmGuest, ADoorbellRingsWithoutALeavingOfTheGuest) {
  if (GetParam()) power_on();
  const UniqueFd any(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), seven(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  vm_->place_doorbells(std::array{bus::Doorbell{kDevice + 0x10, 2, 7, seven.get()}, bus::Doorbell{kDevice + 0x20, 2, std::nullopt, any.get()}});
  Code code;
  code.put({0xb8, 0x00, 0x80, 0x8e, 0xd8});  // DS to the device
  code.put({0xc7, 0x06, 0x10, 0x00, 7, 0}).put({0xc7, 0x06, 0x10, 0x00, 8, 0}).put({0xc7, 0x06, 0x20, 0x00, 9, 0});
  code.put({0xc6, 0x06, 0x20, 0x00, 5}).end();
  run(code);
  EXPECT_EQ(signals(seven.get()), 1u);
  EXPECT_EQ(signals(any.get()), 1u);
  EXPECT_EQ(board_.writes, (std::vector<std::tuple<uint64_t, unsigned, uint64_t>>{{kDevice + 0x10, 2, 8}, {kDevice + 0x20, 1, 5}}));

  vm_->place_doorbells({});
  board_.writes.clear();
  run(code);
  EXPECT_EQ(signals(seven.get()), 0u);
  EXPECT_EQ(board_.writes.size(), 4u);
}

TEST_P(KvmGuest, AnInterruptOfThe8259sIsDelivered) {
  if (GetParam()) power_on();
  board_.on_acknowledge = [this] {
    runner_->request_interrupt(false);
    return int{kVector};
  };
  when_ready = [this] { runner_->request_interrupt(true); };
  Code code;
  if (GetParam()) enable(code).wrmsr(kX2apic + apic::kLvtFirst + 3, 0x700);  // LINT0 is ExtINT
  else code.start();
  run(code.put({0xfb}).out(kReady).wait().end());
  EXPECT_EQ(count(), 1u);
}

TEST_P(KvmGuest, AnNmiIsDelivered) {
  if (GetParam()) power_on();
  when_ready = [this] { runner_->request_nmi(); };
  Code code;
  if (GetParam()) enable(code).wrmsr(kX2apic + apic::kLvtFirst + 4, 0x400);  // LINT1 is NMI
  else code.start();
  run(code.out(kReady).wait().end());
  EXPECT_EQ(count(), 1u);
}

// As a VM that was saved while its guest handled one.
TEST_P(KvmGuest, AnNmiThatWaitsIsKeptAndDelivered) {
  if (GetParam()) power_on();
  EXPECT_FALSE(runner_->nmi_waits());
  runner_->set_nmi_waits(true);
  EXPECT_TRUE(runner_->nmi_waits());
  run(Code().start().wait().end());
  EXPECT_EQ(count(), 1u);
  EXPECT_FALSE(runner_->nmi_waits());
  runner_->set_nmi_waits(true);
  runner_->clear_requests();
  EXPECT_FALSE(runner_->nmi_waits());
}

TEST_P(KvmGuest, AnNmiThatComesWhileOneIsHandledWaits) {
  if (GetParam()) power_on();
  runner_->set_nmi_waits(true);
  Code handler;  // another comes in it, and the state is asked for
  handler.put({0xfe, 0x06, kCount & 0xff, kCount >> 8, 0x80, 0x3e, kCount & 0xff, kCount >> 8, 0x01, 0x75, 0x02}).out(kReady).put({0xcf});
  put(kHandler, handler.bytes());
  when_ready = [this] {
    at_rest = [this] { runner_->set_nmi_waits(true); };
    runner_->interpreter().set_request(x86::request::kKick);
  };
  run(Code().start().put({0x80, 0x3e, kCount & 0xff, kCount >> 8, 0x02, 0x75, 0xf9}).end());
  EXPECT_EQ(count(), 2u);
}

INSTANTIATE_TEST_SUITE_P(Apics, KvmGuest, testing::Bool(),
                         [](const auto& one) { return std::string(one.param ? "OfTheKernel" : "OfSkerry"); });

// DS to each 4 KiB from 10000 on, up to 50000, and a byte there written.
Code write_pages() {
  Code code;
  code.start().put({0xb8, 0x00, 0x10});                       // mov ax, 1000
  code.put({0x8e, 0xd8, 0xc6, 0x06, 0x08, 0x00, 0x01});       // mov ds, ax; mov byte [8], 1
  code.put({0x05, 0x00, 0x01, 0x3d, 0x00, 0x50, 0x75, 0xf1});  // add ax, 100; cmp ax, 5000; jne
  code.end();
  return code;
}

TEST_P(KvmGuest, WhatItWritesIsFoundInTheDirtyLog) {
  if (GetParam()) power_on();
  ASSERT_TRUE(vm_->log_dirty(true));
  for (int turn = 0; turn < 2; ++turn) {
    const Code code = write_pages();
    put(kCode, code.bytes());
    memory_.clear_dirty();
    run(code);
    runner_->take();
    ASSERT_TRUE(vm_->collect_dirty());
    for (uint64_t page = 0x10; page < 0x50; ++page) EXPECT_TRUE(memory_.dirty(page << 12)) << page;
    for (uint64_t page = 0x50; page < kDevice >> 12; ++page) EXPECT_FALSE(memory_.dirty(page << 12)) << page;
  }
}

// Each time that the log is switched on the pages are watched anew, and nobody harvests but the vCPU itself.
TEST_P(KvmGuest, AFullDirtyRingIsHarvestedByItsVcpu) {
  if (!vm_->system().check(KVM_CAP_DIRTY_LOG_RING)) GTEST_SKIP() << "this kernel has no dirty rings";
  if (GetParam()) power_on();
  memory_.clear_dirty();
  unsigned turn = 0;
  for (; turn < 2 * DirtyRing::kEntries / 0x40 && !memory_.dirty(0x20000); ++turn) {
    ASSERT_TRUE(vm_->log_dirty(false));
    ASSERT_TRUE(vm_->log_dirty(true));
    run(write_pages());
  }
  EXPECT_TRUE(memory_.dirty(0x20000));
  EXPECT_GT(turn, 10u) << "it was not full so soon";
}

// While the interpreter has the state it has the structure too; the guest goes on with what it wrote.
TEST_P(KvmGuest, ParavirtualMsrsTravelWithTheState) {
  constexpr uint32_t kArea = 0x3000, kStealTime = 0x4b564d03, kPvEoi = 0x4b564d04;
  if (GetParam()) power_on();
  const std::byte preempted{1};
  when_ready = [&] { put(kArea + 16, std::span(&preempted, 1)); };
  Code code;
  code.start().wrmsr(kStealTime, kArea | 1).wrmsr(kPvEoi, 0x3100 | 1).out(kReady);
  code.put({0x66, 0xb9}).put32(kStealTime).put({0x0f, 0x32, 0x66, 0xa3, 0x00, 0x31});  // rdmsr, to 3100
  run(code.end());
  runner_->take();
  EXPECT_EQ(runner_->interpreter().state.kvm_steal_time, kArea | 1);
  EXPECT_EQ(runner_->interpreter().state.kvm_pv_eoi, 0x3100u | 1);
  EXPECT_EQ(memory_.load<uint8_t>(kArea + 16), 0);
  const uint32_t version = memory_.load<uint32_t>(kArea + 8).value_or(1);
  EXPECT_TRUE(version % 2 == 0 && version != 0) << version;
  EXPECT_EQ(memory_.load<uint32_t>(0x3100), kArea | 1);
}

class KernelApicsTest : public KvmGuest {
 protected:
  void SetUp() override {
    KvmGuest::SetUp();
    if (runner_) power_on();
  }
};
INSTANTIATE_TEST_SUITE_P(Apics, KernelApicsTest, testing::Values(true), [](const auto&) { return std::string("OfTheKernel"); });

TEST_P(KernelApicsTest, AMessageIsDelivered) {
  when_ready = [this] { EXPECT_TRUE(vm_->local_apics()->deliver({.vector = kVector})); };
  Code code;
  run(enable(code).put({0xfb}).out(kReady).wait().end());
  EXPECT_EQ(count(), 1u);
}

TEST_P(KernelApicsTest, NobodyTakesAMessageForAnotherProcessor) {
  EXPECT_FALSE(vm_->local_apics()->deliver({.destination = 5, .vector = kVector}));
}

TEST_P(KernelApicsTest, AnEventSendsItsMessage) {
  const auto event = vm_->local_apics()->make_msi_event();
  ASSERT_TRUE(event);
  ASSERT_TRUE(event->set(0xfee00000, kVector + 1));
  ASSERT_TRUE(event->set(0xfee00000, kVector));
  EXPECT_FALSE(event->set(0x12340000, kVector));
  ASSERT_TRUE(event->set(0xfee00000, kVector));
  when_ready = [&] {
    const uint64_t one = 1;
    EXPECT_EQ(::write(event->fd(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
  };
  Code code;
  run(enable(code).put({0xfb}).out(kReady).wait().end());
  EXPECT_EQ(count(), 1u);
}

TEST_P(KernelApicsTest, TheEndOfALevelTriggeredInterruptIsTold) {
  // Tells the guest, which may be some instructions on until then.
  struct Ended final : irqchip::EoiListener {
    explicit Ended(memory::GuestMemory& to) : memory(to) {}
    void end_of_interrupt(uint8_t vector) override {
      vectors.push_back(vector);
      const std::byte told{1};
      EXPECT_TRUE(memory.write(kTold, std::span(&told, 1)));
    }
    memory::GuestMemory& memory;
    std::vector<uint8_t> vectors;
  } ended(memory_);
  vm_->local_apics()->connect(ended);
  const irqchip::ApicMessage message{.vector = kVector, .level_triggered = true};
  vm_->local_apics()->set_pin(6, &message);
  when_ready = [&] { EXPECT_TRUE(vm_->local_apics()->deliver(message)); };
  Code code;
  run(enable(code).put({0xfb}).out(kReady).wait(kTold).end());
  EXPECT_EQ(count(), 1u);
  EXPECT_EQ(ended.vectors, std::vector<uint8_t>{kVector});
}

TEST_P(KernelApicsTest, GivesBackTheRegistersThatItWasGiven) {
  irqchip::LapicRegisters wanted;
  wanted.page[apic::kTpr] = 0x20;
  wanted.page[apic::kLdr] = 0x01000000;
  wanted.page[apic::kDfr] = 0xffffffff;
  wanted.page[apic::kSvr] = 0x1ff;
  wanted.page[apic::kIrr0 + 2] = 1u << 1;
  wanted.page[apic::kIsr0 + 1] = 1u << 2;
  for (unsigned n = 1; n < 6; ++n) wanted.page[apic::kLvtFirst + n] = apic::kLvtMasked;
  wanted.page[apic::kLvtFirst] = 0x40030;  // TSC deadline
  wanted.apic_base = 0xfee00900;
  wanted.tsc_deadline = uint64_t{1} << 60;
  runner_->set_apic(wanted);
  run(Code().end());
  runner_->take();
  EXPECT_EQ(runner_->interpreter().env.read_tpr(), 2u);
  const irqchip::LapicRegisters got = runner_->get_apic();
  for (const unsigned reg : {unsigned{apic::kId}, unsigned{apic::kTpr}, unsigned{apic::kLdr}, unsigned{apic::kSvr}, apic::kIrr0 + 2u,
                             apic::kIsr0 + 1u, unsigned{apic::kLvtFirst}, apic::kLvtFirst + 3u})
    EXPECT_EQ(got.page[reg], wanted.page[reg]) << reg;
  EXPECT_EQ(got.apic_base, wanted.apic_base);
  EXPECT_EQ(got.tsc_deadline, wanted.tsc_deadline);
}

}  // namespace
}  // namespace skerry::accel::kvm
