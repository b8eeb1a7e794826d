#include "machine/acpi/table_loader.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include "devices/vmgenid.hpp"

namespace skerry::machine::acpi {
namespace {

using devices::VmGenId;

// What firmware does with the script, written from the specification: each file gets an address, then gets its
// pointers.
class Firmware {
 public:
  Firmware(std::map<std::string, Bytes> files, uint64_t first_address)
      : files_(std::move(files)), next_(first_address) {}

  void execute(const Bytes& script) {
    ASSERT_EQ(script.size() % kLoaderEntrySize, 0u);
    for (size_t at = 0; at < script.size(); at += kLoaderEntrySize) {
      entry_ = &script[at];
      switch (integer(0, 4)) {
        case 1:
          allocate();
          break;
        case 2:
          add_pointer();
          break;
        case 3:
          add_checksum();
          break;
        case 4:
          write_pointer();
          break;
        default:
          FAIL() << "command " << integer(0, 4);
      }
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  const Bytes& file(const std::string& name) { return files_.at(name); }
  uint64_t address(const std::string& name) { return addresses_.at(name); }
  // The bytes at an address, from there to the end of the file.
  std::span<const uint8_t> at(uint64_t address) {
    for (const auto& [name, base] : addresses_)
      if (address >= base && address < base + files_[name].size())
        return std::span(files_[name]).subspan(address - base);
    return {};
  }

 private:
  uint64_t integer(size_t offset, unsigned size) const {
    uint64_t value = 0;
    std::memcpy(&value, entry_ + offset, size);
    return value;
  }
  std::string name(size_t offset) const {
    const auto* text = reinterpret_cast<const char*>(entry_ + offset);
    return {text, ::strnlen(text, 56)};
  }
  void allocate() {
    const uint64_t alignment = integer(60, 4), zone = integer(64, 1);
    ASSERT_TRUE(files_.contains(name(4)) && !addresses_.contains(name(4)));
    ASSERT_TRUE(zone == 1 || zone == 2);
    if (name(4) == kRsdpFile) {
      EXPECT_EQ(zone, 2u) << "where guests look for it";
    }
    next_ = (next_ + alignment - 1) / alignment * alignment;
    addresses_[name(4)] = next_;
    next_ += files_[name(4)].size();
  }
  void add_pointer() {
    Bytes& file = files_.at(name(4));
    const uint64_t offset = integer(116, 4), size = integer(120, 1);
    ASSERT_TRUE(addresses_.contains(name(4)) && addresses_.contains(name(60))) << "allocated before";
    ASSERT_LE(offset + size, file.size());
    uint64_t value = 0;
    std::memcpy(&value, &file[offset], size);
    EXPECT_LT(value, files_[name(60)].size()) << "an offset in the other file";
    value += addresses_[name(60)];
    std::memcpy(&file[offset], &value, size);
  }
  void add_checksum() {
    Bytes& file = files_.at(name(4));
    const uint64_t offset = integer(60, 4), start = integer(64, 4), size = integer(68, 4);
    ASSERT_LE(start + size, file.size());
    const auto first = file.begin() + static_cast<ptrdiff_t>(start);
    const unsigned sum = std::accumulate(first, first + static_cast<ptrdiff_t>(size), 0u);
    // SeaBIOS corrects the byte; EDK II takes it for 0.
    EXPECT_EQ(static_cast<uint8_t>(file.at(offset) - sum), static_cast<uint8_t>(-sum)) << "firmwares would differ";
    file[offset] = static_cast<uint8_t>(-sum);
  }
  void write_pointer() {
    Bytes& file = files_.at(name(4));
    const uint64_t value = addresses_.at(name(60)) + integer(120, 4);
    ASSERT_LE(integer(116, 4) + integer(124, 1), file.size());
    std::memcpy(&file[integer(116, 4)], &value, integer(124, 1));
  }

  std::map<std::string, Bytes> files_;
  std::map<std::string, uint64_t> addresses_;
  uint64_t next_;
  const uint8_t* entry_ = nullptr;
};

template <typename T>
T at(std::span<const uint8_t> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
  return value;
}

unsigned sum(std::span<const uint8_t> bytes) { return std::accumulate(bytes.begin(), bytes.end(), 0u) & 0xff; }

Firmware linked(const Board& board, uint64_t first_address) {
  const LoaderFiles files = loader_files(board);
  Firmware firmware({{std::string(kRsdpFile), files.rsdp},
                     {std::string(kTablesFile), files.tables},
                     {std::string(VmGenId::kGuidFile), Bytes(VmGenId::kPageSize)},
                     {std::string(VmGenId::kAddressFile), Bytes(8)},
                     {std::string(kTpmLogFile), Bytes(kTpmLogSize)}},
                    first_address);
  firmware.execute(files.script);
  return firmware;
}

Board board_with_id() {
  Board board{.vcpus = 4, .pci = PciRoot{}};
  board.pci->root_ports = 4;
  board.pci->vm_gen_id = 0;
  return board;
}

TEST(TableLoader, TablesAreWholeWhereverFirmwarePutsThem) {
  for (const uint64_t address : {0x7ffd0000u, 0x00100000u, 0xafff1230u}) {
    Firmware firmware = linked(board_with_id(), address);
    if (HasFatalFailure()) return;
    const Bytes& rsdp = firmware.file(std::string(kRsdpFile));
    EXPECT_EQ(sum(std::span(rsdp).first(20)), 0u);
    EXPECT_EQ(sum(rsdp), 0u);
    const auto xsdt = firmware.at(at<uint64_t>(rsdp, 24)), rsdt = firmware.at(at<uint32_t>(rsdp, 16));
    const auto size = at<uint32_t>(xsdt, 4);
    EXPECT_EQ(sum(xsdt.first(size)), 0u);
    EXPECT_EQ(sum(rsdt.first(at<uint32_t>(rsdt, 4))), 0u);
    std::set<std::string> signatures;
    for (size_t i = 0; i < (size - 36) / 8; ++i) {
      EXPECT_EQ(at<uint64_t>(xsdt, 36 + 8 * i), at<uint32_t>(rsdt, 36 + 4 * i));
      const auto table = firmware.at(at<uint64_t>(xsdt, 36 + 8 * i));
      EXPECT_EQ(sum(table.first(at<uint32_t>(table, 4))), 0u);
      signatures.emplace(table.begin(), table.begin() + 4);
    }
    EXPECT_EQ(signatures, (std::set<std::string>{"FACP", "APIC", "HPET", "MCFG", "SSDT"}));
    const auto fadt = firmware.at(at<uint64_t>(xsdt, 36));
    const auto dsdt = firmware.at(at<uint64_t>(fadt, 140));
    EXPECT_EQ(at<uint32_t>(fadt, 40), at<uint64_t>(fadt, 140));
    EXPECT_EQ(at<uint32_t>(dsdt, 0), 0x54445344u) << "DSDT";
    EXPECT_EQ(sum(dsdt.first(at<uint32_t>(dsdt, 4))), 0u);
    EXPECT_EQ(at<uint32_t>(fadt, 36) % 64, 0u) << "the FACS";
    EXPECT_EQ(at<uint32_t>(firmware.at(at<uint32_t>(fadt, 36)), 0), 0x53434146u);
  }
}

TEST(TableLoader, TheGenerationIdIsKnownToTheGuestAndToUs) {
  Firmware firmware = linked(board_with_id(), 0x7ffd0000);
  const uint64_t guid = firmware.address(std::string(VmGenId::kGuidFile)) + VmGenId::kGuidOffset;
  EXPECT_EQ(guid % 4096, VmGenId::kGuidOffset) << "in a page of its own";
  EXPECT_EQ(at<uint64_t>(firmware.file(std::string(VmGenId::kAddressFile)), 0), guid);
  const auto xsdt = firmware.at(at<uint64_t>(firmware.file(std::string(kRsdpFile)), 24));
  const auto ssdt = firmware.at(at<uint64_t>(xsdt, 36 + 4 * 8));
  EXPECT_EQ(at<uint32_t>(ssdt, 42), guid) << "VGIA";
}

TEST(TableLoader, TheLogOfATpmHasMemoryOfItsOwn) {
  Board board = board_with_id();
  board.pci->tpm.emplace();
  Firmware firmware = linked(board, 0x7ffd0000);
  const auto xsdt = firmware.at(at<uint64_t>(firmware.file(std::string(kRsdpFile)), 24));
  const auto tpm2 = firmware.at(at<uint64_t>(xsdt, 36 + 5 * 8));
  ASSERT_EQ(at<uint32_t>(tpm2, 0), 0x324d5054u) << "TPM2";
  EXPECT_EQ(sum(tpm2.first(at<uint32_t>(tpm2, 4))), 0u);
  EXPECT_EQ(at<uint32_t>(tpm2, 64), kTpmLogSize);
  EXPECT_EQ(at<uint64_t>(tpm2, 68), firmware.address(std::string(kTpmLogFile)));
}

TEST(TableLoader, ABoardWithoutGenerationIdDoesNotNameItsFiles) {
  const LoaderFiles files = loader_files({.vcpus = 1, .pci = PciRoot{}});
  const std::string script(files.script.begin(), files.script.end());
  EXPECT_EQ(script.find("vmgenid"), script.npos);
  EXPECT_NE(script.find(kTablesFile), script.npos);
}

}  // namespace
}  // namespace skerry::machine::acpi
