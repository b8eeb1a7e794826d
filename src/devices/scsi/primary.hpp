// What all SCSI devices have in common, whatever they are reached by (SPC-4): sense, and answers that are the same for
// all.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "state/fields.hpp"

namespace skerry::devices::scsi {

// Sense key, additional sense code and qualifier (4.5).
struct Sense {
  uint8_t key = 0, asc = 0, ascq = 0;
  bool operator==(const Sense&) const = default;
};
constexpr Sense kNoSense{0x00, 0x00, 0x00};
constexpr Sense kReadError{0x03, 0x11, 0x00};
constexpr Sense kInvalidCommand{0x05, 0x20, 0x00}, kOutOfRange{0x05, 0x21, 0x00}, kInvalidField{0x05, 0x24, 0x00};
constexpr Sense kNotSupportedUnit{0x05, 0x25, 0x00}, kSavingNotSupported{0x05, 0x39, 0x00};
constexpr Sense kReset{0x06, 0x29, 0x00};

constexpr std::string_view kVendor = "Skerry";

void describe_sense(state::Fields& fields, std::string_view name, Sense& sense);

using Answer = std::vector<uint8_t>;
void append(Answer& to, std::initializer_list<uint8_t> bytes);
void append(Answer& to, const Answer& more);
void append_text(Answer& to, std::string_view text, size_t size);  // cut, or filled up with blanks

constexpr unsigned kSenseSize = 18;
Answer sense_data(Sense sense);  // 4.5.3: fixed format

// Standard INQUIRY data (6.6.2).
struct Identity {
  uint8_t peripheral = 0;  // qualifier and type
  bool removable = false;
  bool queueing = false;  // commands are under way at a time: CMDQUE
  std::string_view product;
};
Answer standard_inquiry(const Identity& identity);

// REPORT LUNS (6.33) of a target whose only unit is LUN 0; none: `select` is none of those that there are.
std::optional<Answer> report_luns(uint8_t select);

}  // namespace skerry::devices::scsi
