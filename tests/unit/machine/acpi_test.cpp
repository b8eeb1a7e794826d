#include <fmt/format.h>
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

uint64_t fnv1a(const Bytes& bytes, uint64_t hash = 0xcbf29ce484222325) {
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

TEST(AcpiTables, OfThePlainBoardAreTheSameForEver) {
  const auto hash = [](const Board& board, uint64_t base) {
    const Tables tables = build(board, base);
    return fnv1a(tables.content, fnv1a(tables.rsdp));
  };
  EXPECT_EQ(hash({.vcpus = 1}, 0x7fe0000), 0xeb5c65a5823d525cu) << "saved guests have these tables in their memory";
  EXPECT_EQ(hash({.vcpus = 2}, 0x7fe0000), 0xa3f92f46614acdb8u);
  EXPECT_EQ(hash({.vcpus = 255, .mouse = false}, 0xbffe0000), 0x5b731ecc05ff1d4cu);
}

Board q35(unsigned vcpus = 2) {
  PciRoot root;
  root.mmio64_first = 0x200000000;
  root.mmio64_last = 0x11ffffffff;
  root.root_ports = 17;
  root.vm_gen_id = 0x7fdf028;
  return {.vcpus = vcpus, .pci = root};
}

TEST(AcpiTables, OfABoardWithPciAddItsConfigurationSpaceAndItsGenerationId) {
  const Tables tables = build(q35(), kBase);
  const auto xsdt = table_at(tables, at<uint64_t>(tables.rsdp, 24));
  std::vector<std::string> found;
  for (size_t i = 36; i < xsdt.size(); i += 8) {
    const auto table = table_at(tables, at<uint64_t>(xsdt, i));
    EXPECT_EQ(sum(table), 0);
    found.push_back(signature(table));
  }
  EXPECT_THAT(found, ElementsAre("FACP", "APIC", "HPET", "MCFG", "SSDT"));
  const auto mcfg = table_at(tables, at<uint64_t>(xsdt, 36 + 3 * 8));
  EXPECT_EQ(mcfg.size(), 60u);
  EXPECT_EQ(at<uint64_t>(mcfg, 44), 0xb0000000u);
  EXPECT_EQ(mcfg[54], 0);
  EXPECT_EQ(mcfg[55], 255);
  const auto fadt = table_at(tables, at<uint64_t>(xsdt, 36));
  EXPECT_EQ(at<uint16_t>(fadt, 109) & 0x18, 0) << "MSI and ASPM are not forbidden";
  const auto ssdt = table_at(tables, at<uint64_t>(xsdt, 36 + 4 * 8));
  EXPECT_EQ(at<uint32_t>(ssdt, 42), 0x7fdf028u);
}

Board i440fx(unsigned vcpus = 2) {
  Board board = q35(vcpus);
  board.pci->chipset = PciRoot::Chipset::kI440fx;
  board.pci->root_ports = 0;
  return board;
}

TEST(AcpiTables, WithoutPciExpressInterruptsAreThoseOfTheIsaBus) {
  const Tables tables = build(i440fx(), kBase);
  const auto xsdt = table_at(tables, at<uint64_t>(tables.rsdp, 24));
  std::vector<std::string> found;
  for (size_t i = 36; i < xsdt.size(); i += 8) found.push_back(signature(table_at(tables, at<uint64_t>(xsdt, i))));
  EXPECT_THAT(found, ElementsAre("FACP", "APIC", "HPET", "SSDT"));
  const auto madt = table_at(tables, at<uint64_t>(xsdt, 36 + 8));
  std::vector<std::pair<int, int>> overrides;  // source, flags
  for (size_t i = 44; i < madt.size(); i += madt[i + 1])
    if (madt[i] == 2) overrides.emplace_back(madt[i + 3], at<uint16_t>(madt, i + 8));
  constexpr int kLevelHigh = 0xd;
  EXPECT_THAT(overrides, ElementsAre(std::pair(0, 0), std::pair(9, kLevelHigh), std::pair(5, kLevelHigh), std::pair(10, kLevelHigh),
                                     std::pair(11, kLevelHigh)));
}

Board microvm(unsigned vcpus = 2) {
  return {.vcpus = vcpus, .microvm = std::vector<VirtioMmio>{{0xfeb00000, 0x200, 16}, {0xfeb00200, 0x200, 17}, {0xfeb00400, 0x200, 5}}};
}

TEST(AcpiTables, OfTheMicrovmAreHardwareReduced) {
  const Tables tables = build(microvm(), kBase);
  const auto xsdt = table_at(tables, at<uint64_t>(tables.rsdp, 24));
  std::vector<std::string> found;
  for (size_t i = 36; i < xsdt.size(); i += 8) found.push_back(signature(table_at(tables, at<uint64_t>(xsdt, i))));
  EXPECT_THAT(found, ElementsAre("FACP", "APIC")) << "no HPET and no PCI";
  const auto fadt = table_at(tables, at<uint64_t>(xsdt, 36));
  EXPECT_EQ(at<uint32_t>(fadt, 112), 1u << 0 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 10 | 1u << 20);
  EXPECT_EQ(at<uint16_t>(fadt, 109), 1u << 2 | 1u << 5) << "no VGA, no clock, no keyboard, nothing of the ISA bus";
  for (const size_t block : {46u, 48u, 56u, 64u, 76u, 80u}) EXPECT_EQ(at<uint16_t>(fadt, block), 0) << block;
  EXPECT_EQ(at<uint64_t>(fadt, 120), 0x603u);  // RESET_REG
  EXPECT_EQ(fadt[128], 1);                     // RESET_VALUE
  EXPECT_EQ(at<uint64_t>(fadt, 248), 0x601u);  // SLEEP_CONTROL_REG
  EXPECT_EQ(at<uint64_t>(fadt, 260), 0x602u);  // SLEEP_STATUS_REG
  const auto madt = table_at(tables, at<uint64_t>(xsdt, 44));
  EXPECT_EQ(at<uint32_t>(madt, 40), 0u) << "no 8259s";
  for (size_t offset = 44; offset < madt.size(); offset += madt[offset + 1]) EXPECT_NE(madt[offset], 2) << "a line is a pin";
}

Board with_tpm(uint32_t log_size) {
  Board board = q35();
  board.pci->tpm = Tpm{log_size, 0x7fc0000};
  return board;
}

TEST(AcpiTables, OfABoardWithATpmTellWhereItIs) {
  for (const uint32_t log_size : {0u, 0x10000u}) {
    const Tables tables = build(with_tpm(log_size), kBase);
    const auto part = std::find_if(tables.parts.begin(), tables.parts.end(), [](const auto& entry) { return entry.signature == "TPM2"; });
    ASSERT_NE(part, tables.parts.end());
    const auto tpm2 = bytes_of(tables, *part);
    EXPECT_EQ(sum(tpm2), 0);
    ASSERT_EQ(tpm2.size(), log_size ? 76u : 64u);
    EXPECT_EQ(tpm2[8], 4) << "revision";
    EXPECT_EQ(at<uint64_t>(tpm2, 40), 0xfed40040u);
    EXPECT_EQ(at<uint32_t>(tpm2, 48), 7u) << "start method";
    if (!log_size) continue;
    EXPECT_EQ(at<uint32_t>(tpm2, 64), log_size);
    EXPECT_EQ(at<uint64_t>(tpm2, 68), 0x7fc0000u);
  }
}

TEST(AcpiTables, EveryAddressIsNoted) {
  // Tables elsewhere differ by the distance at the noted places, and else only in checksums.
  const Tables here = build(with_tpm(0x10000), kBase), there = build(with_tpm(0x10000), kBase + 0x10000);
  Bytes moved = here.content;
  for (const Tables::Pointer& pointer : here.pointers) {
    if (pointer.to != Tables::Pointer::To::kTables) continue;
    uint64_t value = 0;
    std::memcpy(&value, &moved[pointer.offset], pointer.size);
    value += 0x10000;
    std::memcpy(&moved[pointer.offset], &value, pointer.size);
  }
  for (const Tables::Part& part : here.parts) {
    if (part.signature == "FACS") continue;
    moved[part.offset + kTableChecksum] = 0;
    moved[part.offset + kTableChecksum] = checksum(std::span(moved).subspan(part.offset, part.size));
  }
  EXPECT_EQ(moved, there.content);
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
class AcpiTablesUnderIasl : public testing::TestWithParam<Board> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/skerry-acpi-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    tables_ = build(GetParam(), kBase);
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

// iasl's own optimizations are off; the headers name their compilers.
TEST_P(AcpiTablesUnderIasl, DefinitionsCompileAgainToTheSameWithoutErrorOrWarning) {
  const std::string in_folder = "cd " + folder_.string() + " && ";
  for (const Tables::Part& part : tables_.parts) {
    if (part.signature != "DSDT" && part.signature != "SSDT") continue;
    ASSERT_EQ(run(in_folder + "iasl -d " + part.signature + ".dat").second, 0);
    const auto [output, status] = run(in_folder + "iasl -oa -p again " + part.signature + ".dsl");
    EXPECT_EQ(status, 0) << output;
    EXPECT_THAT(output, HasSubstr("0 Errors, 0 Warnings, 0 Remarks"));
    const std::string again = text_of("again.aml");
    const auto bytes = bytes_of(tables_, part);
    ASSERT_EQ(again.size(), bytes.size());
    EXPECT_EQ(std::memcmp(again.data() + 36, bytes.data() + 36, bytes.size() - 36), 0) << part.signature;
  }
  const std::string text = text_of("DSDT.dsl");
  EXPECT_NE(text.find("Name (_S5, Package (0x04)"), text.npos);
  EXPECT_NE(text.find("EisaId (\"PNP0501\")"), text.npos);
  const bool express = ecam_base(GetParam()).has_value();
  EXPECT_EQ(text.find("LNKH") != text.npos, express);
  EXPECT_EQ(text.find("LNKD") != text.npos, GetParam().pci && !express);
}

INSTANTIATE_TEST_SUITE_P(Boards, AcpiTablesUnderIasl,
                         testing::Values(Board{.vcpus = 1}, Board{.vcpus = 2}, Board{.vcpus = 255}, q35(1), q35(255), i440fx(1), i440fx(255),
                                         microvm(1), microvm(255), with_tpm(0x10000)),
                         [](const auto& board) {
                           const char* name = "PlainWith";
                           if (board.param.microvm) name = "MicrovmWith";
                           if (board.param.pci) name = ecam_base(board.param) ? "Q35With" : "PcWith";
                           return name + std::to_string(board.param.vcpus);
                         });

// ACPICA's interpreter, which is that of Linux, runs the methods of a q35.
class AcpiMethods : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/skerry-acpi-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    const Tables tables = build(q35(), kBase);
    for (const Tables::Part& part : tables.parts) {
      const auto bytes = bytes_of(tables, part);
      std::ofstream(folder_ / (part.signature + ".dat"), std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  // `commands` to ACPICA's debugger, parted by "\\n".
  std::string evaluate(const std::string& commands) const {
    const auto [output, status] =
        run("cd " + folder_.string() + " && printf '%b\\nquit\\n' '" + commands + "' | acpiexec DSDT.dat SSDT.dat");
    EXPECT_EQ(status, 0) << output;
    EXPECT_THAT(output, Not(HasSubstr("ACPI Error"))) << commands;
    EXPECT_THAT(output, Not(HasSubstr("ACPI Warning"))) << commands;
    return output;
  }
  std::filesystem::path folder_;
};

// (The table of the other model, with the link devices, is too large for the debugger's buffer.)
TEST_F(AcpiMethods, RouteInterruptsToTheIoApicIfTheGuestHasChosenIt) {
  const std::string output = evaluate("evaluate \\\\_PIC 1\\nevaluate \\\\_SB.PCI0._PRT");
  const auto entry = [](unsigned slot, unsigned pin) {
    return fmt::format(
        "[Integer] = {:016X}\n      [Integer] = {:016X}\n      [Integer] = {:016X}\n      [Integer] = {:016X}\n",
        slot << 16 | 0xffff, pin, 0, 20 + (slot + pin) % 4);
  };
  for (const unsigned slot : {0u, 1u, 2u, 30u, 31u})
    for (const unsigned pin : {0u, 1u, 2u, 3u}) EXPECT_THAT(output, HasSubstr(entry(slot, pin)));
}

TEST_F(AcpiMethods, SayWhereTheGenerationIdIs) {
  EXPECT_THAT(evaluate("evaluate \\\\_SB.VGEN.ADDR"), HasSubstr("[Integer] = 0000000007FDF028"));
}

TEST_F(AcpiMethods, GrantTheGuestPciExpress) {
  const auto ask = [this](const std::string& uuid, const std::string& revision, const std::string& dwords) {
    return evaluate("evaluate \\\\_SB.PCI0._OSC (" + uuid + ") " + revision + " 3 (" + dwords + ")");
  };
  const std::string pci = "5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66";
  EXPECT_THAT(ask(pci, "1", "00 00 00 00 1F 00 00 00 1F 00 00 00"), HasSubstr("00 00 00 00 1F 00 00 00 1F 00 00 00"));
  EXPECT_THAT(ask(pci, "1", "00 00 00 00 1F 00 00 00 3F 01 00 00"), HasSubstr("10 00 00 00 1F 00 00 00 3F 00 00 00"))
      << "what is not granted is masked, and said so";
  EXPECT_THAT(ask(pci, "2", "00 00 00 00 1F 00 00 00 1F 00 00 00"), HasSubstr("08 00 00 00 1F 00 00 00 1F 00 00 00"));
  EXPECT_THAT(ask("33 DB 4D 5B 1F F7 40 1C 96 57 74 41 C0 3D D7 66", "1", "00 00 00 00 1F 00 00 00 1F 00 00 00"),
              HasSubstr("04 00 00 00 1F 00 00 00 1F 00 00 00"))
      << "another UUID";
}

TEST_F(AcpiMethods, KnowTheLinksOfThe8259s) {
  // The debugger's registers read as 0: a PIRQ that leads to IRQ 0. An IRQ of 11 is set, and stays.
  const std::string output = evaluate(
      "evaluate \\\\_SB.PCI0.LPC.LNKF._SRS (89 06 00 09 01 0B 00 00 00 79 00)\\nevaluate "
      "\\\\_SB.PCI0.LPC.LNKF._STA");
  EXPECT_THAT(output, HasSubstr("[Integer] = 000000000000000B"));
}

}  // namespace
}  // namespace skerry::machine::acpi
