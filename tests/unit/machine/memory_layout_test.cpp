#include "machine/memory_layout.hpp"

#include <gmock/gmock.h>

#include <numeric>
#include <span>
#include <thread>

#include "machine/tsc.hpp"

namespace skerry::machine {
namespace {

uint64_t total(const std::vector<E820Entry>& map, E820Type type) {
  return std::accumulate(map.begin(), map.end(), uint64_t{0}, [&](uint64_t sum, const E820Entry& entry) {
    return sum + (entry.type == type ? entry.size : 0);
  });
}

TEST(MemoryLayout, GivesAllMemoryButWhatAPcKeepsForItself) {
  for (const uint64_t memory : {2 * MiB, 64 * MiB, 3 * GiB - 4096, 3 * GiB, 3 * GiB + 4096, 5 * GiB, 1023 * GiB}) {
    const acpi::Board board{.vcpus = 255};
    const MemoryLayout layout(memory, board);
    const auto map = BootTables(layout, board).e820();
    for (size_t i = 1; i < map.size(); ++i)
      EXPECT_GE(map[i].address, map[i - 1].address + map[i - 1].size) << "sorted, without overlap: " << memory;
    const uint64_t usable = total(map, E820Type::kMemory);
    EXPECT_LT(usable, memory);
    EXPECT_GE(usable + 512 * KiB, memory) << "0xa0000 to 0xfffff, and the tables";
    EXPECT_LE(layout.low_end(), MemoryLayout::kHoleStart);
    EXPECT_EQ(layout.low_end() + layout.high_size(), memory);
  }
}

TEST(MemoryLayout, EveryAddressOfItsMapIsMemory) {
  const acpi::Board board{.vcpus = 2};
  const MemoryLayout layout(5 * GiB, board);
  memory::GuestMemory memory;
  ASSERT_TRUE(layout.add_ram(memory));
  for (const E820Entry& entry : BootTables(layout, board).e820()) {
    EXPECT_TRUE(memory.page(entry.address).writable) << entry.address;
    EXPECT_TRUE(memory.page(entry.address + entry.size - 1).writable) << entry.address;
  }
  EXPECT_FALSE(memory.page(0xa0000).host);
  EXPECT_FALSE(memory.page(0xc0000000).host);
  EXPECT_FALSE(memory.page(0xffffffff).host);
  EXPECT_TRUE(memory.page(4 * GiB).host);
}

TEST(MemoryLayout, OfABoardWithPciKeepsTheConfigurationSpaceAndTheWindowsFreeOfRam) {
  for (const uint64_t memory : {64 * MiB, 0xb0000000ul - 4096, 0xb0000000ul, 5 * GiB, 1022 * GiB, 1023 * GiB}) {
    acpi::Board board{.vcpus = 255, .pci = pci_root(memory)};
    board.pci->vm_gen_id = 0;
    const MemoryLayout layout(memory, board);
    const BootTables tables(layout, board, smbios::Info{});
    EXPECT_EQ(layout.low_end() + layout.high_size(), memory);
    EXPECT_LE(layout.low_end(), 0xb0000000u);
    const auto map = tables.e820();
    for (size_t i = 1; i < map.size(); ++i)
      EXPECT_GE(map[i].address, map[i - 1].address + map[i - 1].size) << "sorted, without overlap: " << memory;
    EXPECT_THAT(map, testing::Contains(E820Entry{0xb0000000, 256 * MiB, E820Type::kReserved}));
    EXPECT_THAT(map, testing::Contains(E820Entry{tables.vm_gen_id_page(), 4096, E820Type::kReserved}));
    if (board.pci->mmio64_first == 0) continue;
    EXPECT_GE(board.pci->mmio64_first, 4 * GiB + layout.high_size());
    EXPECT_LT(board.pci->mmio64_last, bit(40));
    EXPECT_GE(board.pci->mmio64_last - board.pci->mmio64_first, 1 * GiB - 1);
  }
  EXPECT_EQ(pci_root(1023 * GiB).mmio64_first, 0u) << "nothing is left above RAM";
  EXPECT_EQ(pci_root(64 * MiB, acpi::PciRoot::Chipset::kQ35, 36).mmio64_last, bit(36) - 1);
}

TEST(MemoryLayout, OfABoardWithoutPciExpressHasNoConfigurationSpace) {
  const acpi::Board board{.pci = pci_root(5 * GiB, acpi::PciRoot::Chipset::kI440fx)};
  const MemoryLayout layout(5 * GiB, board);
  EXPECT_EQ(layout.low_end(), 0xc0000000u);
  EXPECT_EQ(layout.high_size(), 2 * GiB);
  EXPECT_EQ(board.pci->mmio64_first, 6 * GiB);
  EXPECT_THAT(BootTables(layout, board).e820(),
              testing::Each(testing::Field(&E820Entry::address, testing::Not(testing::Eq(uint64_t{0xb0000000})))));
}

TEST(MemoryLayout, WritesTheTablesOfABoardWithPci) {
  acpi::Board board{.vcpus = 2, .pci = pci_root(64 * MiB)};
  board.pci->vm_gen_id = 0;
  const MemoryLayout layout(64 * MiB, board);
  const BootTables tables(layout, board, smbios::Info{});
  memory::GuestMemory memory;
  ASSERT_TRUE(layout.add_ram(memory));
  tables.write(memory);
  EXPECT_EQ(memory.load<uint32_t>(0xf0000), 0x5f4d535fu) << "_SM_";
  EXPECT_EQ(memory.load<uint32_t>(0xf0020), 0x334d535fu) << "_SM3";
  // The last table of the XSDT is the generation ID's, with its address.
  const auto xsdt = memory.load<uint64_t>(0xe0000 + 24).value();
  const auto end = xsdt + memory.load<uint32_t>(xsdt + 4).value();
  uint64_t ssdt = 0;
  ASSERT_TRUE(memory.read(end - 8, std::as_writable_bytes(std::span(&ssdt, 1))));
  uint32_t guid = 0;
  ASSERT_TRUE(memory.read(ssdt + 42, std::as_writable_bytes(std::span(&guid, 1))));
  EXPECT_EQ(guid, tables.vm_gen_id_page() + 40);
}

TEST(MemoryLayout, PutsTheRootOfTheAcpiTablesWhereGuestsLookForIt) {
  const acpi::Board board{.vcpus = 2};
  const MemoryLayout layout(64 * MiB, board);
  const BootTables tables(layout, board);
  memory::GuestMemory memory;
  ASSERT_TRUE(layout.add_ram(memory));
  tables.write(memory);
  EXPECT_EQ(memory.load<uint64_t>(0xe0000), 0x2052545020445352u) << "RSD PTR";
  const auto map = tables.e820();
  const auto xsdt = memory.load<uint64_t>(0xe0000 + 24).value();
  EXPECT_EQ(memory.load<uint32_t>(xsdt), 0x54445358u) << "XSDT";
  EXPECT_GE(xsdt, map[5].address);
  EXPECT_LT(xsdt, map[5].address + map[5].size);
  EXPECT_EQ(map[5].type, E820Type::kAcpi);
  EXPECT_EQ(memory.load<uint16_t>(0x40e), 0x9fc0) << "the EBDA's segment";
}

TEST(Tsc, StandsStillWhileStoppedAndGoesOnFromThere) {
  Tsc tsc(std::nullopt, 1'000'000'000);
  EXPECT_EQ(tsc.now(), 0u);
  tsc.start();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  tsc.stop();
  const uint64_t stopped = tsc.now();
  EXPECT_GT(stopped, 1'000'000u) << "at least 500 MHz";
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(tsc.now(), stopped);
  tsc.start();
  EXPECT_LT(tsc.now() - stopped, 5'000'000u) << "the time stopped is not made up for";
  tsc.set(7);
  EXPECT_LT(tsc.now(), 100'000'000u);
}

TEST(Tsc, FrequencyOfTheHostIsWhatTheClockSays) {
  const uint64_t hz = host_tsc_hz();
  Tsc tsc(std::nullopt, hz);
  tsc.start();
  const auto before = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  EXPECT_NEAR(static_cast<double>(tsc.now()) / static_cast<double>(hz) / seconds, 1.0, 0.01);
}

// A VM of another host. Both counters are read at the same time, so that no waiting makes a difference.
TEST(Tsc, OfAnotherRateIsScaled) {
  Tsc slow(1'000'000'000, 4'000'000'000), same(1'000'100'000, 1'000'000'000), host(std::nullopt, 4'000'000'000);
  EXPECT_EQ(slow.hz(), 1'000'000'000u);
  EXPECT_EQ(same.hz(), 1'000'100'000u);
  for (Tsc* tsc : {&slow, &same, &host}) tsc->start();
  while (host.now() < 40'000'000) {
  }
  for (Tsc* tsc : {&slow, &same, &host}) tsc->stop();
  EXPECT_NEAR(static_cast<double>(host.now()) / static_cast<double>(slow.now()), 4.0, 1.0);
  const uint64_t stopped = slow.now();
  slow.start();
  EXPECT_GE(slow.now(), stopped);
  slow.set(uint64_t{1} << 60);
  EXPECT_GE(slow.now(), uint64_t{1} << 60);
}

TEST(Tsc, CountsItsRateInASecondOfASlowClock) {
  Tsc slow(std::nullopt, 1'000'000'000, 8), host(std::nullopt, 1'000'000'000);
  EXPECT_EQ(slow.hz(), host.hz());
  slow.start();
  host.start();
  while (host.now() < 40'000'000) {
  }
  slow.stop();
  host.stop();
  EXPECT_NEAR(static_cast<double>(host.now()) / static_cast<double>(slow.now()), 8.0, 2.0);
}

}  // namespace
}  // namespace skerry::machine
