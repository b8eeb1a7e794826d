// ACPI Machine Language, as far as a board describes itself in it: names, packages, devices, resources, and methods of
// a few lines. ACPI 6.4, chapter 20.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace skerry::machine::aml {

// Encoded terms; joined by cat().
using Bytes = std::vector<uint8_t>;
using View = std::span<const uint8_t>;

Bytes cat(std::initializer_list<View> terms);
void append(Bytes& to, View more);

// Data objects (20.2.3).
Bytes integer(uint64_t value);
// Four bytes whatever the value, where firmware puts another in its place. The value follows one byte of prefix.
Bytes dword(uint32_t value);
Bytes string(std::string_view text);
// "PNP0501" in the compressed form that _HID takes (19.3.4, EISAID).
Bytes eisa_id(std::string_view id);
Bytes package(std::initializer_list<View> elements);
// `elements` joined, of which there are `count`, or fewer: the others are uninitialized.
Bytes package(size_t count, const Bytes& elements);
Bytes buffer(const Bytes& content);

// "33DB4D5B-1FF7-401C-9657-7441C03DD766" in the order of bytes that Windows has made the rule (19.6.144, ToUUID).
Bytes uuid(std::string_view text);

// Named objects (20.2.5). A path has segments of at most four characters, parted by dots; "\\" in front is the root.
Bytes name(std::string_view path, const Bytes& object);
Bytes scope(std::string_view path, const Bytes& terms);
Bytes device(std::string_view path, const Bytes& terms);

Bytes path(std::string_view path);  // names what is elsewhere

// Methods (20.2.5.2) and what is in them (20.2.5.3, 20.2.5.4). Serialized, as all are that create objects, or not.
enum class Serialize : uint8_t { kNo, kYes };
Bytes method(std::string_view path, unsigned arguments, Serialize serialize, const Bytes& terms);
Bytes nowhere();                  // as a target: the result is the value of the term alone
Bytes argument(unsigned number);  // Arg0 to Arg6
Bytes local(unsigned number);     // Local0 to Local7
Bytes if_then(const Bytes& condition, const Bytes& terms);
Bytes otherwise(const Bytes& terms);  // right after an if_then()
Bytes return_value(const Bytes& value);
Bytes store(const Bytes& value, const Bytes& target);
Bytes bit_and(const Bytes& a, const Bytes& b, const Bytes& target = nowhere());
Bytes bit_or(const Bytes& a, const Bytes& b, const Bytes& target = nowhere());
Bytes equal(const Bytes& a, const Bytes& b);
Bytes logical_not(const Bytes& value);
Bytes element(const Bytes& package, unsigned number);  // Index()
Bytes notify(const Bytes& object, uint8_t event);
Bytes dword_field(const Bytes& buffer, unsigned byte, std::string_view name);  // CreateDWordField()

// Operation regions and their fields, which are whole bytes here (20.2.5.2).
enum class Space : uint8_t { kSystemIo = 1, kPciConfig = 2 };
Bytes operation_region(std::string_view path, Space space, uint64_t offset, uint64_t length);
Bytes byte_fields(std::string_view region, std::initializer_list<std::string_view> names);

// Resource descriptors (6.4), to be joined and given to resource_template().
Bytes io(uint16_t base, uint8_t length);
Bytes irq(unsigned number);
Bytes memory32_fixed(uint32_t base, uint32_t length);
// Level-triggered, active high, shared. Its number is at kInterruptNumber of the descriptor.
Bytes interrupts(std::initializer_list<uint32_t> numbers);
constexpr unsigned kInterruptNumber = 5;
// What a bridge passes on to what is behind it (6.4.3.5). First and last of each.
Bytes bus_numbers(uint16_t first, uint16_t last);
Bytes io_window(uint16_t first, uint16_t last);
Bytes memory32_window(uint32_t first, uint32_t last);
Bytes memory64_window(uint64_t first, uint64_t last);
// The buffer of a _CRS.
Bytes resource_template(const Bytes& descriptors);

}  // namespace skerry::machine::aml
