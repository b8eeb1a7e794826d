#include "machine/smbios.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string_view>

#include "base/units.hpp"
#include "machine/acpi/tables.hpp"

namespace skerry::machine::smbios {

namespace {

constexpr std::string_view kManufacturer = "Skerry", kReleaseDate = "01/01/2026";

enum Handle : uint16_t {
  kBios = 0x0000,
  kSystem = 0x0100,
  kEnclosure = 0x0300,
  kProcessor = 0x0400,
  kMemoryArray = 0x1000,
  kMemoryDevice = 0x1100,
  kMappedAddress = 0x1300,
  kBoot = 0x2000,
  kEnd = 0x7f00,
  kNone = 0xffff,
  kNotProvided = 0xfffe,
};

#pragma pack(push, 1)

struct Header {  // 6.1.2
  uint8_t type, length;
  uint16_t handle;
};

struct BiosInformation {  // 7.1
  Header header;
  uint8_t vendor, version;
  uint16_t starting_address_segment = 0xe000;
  uint8_t release_date, rom_size = 1;  // (n + 1) * 64 KiB
  uint64_t characteristics = 1 << 3;   // "not supported"
  uint8_t extension1 = 1 << 0;         // ACPI
  uint8_t extension2 =
      1 << 2 | 1 << 4;  // targeted content distribution; "the SMBIOS table describes a virtual machine"
  uint8_t major_release = 0xff, minor_release = 0xff, controller_major = 0xff, controller_minor = 0xff;
};
static_assert(sizeof(BiosInformation) == 0x18);

struct SystemInformation {  // 7.2
  Header header;
  uint8_t manufacturer, product_name, version, serial_number;
  std::array<uint8_t, 16> uuid;
  uint8_t wake_up_type = 6;  // power switch
  uint8_t sku_number = 0, family = 0;
};
static_assert(sizeof(SystemInformation) == 0x1b);

struct SystemEnclosure {  // 7.4
  Header header;
  uint8_t manufacturer, type = 1, version, serial_number, asset_tag = 0;                      // type: other
  uint8_t boot_up_state = 3, power_supply_state = 3, thermal_state = 3, security_status = 3;  // safe; none
  uint32_t oem_defined = 0;
  uint8_t height = 0, power_cords = 0, contained_elements = 0, contained_element_length = 0, sku_number = 0;
};
static_assert(sizeof(SystemEnclosure) == 0x16);

struct ProcessorInformation {  // 7.5
  Header header;
  uint8_t socket_designation, processor_type = 3, processor_family = 1, manufacturer;  // central; other
  uint32_t signature, features;
  uint8_t version, voltage = 0;
  uint16_t external_clock = 0, max_speed = 2000, current_speed = 2000;
  uint8_t status = 0x41, upgrade = 1;  // socket populated, enabled; other
  uint16_t l1_cache = kNone, l2_cache = kNone, l3_cache = kNone;
  uint8_t serial_number = 0, asset_tag = 0, part_number = 0, core_count, core_enabled, thread_count;
  uint16_t characteristics = 1 << 2;  // 64-bit
  uint16_t processor_family2 = 1, core_count2, core_enabled2, thread_count2;
};
static_assert(sizeof(ProcessorInformation) == 0x30);

struct PhysicalMemoryArray {  // 7.17
  Header header;
  uint8_t location = 1, use = 3, error_correction = 3;  // other; system memory; none
  uint32_t maximum_capacity = 0x8000'0000;              // see below
  uint16_t error_handle = kNotProvided, devices = 1;
  uint64_t extended_maximum_capacity;
};
static_assert(sizeof(PhysicalMemoryArray) == 0x17);

struct MemoryDevice {  // 7.18
  Header header;
  uint16_t array_handle = kMemoryArray, error_handle = kNotProvided, total_width = 64, data_width = 64, size;
  uint8_t form_factor = 9, device_set = 0, device_locator, bank_locator = 0, memory_type = 7;  // DIMM; RAM
  uint16_t type_detail = 1 << 1, speed = 0;                                                    // other
  uint8_t manufacturer, serial_number = 0, asset_tag = 0, part_number = 0, attributes = 0;
  uint32_t extended_size;
  uint16_t configured_speed = 0, minimum_voltage = 0, maximum_voltage = 0, configured_voltage = 0;
};
static_assert(sizeof(MemoryDevice) == 0x28);

struct MemoryArrayMappedAddress {  // 7.20
  Header header;
  uint32_t starting_address = 0xffff'ffff, ending_address = 0xffff'ffff;  // "look at the extended ones"
  uint16_t array_handle = kMemoryArray;
  uint8_t partition_width = 1;
  uint64_t extended_starting_address, extended_ending_address;
};
static_assert(sizeof(MemoryArrayMappedAddress) == 0x1f);

struct SystemBoot {  // 7.33
  Header header;
  uint8_t reserved[6] = {}, boot_status = 0;  // no errors
};
static_assert(sizeof(SystemBoot) == 0x0b);

struct EntryPoint2 {  // 5.2.1
  char anchor[4] = {'_', 'S', 'M', '_'};
  uint8_t checksum = 0, length = 0x1f, major = 2, minor = 8;
  uint16_t maximum_structure_size;
  uint8_t revision = 0, formatted_area[5] = {};
  char intermediate_anchor[5] = {'_', 'D', 'M', 'I', '_'};
  uint8_t intermediate_checksum = 0;
  uint16_t table_length;
  uint32_t table_address;
  uint16_t structures;
  uint8_t bcd_revision = 0x28;
};
static_assert(sizeof(EntryPoint2) == 0x1f);

struct EntryPoint3 {  // 5.2.2
  char anchor[5] = {'_', 'S', 'M', '3', '_'};
  uint8_t checksum = 0, length = 0x18, major = 3, minor = 0, document_revision = 0, revision = 1, reserved = 0;
  uint32_t table_maximum_size;
  uint64_t table_address;
};
static_assert(sizeof(EntryPoint3) == 0x18);

#pragma pack(pop)

template <typename T>
Header header(uint8_t type, Handle handle) {
  return {type, sizeof(T), handle};
}

// The strings after a structure (6.1.3), which gives them by number from 1 on; 0 is none.
class Strings {
 public:
  uint8_t add(std::string_view text) {
    if (text.empty()) return 0;
    for (const char c : text.substr(0, kMaxString))
      bytes_.push_back(static_cast<uint8_t>(c >= ' ' && c < 0x7f ? c : '?'));
    bytes_.push_back(0);
    return ++count_;
  }
  // Ends the set; one without strings is two zeroes.
  Bytes finish() const {
    Bytes bytes = bytes_;
    bytes.resize(count_ ? bytes.size() + 1 : 2);
    return bytes;
  }

