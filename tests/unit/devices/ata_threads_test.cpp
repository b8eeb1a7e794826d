// Disk controllers under several vCPU threads, their loop running: for the thread sanitizer, for deadlocks, and for data that
// goes where it should not.
#include <future>
#include <thread>

#include "unit/devices/ata_ahci_driver.hpp"
#include "unit/devices/ata_ide_driver.hpp"
#include "unit/devices/later_node.hpp"

namespace skerry::devices::ata::test {
namespace {

using skerry::test::LaterNode;

struct QuietLines final : bus::PciHost::IntxSink {
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool) override { ++calls; }
  std::atomic<unsigned> calls{0};
};
struct QuietInterrupts final : bus::IrqSink, bus::MsiSink {
  void set_irq(unsigned, bool) override { ++calls; }
  void send_msi(uint64_t, uint32_t) override { ++calls; }
  std::atomic<unsigned> calls{0};
};

// The controllers, with a loop that has a thread of its own.
struct Machine {
  static constexpr uint64_t kBar = 0xfe00'0000, kRam = 4 << 20;
  static constexpr unsigned kRounds = 400;

  Machine() {
    EXPECT_TRUE(memory.add_ram(0, kRam, "ram"));
    fill_sectors(content);
    for (unsigned i = 0; i < 2; ++i) {
      ahci.plug_in(i, std::make_unique<Disk>("disk", node, Disk::Options{}));
      ide.plug_in(i, 0, std::make_unique<Disk>("disk", node, Disk::Options{.serial_ata = false}));
    }
    EXPECT_TRUE(host.attach(nullptr) && host.root().add(ahci, 5) && host.root().add(ide, 6) && ide.attach(pio));
    host.config_write(0, 5 << 3, bus::pci::kBar0 + 4 * ahci::kBar, 4, kBar);
    host.config_write(0, 5 << 3, bus::pci::kCommand, 2, bus::pci::kCommandMemory | bus::pci::kCommandMaster);
    ide.set_up();
    mmio.write(kBar + ahci::GHC, 4, ahci::ghc::IE | ahci::ghc::AE);
    io = std::thread([this] { loop->run(); });
  }
  ~Machine() {
    loop->quit();
    io.join();
  }
  void put(memory::Gpa at, std::span<const uint8_t> bytes) { EXPECT_TRUE(memory.write(at, std::as_bytes(bytes))); }
  void put32(memory::Gpa at, uint32_t value) { EXPECT_TRUE(memory.store<uint32_t>(at, value)); }
  uint8_t byte(memory::Gpa at) {
    uint8_t value = 0;
    EXPECT_TRUE(memory.read(at, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }

  VmClock clock;
  memory::GuestMemory memory;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  QuietInterrupts interrupts;
  QuietLines lines;
  bus::PciHost host{pio, mmio, interrupts, lines};
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create(clock));
  MemoryNode content{1 << 20};
  LaterNode node{*loop, content};
  Ahci ahci{"ahci", *loop, memory};
  PiixIde ide{"ide", *loop, memory, bus::IrqLine(interrupts, 14), bus::IrqLine(interrupts, 15)};
  std::thread io;
};

// Queued reads on a port, four at a time, until they are there.
void use_ahci(Machine& machine, unsigned port) {
  const memory::Gpa base = 0x10'0000 * (port + 1), list = base, received = base + 0x1000, data = base + 0x8000;
  const auto at = [&](uint32_t offset) { return Machine::kBar + AhciRig::port_at(port, offset); };
  machine.mmio.write(at(ahci::PxCLB), 4, list);
  machine.mmio.write(at(ahci::PxFB), 4, received);
  machine.mmio.write(at(ahci::PxIE), 4, ahci::interrupt::kEnable);
  machine.mmio.write(at(ahci::PxCMD), 4, ahci::cmd::FRE);
  while (machine.mmio.read(at(ahci::PxTFD), 4) & status::BSY) std::this_thread::yield();
  machine.mmio.write(at(ahci::PxCMD), 4, ahci::cmd::FRE | ahci::cmd::ST);
  for (unsigned round = 0; round < Machine::kRounds; ++round) {
    for (unsigned tag = 0; tag < 4; ++tag) {
      const memory::Gpa table = base + 0x2000 + tag * 0x100;
      const uint32_t sector = (round * 4 + tag) % 2000;
      machine.put32(list + tag * 32, 5 | 1 << 16);
      machine.put32(list + tag * 32 + 8, static_cast<uint32_t>(table));
      machine.put(table, AhciRig::fis_of({.command = 0x60, .device = device::LBA, .feature = 1, .count = static_cast<uint16_t>(tag << 3), .lba = sector}));
      machine.put32(table + 0x80, static_cast<uint32_t>(data + tag * 512));
      machine.put32(table + 0x8c, 511);
    }
    machine.mmio.write(at(ahci::PxSACT), 4, 0xf);
    machine.mmio.write(at(ahci::PxCI), 4, 0xf);
    while (machine.mmio.read(at(ahci::PxSACT), 4) != 0) std::this_thread::yield();
    machine.mmio.write(at(ahci::PxIS), 4, ~0u);
    machine.mmio.write(Machine::kBar + ahci::IS, 4, 1u << port);
    for (unsigned tag = 0; tag < 4; ++tag) ASSERT_EQ(machine.byte(data + tag * 512), sector_byte((round * 4 + tag) % 2000));
  }
}

// Sectors by PIO, one after the other.
void use_ide(Machine& machine, unsigned channel) {
  const uint16_t at = IdeRig::block(channel);
  for (unsigned round = 0; round < Machine::kRounds; ++round) {
    const unsigned sector = round * 3 % 2000;
    machine.pio.write(at + 6, 1, 0xe0);
    machine.pio.write(at + 2, 1, 1);
    for (unsigned i = 0; i < 3; ++i) machine.pio.write(at + 3 + i, 1, sector >> (8 * i) & 0xff);
    machine.pio.write(at + 7, 1, 0x20);
    while ((machine.pio.read(at + 7, 1) & (status::BSY | status::DRQ)) != status::DRQ) std::this_thread::yield();
    for (unsigned i = 0; i < 128; ++i) ASSERT_EQ(machine.pio.read(at, 4) & 0xff, sector_byte(sector));
  }
}

TEST(AtaThreads, PortsAndChannelsTogether) {
  Machine machine;
  std::vector<std::thread> vcpus;
  for (unsigned i = 0; i < 2; ++i) {
    vcpus.emplace_back([&, i] { use_ahci(machine, i); });
    vcpus.emplace_back([&, i] { use_ide(machine, i); });
  }
  for (auto& vcpu : vcpus) vcpu.join();
  EXPECT_GT(machine.lines.calls + machine.interrupts.calls, 0u);
}

TEST(AtaThreads, RestWhileRequestsAreUnderWay) {
  Machine machine;
  for (int i = 0; i < 100; ++i) {
    machine.pio.write(0x1f6, 1, 0xe0);
    for (unsigned at = 2; at < 6; ++at) machine.pio.write(0x1f0 + at, 1, at == 2 ? 1 : 0);
    machine.pio.write(0x1f7, 1, 0x20);
    std::promise<void> ide, ahci;
    machine.ide.quiesce([&] { ide.set_value(); });
    machine.ahci.quiesce([&] { ahci.set_value(); });
    ide.get_future().wait();
    ahci.get_future().wait();
    const auto first = skerry::test::save(machine.ide);
    EXPECT_TRUE(skerry::test::same_state(skerry::test::save(machine.ide), first));
    machine.ide.resume();
    machine.ahci.resume();
    while ((machine.pio.read(0x1f7, 1) & (status::BSY | status::DRQ)) != status::DRQ) std::this_thread::yield();
    for (unsigned word = 0; word < 128; ++word) ASSERT_EQ(machine.pio.read(0x1f0, 4) & 0xff, sector_byte(0));
  }
}

}  // namespace
}  // namespace skerry::devices::ata::test
