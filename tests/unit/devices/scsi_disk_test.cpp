// A SCSI disk, without a transport.
#include "devices/scsi/disk.hpp"

#include <gtest/gtest.h>

#include "state/stream.hpp"
#include "unit/virtio/memory_node.hpp"

namespace skerry::devices::scsi {
namespace {

using Bytes = std::vector<uint8_t>;
using Asked = std::vector<std::string>;
using virtio::test::MemoryNode;

struct Rig {
  explicit Rig(bool read_only = false) : node(256 * 1024, read_only) {
    std::fill(node.content.begin(), node.content.end(), uint8_t{0x11});
    disk.take_sense();
    run({0x00});
    run({0x1a, 0, 8, 0, 64});  // it knows of the cache
  }
  // Does a command, with this data for it, and gives what comes.
  Bytes run(const Cdb& cdb, Bytes data = {}) {
    Command command = disk.begin(cdb);
    if (command.to_host()) data.resize(command.size);
    EXPECT_TRUE(command.failed || command.work == Command::Work::kNone || data.size() == command.size);
    spawn(go_on(command, data));
    failed = command.failed;
    return failed || !command.to_host() ? Bytes{} : data;
  }
  Task<void> go_on(Command& command, Bytes& data) {
    const iovec where{data.data(), data.size()};
    if ((command.to_host() || command.from_host()) && !data.empty()) co_await disk.move(command, 0, std::span(&where, 1));
    if (!command.failed) co_await disk.finish(command);
  }
  // Why a command fails: key, code, qualifier.
  Bytes why(const Cdb& cdb, Bytes data = {}) {
    run(cdb, std::move(data));
    EXPECT_TRUE(failed);
    const Sense sense = disk.take_sense();
    return {sense.key, sense.asc, sense.ascq};
  }
  MemoryNode node;
  Disk disk{"disk", node, {.serial = "serial", .queueing = true}};
  bool failed = false;
};

// WRITE SAME (16) and (10).
Cdb same_16(uint8_t flags, uint32_t first, uint32_t count) {
  return {0x93, flags, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(first >> 8), static_cast<uint8_t>(first),
          static_cast<uint8_t>(count >> 24), static_cast<uint8_t>(count >> 16), static_cast<uint8_t>(count >> 8), static_cast<uint8_t>(count)};
}
Cdb same_10(uint8_t flags, uint16_t first, uint16_t count) {
  return {0x41, flags, 0, 0, static_cast<uint8_t>(first >> 8), static_cast<uint8_t>(first), 0, static_cast<uint8_t>(count >> 8),
          static_cast<uint8_t>(count)};
}
constexpr uint8_t kUnmap = 1 << 3, kAnchor = 1 << 4, kNoData = 1;

TEST(ScsiDisk, SaysWhatItCan) {
  Rig rig;
  EXPECT_EQ(rig.run({0x12, 1, 0, 0, 255}), (Bytes{0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2}));
  EXPECT_EQ(rig.run({0x12, 1, 0xb2, 0, 255})[5], 1 << 7 | 1 << 6 | 1 << 5) << "UNMAP, WRITE SAME of both lengths";
  const Bytes limits = rig.run({0x12, 1, 0xb0, 0, 255});
  EXPECT_EQ(limits[4], 1) << "WSNZ";
  EXPECT_EQ((Bytes{limits.begin() + 36, limits.begin() + 44}), (Bytes{0, 0, 0, 0, 0, 2, 0, 0}));
  EXPECT_EQ(rig.run({0x1a, 8, 0x0a, 0, 64}), (Bytes{15, 0, 0x10, 0, 0x0a, 10, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0})) << "in any order";
  EXPECT_EQ(rig.run({0x12, 0, 0, 0, 36})[7], 2);
  Rig closed(true);
  EXPECT_EQ(closed.run({0x12, 1, 0xb2, 0, 255})[5], 0);
}

TEST(ScsiDisk, WritesZeroesTheSameAndUnmapsThem) {
  Rig rig;
  rig.node.asked.clear();
  rig.run(same_16(0, 2, 3), Bytes(512));
  rig.run(same_16(kUnmap, 8, 4), Bytes(512));
  rig.run(same_16(kUnmap | kNoData, 20, 1));
  rig.run(same_10(kUnmap, 30, 1), Bytes(512));
  EXPECT_EQ(rig.node.asked, (Asked{"zero 1024+1536", "zero unmap 4096+2048", "zero unmap 10240+512", "zero unmap 15360+512"}));
  EXPECT_EQ(rig.node.content[2 * 512], 0);
  EXPECT_EQ(rig.node.content[5 * 512], 0x11);
}

TEST(ScsiDisk, WritesABlockAgainAndAgain) {
  Rig rig;
  rig.node.asked.clear();
  Bytes block(512);
  for (size_t i = 0; i < 512; ++i) block[i] = static_cast<uint8_t>(i);
  rig.run(same_16(kUnmap, 1, 300), block);
  EXPECT_EQ(rig.node.asked, (Asked{"write 512+65536", "write 66048+65536", "write 131584+22528"}));
  EXPECT_EQ(rig.node.content[511], 0x11);
  for (size_t i = 512; i < 301 * 512; ++i) ASSERT_EQ(rig.node.content[i], static_cast<uint8_t>(i)) << i;
  EXPECT_EQ(rig.node.content[301 * 512], 0x11);
}

TEST(ScsiDisk, WhatIsWrittenTheSameIsStableForWhoKnowsNoCache) {
  Rig rig;
  rig.disk.reset();
  rig.run({0x00});
  rig.node.asked.clear();
  rig.run(same_16(0, 0, 1), Bytes(512));
  EXPECT_EQ(rig.node.asked, (Asked{"zero 0+512", "flush 0+0"}));
}

TEST(ScsiDisk, RefusesToWriteTheSameWhereItCannot) {
  Rig rig;
  rig.node.asked.clear();
  EXPECT_EQ(rig.why(same_16(0, 0, 0), Bytes(512)), (Bytes{5, 0x24, 0})) << "up to the end has to be said";
  EXPECT_EQ(rig.why(same_16(0, 0, 0x20001), Bytes(512)), (Bytes{5, 0x24, 0})) << "more than is told in the limits";
  EXPECT_EQ(rig.why(same_16(kAnchor, 0, 1), Bytes(512)), (Bytes{5, 0x24, 0}));
  EXPECT_EQ(rig.why(same_16(0, 511, 2), Bytes(512)), (Bytes{5, 0x21, 0}));
  EXPECT_TRUE(rig.node.asked.empty());
  rig.node.error = ENOSPC;
  EXPECT_EQ(rig.why(same_16(0, 0, 1), Bytes(512)), (Bytes{7, 0x27, 7}));
  EXPECT_EQ(rig.why(same_16(0, 0, 500), Bytes(512, 1)), (Bytes{7, 0x27, 7}));
  Rig closed(true);
  EXPECT_EQ(closed.why(same_16(0, 0, 1), Bytes(512)), (Bytes{7, 0x27, 0}));
}

// Saved between command and data, as USB may be.
TEST(ScsiDisk, ACommandUnderWaySurvivesSaveAndLoad) {
  Rig rig;
  Command command = rig.disk.begin(same_16(kUnmap, 8, 4));
  state::Saver saver;
  command.describe(saver);
  Command copy;
  state::Loader loader(saver.data());
  copy.describe(loader);
  ASSERT_TRUE(loader.finish());
  Bytes zeroes(512);
  spawn(rig.go_on(copy, zeroes));
  EXPECT_FALSE(copy.failed);
  EXPECT_EQ(rig.node.asked.back(), "zero unmap 4096+2048");
}

// Such commands are only in a state that somebody has made.
TEST(ScsiDisk, WhateverAStateSaysItStaysOnTheDisk) {
  Rig rig;
  rig.node.asked.clear();
  for (const uint32_t repeats : {0u, 1u, ~0u})
    for (const uint64_t offset : {uint64_t{0}, uint64_t{1} << 60, ~uint64_t{0}})
      for (const size_t size : {0u, 100u, 512u}) {
        if (repeats == 1 && offset == 0 && size != 100) continue;
        Command command{.work = Command::Work::kTake, .code = 0x93, .repeats = repeats, .offset = offset};
        command.data.resize(size);
        spawn([](Disk& disk, Command& of) -> Task<void> { co_await disk.finish(of); }(rig.disk, command));
        EXPECT_TRUE(command.failed);
      }
  EXPECT_TRUE(rig.node.asked.empty());
}

}  // namespace
}  // namespace skerry::devices::scsi
