// A command as it stands in guest memory: header, FIS, packet and regions for data (AHCI 1.3.1, 4.2.2 and 4.2.3). Each is
// read once, checked once, and its copy used from then on.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <vector>

#include "devices/ata/ahci_layout.hpp"
#include "devices/ata/device.hpp"
#include "devices/ata/regions.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices::ata::ahci {

struct CommandHeader {
  uint32_t flags = 0;        // PRDTL, PMP, C, B, R, P, W, A, CFL
  uint32_t byte_count = 0;   // PRDBC
  uint64_t table = 0;        // CTBA

  unsigned fis_dwords() const { return flags & header::kFisLength; }
  unsigned regions() const { return flags >> header::kTableLengthShift; }
};

struct HostFis {
  std::array<uint8_t, kHostFisSize> bytes{};
  bool is_command() const { return bytes[1] & kFisCommand; }
  bool resets() const { return bytes[15] & kControlReset; }
  TaskFile task() const;
};

class CommandReader {
 public:
  // False: it is not all in memory.
  CommandReader(const memory::GuestMemory& memory, memory::Gpa list, unsigned slot) : memory_(memory), header_at_(list + uint64_t{slot} * kHeaderSize) {}
  bool read();
  bool read_packet(Packet& packet) const;
  // Of the table's regions as many as hold `size` bytes; fewer bytes if there are no more. False: something is not memory,
  // or, `for_write`, not RAM.
  bool read_regions(uint64_t size, bool for_write, Regions& regions) const;

  const CommandHeader& header() const { return header_; }
  const HostFis& fis() const { return fis_; }
  memory::Gpa byte_count_at() const { return header_at_ + kByteCountAt; }

 private:
  const memory::GuestMemory& memory_;
  const memory::Gpa header_at_;
  CommandHeader header_;
  HostFis fis_;
};

// FISes of the device.
std::array<uint8_t, 20> register_fis(const TaskFile& task, bool interrupt);
std::array<uint8_t, 20> pio_setup_fis(const TaskFile& end, uint16_t bytes, bool to_host, bool interrupt);
std::array<uint8_t, 8> set_bits_fis(const TaskFile& task, uint32_t done);

}  // namespace skerry::devices::ata::ahci
