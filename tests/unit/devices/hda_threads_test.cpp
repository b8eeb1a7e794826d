// The card under several vCPU threads, its loop running: for the thread sanitizer, and for deadlocks.
#include <thread>

#include "base/io_thread.hpp"
#include "unit/devices/hda_rig.hpp"

namespace skerry::devices::hda::test {
namespace {

struct QuietInterrupts final : bus::MsiSink, bus::PciHost::IntxSink {
  void send_msi(uint64_t, uint32_t) override { ++calls; }
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool) override { ++calls; }
  std::atomic<unsigned> calls{0};
};

TEST(HdaThreads, RegistersAndListenersWhileASoundIsPlayed) {
  constexpr uint64_t kBar = 0xfe00'0000;
  VmClock clock;
  memory::GuestMemory memory;
  ASSERT_TRUE(memory.add_ram(0, 1 << 20, "ram"));
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  QuietInterrupts interrupts;
  bus::PciHost host{pio, mmio, interrupts, interrupts};
  auto io = std::move(*IoThread::create(clock, "io"));
  sound::Outlet outlet;
  Hda card("sound", io->loop(), memory, outlet);
  ASSERT_TRUE(host.attach(nullptr) && host.root().add(card, 5));
  host.config_write(0, 5 << 3, bus::pci::kBar0, 4, kBar);
  host.config_write(0, 5 << 3, bus::pci::kCommand, 2, bus::pci::kCommandMemory | bus::pci::kCommandMaster);
  io->start();
  const auto write = [&](uint32_t at, uint32_t value, unsigned size = 4) { mmio.write(kBar + at, size, value); };
  const auto command = [&](uint32_t what) {
    write(ICOI, what);
    write(ICIS, 1, 2);
  };
  write(GCTL, 1);
  write(INTCTL, intctl::GIE | 3);
  command(Rig::short_command(kDac, 2, kStereo48000));
  command(Rig::command(kDac, 0x706, 1 << 4));
  ASSERT_TRUE(memory.store<uint64_t>(0x3000, 0x1'0000) && memory.store<uint32_t>(0x3008, 192) &&
              memory.store<uint32_t>(0x300c, 1));
  write(Rig::sd(1, SDBDPL), 0x3000);
  write(Rig::sd(1, SDCBL), 192);  // 1 ms
  write(Rig::sd(1, SDFIFOS), kStereo48000 << 16);
  write(Rig::sd(1, SDCTL), 1 << 20 | sdctl::RUN | sdctl::IOCE);
  std::atomic<bool> done{false};
  std::thread handler([&] {
    while (!done) {
      write(Rig::sd(1, SDCTL) + 3, 0x1c, 1);
      (void)mmio.read(kBar + Rig::sd(1, SDLPIB), 4);
    }
  });
  std::thread mixer([&] {
    for (unsigned i = 0; !done; ++i) command(Rig::short_command(kDac, 3, 0xb000 | i % 64));
  });
  const auto wait_for_interrupts = [&](unsigned count) {
    const unsigned before = interrupts.calls;
    while (interrupts.calls < before + count) std::this_thread::yield();
  };
  wait_for_interrupts(1);  // something has been played
  Ear ear;
  for (unsigned i = 0; i < 100; ++i) {
    outlet.add(ear);
    std::this_thread::yield();
    outlet.remove(ear);
  }
  wait_for_interrupts(20);
  done = true;
  handler.join();
  mixer.join();
  EXPECT_GT(ear.begun, 0u);
  io->stop();
}

}  // namespace
}  // namespace skerry::devices::hda::test
