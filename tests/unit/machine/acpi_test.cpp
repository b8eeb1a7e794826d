#include <gmock/gmock.h>
#include <stdlib.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>
#include <span>

#include "machine/acpi/aml.hpp"
#include "machine/acpi/tables.hpp"

namespace skerry::machine::acpi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr uint64_t kBase = 0x7fe0000;

uint8_t sum(std::span<const uint8_t> bytes) {
  return static_cast<uint8_t>(std::accumulate(bytes.begin(), bytes.end(), 0u));
}

std::span<const uint8_t> bytes_of(const Tables& tables, const Tables::Part& part) {
  return std::span(tables.content).subspan(part.offset, part.size);
}

template <typename T>
T at(std::span<const uint8_t> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
  return value;
}

// The table at a guest-physical address.
std::span<const uint8_t> table_at(const Tables& tables, uint64_t address) {
  const std::span from_here = std::span(tables.content).subspan(address - kBase);
  return from_here.first(at<uint32_t>(from_here, 4));
}

std::string signature(std::span<const uint8_t> table) { return {table.begin(), table.begin() + 4}; }

TEST(AcpiTables, AllAddUpToZero) {
  const Tables tables = build({.vcpus = 3}, kBase);
  for (const Tables::Part& part : tables.parts) {
    if (part.signature == "FACS") continue;  // the only one without a checksum
    EXPECT_EQ(sum(bytes_of(tables, part)), 0) << part.signature;
    EXPECT_EQ(at<uint32_t>(bytes_of(tables, part), 4), part.size) << part.signature;
  }
  EXPECT_EQ(sum(std::span(tables.rsdp).first(20)), 0);
  EXPECT_EQ(sum(tables.rsdp), 0);
}

TEST(AcpiTables, AreFoundFromTheRootByOldAndNewGuests) {
  const Tables tables = build({}, kBase);
  ASSERT_EQ(tables.rsdp.size(), 36u);
  EXPECT_EQ(std::memcmp(tables.rsdp.data(), "RSD PTR ", 8), 0);
  const auto rsdt = table_at(tables, at<uint32_t>(tables.rsdp, 16));
  const auto xsdt = table_at(tables, at<uint64_t>(tables.rsdp, 24));
  EXPECT_EQ(signature(rsdt), "RSDT");
  EXPECT_EQ(signature(xsdt), "XSDT");
  ASSERT_EQ((xsdt.size() - 36) / 8, (rsdt.size() - 36) / 4);
  std::vector<std::string> found;
  for (size_t i = 0; i < (xsdt.size() - 36) / 8; ++i) {
    EXPECT_EQ(at<uint64_t>(xsdt, 36 + 8 * i), at<uint32_t>(rsdt, 36 + 4 * i));
    found.push_back(signature(table_at(tables, at<uint64_t>(xsdt, 36 + 8 * i))));
  }
  EXPECT_THAT(found, ElementsAre("FACP", "APIC", "HPET"));
  const auto fadt = table_at(tables, at<uint64_t>(xsdt, 36));
  EXPECT_EQ(signature(table_at(tables, at<uint32_t>(fadt, 40))), "DSDT");
  EXPECT_EQ(at<uint64_t>(fadt, 140), at<uint32_t>(fadt, 40));
  EXPECT_EQ(at<uint32_t>(fadt, 36), kBase) << "the FACS, at a multiple of 64";
}

TEST(AcpiTables, FadtNamesThePortsOfThePowerManagementDevice) {
  const Tables tables = build({}, kBase);
  const auto xsdt = table_at(tables, at<uint64_t>(tables.rsdp, 24));
  const auto fadt = table_at(tables, at<uint64_t>(xsdt, 36));
  EXPECT_EQ(fadt.size(), 276u);
  EXPECT_EQ(fadt[8], 6);
  EXPECT_EQ(at<uint16_t>(fadt, 46), 9);                // SCI_INT
  EXPECT_EQ(at<uint32_t>(fadt, 48), 0u);               // SMI_CMD: always in ACPI mode
  EXPECT_EQ(at<uint32_t>(fadt, 56), 0x600u);           // PM1a_EVT_BLK
  EXPECT_EQ(at<uint32_t>(fadt, 64), 0x604u);           // PM1a_CNT_BLK
  EXPECT_EQ(at<uint32_t>(fadt, 76), 0x608u);           // PM_TMR_BLK
  EXPECT_EQ(at<uint32_t>(fadt, 80), 0x620u);           // GPE0_BLK
  EXPECT_EQ(fadt[92], 4);                              // GPE0_BLK_LEN
  EXPECT_EQ(at<uint32_t>(fadt, 112) & 0x10, 0u);       // PWR_BUTTON: fixed
  EXPECT_EQ(at<uint32_t>(fadt, 112) & 0x400, 0x400u);  // RESET_REG_SUP
  EXPECT_EQ(at<uint64_t>(fadt, 120), 0xcf9u);          // RESET_REG
  EXPECT_EQ(fadt[128], 6);                             // RESET_VALUE
}

