// A driver of an AHCI controller for tests, as the specification has one work (AHCI 1.3.1, 10), on the calling thread, which
// also polls the loop.
#pragma once

#include "devices/ata/ahci.hpp"
#include "devices/ata/disk.hpp"
#include "unit/devices/ata_rig.hpp"

namespace skerry::devices::ata::test {

struct AhciRig : AtaBoard {
  static constexpr uint64_t kBarAt = 0xfe00'0000;
  static constexpr memory::Gpa kList = 0x1000, kReceived = 0x2000, kTables = 0x10'000, kTableSize = 0x800, kData = 0x10'0000;
  static constexpr size_t kDiskSize = 1 << 20;

  explicit AhciRig(uint64_t ram = 4 << 20) : AtaBoard(ram) {
    fill_sectors(node);
    ahci.plug_in(0, std::make_unique<Disk>("disk0", node, Disk::Options{.serial = "serial-0"}));
    EXPECT_TRUE(host.root().add(ahci, 5));
    map();
    run_loop();
  }
  void map() {
    host.config_write(0, 5 << 3, bus::pci::kBar0 + 4 * ahci::kBar, 4, kBarAt);
    host.config_write(0, 5 << 3, bus::pci::kCommand, 2, bus::pci::kCommandMemory | bus::pci::kCommandMaster);
  }
  bus::Device& device() { return ahci; }

  uint32_t read(uint32_t at) { return static_cast<uint32_t>(mmio.read(kBarAt + at, 4)); }
  void write(uint32_t at, uint32_t value) {
    mmio.write(kBarAt + at, 4, value);
    run_loop();
  }
  static uint32_t port_at(unsigned port, uint32_t at) { return static_cast<uint32_t>(ahci::kPortsAt + port * ahci::kPortStride + at); }
  uint32_t port(uint32_t at, unsigned port = 0) { return read(port_at(port, at)); }
  void set_port(uint32_t at, uint32_t value, unsigned port = 0) { write(port_at(port, at), value); }

  void start(unsigned port = 0) {
    set_port(ahci::PxCLB, kList, port);
    set_port(ahci::PxFB, kReceived, port);
    set_port(ahci::PxCMD, ahci::cmd::FRE, port);
    set_port(ahci::PxSERR, ~0u, port);
    set_port(ahci::PxIS, ~0u, port);
    set_port(ahci::PxIE, ahci::interrupt::kEnable, port);
    set_port(ahci::PxCMD, ahci::cmd::FRE | ahci::cmd::ST, port);
    write(ahci::IS, ~0u);
    write(ahci::GHC, ahci::ghc::AE | ahci::ghc::IE);
  }
  struct Piece {
    memory::Gpa at;
    uint32_t size;
  };
  memory::Gpa table(unsigned slot) const { return kTables + slot * kTableSize; }
  void put_command(unsigned slot, const TaskFile& task, const std::vector<Piece>& pieces, bool writes = false, const Packet* packet = nullptr) {
    const memory::Gpa header = kList + slot * ahci::kHeaderSize;
    put32(header, 5 | (writes ? ahci::header::W : 0) | (packet ? ahci::header::A : 0) |
                      static_cast<uint32_t>(pieces.size()) << ahci::header::kTableLengthShift);
    put32(header + 4, 0);
    put32(header + 8, static_cast<uint32_t>(table(slot)));
    put32(header + 12, 0);
    put(table(slot), fis_of(task));
    if (packet) put(table(slot) + ahci::kPacketAt, *packet);
    for (size_t i = 0; i < pieces.size(); ++i) {
      const memory::Gpa entry = table(slot) + ahci::kPrdtAt + i * ahci::kPrdSize;
      put32(entry, static_cast<uint32_t>(pieces[i].at));
      put32(entry + 4, static_cast<uint32_t>(pieces[i].at >> 32));
      put32(entry + 12, pieces[i].size - 1);
    }
  }
  static Bytes fis_of(const TaskFile& task) {
    Bytes fis(20);
    fis[0] = ahci::kHostToDevice;
    fis[1] = ahci::kFisCommand;
    fis[2] = task.command;
    fis[3] = static_cast<uint8_t>(task.feature);
    fis[11] = static_cast<uint8_t>(task.feature >> 8);
    for (unsigned i = 0; i < 3; ++i) {
      fis[4 + i] = static_cast<uint8_t>(task.lba >> (8 * i));
      fis[8 + i] = static_cast<uint8_t>(task.lba >> (24 + 8 * i));
    }
    fis[7] = task.device;
    fis[12] = static_cast<uint8_t>(task.count);
    fis[13] = static_cast<uint8_t>(task.count >> 8);
    return fis;
  }
  // Gives it in slot 0 and waits; whether it ended well.
  bool command(const TaskFile& task, const std::vector<Piece>& pieces, bool writes = false, unsigned on = 0, const Packet* packet = nullptr) {
    put_command(0, task, pieces, writes, packet);
    set_port(ahci::PxCI, 1, on);
    return port(ahci::PxCI, on) == 0 && !(port(ahci::PxTFD, on) & (status::ERR | status::BSY | status::DRQ));
  }
  // NCQ, in the slot of its tag.
  void queue(unsigned tag, bool writes, uint64_t lba, uint16_t sectors, memory::Gpa at) {
    put_command(tag, {.command = static_cast<uint8_t>(writes ? 0x61 : 0x60), .device = device::LBA, .feature = sectors,
                      .count = static_cast<uint16_t>(tag << 3), .lba = lba},
                {{at, sectors * 512u}}, writes);
    mmio.write(kBarAt + port_at(0, ahci::PxSACT), 4, 1u << tag);
    mmio.write(kBarAt + port_at(0, ahci::PxCI), 4, 1u << tag);
  }
  // Software's answer to an error (6.2.2): stops and starts the engine.
  void recover(unsigned on = 0) {
    set_port(ahci::PxCMD, ahci::cmd::FRE, on);
    EXPECT_FALSE(port(ahci::PxCMD, on) & ahci::cmd::CR);
    set_port(ahci::PxSERR, ~0u, on);
    set_port(ahci::PxIS, ~0u, on);
    set_port(ahci::PxCMD, ahci::cmd::FRE | ahci::cmd::ST, on);
  }

  void recover_quietly() {
    set_port(ahci::PxCMD, ahci::cmd::FRE);
    set_port(ahci::PxIS, ~0u);
    set_port(ahci::PxCMD, ahci::cmd::FRE | ahci::cmd::ST);
  }
  void follow(AhciRig& other) {
    AtaBoard::follow(other);
    node.content = other.node.content;
  }

  MemoryNode node{kDiskSize};
  Ahci ahci{"ahci", *loop, memory};
};

constexpr uint8_t kIdentify = 0xec, kReadDma = 0xc8, kReadDmaExt = 0x25, kWriteDmaExt = 0x35, kReadSectors = 0x20,
                  kWriteSectors = 0x30, kFlushCacheExt = 0xea, kReadLog = 0x2f, kTrimCommand = 0x06;

inline TaskFile dma(uint8_t command, uint64_t lba, uint16_t count) {
  return {.command = command, .device = device::LBA, .count = count, .lba = lba};
}

}  // namespace skerry::devices::ata::test
