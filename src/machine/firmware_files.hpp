// What a board with firmware tells it through fw_cfg: memory, processors, ACPI and SMBIOS tables, what to boot from.
// The names are QEMU's; SeaBIOS explains them in docs/Runtime_config.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/vmgenid.hpp"
#include "machine/acpi/tables.hpp"
#include "machine/smbios.hpp"

namespace skerry::machine {

struct FirmwareInputs {
  static constexpr uint32_t kForever = 0xffffffff;

  acpi::Board board;     // with PCI
  smbios::Info machine;  // the sizes of memory too
  // Where to boot from, best first, by boot_path_of_disk(). Empty: the firmware decides.
  std::vector<std::string> boot_order;
  // What runs in the guest as the BIOS of its VGA, if it has one.
  std::vector<uint8_t> video_rom;
  // The serial port that is the screen and keyboard of the firmware, for boards without any: its first I/O port.
  std::optional<uint16_t> serial_console;
  uint32_t boot_fail_wait = kForever;  // milliseconds until a reset when nothing can be booted
};

// The path of the virtio disk that is device `slot` of bus 0, as OVMF wants it to the letter; SeaBIOS looks at the number only.
std::string boot_path_of_disk(unsigned slot);
// That of a target of the virtio SCSI controller that is device `slot`.
std::string boot_path_of_scsi(unsigned slot, unsigned target);
// That of what is plugged into a port of the AHCI controller, which is that function of its slot.
std::string boot_path_of_sata(unsigned function, unsigned port);
// Into a channel of the IDE controller, as its first or second drive.
std::string boot_path_of_ide(unsigned channel, unsigned drive);
// And into a port of the USB controller.
std::string boot_path_of_usb(unsigned port);

// Adds all of it. `vm_gen_id` may be null; else it is told its address by the firmware, and outlives `fw_cfg`.
Result<void> add_firmware_files(devices::FwCfg& fw_cfg, const FirmwareInputs& inputs, devices::VmGenId* vm_gen_id);

}  // namespace skerry::machine
