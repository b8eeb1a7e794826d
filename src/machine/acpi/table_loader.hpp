// The ACPI tables as files of fw_cfg, with the script by which firmware puts them into memory. QEMU's "linker/loader":
// include/hw/acpi/bios-linker-loader.h; SeaBIOS, src/fw/romfile_loader.h.
#pragma once

#include <string_view>

#include "base/units.hpp"
#include "machine/acpi/tables.hpp"

namespace skerry::machine::acpi {

constexpr std::string_view kRsdpFile = "etc/acpi/rsdp", kTablesFile = "etc/acpi/tables",
                           kLoaderFile = "etc/table-loader";

struct LoaderFiles {
  Bytes rsdp, tables;  // with offsets in `tables` where there will be addresses
  Bytes script;        // entries of kLoaderEntrySize
};
constexpr size_t kLoaderEntrySize = 128;

// The file that becomes the memory for the log of a TPM, with nothing in it, and its size, which is QEMU's.
constexpr std::string_view kTpmLogFile = "etc/tpm/log";
constexpr uint32_t kTpmLogSize = 64 * KiB;

// If the board has a generation ID (whatever address it says), the files devices::VmGenId::kGuidFile and kAddressFile
// have to be there too; if it has a TPM, whatever log it says, kTpmLogFile.
LoaderFiles loader_files(const Board& board);

}  // namespace skerry::machine::acpi
