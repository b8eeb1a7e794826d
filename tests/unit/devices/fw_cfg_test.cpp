#include <gmock/gmock.h>

#include "unit/devices/fw_cfg_rig.hpp"

namespace skerry::devices {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint16_t kFirst = 0x20, kAddress = 0x21, kLarge = 0x22;

TEST(FwCfg, IsFoundByItsSignatureAndSaysThatItHasDma) {
  FwCfgRig rig;
  rig.select(0);
  EXPECT_EQ(rig.data(4), "QEMU");
  EXPECT_EQ(rig.data(1), std::string(1, '\0')) << "zeroes beyond the end";
  rig.select(1);
  EXPECT_EQ(rig.data(4), std::string("\x03\0\0\0", 4));
  EXPECT_EQ(rig.in(0x514, 4), 0x554d4551u) << "QEMU, in the order of bytes";
  EXPECT_EQ(rig.in(0x518, 4), 0x47464320u) << " CFG";
  EXPECT_EQ(rig.in(0x515), 'E');
}

TEST(FwCfg, ListsItsFilesInTheDirectory) {
  FwCfgRig rig;
  rig.select(0x19);
  EXPECT_EQ(rig.data(4), std::string("\0\0\0\3", 4));
  EXPECT_EQ(rig.data(8), std::string("\0\0\0\5\0\x20\0\0", 8)) << "5 bytes, key 0x20";
  EXPECT_EQ(rig.data(56), "etc/first" + std::string(47, '\0'));
  EXPECT_EQ(rig.data(8), std::string("\0\0\0\x8\0\x21\0\0", 8));
}

TEST(FwCfg, SelectingAnItemStartsAtItsFirstByte) {
  FwCfgRig rig;
  rig.select(kFirst);
  EXPECT_EQ(rig.data(2), "he");
  rig.select(kFirst | 0x4000);
  EXPECT_EQ(rig.data(5), "hello") << "the bit that asks for writing does not belong to the number";
  rig.select(0x1234);
  EXPECT_EQ(rig.data(2), std::string(2, '\0')) << "of items that are not there zeroes are read";
}

TEST(FwCfg, IgnoresAccessesOfTheWrongSizeAndWritesOfData) {
  FwCfgRig rig;
  rig.select(kFirst);
  rig.out(0x510, 0x01, 1);
  rig.out(0x511, 'J', 1);
  EXPECT_EQ(rig.in(0x510, 2), 0u);
  EXPECT_EQ(rig.data(5), "hello");
}

TEST(FwCfg, DmaSelectsAndReadsInOneOperation) {
  FwCfgRig rig;
  EXPECT_EQ(rig.dma_of(kFirst, kRead, 5), 0u);
  EXPECT_EQ(rig.text(FwCfgRig::kBuffer, 5), "hello");
  EXPECT_EQ(rig.dma_of(kFirst, kSkip, 3), 0u);
  EXPECT_EQ(rig.dma(kRead, 2), 0u);
  EXPECT_EQ(rig.text(FwCfgRig::kBuffer, 5), "lollo") << "read from where the skip had led to";
  EXPECT_EQ(rig.dma_of(kLarge, kRead, 5000), 0u);
  EXPECT_EQ(rig.text(FwCfgRig::kBuffer, 5000), std::string(5000, 'x'));
}

TEST(FwCfg, DmaBeyondTheEndReadsZeroesAndSkipsNoFurther) {
  FwCfgRig rig;
  EXPECT_TRUE(rig.memory.fill(FwCfgRig::kBuffer, 16, 0xee));
  EXPECT_EQ(rig.dma_of(kFirst, kRead, 8), 0u);
  EXPECT_EQ(rig.text(FwCfgRig::kBuffer, 9), std::string("hello\0\0\0\xee", 9));
  EXPECT_EQ(rig.dma_of(kFirst, kSkip, 0xffffffff), 0u);
  EXPECT_EQ(rig.dma(kSkip, 0xffffffff), 0u);
  EXPECT_EQ(rig.dma(kRead, 1), 0u);
  EXPECT_EQ(rig.text(FwCfgRig::kBuffer, 1), std::string(1, '\0'));
  EXPECT_EQ(rig.dma_of(0x3abc, kRead, 2), 0u) << "an item that is not there";
}

TEST(FwCfg, DmaTakesDescriptorsAbove4GiBAtOddAddressesAndOnlyOnce) {
  FwCfgRig rig;
  ASSERT_TRUE(rig.memory.add_ram(4 * GiB, 64 * KiB, "high"));
  rig.put_descriptor(kSelect | kRead | kFirst << 16, 5, FwCfgRig::kBuffer, 4 * GiB + 0x101);
  rig.start(4 * GiB + 0x101);
  EXPECT_EQ(rig.text(FwCfgRig::kBuffer, 5), "hello");
  EXPECT_TRUE(rig.memory.fill(FwCfgRig::kBuffer, 5, 0));
  EXPECT_EQ(rig.dma_of(kFirst, kRead, 4), 0u) << "the upper half is 0 again after an operation";
  EXPECT_EQ(rig.text(FwCfgRig::kBuffer, 4), "hell");
}

TEST(FwCfg, DmaThatCannotBeDoneSetsTheErrorBit) {
  FwCfgRig rig;
  EXPECT_EQ(rig.dma_of(kFirst, kRead, 5, FwCfgRig::kRam), kError) << "no memory";
  EXPECT_EQ(rig.dma_of(kFirst, kRead, 5, FwCfgRig::kRom), kError) << "ROM";
  EXPECT_EQ(rig.dma_of(kFirst, kRead, 5, ~uint64_t{0} - 2), kError) << "over the end of the address space";
  EXPECT_EQ(rig.dma_of(kFirst, kRead, 0xffffffff), kError) << "longer than an operation may be";
  EXPECT_EQ(rig.dma_of(kFirst, kRead, 2 * MiB), kError) << "zeroes that reach beyond memory";
  EXPECT_EQ(rig.dma_of(kFirst, kWrite, 5), kError) << "not writable";
  EXPECT_EQ(rig.dma_of(0x3abc, kWrite, 0), kError) << "no item";
  rig.start(0x5000'0000);  // a descriptor where no memory is: nobody can be told
  rig.put_descriptor(kRead, 1, 0, FwCfgRig::kRam - 8);
  rig.start(FwCfgRig::kRam - 8);  // one that memory ends in
  rig.start(FwCfgRig::kRom);
  EXPECT_TRUE(rig.told.empty());
}

TEST(FwCfg, WritesStayInTheItemAndAreTold) {
  FwCfgRig rig;
  const Bytes address = {1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE(rig.memory.write(FwCfgRig::kBuffer, std::as_bytes(std::span(address))));
  EXPECT_EQ(rig.dma_of(kAddress, kWrite, 9), kError) << "items do not grow";
  EXPECT_EQ(rig.dma_of(kAddress, kWrite, 8, FwCfgRig::kRam), kError) << "nothing to be read there";
  EXPECT_TRUE(rig.told.empty());
  EXPECT_EQ(rig.dma_of(kAddress, kWrite, 8), 0u);
  EXPECT_EQ(rig.dma_of(kAddress, kSkip, 6), 0u);
  EXPECT_EQ(rig.dma(kWrite, 3), kError);
  EXPECT_EQ(rig.dma(kWrite, 2), 0u);
  EXPECT_THAT(rig.told, ElementsAre(address, Bytes{1, 2, 3, 4, 5, 6, 1, 2}));
  rig.select(kAddress);
  EXPECT_EQ(rig.data(8), "\1\2\3\4\5\6\1\2");
  rig.fw_cfg.reset();
  rig.select(kAddress);
  EXPECT_EQ(rig.data(8), std::string(8, '\0')) << "a reset undoes what the guest has written";
}

TEST(FwCfg, RefusesWhatItCannotShow) {
  FwCfgRig rig;
  EXPECT_THAT(rig.fw_cfg.add_file("etc/first", {}).error().message(), HasSubstr("already"));
  EXPECT_THAT(rig.fw_cfg.add_file(std::string(56, 'a'), {}).error().message(), HasSubstr("55"));
  EXPECT_FALSE(rig.fw_cfg.add_file("", {}));
  EXPECT_FALSE(rig.fw_cfg.add_file("a b", {}));
  EXPECT_TRUE(rig.fw_cfg.add_file(std::string(55, 'a'), {}));
  EXPECT_THAT(rig.fw_cfg.add_file("huge", Bytes(FwCfg::kMaxItemSize + 1)).error().message(), HasSubstr("16 MiB"));
  EXPECT_FALSE(rig.fw_cfg.add_item(0, {1})) << "the signature's";
  EXPECT_FALSE(rig.fw_cfg.add_item(0x4005, {1}));
  EXPECT_FALSE(rig.fw_cfg.add_item(0x20, {1})) << "a file's";
  Result<void> added;
  unsigned files = 4;
  for (; added && files <= FwCfg::kMaxFiles; ++files) added = rig.fw_cfg.add_file("f" + std::to_string(files), {});
  EXPECT_EQ(files, FwCfg::kMaxFiles + 1);
  EXPECT_THAT(added.error().message(), HasSubstr("no room"));
}

TEST(FwCfg, AFileCanBeReplacedByOneOfItsSize) {
  FwCfgRig rig;
  EXPECT_TRUE(rig.fw_cfg.replace_file("etc/first", bytes("later")));
  rig.select(kFirst);
  EXPECT_EQ(rig.data(5), "later");
  EXPECT_FALSE(rig.fw_cfg.replace_file("etc/first", bytes("longer")));
  EXPECT_FALSE(rig.fw_cfg.replace_file("etc/address", Bytes(8)));
  EXPECT_FALSE(rig.fw_cfg.replace_file("etc/none", {}));
}

skerry::test::Trace drive(FwCfgRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.told.clear();
  constexpr uint16_t kKeys[] = {0, 1, 5, 0x19, kFirst, kAddress, kAddress, kLarge, 0x99, 0x8002};
  for (int i = 0; i < 100; ++i) {
    const uint16_t key = kKeys[random() % std::size(kKeys)];
    const uint32_t length = static_cast<uint32_t>(random() % (random() % 2 ? 10 : 6000));
    switch (random() % 5) {
      case 0:
        rig.select(key);
        break;
      case 1:
        trace.push_back(rig.in(static_cast<uint16_t>(0x510 + random() % 12), 1u << random() % 3));
        break;
      case 2:
        rig.out(0x514, static_cast<uint32_t>(random() & 1), 4);
        break;
      case 3: {  // an operation, of the selected item
        const uint64_t source = random();
        (void)rig.memory.write(FwCfgRig::kBuffer, std::as_bytes(std::span(&source, 1)));
        trace.push_back(rig.dma(1u << (1 + random() % 4), length));
        break;
      }
      default:
        trace.push_back(rig.dma_of(key, random() & 0x17, length));
        trace.push_back(rig.memory.load<uint64_t>(FwCfgRig::kBuffer).value());
        break;
    }
  }
  for (const Bytes& content : rig.told) trace.insert(trace.end(), content.begin(), content.end());
  return trace;
}

// Memory is no part of a device's state: both rigs start each drive from the same.
skerry::test::Trace drive_from_clean_memory(FwCfgRig& rig, std::mt19937_64& random) {
  EXPECT_TRUE(rig.memory.fill(0, FwCfgRig::kRam, 0));
  return drive(rig, random);
}

TEST(FwCfg, StateSurvivesAndRandomAccessesAreHarmless) {
  skerry::test::run_state_test<FwCfgRig>(20, drive_from_clean_memory);
}

}  // namespace
}  // namespace skerry::devices
