// The definition blocks of the DSDT and the SSDT, without their headers; and what several of them are made of.
#pragma once

#include <string_view>

#include "machine/acpi/aml.hpp"
#include "machine/acpi/tables.hpp"

namespace skerry::machine::acpi {

Bytes plain_definition(const Board& board);    // dsdt.cpp
Bytes pci_definition(const Board& board);      // pci_dsdt.cpp
Bytes microvm_definition(const Board& board);  // microvm_dsdt.cpp

// The generation ID's (vm_gen_id.cpp). The four bytes of its address are at kVmGenIdAddressOffset.
Bytes vm_gen_id_definition(uint32_t guid);
constexpr size_t kVmGenIdAddressOffset = 6;  // after NameOp, four letters, and DWordPrefix

// Parts of a board (dsdt.cpp).
Bytes simple_device(std::string_view path, std::string_view hid, const Bytes& resources);
Bytes isa_devices();  // 8259s, 8254, speaker, clock, keyboard
Bytes hpet_device();
Bytes first_serial_port();
Bytes mouse_device();
Bytes processors(const Board& board);
Bytes soft_off();  // _S5

}  // namespace skerry::machine::acpi
