#include "devices/scsi/absent_unit.hpp"

#include <algorithm>
#include <utility>

#include "block/iovec.hpp"

namespace skerry::devices::scsi {

namespace {
constexpr uint8_t REQUEST_SENSE = 0x03, INQUIRY = 0x12, REPORT_LUNS = 0xa0;  // SPC-4, annex D
constexpr uint8_t kNothingThere = 0x7f;                                      // qualifier 3, type unknown

Command answer(Answer data, uint64_t room) {
  data.resize(std::min<uint64_t>(data.size(), room));
  if (data.empty()) return {};
  Command command{.work = Command::Work::kGive};
  command.size = static_cast<uint32_t>(data.size());
  command.data = std::move(data);
  return command;
}
}  // namespace

Command AbsentUnit::begin(const Cdb& cdb) {
  const auto length = [&cdb](size_t at, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; ++i) value = value << 8 | cdb[at + i];
    return value;
  };
  if (cdb[0] == INQUIRY && !(cdb[1] & 1) && cdb[2] == 0)
    return answer(standard_inquiry({.peripheral = kNothingThere, .product = ""}), length(3, 2));
  if (cdb[0] == REQUEST_SENSE) return answer(sense_data(kNotSupportedUnit), cdb[4]);
  if (cdb[0] == REPORT_LUNS)
    if (auto luns = report_luns(cdb[2])) return answer(*std::move(luns), length(6, 4));
  return {.failed = true, .code = cdb[0]};
}

Task<void> AbsentUnit::move(Command& command, uint64_t done, std::span<const iovec> host) {
  block::copy_to(host, 0, std::span(command.data).subspan(done, block::length_of(host)));
  co_return;
}

}  // namespace skerry::devices::scsi