 private:
  Bytes bytes_;
  uint8_t count_ = 0;
};

template <typename T>
void append(Bytes& to, const T& structure, const Strings& strings = {}) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&structure);
  to.insert(to.end(), bytes, bytes + sizeof structure);
  const Bytes set = strings.finish();
  to.insert(to.end(), set.begin(), set.end());
}

template <typename T>
Bytes bytes_of(const T& structure) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&structure);
  return {bytes, bytes + sizeof structure};
}

// The first three fields of a UUID are little endian (7.2.1).
std::array<uint8_t, 16> encoded(std::array<uint8_t, 16> uuid) {
  std::reverse(uuid.begin(), uuid.begin() + 4);
  std::reverse(uuid.begin() + 4, uuid.begin() + 6);
  std::reverse(uuid.begin() + 6, uuid.begin() + 8);
  return uuid;
}

void append_system(Bytes& to, const Info& info) {
  {
    Strings strings;
    BiosInformation bios{.header = header<BiosInformation>(0, kBios)};
    bios.vendor = strings.add(kManufacturer);
    bios.version = strings.add(info.product);
    bios.release_date = strings.add(kReleaseDate);
    append(to, bios, strings);
  }
  {
    Strings strings;
    SystemInformation system{.header = header<SystemInformation>(1, kSystem)};
    system.manufacturer = strings.add(kManufacturer);
    system.product_name = strings.add(info.product);
    system.version = 0;
    system.serial_number = strings.add(info.serial);
    system.uuid = encoded(info.uuid);
    append(to, system, strings);
  }
  Strings strings;
  SystemEnclosure enclosure{.header = header<SystemEnclosure>(3, kEnclosure)};
  enclosure.manufacturer = strings.add(kManufacturer);
  enclosure.version = strings.add(info.product);
  enclosure.serial_number = strings.add(info.serial);
  append(to, enclosure, strings);
}

// One processor with as many cores as there are vCPUs, as CPUID has it.
void append_processor(Bytes& to, const Info& info) {
  Strings strings;
  ProcessorInformation processor{.header = header<ProcessorInformation>(4, kProcessor)};
  processor.socket_designation = strings.add("CPU 0");
  processor.manufacturer = strings.add(kManufacturer);
  processor.version = strings.add(info.processor);
  processor.signature = info.processor_signature;
  processor.features = info.processor_features;
  // 0xff: the number is in the second field.
  processor.core_count = processor.core_enabled = processor.thread_count =
      static_cast<uint8_t>(std::min(info.vcpus, 0xffu));
  processor.core_count2 = processor.core_enabled2 = processor.thread_count2 = static_cast<uint16_t>(info.vcpus);
  if (info.vcpus > 1) processor.characteristics |= 1 << 3;  // multi-core
  append(to, processor, strings);
}

