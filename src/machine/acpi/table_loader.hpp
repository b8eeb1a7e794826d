// The ACPI tables as files of fw_cfg, with the script by which firmware puts them into memory. QEMU's "linker/loader":
// include/hw/acpi/bios-linker-loader.h; SeaBIOS, src/fw/romfile_loader.h.
#pragma once

#include <string_view>

#include "machine/acpi/tables.hpp"

namespace skerry::machine::acpi {

constexpr std::string_view kRsdpFile = "etc/acpi/rsdp", kTablesFile = "etc/acpi/tables",
                           kLoaderFile = "etc/table-loader";

struct LoaderFiles {
  Bytes rsdp, tables;  // with offsets in `tables` where there will be addresses
  Bytes script;        // entries of kLoaderEntrySize
};
constexpr size_t kLoaderEntrySize = 128;

// If the board has a generation ID (whatever address it says), the files devices::VmGenId::kGuidFile and kAddressFile
// have to be there too.
LoaderFiles loader_files(const Board& board);

}  // namespace skerry::machine::acpi
