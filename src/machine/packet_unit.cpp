#include "machine/packet_unit.hpp"

#include <algorithm>
#include <utility>

namespace skerry::machine {

using devices::ata::TaskFile;
namespace ata = devices::ata;
namespace scsi = devices::scsi;

namespace {

constexpr uint8_t kRequestSense = 0x03, kReportLuns = 0xa0, kUnknown = 0xff;  // operations (SPC-4, annex D)

// A drive is only read from.
scsi::Command::Work work_of(ata::Command::Work work) {
  if (work == ata::Command::Work::kRead) return scsi::Command::Work::kRead;
  return work == ata::Command::Work::kGive ? scsi::Command::Work::kGive : scsi::Command::Work::kNone;
}

// Takes the data with it.
ata::Command packet_of(scsi::Command& command) {
  const bool reads = command.work == scsi::Command::Work::kRead, gives = command.work == scsi::Command::Work::kGive;
  ata::Command packet{.work = reads ? ata::Command::Work::kRead : gives ? ata::Command::Work::kGive : ata::Command::Work::kNone};
  packet.dma = packet.packet = true;
  packet.size = packet.block = command.size;
  packet.offset = command.offset;
  packet.data = std::move(command.data);
  return packet;
}

}  // namespace

// What a drive of ATA need not have, as it has no numbers beside it.
scsi::Command PacketUnit::report_luns(const scsi::Cdb& cdb) {
  const uint32_t room = uint32_t{cdb[6]} << 24 | uint32_t{cdb[7]} << 16 | uint32_t{cdb[8]} << 8 | cdb[9];
  auto luns = scsi::report_luns(cdb[2]);
  if (!luns) return begin({kUnknown});  // which the drive refuses
  luns->resize(std::min<size_t>(luns->size(), room));
  scsi::Command command{.work = luns->empty() ? scsi::Command::Work::kNone : scsi::Command::Work::kGive,
                        .code = kReportLuns};
  command.size = static_cast<uint32_t>(luns->size());
  command.data = *std::move(luns);
  return command;
}

scsi::Command PacketUnit::begin(const scsi::Cdb& cdb) {
  if (cdb[0] == kReportLuns) return report_luns(cdb);
  ata::Packet packet;
  std::copy_n(cdb.begin(), packet.size(), packet.begin());
  TaskFile task;
  ata::Command begun = device_->begin_packet(packet, task);
  scsi::Command command{.work = work_of(begun.work), .failed = task.failed(), .code = cdb[0]};
  command.size = command.work == scsi::Command::Work::kNone ? 0 : begun.size;
  command.offset = begun.offset;
  command.data = std::move(begun.data);
  return command;
}

// The drive keeps it, and gives it once.
scsi::Sense PacketUnit::take_sense() {
  const scsi::Command command = begin({kRequestSense, 0, 0, 0, scsi::kSenseSize});
  if (command.data.size() < scsi::kSenseSize) return scsi::kNoSense;
  return {static_cast<uint8_t>(command.data[2] & 0x0f), command.data[12], command.data[13]};
}

Task<void> PacketUnit::move(scsi::Command& command, uint64_t done, std::span<const iovec> host) {
  if (!command.to_host()) {  // only of a state that was made by hand
    command.failed = true;
    co_return;
  }
  ata::Command packet = packet_of(command);
  TaskFile task;
  co_await device_->move(packet, done, host, task);
  command.data = std::move(packet.data);
  command.failed = task.failed();
}

Task<void> PacketUnit::finish(scsi::Command& command) {
  ata::Command packet = packet_of(command);
  TaskFile task;
  co_await device_->finish(packet, task);
  command.failed = task.failed();
}

}  // namespace skerry::machine
