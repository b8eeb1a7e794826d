#include "devices/piix4_pm.hpp"

namespace skerry::devices {

namespace {
// Power management base address, device activity B, miscellaneous.
constexpr unsigned kPmba = 0x40, kDevactb = 0x58, kPmregmisc = 0x80;
constexpr uint32_t kPmbaBase = 0xffc0, kIsPorts = 1, kApmcEnable = 1 << 25;
constexpr uint8_t kPmIoEnable = 1;
}  // namespace

Piix4Pm::Piix4Pm(uint16_t base)
    : PciFunction("pm", {.vendor = 0x8086, .device = 0x7113, .class_code = 0x068000, .revision = 3}), base_(base) {
  set_config<uint32_t>(kPmba, kIsPorts);
  set_writable<uint32_t>(kPmba, kPmbaBase);
  set_config<uint32_t>(kDevactb, kApmcEnable);
  set_writable<uint8_t>(kPmregmisc, kPmIoEnable);
}

void Piix4Pm::set_up() {
  PciFunction::config_write(kPmba, 4, base_);
  PciFunction::config_write(kPmregmisc, 1, kPmIoEnable);
}

}  // namespace skerry::devices
