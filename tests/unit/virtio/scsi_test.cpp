#include "virtio/scsi.hpp"

#include <gtest/gtest.h>

#include "unit/state_test.hpp"
#include "unit/virtio/scsi_rig.hpp"

namespace skerry::virtio::test {
namespace {

constexpr unsigned kControl = 0, kRequests = 2;
constexpr uint8_t kOk = 0, kOverrun = 1, kAborted = 2, kBadTarget = 3, kWasReset = 4, kFailure = 9;
constexpr uint8_t kComplete = 0, kSucceeded = 10, kRejected = 11, kIncorrectLun = 12;
constexpr uint32_t kAbortTask = 0, kAbortTaskSet = 1, kClearAca = 2, kNexusReset = 4, kUnitReset = 5, kQueryTask = 6, kQueryTaskSet = 7;
constexpr uint8_t kSimple = 0, kOrdered = 1, kHead = 2, kAca = 3;
constexpr uint8_t kUntouched = 0xee;
const Bytes kTestUnitReady(6), kCachingPage = {0x1a, 0, 8, 0, 64, 0};
using Asked = std::vector<std::string>;

struct Answer {
  uint32_t sense_len, residual;
  uint8_t status, response;
  Bytes sense;  // key, code, qualifier; empty: none
};

class ScsiTest : public testing::Test {
 protected:
  void SetUp() override {
    EXPECT_EQ(run(0, kTestUnitReady).sense, (Bytes{6, 0x29, 0})) << "the unit attention of a reset";
    run(0, kCachingPage, {}, 64);
    disks.first.asked.clear();
  }

  // Makes a command available; gives where its answer will be. The data that comes in is in `data`.
  Buffer submit(unsigned target, const Bytes& cdb, const Bytes& out = {}, uint32_t in = 0, uint64_t id = 1, uint8_t attribute = kSimple) {
    return submit_to(lun_of(target), cdb, out, in, id, attribute);
  }
  Buffer submit_to(const Lun& lun, const Bytes& cdb, const Bytes& out, uint32_t in, uint64_t id = 1, uint8_t attribute = kSimple) {
    std::vector<Buffer> readable = {board.guest.put(command_bytes(lun, id, attribute, cdb))};
    if (!out.empty()) readable.push_back(board.guest.put(out));
    const Buffer answer = board.guest.put(Bytes(12 + 96, kUntouched));
    std::vector<Buffer> writable = {answer};
    if (in > 0) writable.push_back(data = board.guest.room(in));
    driver.ring(kRequests).add(readable, writable);
    driver.notify(kRequests);
    return answer;
  }
  bool answered(const Buffer& at) { return board.guest.bytes(at)[11] != kUntouched; }
  Answer answer(const Buffer& at) {
    const Bytes bytes = board.guest.bytes(at);
    Answer answer{.status = bytes[10], .response = bytes[11]};
    std::memcpy(&answer.sense_len, bytes.data(), 4);
    std::memcpy(&answer.residual, bytes.data() + 4, 4);
    if (answer.sense_len > 13) answer.sense = {static_cast<uint8_t>(bytes[14] & 15), bytes[24], bytes[25]};
    return answer;
  }
  // Does a command.
  Answer run(unsigned target, const Bytes& cdb, const Bytes& out = {}, uint32_t in = 0) {
    const Buffer at = submit(target, cdb, out, in);
    return wait(at);
  }
  Answer wait(const Buffer& at) {
    board.run_loop();
    const auto used = driver.ring(kRequests).take();
    EXPECT_TRUE(used) << "it did not come back; " << driver.transport.why;
    if (used) written = used->written;
    return answer(at);
  }
  Bytes received() { return board.guest.bytes(data); }
  // Makes a function available; gives where its answer will be.
  Buffer ask(uint32_t subtype, uint64_t id = 0, const Lun& lun = lun_of(0)) {
    const Buffer at = board.guest.put(Bytes{kUntouched});
    driver.ring(kControl).add({board.guest.put(function_bytes(subtype, lun, id))}, {at});
    driver.notify(kControl);
    return at;
  }
  uint8_t said(const Buffer& at) { return board.guest.bytes(at)[0]; }
  void let_go() {
    disks.first.hold = false;
    disks.first.release();
    board.run_loop();
  }

