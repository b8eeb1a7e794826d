// A driver of a parallel ATA controller for tests: PIO and bus master, on the calling thread, which also polls the loop.
#pragma once

#include "devices/ata/cdrom.hpp"
#include "devices/ata/disk.hpp"
#include "devices/ata/piix_ide.hpp"
#include "unit/devices/ata_rig.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices::ata::test {

struct IdeRig : AtaBoard {
  static constexpr uint16_t kMaster = 0xc000;  // where the bus master is put
  static constexpr memory::Gpa kTable = 0x1000, kData = 0x10'0000;
  static constexpr size_t kDiskSize = 1 << 20, kBlocks = 400;

  explicit IdeRig(uint64_t ram = 4 << 20) : AtaBoard(ram) {
    fill_sectors(node);
    fill_sectors(disc);
    ide.plug_in(0, 0, std::make_unique<Disk>("disk0", node, Disk::Options{.serial = "serial-0", .serial_ata = false}));
    ide.plug_in(1, 1, std::make_unique<Cdrom>("cd", &disc, Cdrom::Options{.serial_ata = false}));
    EXPECT_TRUE(ide.attach(pio));
    EXPECT_TRUE(host.root().add(ide, 1));
    map();
    run_loop();
  }
  void map() {
    const unsigned devfn = 1 << 3;
    host.config_write(0, devfn, bus::pci::kBar0 + 4 * 4, 4, kMaster);
    host.config_write(0, devfn, bus::pci::kCommand, 2, bus::pci::kCommandIo | bus::pci::kCommandMaster);
    host.config_write(0, devfn, 0x40, 4, 0x8000'8000);
  }
  bus::Device& device() { return ide; }
  void follow(IdeRig& other) {
    AtaBoard::follow(other);
    node.content = other.node.content;
    irqs.level = other.irqs.level;
  }

  static uint16_t block(unsigned channel) { return channel ? 0x170 : 0x1f0; }
  static uint16_t control(unsigned channel) { return channel ? 0x376 : 0x3f6; }
  uint32_t in(uint16_t port, unsigned size = 1) {
    const auto value = static_cast<uint32_t>(pio.read(port, size));
    run_loop();
    return value;
  }
  void out(uint16_t port, uint32_t value, unsigned size = 1) {
    pio.write(port, size, value);
    run_loop();
  }
  uint8_t status(unsigned channel = 0) { return static_cast<uint8_t>(in(block(channel) + 7)); }  // acknowledges
  uint8_t alternate(unsigned channel = 0) { return static_cast<uint8_t>(in(control(channel))); }
  bool interrupted(unsigned channel = 0) const { return irqs.level[PiixIde::kIrqs[channel]]; }

  // Gives a command; those of 48 bits write each register twice.
  void give(const TaskFile& task, unsigned channel = 0, bool extended = false) {
    const uint16_t at = block(channel);
    out(at + 6, task.device);
    const auto both = [&](unsigned offset, uint8_t high, uint8_t low) {
      if (extended) out(static_cast<uint16_t>(at + offset), high);
      out(static_cast<uint16_t>(at + offset), low);
    };
    both(1, static_cast<uint8_t>(task.feature >> 8), static_cast<uint8_t>(task.feature));
    both(2, static_cast<uint8_t>(task.count >> 8), static_cast<uint8_t>(task.count));
    for (unsigned i = 0; i < 3; ++i) both(3 + i, static_cast<uint8_t>(task.lba >> (24 + 8 * i)), static_cast<uint8_t>(task.lba >> (8 * i)));
    out(at + 7, task.command);
  }
  // A block of data by PIO.
  Bytes take(size_t size, unsigned channel = 0, unsigned width = 2) {
    Bytes data;
    while (data.size() < size) {
      const uint32_t value = in(block(channel), width);
      for (unsigned i = 0; i < width; ++i) data.push_back(static_cast<uint8_t>(value >> (8 * i)));
    }
    return data;
  }
  void hand(const Bytes& data, unsigned channel = 0, unsigned width = 2) {
    for (size_t i = 0; i < data.size(); i += width) {
      uint32_t value = 0;
      for (unsigned j = 0; j < width; ++j) value |= uint32_t{data[i + j]} << (8 * j);
      out(block(channel), value, width);
    }
  }
  struct Piece {
    memory::Gpa at;
    uint32_t size;
  };
  void put_table(const std::vector<Piece>& pieces) {
    for (size_t i = 0; i < pieces.size(); ++i) {
      put32(kTable + 8 * i, static_cast<uint32_t>(pieces[i].at));
      put32(kTable + 8 * i + 4, (pieces[i].size & 0xffff) | (i + 1 == pieces.size() ? 0x8000'0000 : 0));
    }
  }
  uint16_t master(unsigned offset, unsigned channel = 0) const { return static_cast<uint16_t>(kMaster + 8 * channel + offset); }
  void start_master(bool to_memory, unsigned channel = 0) {
    out(master(4, channel), kTable, 4);
    out(master(2, channel), 0x06);
    out(master(0, channel), to_memory ? 0x09 : 0x01);
  }
  // Stops the bus master; its status before.
  uint8_t stop_master(unsigned channel = 0) {
    const auto result = static_cast<uint8_t>(in(master(2, channel)));
    out(master(0, channel), 0);
    return result;
  }

  MemoryNode node{kDiskSize}, disc{kBlocks * 2048, true};
  skerry::test::FakeInterrupts irqs;
  PiixIde ide{"ide", *loop, memory, bus::IrqLine(irqs, 14), bus::IrqLine(irqs, 15)};
};

}  // namespace skerry::devices::ata::test
