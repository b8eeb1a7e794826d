#include "virtio/block.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <thread>

#include "unit/state_test.hpp"
#include "unit/virtio/memory_node.hpp"
#include "unit/virtio/pci_driver.hpp"

namespace skerry::virtio::test {
namespace {

constexpr uint64_t kFlush = 1 << 9, kConfigWce = 1 << 11;
constexpr uint32_t kIn = 0, kOut = 1, kFlushRequest = 4, kGetId = 8, kDiscard = 11, kWriteZeroes = 13;
constexpr uint8_t kOk = 0, kIoErr = 1, kUnsupported = 2, kUntouched = 0xee;
constexpr size_t kSize = 256 * 1024;
using Asked = std::vector<std::string>;

class BlockTest : public testing::Test {
 protected:
  void start(uint64_t features, Block::Options options = {.serial = "disk-1", .queues = 2}) {
    driver.reset();
    block = std::make_unique<Block>("blk", *board.loop, board.guest.memory, node, std::move(options));
    driver = std::make_unique<DirectDriver>(*block, board.guest, features);
  }
  void SetUp() override {
    for (size_t i = 0; i < kSize; ++i) node.content[i] = static_cast<uint8_t>(i / 512);
    start(kFlush);
  }

  static Bytes header(uint32_t type, uint64_t sector) {
    Bytes bytes(16);
    for (int i = 0; i < 4; ++i) bytes[i] = static_cast<uint8_t>(type >> (8 * i));
    for (int i = 0; i < 8; ++i) bytes[8 + i] = static_cast<uint8_t>(sector >> (8 * i));
    return bytes;
  }
  static Bytes segment(uint64_t sector, uint32_t sectors, uint32_t flags = 0) {
    Bytes bytes = header(sectors, 0);
    std::rotate(bytes.begin(), bytes.begin() + 8, bytes.end());
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(sector >> (8 * i));
    for (int i = 0; i < 4; ++i) bytes[8 + i] = static_cast<uint8_t>(sectors >> (8 * i));
    for (int i = 0; i < 4; ++i) bytes[12 + i] = static_cast<uint8_t>(flags >> (8 * i));
    return bytes;
  }
  // Makes a request available; gives where its status will be.
  Buffer submit(uint32_t type, uint64_t sector, const Bytes& out, const std::vector<Buffer>& in, unsigned queue = 0) {
    std::vector<Buffer> readable = {board.guest.put(header(type, sector))};
    if (!out.empty()) readable.push_back(board.guest.put(out));
    std::vector<Buffer> writable = in;
    const Buffer status = board.guest.put(Bytes{kUntouched});
    writable.push_back(status);
    driver->ring(queue).add(readable, writable);
    driver->notify(queue);
    return status;
  }
  uint8_t status(const Buffer& at) { return board.guest.bytes(at)[0]; }
  // Does a request; gives its status.
  uint8_t request(uint32_t type, uint64_t sector, const Bytes& out = {}, const std::vector<Buffer>& in = {}) {
    const Buffer at = submit(type, sector, out, in);
    board.run_loop();
    const auto used = driver->ring(0).take();
    EXPECT_TRUE(used) << "it did not come back; " << driver->transport.why;
    if (used) written = used->written;
    return status(at);
  }