TEST(AcpiTables, MadtListsEveryProcessorAndTheOverrides) {
  for (const unsigned vcpus : {1u, 2u, 255u}) {
    const Tables tables = build({.vcpus = vcpus}, kBase);
    const auto xsdt = table_at(tables, at<uint64_t>(tables.rsdp, 24));
    const auto madt = table_at(tables, at<uint64_t>(xsdt, 44));
    EXPECT_EQ(at<uint32_t>(madt, 36), 0xfee00000u);
    std::set<unsigned> ids;
    std::vector<std::pair<unsigned, unsigned>> overrides;
    size_t offset = 44;
    for (; offset < madt.size(); offset += madt[offset + 1]) {
      if (madt[offset] == 0) ids.insert(madt[offset + 3]);
      if (madt[offset] == 1) {
        EXPECT_EQ(at<uint32_t>(madt, offset + 4), 0xfec00000u);
      }
      if (madt[offset] == 2) overrides.emplace_back(madt[offset + 3], at<uint32_t>(madt, offset + 4));
    }
    EXPECT_EQ(offset, madt.size());
    EXPECT_EQ(ids.size(), vcpus);
    EXPECT_EQ(*ids.rbegin(), vcpus - 1);
    EXPECT_THAT(overrides, ElementsAre(std::pair(0u, 2u), std::pair(9u, 9u)));
  }
}

TEST(AcpiTables, TakeTheSameRoomWherever) {
  EXPECT_EQ(build({.vcpus = 7}, 0).content.size(), build({.vcpus = 7}, 0xbffe0000).content.size());
  EXPECT_EQ(build({.vcpus = 255}, 0).content.size() % 4096, 0u);
}

TEST(Aml, EncodesLengthsOfEverySize) {
  EXPECT_THAT(aml::name("_S5", aml::package({aml::integer(5), aml::integer(0)})),
              ElementsAre(0x08, '_', 'S', '5', '_', 0x12, 0x05, 0x02, 0x0a, 0x05, 0x00));
  EXPECT_THAT(aml::eisa_id("PNP0501"), ElementsAre(0x0c, 0x41, 0xd0, 0x05, 0x01));
  for (const size_t size : {10u, 57u, 58u, 59u, 62u, 63u, 64u, 4089u, 4090u, 4091u, 4092u, 4096u, 100000u}) {
    const aml::Bytes scope = aml::scope("\\_SB", aml::Bytes(size, 0));
    const unsigned more = scope[1] >> 6;
    size_t length = more ? scope[1] & 0xf : scope[1];
    for (unsigned i = 0; i < more; ++i) length |= size_t{scope[2 + i]} << (4 + 8 * i);
    EXPECT_EQ(length, scope.size() - 1) << size;
  }
}

// What a program printed, and whether it ended well.
std::pair<std::string, int> run(const std::string& command) {
  std::string output;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return {"cannot run it", -1};
  std::array<char, 4096> buffer;
  while (const size_t got = ::fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), got);
  return {output, ::pclose(pipe)};
}

// Needs `iasl` (Debian package acpica-tools): fails without it.
class AcpiTablesUnderIasl : public testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/skerry-acpi-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    tables_ = build({.vcpus = GetParam()}, kBase);
    for (const Tables::Part& part : tables_.parts) {
      const auto bytes = bytes_of(tables_, part);
      std::ofstream(folder_ / (part.signature + ".dat"), std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string text_of(const std::string& file) const {
    std::ifstream stream(folder_ / file);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::filesystem::path folder_;
  Tables tables_;
};

TEST_P(AcpiTablesUnderIasl, AreDisassembledWithoutComplaint) {
  for (const Tables::Part& part : tables_.parts) {
    const auto [output, status] = run("cd " + folder_.string() + " && iasl -d " + part.signature + ".dat");
    EXPECT_EQ(status, 0) << output;
    for (const char* complaint : {"Warning", "Error", "Invalid", "**"})
      EXPECT_THAT(output, Not(HasSubstr(complaint))) << part.signature;
    const std::string text = text_of(part.signature + ".dsl");
    for (const char* complaint : {"Invalid", "Unknown", "**** "})
      EXPECT_EQ(text.find(complaint), text.npos) << part.signature << ": " << complaint;
  }
}

TEST_P(AcpiTablesUnderIasl, DsdtCompilesAgainToTheSameWithoutErrorOrWarning) {
  const std::string in_folder = "cd " + folder_.string() + " && ";
  ASSERT_EQ(run(in_folder + "iasl -d DSDT.dat").second, 0);
  const auto [output, status] = run(in_folder + "iasl -p again DSDT.dsl");
  EXPECT_EQ(status, 0) << output;
  EXPECT_THAT(output, HasSubstr("0 Errors, 0 Warnings"));
  const std::string text = text_of("DSDT.dsl");
  EXPECT_NE(text.find("Name (_S5, Package (0x04)"), text.npos);
  EXPECT_NE(text.find("EisaId (\"PNP0501\")"), text.npos);
  const std::string again = text_of("again.aml");
  const auto dsdt = bytes_of(tables_, tables_.parts[1]);
  ASSERT_EQ(again.size(), dsdt.size());
  EXPECT_EQ(std::memcmp(again.data() + 36, dsdt.data() + 36, dsdt.size() - 36), 0);
}

INSTANTIATE_TEST_SUITE_P(Vcpus, AcpiTablesUnderIasl, testing::Values(1u, 2u, 255u));

}  // namespace
}  // namespace skerry::machine::acpi
