#include "machine/smbios.hpp"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>

#include "base/units.hpp"

namespace skerry::machine::smbios {
namespace {

using testing::HasSubstr;
using testing::Not;

Info some_machine() {
  Info info;
  for (size_t i = 0; i < info.uuid.size(); ++i) info.uuid[i] = static_cast<uint8_t>(0x11 * (i % 15 + 1));
  info.serial = "skerry-1";
  info.processor = "host";
  info.vcpus = 3;
  info.low_memory = 0xb0000000;
  info.high_memory = 8 * GiB - 0xb0000000;
  return info;
}

unsigned sum(std::span<const uint8_t> bytes) { return std::accumulate(bytes.begin(), bytes.end(), 0u) & 0xff; }

template <typename T>
T at(const Bytes& bytes, size_t offset) {
  T value;
  std::memcpy(&value, &bytes.at(offset), sizeof value);
  return value;
}

// Needs `dmidecode`: what it says about a dump, whose format is the entry point, and the structures at 32.
std::string decoded(const Info& info, bool newer) {
  const Bytes table = structures(info);
  Bytes dump = newer ? entry_point_3_0(table, 32) : entry_point_2_8(table, 32);
  dump.resize(32);
  dump.insert(dump.end(), table.begin(), table.end());
  char name[] = "/tmp/skerry-dmi-XXXXXX";
  const int fd = ::mkstemp(name);
  EXPECT_GE(fd, 0);
  std::ofstream(name, std::ios::binary)
      .write(reinterpret_cast<const char*>(dump.data()), static_cast<std::streamsize>(dump.size()));
  std::string output;
  FILE* pipe = ::popen((std::string("PATH=$PATH:/usr/sbin dmidecode --from-dump ") + name + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer;
  while (const size_t got = pipe ? ::fread(buffer.data(), 1, buffer.size(), pipe) : 0)
    output.append(buffer.data(), got);
  if (pipe) {
    EXPECT_EQ(::pclose(pipe), 0) << output;
  }
  ::close(fd);
  std::filesystem::remove(name);
  return output;
}

TEST(Smbios, EntryPointsAddUpAndSayWhereTheStructuresAre) {
  const Bytes table = structures(some_machine());
  const Bytes old_form = entry_point_2_8(table, 0xf0040), new_form = entry_point_3_0(table, 0x1'0000'0040);
  ASSERT_EQ(old_form.size(), 31u);
  EXPECT_EQ(std::memcmp(old_form.data(), "_SM_", 4), 0);
  EXPECT_EQ(sum(old_form), 0u);
  EXPECT_EQ(sum(std::span(old_form).subspan(16)), 0u);
  EXPECT_EQ(at<uint16_t>(old_form, 22), table.size());
  EXPECT_EQ(at<uint32_t>(old_form, 24), 0xf0040u);
  EXPECT_EQ(at<uint16_t>(old_form, 28), 10u);
  ASSERT_EQ(new_form.size(), 24u);
  EXPECT_EQ(std::memcmp(new_form.data(), "_SM3_", 5), 0);
  EXPECT_EQ(sum(new_form), 0u);
  EXPECT_EQ(at<uint64_t>(new_form, 16), 0x1'0000'0040u);
}

TEST(Smbios, TheImageHasBothEntryPointsWhereGuestsLook) {
  const Bytes all = image(some_machine());
  EXPECT_EQ(std::memcmp(&all[0], "_SM_", 4), 0);
  EXPECT_EQ(std::memcmp(&all[0x20], "_SM3_", 5), 0);
  EXPECT_EQ(at<uint32_t>(all, 24), kAddress + 0x40);
  EXPECT_EQ(at<uint64_t>(all, 0x20 + 16), kAddress + 0x40);
  EXPECT_EQ(Bytes(all.begin() + 0x40, all.end()), structures(some_machine()));
}

TEST(Smbios, DmidecodeReadsItWithoutComplaint) {
  for (const bool newer : {false, true}) {
    const std::string text = decoded(some_machine(), newer);
    for (const char* complaint : {"nvalid", "OUT OF SPEC", "Bad", "roken", "Wrong", "truncated", "<"})
      EXPECT_THAT(text, Not(HasSubstr(complaint))) << text;
    EXPECT_THAT(text, HasSubstr(newer ? "SMBIOS 3.0.0 present" : "SMBIOS 2.8 present"));
    EXPECT_THAT(text, HasSubstr("Manufacturer: Skerry\n\tProduct Name: q35-1\n"));
    EXPECT_THAT(text, HasSubstr("Serial Number: skerry-1"));
    EXPECT_THAT(text, HasSubstr("UUID: 11223344-5566-7788-99aa-bbccddeeff11"));
    EXPECT_THAT(text, HasSubstr("System is a virtual machine"));
    EXPECT_THAT(text, HasSubstr("Core Count: 3"));
    EXPECT_THAT(text, HasSubstr("Size: 8 GB"));
    EXPECT_THAT(text, HasSubstr("Maximum Capacity: 8 GB"));
    EXPECT_THAT(text, HasSubstr("Starting Address: 0x00100000000"));
    EXPECT_THAT(text, HasSubstr("End Of Table"));
  }
}

TEST(Smbios, MemoryOfAnySizeIsSaidInItsUnit) {
  const auto with = [](uint64_t memory) {
    Info info = some_machine();
    info.low_memory = std::min<uint64_t>(memory, 0xb0000000);
    info.high_memory = memory - info.low_memory;
    return decoded(info, false);
  };
  EXPECT_THAT(with(2 * MiB + 4 * KiB), HasSubstr("Size: 2052 kB"));
  EXPECT_THAT(with(512 * MiB), HasSubstr("Size: 512 MB"));
  EXPECT_THAT(with(31 * GiB), HasSubstr("Size: 31 GB"));
  EXPECT_THAT(with(1023 * GiB), HasSubstr("Size: 1023 GB"));
}

TEST(Smbios, StringsAreCutAndPrintable) {
  Info info = some_machine();
  info.serial = std::string(500, 's') + "\n";
  info.product = "a\nb";
  const std::string text = decoded(info, true);
  EXPECT_THAT(text, HasSubstr(std::string(64, 's') + "\n"));
  EXPECT_THAT(text, HasSubstr("Product Name: a?b\n"));
  info.serial.clear();
  info.vcpus = 255;
  EXPECT_THAT(decoded(info, true), HasSubstr("Core Count: 255"));
  EXPECT_LT(image(info).size(), 4096u);
}

}  // namespace
}  // namespace skerry::machine::smbios