// In MiB, or with bit 15 in KiB; what is too much for both is in the extended field, in MiB (7.18, 7.18.5).
void set_size(MemoryDevice& device, uint64_t bytes) {
  constexpr uint16_t kInKib = 0x8000, kExtended = 0x7fff;
  device.extended_size = 0;
  if (bytes % MiB != 0 && bytes / KiB < kExtended) {
    device.size = static_cast<uint16_t>(kInKib | bytes / KiB);
  } else if (bytes / MiB < kExtended) {
    device.size = static_cast<uint16_t>(bytes / MiB);
  } else {
    device.size = kExtended;
    device.extended_size = static_cast<uint32_t>(bytes / MiB);
  }
}

void append_mapped_address(Bytes& to, unsigned number, uint64_t start, uint64_t size) {
  const uint64_t last = start + size - 1;
  MemoryArrayMappedAddress mapped{
      .header = header<MemoryArrayMappedAddress>(19, static_cast<Handle>(kMappedAddress + number))};
  mapped.extended_starting_address = start;
  mapped.extended_ending_address = last;
  if (last / KiB < 0xffff'ffff) {
    mapped.starting_address = static_cast<uint32_t>(start / KiB);
    mapped.ending_address = static_cast<uint32_t>(last / KiB);
    mapped.extended_starting_address = mapped.extended_ending_address = 0;
  }
  append(to, mapped);
}

void append_memory(Bytes& to, const Info& info) {
  const uint64_t memory = info.low_memory + info.high_memory;
  PhysicalMemoryArray array{.header = header<PhysicalMemoryArray>(16, kMemoryArray)};
  // In KiB, or if that is 2 TiB or more, in bytes in the extended field.
  array.extended_maximum_capacity = memory < 2048 * GiB ? 0 : memory;
  if (memory < 2048 * GiB) array.maximum_capacity = static_cast<uint32_t>(memory / KiB);
  append(to, array);

  Strings strings;
  MemoryDevice device{.header = header<MemoryDevice>(17, kMemoryDevice)};
  device.device_locator = strings.add("DIMM 0");
  device.manufacturer = strings.add(kManufacturer);
  set_size(device, memory);
  append(to, device, strings);

  append_mapped_address(to, 0, 0, info.low_memory);
  if (info.high_memory) append_mapped_address(to, 1, 4 * GiB, info.high_memory);
}

struct Count {
  uint16_t structures = 0, largest = 0;
};

Count count(const Bytes& structures) {
  Count result;
  for (size_t at = 0; at + sizeof(Header) <= structures.size();) {
    size_t end = at + structures[at + 1];
    while (end + 1 < structures.size() && (structures[end] || structures[end + 1])) ++end;
    end += 2;
    ++result.structures;
    result.largest = std::max(result.largest, static_cast<uint16_t>(end - at));
    at = end;
  }
  return result;
}

}  // namespace

Bytes structures(const Info& info) {
  Bytes all;
  append_system(all, info);
  append_processor(all, info);
  append_memory(all, info);
  append(all, SystemBoot{.header = header<SystemBoot>(32, kBoot)});
  append(all, header<Header>(127, kEnd));
  return all;
}

Bytes entry_point_2_8(const Bytes& structures, uint32_t address) {
  assert(structures.size() <= 0xffff);
  const Count counted = count(structures);
  EntryPoint2 entry;
  entry.maximum_structure_size = counted.largest;
  entry.table_length = static_cast<uint16_t>(structures.size());
  entry.table_address = address;
  entry.structures = counted.structures;
  Bytes bytes = bytes_of(entry);
  constexpr size_t kIntermediate = offsetof(EntryPoint2, intermediate_anchor);
  bytes[offsetof(EntryPoint2, intermediate_checksum)] = acpi::checksum(std::span(bytes).subspan(kIntermediate));
  bytes[offsetof(EntryPoint2, checksum)] = acpi::checksum(bytes);
  return bytes;
}

Bytes entry_point_3_0(const Bytes& structures, uint64_t address) {
  EntryPoint3 entry;
  entry.table_maximum_size = static_cast<uint32_t>(structures.size());
  entry.table_address = address;
  Bytes bytes = bytes_of(entry);
  bytes[offsetof(EntryPoint3, checksum)] = acpi::checksum(bytes);
  return bytes;
}

Bytes image(const Info& info) {
  constexpr size_t kSecond = 0x20, kStructures = 0x40;
  const Bytes table = structures(info);
  const Bytes old_form = entry_point_2_8(table, kAddress + kStructures);
  const Bytes new_form = entry_point_3_0(table, kAddress + kStructures);
  Bytes all(kStructures);
  std::copy(old_form.begin(), old_form.end(), all.begin());
  std::copy(new_form.begin(), new_form.end(), all.begin() + kSecond);
  all.insert(all.end(), table.begin(), table.end());
  return all;
}

}  // namespace skerry::machine::smbios
