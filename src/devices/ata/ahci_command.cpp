#include "devices/ata/ahci_command.hpp"

#include <algorithm>
#include <cstring>

namespace skerry::devices::ata::ahci {

namespace {
constexpr unsigned kRegionsAtOnce = 64;

uint32_t get32(const uint8_t* from) {
  return from[0] | uint32_t{from[1]} << 8 | uint32_t{from[2]} << 16 | uint32_t{from[3]} << 24;
}
uint64_t get64(const uint8_t* from) { return get32(from) | uint64_t{get32(from + 4)} << 32; }

void put_registers(uint8_t* fis, const TaskFile& task) {
  fis[3] = task.error;
  for (unsigned i = 0; i < 3; ++i) {
    fis[4 + i] = static_cast<uint8_t>(task.lba >> (8 * i));
    fis[8 + i] = static_cast<uint8_t>(task.lba >> (24 + 8 * i));
  }
  fis[7] = task.device;
  fis[12] = static_cast<uint8_t>(task.count);
  fis[13] = static_cast<uint8_t>(task.count >> 8);
}
}  // namespace

// Serial ATA 3.2, 10.5.5.
TaskFile HostFis::task() const {
  TaskFile task;
  task.command = bytes[2];
  task.feature = static_cast<uint16_t>(bytes[3] | bytes[11] << 8);
  for (unsigned i = 0; i < 3; ++i) task.lba |= uint64_t{bytes[4 + i]} << (8 * i) | uint64_t{bytes[8 + i]} << (24 + 8 * i);
  task.device = bytes[7];
  task.count = static_cast<uint16_t>(bytes[12] | bytes[13] << 8);
  return task;
}

bool CommandReader::read() {
  std::array<uint8_t, kHeaderSize> raw;
  if (!memory_.read(header_at_, std::as_writable_bytes(std::span(raw)))) return false;
  header_.flags = get32(raw.data());
  header_.byte_count = get32(raw.data() + 4);
  header_.table = get64(raw.data() + 8) & (~uint64_t{0} << 32 | kTableMask);
  return memory_.read(header_.table + kFisAt, std::as_writable_bytes(std::span(fis_.bytes)));
}

bool CommandReader::read_packet(Packet& packet) const {
  return memory_.read(header_.table + kPacketAt, std::as_writable_bytes(std::span(packet)));
}

// An entry has 2 bytes at least, so what is read and kept is bounded by the table's length and by `size`.
bool CommandReader::read_regions(uint64_t size, bool for_write, Regions& to) const {
  std::array<uint8_t, kRegionsAtOnce * kPrdSize> raw;
  for (unsigned first = 0; first < header_.regions() && to.size < size; first += kRegionsAtOnce) {
    const unsigned count = std::min(header_.regions() - first, kRegionsAtOnce);
    const auto part = std::span(raw).first(count * kPrdSize);
    if (!memory_.read(header_.table + kPrdtAt + uint64_t{first} * kPrdSize, std::as_writable_bytes(part))) return false;
    for (unsigned i = 0; i < count && to.size < size; ++i) {
      const uint8_t* entry = raw.data() + i * kPrdSize;
      const uint64_t address = get64(entry) & ~uint64_t{1};
      // DBC is the count less one, and odd.
      const uint64_t here = std::min<uint64_t>(((get32(entry + 12) & kPrdCount) | 1) + 1, size - to.size);
      if (!to.add(memory_, address, here, for_write)) return false;
      to.interrupts |= (get32(entry + 12) & kPrdInterrupt) != 0;
    }
  }
  return true;
}

std::array<uint8_t, 20> register_fis(const TaskFile& task, bool interrupt) {
  std::array<uint8_t, 20> fis{kDeviceToHost};
  fis[1] = interrupt ? kFisInterrupt : 0;
  fis[2] = task.status;
  put_registers(fis.data(), task);
  return fis;
}

// 10.5.11: the registers before the data, and the status after it.
std::array<uint8_t, 20> pio_setup_fis(const TaskFile& end, uint16_t bytes, bool to_host, bool interrupt) {
  std::array<uint8_t, 20> fis{kPioSetup};
  fis[1] = static_cast<uint8_t>((interrupt ? kFisInterrupt : 0) | (to_host ? kFisToHost : 0));
  fis[2] = status::DRDY | status::DSC | status::DRQ;
  put_registers(fis.data(), end);
  fis[15] = end.status;
  fis[16] = static_cast<uint8_t>(bytes);
  fis[17] = static_cast<uint8_t>(bytes >> 8);
  return fis;
}

// 10.5.7: of the status all but BSY and DRQ.
std::array<uint8_t, 8> set_bits_fis(const TaskFile& task, uint32_t done) {
  std::array<uint8_t, 8> fis{kSetDeviceBits, kFisInterrupt};
  fis[2] = task.status & 0x77;
  fis[3] = task.error;
  for (unsigned i = 0; i < 4; ++i) fis[4 + i] = static_cast<uint8_t>(done >> (8 * i));
  return fis;
}

}  // namespace skerry::devices::ata::ahci
