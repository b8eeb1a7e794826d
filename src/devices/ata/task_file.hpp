// The registers by which a host and an ATA device talk, whatever carries them. ACS-3, 6 and 7; the bits of the parallel
// interface: ATA/ATAPI-7 vol. 2, 5.
#pragma once

#include <cstdint>

#include "state/fields.hpp"

namespace skerry::devices::ata {

constexpr unsigned kSectorSize = 512;

namespace status {
constexpr uint8_t ERR = 1 << 0, DRQ = 1 << 3, DSC = 1 << 4, DF = 1 << 5, DRDY = 1 << 6, BSY = 1 << 7;
constexpr uint8_t CHK = ERR;  // its name for packet commands
}  // namespace status

namespace error {
constexpr uint8_t ABRT = 1 << 2, IDNF = 1 << 4, UNC = 1 << 6;
constexpr uint8_t kPassed = 0x01;  // diagnostic code: device 0 passed, device 1 passed or is not there (ACS-3, 7.9.3)
}  // namespace error

// The device register.
namespace device {
constexpr uint8_t DEV = 1 << 4, LBA = 1 << 6;
constexpr uint8_t FUA = 1 << 7;  // of queued writes (ACS-3, 7.64)
}  // namespace device

// The count register as packet devices use it (ACS-3, 7.18.4).
namespace reason {
constexpr uint8_t CD = 1 << 0;  // command, not data
constexpr uint8_t IO = 1 << 1;  // to the host
}  // namespace reason

// A command as the host gives it, and then the answer. Registers of 48-bit commands hold what was written last in the low
// half and what was before in the high half.
struct TaskFile {
  uint8_t command = 0;  // only of the host
  uint8_t status = 0;   // only of the device
  uint8_t error = 0;    // likewise
  uint8_t device = 0;
  uint16_t feature = 0;
  uint16_t count = 0;
  uint64_t lba = 0;  // 48 bits

  bool failed() const { return status & (status::ERR | status::DF); }
  void fail(uint8_t why) {
    status = static_cast<uint8_t>(status::DRDY | status::DSC | status::ERR);
    error = why;
  }
  void succeed() {
    status = status::DRDY | status::DSC;
    error = 0;
  }
  void describe(state::Fields& fields) {
    fields.field("command", command);
    fields.field("status", status);
    fields.field("error", error);
    fields.field("device", device);
    fields.field("feature", feature);
    fields.field("count", count);
    fields.field("lba", lba, state::in_mask((uint64_t{1} << 48) - 1));
  }
};

}  // namespace skerry::devices::ata
