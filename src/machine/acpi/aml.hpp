// ACPI Machine Language, as far as a board describes itself in it: names, packages, devices, resources. No methods.
// ACPI 6.4, chapter 20.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace skerry::machine::aml {

// Encoded terms; joined by cat().
using Bytes = std::vector<uint8_t>;

Bytes cat(std::initializer_list<Bytes> terms);

// Data objects (20.2.3).
Bytes integer(uint64_t value);
Bytes string(std::string_view text);
// "PNP0501" in the compressed form that _HID takes (19.3.4, EISAID).
Bytes eisa_id(std::string_view id);
Bytes package(std::initializer_list<Bytes> elements);
Bytes buffer(const Bytes& content);

// Named objects (20.2.5). A path has segments of at most four characters, parted by dots; "\\" in front is the root.
Bytes name(std::string_view path, const Bytes& object);
Bytes scope(std::string_view path, const Bytes& terms);
Bytes device(std::string_view path, const Bytes& terms);

// Resource descriptors (6.4), to be joined and given to resource_template().
Bytes io(uint16_t base, uint8_t length);
Bytes irq(unsigned number);
Bytes memory32_fixed(uint32_t base, uint32_t length);
// The buffer of a _CRS.
Bytes resource_template(const Bytes& descriptors);

}  // namespace skerry::machine::aml