  PciBoard board;
  MemoryNode node{kSize};
  std::unique_ptr<Block> block;
  std::unique_ptr<DirectDriver> driver;
  uint32_t written = 0;
};

TEST_F(BlockTest, TheConfigurationTellsTheDisk) {
  EXPECT_EQ(config_field<uint64_t>(*block, 0), kSize / 512);
  EXPECT_EQ(config_field<uint32_t>(*block, 12), 254u);
  EXPECT_EQ(config_field<uint32_t>(*block, 20), 512u);
  EXPECT_EQ(config_field<uint8_t>(*block, 24), 3u) << "eight sectors in a page";
  EXPECT_EQ(config_field<uint16_t>(*block, 34), 2u);
  EXPECT_EQ(config_field<uint32_t>(*block, 40), 16u);
  EXPECT_EQ(block->queue_sizes(), (std::vector<uint16_t>{256, 256}));
}

TEST_F(BlockTest, ReadsGoIntoAllPartsOfTheRequest) {
  const Buffer first = board.guest.room(700), second = board.guest.room(836);
  board.guest.memory.clear_dirty();
  EXPECT_EQ(request(kIn, 3, {}, {first, second}), kOk);
  EXPECT_EQ(written, 1537u);
  EXPECT_EQ(board.guest.bytes(first), [] {
    Bytes expected(512, 3);
    expected.resize(700, 4);
    return expected;
  }());
  EXPECT_EQ(board.guest.bytes(second)[835], 5);
  EXPECT_TRUE(board.guest.memory.dirty(second.address));
  EXPECT_EQ(node.asked, Asked{"read 1536+1536"});
}

TEST_F(BlockTest, WritesReachTheDisk) {
  EXPECT_EQ(request(kOut, 5, Bytes(1024, 0xab)), kOk);
  EXPECT_EQ(written, 1u);
  EXPECT_EQ(node.content[5 * 512 - 1], 4);
  EXPECT_EQ(node.content[5 * 512], 0xab);
  EXPECT_EQ(node.content[7 * 512 - 1], 0xab);
  EXPECT_EQ(node.content[7 * 512], 7);
  EXPECT_EQ(request(kFlushRequest, 0), kOk);
  EXPECT_EQ(node.asked, (Asked{"write 2560+1024", "flush 0+0"}));
}

TEST_F(BlockTest, TheHeaderMayBeInOnePieceWithTheData) {
  Bytes all = header(kOut, 1);
  all.resize(16 + 512, 0x77);
  const Buffer at = board.guest.put(Bytes{kUntouched});
  driver->ring(0).add({board.guest.put(std::span(all).first(7)), board.guest.put(std::span(all).subspan(7))}, {at});
  driver->notify(0);
  EXPECT_EQ(status(at), kOk);
  EXPECT_EQ(node.content[512], 0x77);
}

TEST_F(BlockTest, WithoutFlushWritesAreStableAtOnce) {
  start(0);
  EXPECT_EQ(request(kOut, 0, Bytes(512, 1)), kOk);
  EXPECT_EQ(request(kWriteZeroes, 0, segment(0, 1)), kOk);
  EXPECT_EQ(node.asked, (Asked{"write fua 0+512", "zero 0+512", "flush 0+0"}));
}

TEST_F(BlockTest, TheDriverSwitchesTheWriteCache) {
  start(kFlush | kConfigWce);
  request(kOut, 0, Bytes(512, 1));
  block->write_config(32, Bytes{0});
  EXPECT_EQ(config_field<uint8_t>(*block, 32), 0);
  request(kOut, 0, Bytes(512, 1));
  EXPECT_EQ(node.asked, (Asked{"write 0+512", "write fua 0+512"}));
}

TEST_F(BlockTest, TheSerialIsGiven) {
  const Buffer id = board.guest.room(20);
  EXPECT_EQ(request(kGetId, 0, {}, {id}), kOk);
  const Bytes bytes = board.guest.bytes(id);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data())), "disk-1");
  EXPECT_EQ(request(kGetId, 0, {}, {board.guest.room(8)}), kIoErr);
}

TEST_F(BlockTest, RangesAreDiscardedAndZeroed) {
  Bytes two = segment(2, 1);
  const Bytes second = segment(4, 2);
  two.insert(two.end(), second.begin(), second.end());
  EXPECT_EQ(request(kDiscard, 0, two), kOk);
  EXPECT_EQ(request(kWriteZeroes, 0, segment(4, 2, 1)), kOk);
  EXPECT_EQ(node.content[4 * 512], 0);
  EXPECT_EQ(node.asked, (Asked{"discard 1024+512", "discard 2048+1024", "zero unmap 2048+1024"}));
}

TEST_F(BlockTest, WhatIsNotOnTheDiskIsRefused) {
  const uint64_t sectors = kSize / 512;
  EXPECT_EQ(request(kIn, sectors, {}, {board.guest.room(512)}), kIoErr);
  EXPECT_EQ(request(kIn, sectors - 1, {}, {board.guest.room(1024)}), kIoErr);
  EXPECT_EQ(request(kIn, ~uint64_t{0}, {}, {board.guest.room(512)}), kIoErr);
  EXPECT_EQ(request(kIn, uint64_t{1} << 55, {}, {board.guest.room(512)}), kIoErr);
  EXPECT_EQ(request(kOut, sectors, Bytes(512)), kIoErr);
  EXPECT_EQ(request(kIn, 0, {}, {board.guest.room(511)}), kIoErr);
  EXPECT_EQ(request(kOut, 0, Bytes(513)), kIoErr);
  EXPECT_EQ(request(kDiscard, 0, segment(sectors - 1, 2)), kIoErr);
  EXPECT_EQ(request(kDiscard, 0, segment(~uint64_t{0}, 2)), kIoErr);
  EXPECT_EQ(request(kDiscard, 0, Bytes(15)), kIoErr);
  EXPECT_EQ(request(kDiscard, 0, {}), kIoErr);
  EXPECT_EQ(request(kDiscard, 0, Bytes(16 * 17)), kIoErr);
  EXPECT_EQ(request(kDiscard, 0, segment(0, 1, 1)), kUnsupported);
  EXPECT_EQ(request(kWriteZeroes, 0, segment(0, 1, 2)), kUnsupported);
  EXPECT_EQ(request(77, 0), kUnsupported);
  EXPECT_TRUE(node.asked.empty());
}

