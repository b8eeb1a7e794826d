#include "machine/acpi/table_loader.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "devices/vmgenid.hpp"

namespace skerry::machine::acpi {

namespace {

using devices::VmGenId;

// COMMAND_*, and the zones of COMMAND_ALLOCATE: anywhere below 4 GiB, or where guests look for the RSDP.
enum Command : uint32_t { kAllocate = 1, kAddPointer = 2, kAddChecksum = 3, kWritePointer = 4 };
enum Zone : uint8_t { kHigh = 1, kFSegment = 2 };
constexpr size_t kFileName = 56;
constexpr uint32_t kTablesAlignment = 64;  // of the FACS, which is the first of them
constexpr uint32_t kRsdpAlignment = 16;

// One entry, written field by field.
class Entry {
 public:
  explicit Entry(Command command) { integer(command, 4); }
  Entry& file(std::string_view name) {
    assert(name.size() < kFileName);
    std::copy(name.begin(), name.end(), bytes_.begin() + static_cast<ptrdiff_t>(at_));
    at_ += kFileName;
    return *this;
  }
  Entry& integer(uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) bytes_[at_++] = static_cast<uint8_t>(value >> (8 * i));
    return *this;
  }
  void append_to(Bytes& script) const { script.insert(script.end(), bytes_.begin(), bytes_.end()); }

 private:
  Bytes bytes_ = Bytes(kLoaderEntrySize);
  size_t at_ = 0;
};

void allocate(Bytes& script, std::string_view file, uint32_t alignment, Zone zone) {
  Entry(kAllocate).file(file).integer(alignment, 4).integer(zone, 1).append_to(script);
}

// The address of `target` is added to what is at `offset` of `file`.
void add_pointer(Bytes& script, std::string_view file, size_t offset, unsigned size, std::string_view target) {
  Entry(kAddPointer).file(file).file(target).integer(offset, 4).integer(size, 1).append_to(script);
}

// The byte at `checksum` is made 0 here: EDK II puts there what all of them add up to, where SeaBIOS corrects what is there.
void add_checksum(Bytes& script, std::string_view file, Bytes& content, size_t checksum, size_t start, size_t size) {
  content[checksum] = 0;
  Entry(kAddChecksum).file(file).integer(checksum, 4).integer(start, 4).integer(size, 4).append_to(script);
}

// The address of `source` at `offset` goes to fw_cfg's file `file`.
void write_pointer(Bytes& script, std::string_view file, unsigned size, std::string_view source, size_t offset) {
  Entry(kWritePointer).file(file).file(source).integer(0, 4).integer(offset, 4).integer(size, 1).append_to(script);
}

bool holds_pointer(const Tables& tables, const Tables::Part& part) {
  return std::any_of(tables.pointers.begin(), tables.pointers.end(), [&](const Tables::Pointer& pointer) {
    return pointer.offset >= part.offset && pointer.offset < part.offset + part.size;
  });
}

std::string_view file_of(Tables::Pointer::To to) {
  switch (to) {
    case Tables::Pointer::To::kVmGenId: return VmGenId::kGuidFile;
    case Tables::Pointer::To::kTpmLog: return kTpmLogFile;
    case Tables::Pointer::To::kTables: break;
  }
  return kTablesFile;
}

void link_rsdp(Bytes& script) {
  allocate(script, kRsdpFile, kRsdpAlignment, kFSegment);
  add_pointer(script, kRsdpFile, kRsdpRsdt, 4, kTablesFile);
  add_pointer(script, kRsdpFile, kRsdpXsdt, 8, kTablesFile);
}

}  // namespace

LoaderFiles loader_files(const Board& board) {
  Board relative = board;
  const bool has_id = relative.pci && relative.pci->vm_gen_id;
  if (has_id) relative.pci->vm_gen_id = VmGenId::kGuidOffset;
  const bool has_tpm = relative.pci && relative.pci->tpm;
  if (has_tpm) relative.pci->tpm = Tpm{.log_size = kTpmLogSize};
  Tables tables = build(relative, 0);

  LoaderFiles files;
  Bytes& script = files.script;
  allocate(script, kTablesFile, kTablesAlignment, kHigh);
  if (has_id) allocate(script, VmGenId::kGuidFile, VmGenId::kPageSize, kHigh);
  if (has_tpm) allocate(script, kTpmLogFile, 1, kHigh);
  for (const Tables::Pointer& pointer : tables.pointers)
    add_pointer(script, kTablesFile, pointer.offset, pointer.size, file_of(pointer.to));
  for (const Tables::Part& part : tables.parts)
    if (holds_pointer(tables, part))
      add_checksum(script, kTablesFile, tables.content, part.offset + kTableChecksum, part.offset, part.size);
  if (has_id) write_pointer(script, VmGenId::kAddressFile, 8, VmGenId::kGuidFile, VmGenId::kGuidOffset);
  link_rsdp(script);
  add_checksum(script, kRsdpFile, tables.rsdp, kRsdpChecksum, 0, kRsdpV1Size);
  add_checksum(script, kRsdpFile, tables.rsdp, kRsdpExtendedChecksum, 0, tables.rsdp.size());
  files.rsdp = std::move(tables.rsdp);
  files.tables = std::move(tables.content);
  return files;
}

}  // namespace skerry::machine::acpi
