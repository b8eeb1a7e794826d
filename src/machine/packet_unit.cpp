#include "machine/packet_unit.hpp"

#include <algorithm>
#include <utility>

namespace skerry::machine {

using devices::ata::TaskFile;
namespace ata = devices::ata;
namespace scsi = devices::scsi;

namespace {

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

scsi::Command PacketUnit::begin(const scsi::Cdb& cdb) {
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