TEST_F(BlockTest, RequestsKeepToTheAlignmentOfTheNode) {
  node.limits_.request_alignment = 4096;
  start(kFlush);
  EXPECT_EQ(config_field<uint32_t>(*block, 20), 4096u);
  EXPECT_EQ(request(kIn, 8, {}, {board.guest.room(4096)}), kOk);
  EXPECT_EQ(request(kIn, 1, {}, {board.guest.room(4096)}), kIoErr);
  EXPECT_EQ(request(kIn, 8, {}, {board.guest.room(512)}), kIoErr);
}

TEST_F(BlockTest, AReadOnlyDiskIsNotWritten) {
  start(kFlush, {.read_only = true});
  EXPECT_TRUE(block->features() & 1 << 5);
  EXPECT_EQ(request(kOut, 0, Bytes(512)), kIoErr);
  EXPECT_EQ(request(kDiscard, 0, segment(0, 1)), kIoErr);
  EXPECT_EQ(request(kWriteZeroes, 0, segment(0, 1)), kIoErr);
  EXPECT_TRUE(node.asked.empty());
  EXPECT_EQ(request(kIn, 0, {}, {board.guest.room(512)}), kOk);
}

TEST_F(BlockTest, ErrorsOfTheDiskAreTold) {
  node.error = EIO;
  EXPECT_EQ(request(kIn, 0, {}, {board.guest.room(512)}), kIoErr);
  EXPECT_EQ(request(kFlushRequest, 0), kIoErr);
  node.error = ENOTSUP;
  EXPECT_EQ(request(kWriteZeroes, 0, segment(0, 1)), kUnsupported);
}

TEST_F(BlockTest, ARequestWithoutHeaderOrStatusComesBack) {
  const Buffer at = board.guest.put(Bytes{kUntouched});
  driver->ring(0).add({board.guest.put(Bytes(15))}, {at});
  driver->ring(0).add({board.guest.put(header(kOut, 0))}, {});
  driver->ring(0).add({}, {board.guest.room(100)});
  driver->notify(0);
  EXPECT_EQ(driver->ring(0).take_all().size(), 3u);
  EXPECT_EQ(status(at), kIoErr);
  EXPECT_TRUE(node.asked.empty());
}

TEST_F(BlockTest, ManyAtOnceEndInAnyOrderWithOneInterrupt) {
  node.hold = true;
  std::vector<Buffer> answers;
  for (unsigned i = 0; i < 10; ++i) answers.push_back(submit(kIn, i, {}, {board.guest.room(512)}, i % 2));
  EXPECT_EQ(node.waiting(), 10u);
  node.release(true);
  for (const Buffer& answer : answers) EXPECT_EQ(status(answer), kOk);
  EXPECT_TRUE(driver->transport.interrupts.empty()) << "not before the turn of the loop ends";
  board.run_loop();
  EXPECT_EQ(driver->transport.interrupts[0], 1u);
  EXPECT_EQ(driver->transport.interrupts[1], 1u);
}

// Else two threads would be busy with each request: the vCPU's would take it, and then wake the loop's.
TEST_F(BlockTest, AfterWhatTheLoopHadToGoOnWithItIsAskedAtOnceForAWhile) {
  const Buffer data = board.guest.room(512);
  std::thread io([&] { board.loop->run(); });
  const auto borrow = [&](const std::function<void()>& work) {
    while (!board.loop->borrow_turn(work)) std::this_thread::yield();
  };
  borrow([&] { submit(kIn, 0, {}, {data}); });
  EXPECT_TRUE(block->prompt());
  node.hold = true;
  borrow([&] { submit(kIn, 0, {}, {data}); });
  unsigned not_borrowed = 0;
  while (!block->prompt()) ASSERT_LT(++not_borrowed, 100u);
  EXPECT_GT(not_borrowed, 4u);
  node.hold = false;
  borrow([&] { node.release(); });
  board.loop->quit();
  io.join();
}

TEST_F(BlockTest, ALargeRequestIsLeftToTheLoop) {
  std::thread io([&] { board.loop->run(); });
  Buffer answer;
  while (!board.loop->borrow_turn([&] {
    const Buffer large = board.guest.room(128 * 1024);
    answer = submit(kIn, 0, {}, {large});
    EXPECT_TRUE(node.asked.empty());
  }))
    std::this_thread::yield();
  while (!board.loop->borrow_turn([&] { EXPECT_EQ(status(answer), kOk); })) std::this_thread::yield();
  EXPECT_FALSE(block->prompt());
  board.loop->quit();
  io.join();
  bool at_rest = false;
  block->quiesce([&] { at_rest = true; });
  EXPECT_TRUE(at_rest);
}

