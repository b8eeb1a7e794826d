#include "devices/scsi/primary.hpp"

namespace skerry::devices::scsi {

namespace {
constexpr std::string_view kRevision = "1";
constexpr uint8_t kFixedFormat = 0x70, kSpc3 = 0x05, kResponseFormat = 2;
constexpr uint8_t kRemovable = 1 << 7, kCommandQueue = 1 << 1;
}  // namespace

void describe_sense(state::Fields& fields, std::string_view name, Sense& sense) {
  fields.group(name, [&] {
    fields.field("key", sense.key, state::up_to(15));
    fields.field("asc", sense.asc);
    fields.field("ascq", sense.ascq);
  });
}

void append(Answer& to, std::initializer_list<uint8_t> bytes) { to.insert(to.end(), bytes); }
void append(Answer& to, const Answer& more) { to.insert(to.end(), more.begin(), more.end()); }
void append_text(Answer& to, std::string_view text, size_t size) {
  for (size_t i = 0; i < size; ++i) to.push_back(static_cast<uint8_t>(i < text.size() ? text[i] : ' '));
}

Answer sense_data(Sense sense) {
  Answer data(kSenseSize);
  data[0] = kFixedFormat;
  data[2] = sense.key;
  data[7] = kSenseSize - 8;
  data[12] = sense.asc;
  data[13] = sense.ascq;
  return data;
}

Answer standard_inquiry(const Identity& identity) {
  Answer data{identity.peripheral,
              identity.removable ? kRemovable : uint8_t{0},
              kSpc3,
              kResponseFormat,
              31,
              0,
              0,
              identity.queueing ? kCommandQueue : uint8_t{0}};
  append_text(data, kVendor, 8);
  append_text(data, identity.product, 16);
  append_text(data, kRevision, 4);
  return data;
}

std::optional<Answer> report_luns(uint8_t select) {
  constexpr uint8_t kWellKnownOnly = 1, kAll = 2;
  if (select > kAll) return std::nullopt;
  const uint8_t length = select == kWellKnownOnly ? 0 : 8;
  Answer data{0, 0, 0, length, 0, 0, 0, 0};
  data.resize(data.size() + length);  // LUN 0 is eight zeroes
  return data;
}

}  // namespace skerry::devices::scsi
