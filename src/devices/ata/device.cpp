#include "devices/ata/device.hpp"

#include <algorithm>

#include "block/iovec.hpp"

namespace skerry::devices::ata {

// What is loaded may come from an attacker: a command that makes no sense is none.
void Command::describe(state::Fields& fields) {
  fields.field("work", work, state::up_to(static_cast<uint8_t>(Work::kFlush)));
  fields.field("code", code);
  fields.field("dma", dma);
  fields.field("durable", durable);
  fields.field("packet", packet);
  fields.field("size", size, state::up_to(65536 * kSectorSize));
  fields.field("block", block, state::up_to(kMostData));
  fields.field("offset", offset, state::up_to(uint64_t{1} << 57));
  fields.blob("data", data, kMostData);
}

Command Device::begin_packet(const Packet&, TaskFile& task) {
  task.fail(error::ABRT);
  return {};
}

void Device::move_data(Command& command, uint64_t done, std::span<const iovec> host) {
  std::vector<uint8_t>& data = command.data;
  const uint64_t length = block::length_of(host);
  if (command.work == Command::Work::kTake) {
    if (data.size() < done + length) data.resize(done + length);
    block::copy_from(host, 0, std::span(data).subspan(done, length));
    return;
  }
  // A loaded state may promise more than there is.
  const uint64_t here = done < data.size() ? std::min<uint64_t>(length, data.size() - done) : 0;
  block::copy_to(host, 0, std::span(data).subspan(std::min<uint64_t>(done, data.size()), here));
  block::fill_zeroes(host, here, length - here);
}

}  // namespace skerry::devices::ata