// Who has many requests under way is better served by the loop; whether it is so is seen there only.
TEST_F(BlockTest, TheLoopIsTriedNowAndThenAndStaysWhereItFindsSeveral) {
  const auto borrowed_in_row = [&] {
    unsigned count = 0;
    while (block->prompt() && count < 10000) ++count;
    return count;
  };
  const auto loops_in_row = [&] {
    unsigned count = 1;
    while (!block->prompt()) ++count;
    return count;
  };
  EXPECT_LT(borrowed_in_row(), 1000u);
  const unsigned tried = loops_in_row();
  borrowed_in_row();
  const Buffer first = board.guest.room(512), second = board.guest.room(512);
  submit(kIn, 0, {}, {first});
  EXPECT_EQ(loops_in_row(), tried) << "one at a time";
  borrowed_in_row();
  driver->ring(0).add({board.guest.put(header(kIn, 0))}, {first, board.guest.put(Bytes{kUntouched})});
  driver->ring(0).add({board.guest.put(header(kIn, 0))}, {second, board.guest.put(Bytes{kUntouched})});
  driver->notify(0);
  EXPECT_GT(loops_in_row(), 2 * tried);
}

TEST_F(BlockTest, ABrokenRingIsTold) {
  driver->ring(1).make_available(999);
  driver->notify(1);
  EXPECT_NE(driver->transport.why.find("queue 1"), std::string::npos);
}

TEST_F(BlockTest, AtRestNothingIsUnderWay) {
  node.hold = true;
  const Buffer first = submit(kIn, 0, {}, {board.guest.room(512)});
  bool at_rest = false;
  block->quiesce([&] { at_rest = true; });
  const Buffer second = submit(kIn, 1, {}, {board.guest.room(512)});
  board.run_loop();
  EXPECT_FALSE(at_rest);
  node.hold = false;
  node.release();
  board.run_loop();
  EXPECT_TRUE(at_rest);
  EXPECT_EQ(status(first), kOk);
  EXPECT_EQ(status(second), kUntouched);
  EXPECT_EQ(driver->transport.interrupts[0], 1u) << "the driver is told before the rest";
  block->resume();
  driver->notify(0);
  EXPECT_EQ(status(second), kOk);
}

TEST_F(BlockTest, AResetWaitsForTheDiskAndTellsNobody) {
  node.hold = true;
  const Buffer answer = submit(kIn, 0, {}, {board.guest.room(512)});
  board.loop->post([&] { node.release(); });
  driver->deactivate();
  EXPECT_EQ(node.waiting(), 0u);
  EXPECT_EQ(status(answer), kUntouched);
  EXPECT_FALSE(driver->ring(0).take());
}

// --- behind its registers --------------------------------------------------------------------------------------------

struct BlockRig : PciBoard {
  BlockRig() {
    auto created = PciTransport::create(block, {.loop = LoopThread::kCaller});
    EXPECT_TRUE(created);
    transport = std::move(*created);
    EXPECT_TRUE(host.root().add(*transport, 3));
  }
  bus::Device& device() { return *transport; }
  void follow(BlockRig& other) {
    PciBoard::follow(other);
    node.content = other.node.content;
  }
  MemoryNode node{kSize};
  Block block{"blk", *loop, guest.memory, node, {.serial = "x", .queues = 2}};
  std::unique_ptr<PciTransport> transport;
};

// Reads and writes at random, with a driver that begins anew; then the function is brought to rest, as a save finds it.
skerry::test::Trace drive(BlockRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.transport->resume();
  rig.run_loop();
  PciDriver driver(rig, 3);
  trace.push_back(driver.device_config<uint8_t>(32));
  const uint64_t features = random() & (kFlush | kConfigWce | feature::kRingPacked | feature::kRingEventIdx);
  driver.start(features, 16);
  if (random() % 2) driver.write(driver.capabilities[pci_layout::VIRTIO_PCI_CAP_DEVICE_CFG].address + 32, 1, 0);
  const Buffer data = {0x1000, 512}, header = {0x2000, 16}, status = {0x3000, 1};
  for (int i = 0; i < 50; ++i) {
    rig.guest.memory.store<uint32_t>(header.address, random() % 3);
    rig.guest.memory.store<uint64_t>(header.address + 8, random() % 140);
    const unsigned queue = random() % 2;
    driver.ring(queue).add({header}, {data, status});
    driver.notify(queue);
    const auto used = driver.ring(queue).take();
    trace.push_back(used ? used->written : ~0u);
    trace.push_back(rig.guest.bytes(status)[0]);
  }
  rig.transport->quiesce([] {});
  rig.run_loop();
  return trace;
}

TEST(BlockState, SurvivesSaveAndLoad) { skerry::test::run_state_test<BlockRig>(30, drive); }

}  // namespace
}  // namespace skerry::virtio::test
