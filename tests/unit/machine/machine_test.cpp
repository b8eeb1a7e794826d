// Whole machines, with kernels of a few instructions. They are assembled with this file, as 32-bit code that is loaded
// at 1 MiB and ends by writing to the debug exit.
#include "machine/machine.hpp"

#include <gmock/gmock.h>

#include <chrono>

#include "state/stream.hpp"
#include "unit/machine/kernel_images.hpp"

#define GUEST(name, code)                                                                             \
  asm(".pushsection .rodata\n.code32\n" #name ":\n" code "\n" #name "_end:\n.code64\n.popsection\n"); \
  extern "C" const uint8_t name[], name##_end[]

// The address that `label` of a guest that starts at `start` has when it runs.
#define AT(start, label) "(0x100080 + " #label " - " #start ")"

GUEST(guest_exit, R"(
  movb $0x2a, %al
  outb %al, $0xf4
1: hlt
  jmp 1b)");

GUEST(guest_hello, R"(
  movw $0x3f8, %dx
  movb $'O', %al
  outb %al, %dx
  movb $'K', %al
  outb %al, %dx
  incl 0x300000
  movl 0x300000, %eax
  outb %al, $0xf4
1: hlt
  jmp 1b)");

GUEST(guest_power_off, R"(
  movw $0x604, %dx
  movw $0x3400, %ax
  outw %ax, %dx
1: hlt
  jmp 1b)");

GUEST(guest_reset, R"(
  movw $0xcf9, %dx
  movb $6, %al
  outb %al, %dx
1: hlt
  jmp 1b)");

GUEST(guest_triple_fault, "ud2");

GUEST(guest_sleep, R"(
  movw $0x601, %dx
  movb $0x34, %al
  outb %al, %dx
1: hlt
  jmp 1b)");

GUEST(guest_reset_register, R"(
  movw $0x603, %dx
  movb $1, %al
  outb %al, %dx
1: hlt
  jmp 1b)");

// Ends with the kinds of the first two virtio devices, if they are ones.
GUEST(guest_virtio_windows, R"(
  movl $0xff, %eax
  cmpl $0x74726976, 0xfeb00000
  jne 2f
  cmpl $0x74726976, 0xfeb00200
  jne 2f
  movl 0xfeb00008, %eax
  shll $4, %eax
  orl 0xfeb00208, %eax
2: outb %al, $0xf4
1: hlt
  jmp 1b)");

// The second processor is started with real-mode code at 0x8000, and ends the VM.
GUEST(guest_smp, R"(
  movl $)" AT(guest_smp, guest_smp_second) R"(, %esi
  movl $0x8000, %edi
  movl $(guest_smp_end - guest_smp_second), %ecx
  cld
  rep movsb
  movl $0x01000000, 0xfee00310
  movl $0x4500, 0xfee00300
  movl $0x01000000, 0xfee00310
  movl $0x4608, 0xfee00300
1: pause
  cmpb $1, 0x7000
  jne 1b
  movb $0x11, %al
  outb %al, $0xf4
2: hlt
  jmp 2b
guest_smp_second:
.code16
  xorw %ax, %ax
  movw %ax, %ds
  movb $1, 0x7000
3: hlt
  jmp 3b
.code32)");

// An IDT at 2 MiB whose entry 0x20 counts at 0x300000; then the timer at 1 kHz, and five sleeps.
#define COUNT_TIMER_INTERRUPTS(name, connect) \
  "movl $" AT(name, name##_handler) ", %eax\n"                                                                  \
  "movl $0x200100, %edi\n"                                                                                      \
  "movw %ax, (%edi)\nmovw $0x10, 2(%edi)\nmovw $0x8e00, 4(%edi)\nshrl $16, %eax\nmovw %ax, 6(%edi)\n"          \
  "movl $0x200800, %edi\nmovw $0x7ff, (%edi)\nmovl $0x200000, 2(%edi)\nlidt (%edi)\n"                          \
  "movl $0x80000, %esp\n" connect                                                                               \
  "movb $0x34, %al\noutb %al, $0x43\nmovb $0xa9, %al\noutb %al, $0x40\nmovb $0x04, %al\noutb %al, $0x40\n"     \
  "1: sti\nhlt\ncli\ncmpl $5, 0x300000\njb 1b\n"                                                                \
  "movb $0x05, %al\noutb %al, $0xf4\n2: hlt\njmp 2b\n" #name "_handler:\nincl 0x300000\n"

GUEST(guest_pic_timer, COUNT_TIMER_INTERRUPTS(guest_pic_timer, R"(
  movb $0x11, %al
  outb %al, $0x20
  movb $0x20, %al
  outb %al, $0x21
  movb $0x04, %al
  outb %al, $0x21
  movb $0x01, %al
  outb %al, $0x21
  movb $0xfe, %al
  outb %al, $0x21
)") R"(
  movb $0x20, %al
  outb %al, $0x20
  iret)");

GUEST(guest_ioapic_timer, COUNT_TIMER_INTERRUPTS(guest_ioapic_timer, R"(
  movl $0x1ff, 0xfee000f0
  movl $0x14, 0xfec00000
  movl $0x20, 0xfec00010
  movl $0x15, 0xfec00000
  movl $0, 0xfec00010
)") R"(
  movl $0, 0xfee000b0
  iret)");

namespace skerry::machine::test {
namespace {

using namespace std::chrono_literals;

class Recorder final : public chardev::Chardev {
 public:
  void connect(chardev::Frontend) override {}
  Result<void> start(EventLoop&) override { return ok(); }
  size_t write(std::span<const uint8_t> bytes) override {
    text.append(bytes.begin(), bytes.end());
    return bytes.size();
  }
  void receive_ready() override {}
  void flush(int) override {}
  std::string text;
};

Bytes kernel_of(const uint8_t* code, const uint8_t* end) {
  Bytes bytes = flat();
  std::copy(code, end, &bytes[0x80]);
  return bytes;
}

config::VmConfig config_of(unsigned vcpus) {
  config::VmConfig config;
  config.accelerator = "interpreter";
  config.vcpus = vcpus;
  config.memory = 16 * MiB;
  config.kernel.path = "test.img";
  config.isa_debug_exit = 0xf4;
  return config;
}

// A machine, and what its guest asked for.
struct Vm {
  explicit Vm(const Bytes& kernel, unsigned vcpus = 1, std::string_view board = "plain-1") {
    const auto note = [this](std::string what) {
      return [this, what] { loop->post([this, what] { happened.push_back(what); }); };
    };
    MachineEvents events;
    events.guest.power_off = note("power off");
    events.guest.reset = note("reset");
    events.guest.debug_exit = [note](uint8_t status) { note(fmt::format("exit {}", status >> 1))(); };
    events.triple_fault = [note](unsigned vcpu) { note(fmt::format("triple fault {}", vcpu))(); };
    events.debug_stop = [note](unsigned vcpu, accel::Exit) { note(fmt::format("stop {}", vcpu))(); };
    config::VmConfig config = config_of(vcpus);
    config.board = board;
    auto made = Machine::create(config, boot_files(kernel), {*loop, *io, console, backends}, std::move(events));
    if (!made) throw std::runtime_error(made.error().message());
    machine = std::move(*made);
    if (auto good = machine->reset(); !good) throw std::runtime_error(good.error().message());
    machine->start_threads();
  }
  // What happens first.
  std::string wait() {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (happened.empty() && std::chrono::steady_clock::now() < end) loop->poll(10);
    if (happened.empty()) return "nothing";
    std::string first = happened.front();
    happened.erase(happened.begin());
    return first;
  }
  std::string run() {
    machine->run();
    std::string what = wait();
    machine->pause();
    loop->poll(0);
    happened.clear();
    return what;
  }
  VmClock clock;
  std::unique_ptr<EventLoop> loop = EventLoop::create(clock).value();
  std::unique_ptr<IoThread> io = IoThread::create(clock, "io").value();
  Backends backends;
  Recorder console;
  std::vector<std::string> happened;
  std::unique_ptr<Machine> machine;
};

#define KERNEL(name) kernel_of(name, name##_end)

TEST(Machine, RunsItsKernelUntilThatEndsIt) {
  Vm vm(KERNEL(guest_exit));
  EXPECT_EQ(vm.run(), "exit 42");
  EXPECT_FALSE(vm.machine->running());
  EXPECT_FALSE(vm.clock.running());
}

TEST(Machine, SpeaksOverItsSerialPort) {
  Vm vm(KERNEL(guest_hello));
  EXPECT_EQ(vm.run(), "exit 1");
  EXPECT_EQ(vm.console.text, "OK");
}

TEST(Machine, LoadsItsKernelAnewAtAResetAndKeepsOtherMemory) {
  Vm vm(KERNEL(guest_hello));
  EXPECT_EQ(vm.run(), "exit 1");
  vm.machine->memory().fill(1 * MiB, 0x1000, 0xff);
  ASSERT_TRUE(vm.machine->reset());
  EXPECT_EQ(vm.run(), "exit 2");
  EXPECT_EQ(vm.console.text, "OKOK");
}

TEST(Machine, TellsOfPowerOffAndResetByTheGuest) {
  EXPECT_EQ(Vm(KERNEL(guest_power_off)).run(), "power off");
  EXPECT_EQ(Vm(KERNEL(guest_reset)).run(), "reset");
  EXPECT_EQ(Vm(KERNEL(guest_triple_fault)).run(), "triple fault 0");
}

TEST(Machine, OnAMicrovmToo) {
  EXPECT_EQ(Vm(KERNEL(guest_hello), 1, "microvm-1").run(), "exit 1");
  EXPECT_EQ(Vm(KERNEL(guest_smp), 2, "microvm-1").run(), "exit 17");
  EXPECT_EQ(Vm(KERNEL(guest_sleep), 1, "microvm-1").run(), "power off");
  EXPECT_EQ(Vm(KERNEL(guest_reset_register), 1, "microvm-1").run(), "reset");
}

TEST(Machine, HasAResetWhereAMicrovmsProcessorWouldStart) {
  Vm vm(KERNEL(guest_exit), 1, "microvm-1");
  x86::CpuState& state = vm.machine->vcpu(0).vcpu().mutable_state();
  state.reset(vm.machine->cpu_model().signature(), false);
  state.seg[x86::kCs].base = 0xf0000;  // the upper end of the first MiB, as a jump there has it
  vm.machine->vcpu(0).vcpu().state_changed();
  EXPECT_EQ(vm.run(), "reset");
}

TEST(Machine, HasItsVirtioDevicesInTheirWindowsOnAMicrovm) {
  EXPECT_EQ(Vm(KERNEL(guest_virtio_windows), 1, "microvm-1").run(), fmt::format("exit {}", 4 << 4 | 5)) << "random numbers and balloon";
}

TEST(Machine, StartsItsSecondProcessorByIpi) { EXPECT_EQ(Vm(KERNEL(guest_smp), 2).run(), "exit 17"); }

TEST(Machine, DeliversTheTimerThroughThePic) { EXPECT_EQ(Vm(KERNEL(guest_pic_timer)).run(), "exit 5"); }

TEST(Machine, DeliversTheTimerThroughPin2OfTheIoApic) { EXPECT_EQ(Vm(KERNEL(guest_ioapic_timer)).run(), "exit 5"); }

TEST(Machine, ExecutesOneInstructionAtAStep) {
  Vm vm(KERNEL(guest_exit));
  const uint64_t start = vm.machine->vcpu(0).vcpu().state().rip;
  vm.machine->step(0);
  EXPECT_EQ(vm.wait(), "stop 0");
  vm.machine->pause();
  EXPECT_EQ(vm.machine->vcpu(0).vcpu().state().rip, start + 2);
  EXPECT_EQ(vm.run(), "exit 42");
}

TEST(Machine, GoesOnInAnotherOneFromItsSavedState) {
  Vm first(KERNEL(guest_exit), 2);
  first.machine->step(0);
  EXPECT_EQ(first.wait(), "stop 0");
  first.machine->pause();
  state::Saver saver;
  first.machine->describe(saver);

  Vm second(KERNEL(guest_hello), 2);
  std::array<std::byte, 0x1000> code;
  ASSERT_TRUE(first.machine->memory().read(1 * MiB, code));
  ASSERT_TRUE(second.machine->memory().write(1 * MiB, code));
  state::Loader loader(saver.data());
  second.machine->describe(loader);
  auto loaded = loader.finish();
  ASSERT_TRUE(loaded) << loaded.error().message();
  ASSERT_TRUE(second.machine->restored());
  state::Saver again;
  second.machine->describe(again);
  EXPECT_EQ(again.data(), saver.data());
  EXPECT_EQ(second.run(), "exit 42");
}

TEST(Machine, AnNmiThatWaitsIsSavedAndOneThatDoesNotIsNoPartOfTheState) {
  Vm first(KERNEL(guest_exit), 1), second(KERNEL(guest_exit), 1);
  state::Saver without, with, again;
  first.machine->describe(without);
  first.machine->vcpu(0).nmi();
  first.machine->describe(with);
  EXPECT_GT(with.data().size(), without.data().size());
  for (const state::Saver* saved : {&with, &without}) {
    state::Loader loader(saved->data());
    second.machine->describe(loader);
    ASSERT_TRUE(loader.finish());
    EXPECT_EQ(second.machine->vcpu(0).vcpu().nmi_waits(), saved == &with);
  }
}

TEST(Machine, RefusesADebugExitWhereADeviceIs) {
  VmClock clock;
  auto loop = EventLoop::create(clock).value();
  Recorder console;
  auto io = IoThread::create(clock, "io").value();
  Backends backends;
  config::VmConfig config = config_of(1);
  config.isa_debug_exit = 0x3fc;
  auto machine = Machine::create(config, boot_files(flat()), {*loop, *io, console, backends}, {});
  ASSERT_FALSE(machine);
  EXPECT_THAT(machine.error().message(),
              testing::HasSubstr("isa_debug_exit: choose another port: port range 0x3fc+0x4"));
}

TEST(Machine, GoesOnWithTheParavirtualFeaturesThatItHad) {
  EXPECT_FALSE(Vm(KERNEL(guest_exit)).machine->cpu_model().has_named("kvm_pv_send_ipi"));
  VmClock clock;
  auto loop = EventLoop::create(clock).value();
  Recorder console;
  auto io = IoThread::create(clock, "io").value();
  Backends backends;
  config::VmConfig config = config_of(1);
  config.cpu_features = {"sse2", "kvm_pv_send_ipi"};
  auto saved = Machine::create(config, boot_files(flat()), {*loop, *io, console, backends}, {});
  ASSERT_TRUE(saved) << saved.error().message();
  EXPECT_TRUE((*saved)->cpu_model().has_named("kvm_pv_send_ipi"));
  EXPECT_FALSE((*saved)->cpu_model().has_named("kvm_pv_eoi") || (*saved)->cpu_model().has_named("smap"));
}

TEST(Machine, HasDevicesWithDifferentNames) {
  for (const std::string_view board : {"plain-1", "microvm-1"}) {
    Vm vm(KERNEL(guest_exit), 3, board);
    std::set<std::string_view> names;
    for (const bus::Device* device : vm.machine->devices()) EXPECT_TRUE(names.insert(device->name()).second);
  }
}

}  // namespace
}  // namespace skerry::machine::test