  PciBoard board{16 << 20};
  ScsiDisks disks;
  Scsi scsi{"scsi", *board.loop, board.guest.memory, disks.units(), {.queues = 2}};
  DirectDriver driver{scsi, board.guest, 0};
  Buffer data{};
  uint32_t written = 0;
};

TEST_F(ScsiTest, TheConfigurationTellsTheController) {
  EXPECT_EQ(config_field<uint32_t>(scsi, 0), 2u) << "queues of requests";
  EXPECT_EQ(config_field<uint32_t>(scsi, 4), 254u) << "seg_max";
  EXPECT_EQ(config_field<uint32_t>(scsi, 8), 16384u) << "max_sectors";
  EXPECT_EQ(config_field<uint32_t>(scsi, 16), 16u) << "event_info_size";
  EXPECT_EQ(config_field<uint32_t>(scsi, 20), 96u) << "sense_size";
  EXPECT_EQ(config_field<uint32_t>(scsi, 24), 32u) << "cdb_size";
  EXPECT_EQ(config_field<uint16_t>(scsi, 30), 1u) << "max_target";
  EXPECT_EQ(scsi.queue_sizes(), (std::vector<uint16_t>{64, 64, 256, 256}));
}

TEST_F(ScsiTest, ReadsIntoGuestMemory) {
  const Answer answer = run(0, read_10(3, 2), {}, 1024);
  EXPECT_EQ(answer.response, kOk);
  EXPECT_EQ(answer.status, 0);
  EXPECT_EQ(answer.residual, 0u);
  EXPECT_EQ(answer.sense_len, 0u);
  EXPECT_EQ(written, 108u + 1024);
  EXPECT_EQ(received()[511], block_byte(3));
  EXPECT_EQ(received()[512], block_byte(4));
  EXPECT_EQ(disks.first.asked, Asked{"read 1536+1024"});
}

TEST_F(ScsiTest, WritesAndFlushes) {
  EXPECT_EQ(run(0, write_10(5, 2), Bytes(1024, 0xab)).status, 0);
  EXPECT_EQ(written, 108u);
  EXPECT_EQ(run(0, write_10(9, 1, 1 << 3), Bytes(512, 0xac)).status, 0);
  EXPECT_EQ(run(0, cdb_10(0x35, 0, 0)).status, 0);
  EXPECT_EQ(disks.first.content[7 * 512 - 1], 0xab);
  EXPECT_EQ(disks.first.content[7 * 512], block_byte(7));
  EXPECT_EQ(disks.first.asked, (Asked{"write 2560+1024", "write fua 4608+512", "flush 0+0"}));
}

// 5.6.6.1: a request's parts may be cut as the driver likes.
TEST_F(ScsiTest, TheLayoutIsTheDrivers) {
  Bytes all = command_bytes(lun_of(0), 1, kSimple, write_10(1, 1));
  all.resize(51 + 512, 0x77);
  const Buffer answer_at = board.guest.put(Bytes(108, kUntouched));
  driver.ring(kRequests).add({board.guest.put(std::span(all).first(30)), board.guest.put(std::span(all).subspan(30))},
                             {{answer_at.address, 5}, {answer_at.address + 5, 103}});
  driver.notify(kRequests);
  EXPECT_EQ(wait(answer_at).response, kOk);
  EXPECT_EQ(disks.first.content[512], 0x77);
  EXPECT_EQ(disks.first.content[1023], 0x77);
}

TEST_F(ScsiTest, WhatIsLeftOfTheBufferIsTheResidual) {
  Answer answer = run(0, {0x12, 0, 0, 0, 96, 0}, {}, 96);
  EXPECT_EQ(answer.residual, 60u);
  EXPECT_EQ(written, 108u + 36);
  EXPECT_EQ(received()[7], 2) << "commands are queued";
  answer = run(0, read_10(0, 1), {}, 4096);
  EXPECT_EQ(answer.residual, 4096u - 512);
  EXPECT_EQ(run(0, kTestUnitReady, {}, 77).residual, 77u);
  EXPECT_EQ(run(0, write_10(0, 1), Bytes(1000, 1)).residual, 488u);
}

TEST_F(ScsiTest, WithoutRoomForTheDataNothingIsMoved) {
  EXPECT_EQ(run(0, read_10(0, 2), {}, 1023).response, kOverrun);
  EXPECT_EQ(run(0, write_10(0, 2), Bytes(1023)).response, kOverrun);
  EXPECT_EQ(run(0, write_10(0, 1), {}, 512).response, kOverrun) << "the other way";
  EXPECT_EQ(run(0, read_10(0, 1), Bytes(512)).response, kOverrun);
  EXPECT_EQ(run(0, read_10(0, 1), Bytes(512), 512).response, kFailure) << "both ways are not offered";
  EXPECT_TRUE(disks.first.asked.empty());
}

TEST_F(ScsiTest, SenseComesWithTheStatusAndOnce) {
  const uint32_t end = ScsiDisks::kSize / 512;
  Answer answer = run(0, read_10(end - 1, 2), {}, 1024);
  EXPECT_EQ(answer.response, kOk);
  EXPECT_EQ(answer.status, 2);
  EXPECT_EQ(answer.sense_len, 18u);
  EXPECT_EQ(answer.sense, (Bytes{5, 0x21, 0}));
  EXPECT_EQ(answer.residual, 1024u);
  EXPECT_EQ(run(0, {3, 0, 0, 0, 18, 0}, {}, 18).status, 0);
  EXPECT_EQ(received()[2], 0);
  EXPECT_EQ(run(0, {0xc7}).sense, (Bytes{5, 0x20, 0}));
  disks.first.error = EIO;
  EXPECT_EQ(run(0, read_10(0, 1), {}, 512).sense, (Bytes{3, 0x11, 0}));
  EXPECT_EQ(run(0, write_10(0, 1), Bytes(512)).sense, (Bytes{3, 3, 0}));
  disks.first.error = ENOSPC;
  EXPECT_EQ(run(0, write_10(0, 1), Bytes(512)).sense, (Bytes{7, 0x27, 7}));
  run(1, kTestUnitReady);
  EXPECT_EQ(run(1, write_10(0, 1), Bytes(512)).sense, (Bytes{7, 0x27, 0})) << "read-only";
}

TEST_F(ScsiTest, TheDriverChoosesTheSizes) {
  const auto set = [&](uint32_t offset, uint32_t value) {
    std::array<uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &value, 4);
    scsi.write_config(offset, bytes);
  };
  set(20, 4);
  set(24, 10);
  set(24, 1000);  // makes no sense
  set(0, 7);      // is not the driver's
  EXPECT_EQ(config_field<uint32_t>(scsi, 0), 2u);
  EXPECT_EQ(config_field<uint32_t>(scsi, 24), 10u);
  Bytes bytes = command_bytes(lun_of(0), 1, kSimple, {0xc7});
  bytes.resize(19 + 10);
  const Buffer at = board.guest.put(Bytes(12 + 4 + 2, kUntouched));
  driver.ring(kRequests).add({board.guest.put(bytes)}, {at});
  driver.notify(kRequests);
  EXPECT_EQ(wait(at).sense_len, 4u);
  EXPECT_EQ(board.guest.bytes(at)[12], 0x70);
  EXPECT_EQ(board.guest.bytes(at)[16], kUntouched);
}

TEST_F(ScsiTest, OnlyLunZeroOfTheTargetsIsThere) {
  EXPECT_EQ(run(2, kTestUnitReady).response, kBadTarget);
  EXPECT_EQ(wait(submit_to({0xc1, 1, 0, 0, 0, 0, 0, 0}, kTestUnitReady, {}, 0)).response, kBadTarget);
  EXPECT_EQ(wait(submit_to({1, 0, 0x80, 0, 0, 0, 0, 0}, kTestUnitReady, {}, 0)).response, kBadTarget);
  EXPECT_EQ(wait(submit_to({1, 0, 0, 0, 0, 0, 0, 1}, kTestUnitReady, {}, 0)).response, kBadTarget);
  EXPECT_EQ(wait(submit_to({1, 0, 0, 0, 0, 0, 0, 0}, kTestUnitReady, {}, 0)).status, 0) << "either way of addressing";

  const Lun other = lun_of(0, 3);
  EXPECT_EQ(wait(submit_to(other, kTestUnitReady, {}, 0)).sense, (Bytes{5, 0x25, 0}));
  EXPECT_EQ(wait(submit_to(other, {0x12, 0, 0, 0, 36, 0}, {}, 36)).status, 0);
  EXPECT_EQ(received()[0], 0x7f);
  for (const Lun& lun : {lun_of(0), other}) {
    EXPECT_EQ(wait(submit_to(lun, {0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, {}, 64)).residual, 48u);
    EXPECT_EQ(received()[3], 8) << "one unit";
    EXPECT_EQ(wait(submit_to(lun, {0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 64, 0, 0}, {}, 64)).residual, 56u) << "no well-known ones";
  }
}

TEST_F(ScsiTest, ManyAtOnceEndInAnyOrderWithOneInterrupt) {
  disks.first.hold = true;
  std::vector<Buffer> answers;
  for (unsigned i = 0; i < 10; ++i) answers.push_back(submit(0, read_10(i, 1), {}, 512, i));
  EXPECT_EQ(disks.first.waiting(), 10u);
  driver.transport.interrupts.clear();
  disks.first.release(true);
  for (const Buffer& at : answers) EXPECT_EQ(answer(at).status, 0);
  EXPECT_TRUE(driver.transport.interrupts.empty()) << "not before the turn of the loop ends";
  board.run_loop();
  EXPECT_EQ(driver.transport.interrupts[kRequests], 1u);
}

TEST_F(ScsiTest, OrderedTasksWaitForThoseBeforeAndHoldThoseBehind) {
  disks.first.hold = true;
  submit(0, read_10(0, 1), {}, 512, 1);
  submit(0, write_10(1, 1), Bytes(512), 0, 2, kOrdered);
  submit(0, read_10(2, 1), {}, 512, 3);
  EXPECT_EQ(disks.first.asked, Asked{"read 0+512"});
  submit(0, read_10(3, 1), {}, 512, 4, kHead);
  EXPECT_EQ(disks.first.asked, (Asked{"read 0+512", "read 1536+512"})) << "the head of the queue overtakes";
  disks.first.release();
  EXPECT_EQ(disks.first.asked.back(), "write 512+512");
  EXPECT_EQ(disks.first.waiting(), 1u);
  disks.first.release();
  EXPECT_EQ(disks.first.asked.back(), "read 1024+512");
  let_go();
  EXPECT_EQ(driver.ring(kRequests).take_all().size(), 4u);
  EXPECT_EQ(wait(submit(0, kTestUnitReady, {}, 0, 1, kAca)).sense, (Bytes{0x0b, 0x49, 0})) << "there is no such condition";
}

// As many as fit, each of which ends at once.
TEST_F(ScsiTest, ManyTasksBehindOneAreNoRecursion) {
  disks.first.hold = true;
  submit(0, read_10(0, 1), {}, 512, 0, kOrdered);
  for (unsigned i = 0; i < 20; ++i) submit(0, kTestUnitReady, {}, 0, i + 1, i % 3 ? kSimple : kOrdered);
  board.run_loop();
  EXPECT_EQ(driver.ring(kRequests).take_all().size(), 0u);
  let_go();
  EXPECT_EQ(driver.ring(kRequests).take_all().size(), 21u);
}

TEST_F(ScsiTest, AnAbortWaitsForWhatIsUnderWay) {
  disks.first.hold = true;
  const Buffer runs = submit(0, read_10(0, 1), {}, 512, 7), other = submit(0, read_10(1, 1), {}, 512, 8);
  EXPECT_EQ(said(ask(kQueryTask, 7)), kSucceeded);
  EXPECT_EQ(said(ask(kQueryTask, 9)), kComplete);
  const Buffer function = ask(kAbortTask, 7);
  board.run_loop();
  EXPECT_EQ(said(function), kUntouched);
  EXPECT_FALSE(answered(runs));
  EXPECT_EQ(said(ask(kQueryTask, 7)), kComplete) << "it is not there any more";
  let_go();
  EXPECT_EQ(said(function), kComplete);
  EXPECT_EQ(answer(runs).response, kAborted);
  EXPECT_EQ(answer(other).response, kOk);
  EXPECT_EQ(said(ask(kAbortTask, 7)), kComplete) << "SAM-5, 7.2: of what has ended, too";
}

TEST_F(ScsiTest, AnAbortEndsWhatHasNotBegunAtOnce) {
  disks.first.hold = true;
  const Buffer runs = submit(0, read_10(0, 1), {}, 512, 1);
  const Buffer ordered = submit(0, write_10(1, 1), Bytes(512), 0, 2, kOrdered), behind = submit(0, read_10(2, 1), {}, 512, 3);
  EXPECT_EQ(said(ask(kAbortTask, 2)), kComplete);
  EXPECT_EQ(answer(ordered).response, kAborted);
  EXPECT_FALSE(answered(runs));
  EXPECT_EQ(disks.first.waiting(), 2u) << "what waited for it goes on";
  const Buffer function = ask(kAbortTaskSet);
  EXPECT_EQ(said(function), kUntouched);
  let_go();
  EXPECT_EQ(said(function), kComplete);
  EXPECT_EQ(answer(runs).response, kAborted);
  EXPECT_EQ(answer(behind).response, kAborted);
  for (const std::string& asked : disks.first.asked) EXPECT_EQ(asked.find("write"), asked.npos);
}

TEST_F(ScsiTest, AResetOfAUnitIsToldAsAttention) {
  disks.first.hold = true;
  const Buffer runs = submit(0, read_10(0, 1), {}, 512, 1);
  const Buffer function = ask(kUnitReset), again = ask(kNexusReset);
  EXPECT_EQ(said(ask(kQueryTaskSet)), kComplete) << "all of them are doomed";
  let_go();
  EXPECT_EQ(said(function), kComplete);
  EXPECT_EQ(said(again), kComplete);
  EXPECT_EQ(answer(runs).response, kWasReset);
  driver.ring(kRequests).take_all();
  EXPECT_EQ(run(0, kTestUnitReady).sense, (Bytes{6, 0x29, 0}));
  EXPECT_EQ(run(0, kTestUnitReady).status, 0);
}

TEST_F(ScsiTest, FunctionsThatCannotBe) {
  EXPECT_EQ(said(ask(kUnitReset, 0, lun_of(2))), kBadTarget);
  EXPECT_EQ(said(ask(kUnitReset, 0, lun_of(0, 1))), kIncorrectLun);
  EXPECT_EQ(said(ask(kClearAca)), kRejected);
  EXPECT_EQ(said(ask(99)), kRejected);
  const Buffer none = board.guest.put(Bytes{kUntouched});
  driver.ring(kControl).add({board.guest.put(Bytes(23))}, {none});
  driver.ring(kControl).add({board.guest.put(Bytes(3))}, {none});
  driver.ring(kControl).add({board.guest.put(function_bytes(kUnitReset, lun_of(0), 0))}, {});
  driver.notify(kControl);
  board.run_loop();
  EXPECT_EQ(driver.ring(kControl).take_all().size(), 7u) << "all come back";
  EXPECT_EQ(driver.transport.why, "");
}

TEST_F(ScsiTest, ThereAreNoNotifications) {
  Bytes query = {1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0};
  const Buffer at = board.guest.put(Bytes(5, kUntouched));
  for (const uint8_t type : {1, 2}) {
    query[0] = type;
    driver.ring(kControl).add({board.guest.put(query)}, {at});
    driver.notify(kControl);
    EXPECT_EQ(board.guest.bytes(at), Bytes(5)) << "none, and that is well";
  }
}

TEST_F(ScsiTest, ARequestWithoutRoomForTheAnswerComesBack) {
  const Buffer small = board.guest.put(Bytes(107, kUntouched));
  const Buffer command = board.guest.put(command_bytes(lun_of(0), 1, kSimple, write_10(0, 1)));
  driver.ring(kRequests).add({command}, {small});
  driver.ring(kRequests).add({{command.address, 50}}, {board.guest.room(200)});
  driver.ring(kRequests).add({command}, {});
  driver.ring(kRequests).add({}, {small});
  driver.notify(kRequests);
  board.run_loop();
  EXPECT_EQ(driver.ring(kRequests).take_all().size(), 4u);
  EXPECT_FALSE(answered(small));
  EXPECT_TRUE(disks.first.asked.empty());
}

TEST_F(ScsiTest, ABrokenRingIsTold) {
  driver.ring(3).make_available(999);
  driver.notify(3);
  EXPECT_NE(driver.transport.why.find("queue 3"), std::string::npos);
}

TEST_F(ScsiTest, AtRestNothingIsUnderWay) {
  disks.first.hold = true;
  const Buffer runs = submit(0, read_10(0, 1), {}, 512, 1), ordered = submit(0, write_10(1, 1), Bytes(512), 0, 2, kOrdered);
  const Buffer function = ask(kAbortTask, 1);
  bool at_rest = false;
  scsi.quiesce([&] { at_rest = true; });
  const Buffer late = submit(0, read_10(2, 1), {}, 512);
  board.run_loop();
  EXPECT_FALSE(at_rest);
  let_go();
  EXPECT_TRUE(at_rest);
  EXPECT_EQ(answer(runs).response, kAborted);
  EXPECT_EQ(said(function), kComplete);
  EXPECT_EQ(answer(ordered).response, kOk) << "what was taken is done";
  EXPECT_FALSE(answered(late));
  scsi.resume();
  driver.notify(kRequests);
  board.run_loop();
  EXPECT_EQ(answer(late).response, kOk);
}

TEST_F(ScsiTest, AResetWaitsForTheDiskAndTellsNobody) {
  disks.first.hold = true;
  const Buffer runs = submit(0, read_10(0, 1), {}, 512, 1), waits = submit(0, write_10(1, 1), Bytes(512, 1), 0, 2, kOrdered);
  const Buffer function = ask(kAbortTask, 1);
  board.loop->post([&] { disks.first.release(); });
  driver.ring(kRequests).take_all();
  driver.deactivate();
  EXPECT_EQ(disks.first.waiting(), 0u);
  EXPECT_FALSE(answered(runs));
  EXPECT_FALSE(answered(waits));
  EXPECT_EQ(said(function), kUntouched);
  EXPECT_FALSE(driver.ring(kRequests).take());
  EXPECT_EQ(disks.first.content[512], block_byte(1)) << "what had not begun does not";
}

// --- behind its registers --------------------------------------------------------------------------------------------

struct ScsiFunction : PciBoard {
  ScsiFunction() {
    auto created = PciTransport::create(scsi, {.loop = LoopThread::kCaller});
    EXPECT_TRUE(created);
    transport = std::move(*created);
    EXPECT_TRUE(host.root().add(*transport, 3));
  }
  bus::Device& device() { return *transport; }
  void follow(ScsiFunction& other) {
    PciBoard::follow(other);
    disks.first.content = other.disks.first.content;
  }
  ScsiDisks disks;
  Scsi scsi{"scsi", *loop, guest.memory, disks.units(), {.queues = 1}};
  std::unique_ptr<PciTransport> transport;
};

// Commands at random, with a driver that goes on or begins anew; then the function is brought to rest, as a save finds it.
skerry::test::Trace drive(ScsiFunction& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.transport->resume();
  rig.run_loop();
  PciDriver driver(rig, 3);
  trace.push_back(driver.device_config<uint32_t>(20));
  trace.push_back(driver.device_config<uint32_t>(24));
  driver.start(random() & (feature::kRingPacked | feature::kRingEventIdx), 16);
  const Buffer header = {0x1000, 51}, answer = {0x2000, 108}, data = {0x3000, 1024};
  const Bytes commands[] = {kTestUnitReady, read_10(3, 2), kCachingPage, {3, 0, 0, 0, 18, 0}, {0xc7}, {0x12, 0, 0, 0, 36, 0}, read_10(511, 9)};
  for (int i = 0; i < 40; ++i) {
    const Bytes bytes = command_bytes(lun_of(random() % 3, random() % 8 == 0), i, random() % 4, commands[random() % std::size(commands)]);
    rig.guest.memory.write(header.address, std::as_bytes(std::span(bytes)));
    driver.ring(kRequests).add({header}, {answer, data});
    driver.notify(kRequests);
    const auto used = driver.ring(kRequests).take();
    trace.push_back(used ? used->written : ~0u);
    for (const uint8_t byte : rig.guest.bytes(answer)) trace.push_back(byte);
  }
  rig.transport->quiesce([] {});
  rig.run_loop();
  return trace;
}

TEST(ScsiState, SurvivesSaveAndLoad) { skerry::test::run_state_test<ScsiFunction>(30, drive); }

}  // namespace
}  // namespace skerry::virtio::test
