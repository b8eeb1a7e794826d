#include "devices/tpm/crb.hpp"

#include <gmock/gmock.h>

#include "unit/devices/fuzz_sessions.hpp"
#include "unit/devices/test_time.hpp"
#include "unit/state_test.hpp"

namespace skerry::devices::tpm {
namespace {

using Bytes = std::vector<uint8_t>;

// A TPM that does what the test says, when it says.
struct ScriptedBackend final : Backend {
  void connect(Events given) override { events = std::move(given); }
  void power_cycle() override {
    ++cycles;
    commands.clear();
  }
  void execute(Bytes command) override { commands.push_back(std::move(command)); }
  void cancel() override { ++cancels; }
  Result<void> finish() override { return ok(); }
  Result<State> state() override {
    if (mute) return error("it does not answer");
    return held;
  }
  Result<void> power_on(const State& state) override {
    if (mute) return error("it does not answer");
    held = state;
    return ok();
  }
  bool failed() const override { return dead; }
  bool established() const override { return launched; }

  void fail() {
    dead = true;
    events.failed("of a test");
  }

  Events events;
  std::vector<Bytes> commands;
  unsigned cycles = 0, cancels = 0;
  State held;
  bool dead = false, launched = false, mute = false;
};

struct CrbRig {
  static constexpr uint64_t kState = 0x00, kControl = 0x08, kStatus = 0x0c, kRequest = 0x40, kSts = 0x44, kCancel = 0x48, kStart = 0x4c,
                            kBuffer = 0x80;

  CrbRig() {
    EXPECT_TRUE(crb.attach(mmio));
    crb.reset();
  }
  bus::Device& device() { return crb; }
  uint64_t get(uint64_t at, unsigned size = 4) { return mmio.read(Crb::kBase + at, size); }
  void set(uint64_t at, uint64_t value, unsigned size = 4) { mmio.write(Crb::kBase + at, size, value); }
  void turn() { time.loop().poll(0); }

  void make_ready() {
    set(kControl, 1);
    set(kRequest, 1);
  }
  void put(const Bytes& bytes, unsigned size = 1) {
    for (size_t i = 0; i < bytes.size(); i += size) {
      uint64_t value = 0;
      for (size_t j = 0; j < size && i + j < bytes.size(); ++j) value |= uint64_t{bytes[i + j]} << (8 * j);
      set(kBuffer + i, value, size);
    }
  }
  Bytes response(size_t count) {
    Bytes bytes;
    for (size_t i = 0; i < count; ++i) bytes.push_back(static_cast<uint8_t>(get(kBuffer + i, 1)));
    return bytes;
  }
  void start(const Bytes& command) {
    put(command);
    set(kStart, 1);
    turn();
  }

  skerry::test::TestTime time;
  bus::AddressSpace mmio{"memory"};
  ScriptedBackend backend;
  Crb crb{time.loop(), backend};
};

Bytes command_of(uint32_t size, uint8_t filler = 0x77) {
  Bytes bytes(std::max<uint32_t>(size, kHeaderSize), filler);
  bytes[0] = 0x80;
  bytes[1] = 0x01;
  for (int i = 0; i < 4; ++i) bytes[static_cast<size_t>(2 + i)] = static_cast<uint8_t>(size >> (24 - 8 * i));
  return bytes;
}

TEST(Crb, SaysThatItIsACrbOfLocality0) {
  CrbRig rig;
  EXPECT_EQ(rig.get(0x30), 0xa'5811u);
  EXPECT_EQ(rig.get(0x30, 8), 0x1014'000a'5811u);
  EXPECT_EQ(rig.get(0x58), 3968u);
  EXPECT_EQ(rig.get(0x5c), 0xfed4'0080u);
  EXPECT_EQ(rig.get(0x64), 3968u);
  EXPECT_EQ(rig.get(0x68, 8), 0xfed4'0080u);
  EXPECT_EQ(rig.get(0x50, 8), 0u) << "no interrupts";
  EXPECT_EQ(rig.mmio.read(Crb::kBase + 0x1000, 4), 0xffff'ffffu) << "there is no other locality";
}

TEST(Crb, GrantsAndTakesBackTheLocality) {
  CrbRig rig;
  EXPECT_EQ(rig.get(CrbRig::kState), 0x81u);
  EXPECT_EQ(rig.get(CrbRig::kStatus), 0u);
  rig.set(CrbRig::kControl, 1);
  EXPECT_EQ(rig.get(CrbRig::kState), 0x83u);
  EXPECT_EQ(rig.get(CrbRig::kStatus), 1u);
  rig.set(CrbRig::kControl, 3);  // nonsense
  EXPECT_EQ(rig.get(CrbRig::kStatus), 1u);
  rig.set(CrbRig::kControl, 2);
  EXPECT_EQ(rig.get(CrbRig::kStatus), 0u);
  rig.backend.launched = true;
  EXPECT_EQ(rig.get(CrbRig::kState), 0x80u);
}

TEST(Crb, CarriesACommandAndItsAnswer) {
  CrbRig rig;
  EXPECT_EQ(rig.get(CrbRig::kSts), 2u);
  rig.make_ready();
  EXPECT_EQ(rig.get(CrbRig::kSts), 0u);
  EXPECT_EQ(rig.get(CrbRig::kRequest), 0u);
  rig.start(command_of(12));
  ASSERT_EQ(rig.backend.commands, std::vector<Bytes>{command_of(12)});
  EXPECT_EQ(rig.get(CrbRig::kStart), 1u);
  rig.put({1, 2, 3});
  rig.set(CrbRig::kRequest, 2);
  rig.set(CrbRig::kStart, 1);
  rig.turn();
  EXPECT_EQ(rig.backend.commands.size(), 1u);
  EXPECT_EQ(rig.response(12), command_of(12)) << "the buffer does not change under a command";
  const Bytes answer = command_of(30, 0x55);
  rig.backend.events.answered(answer);
  EXPECT_EQ(rig.get(CrbRig::kStart), 0u);
  EXPECT_EQ(rig.get(CrbRig::kSts), 0u) << "still ready";
  EXPECT_EQ(rig.response(30), answer);
  rig.start(command_of(14));
  EXPECT_EQ(rig.backend.commands.size(), 2u) << "drivers send one after the other";
  rig.backend.events.answered(answer);
  rig.set(CrbRig::kRequest, 2);
  EXPECT_EQ(rig.get(CrbRig::kSts), 2u);
  rig.start(command_of(14));
  EXPECT_EQ(rig.backend.commands.size(), 3u) << "SeaBIOS does not make it ready";
  EXPECT_EQ(rig.get(CrbRig::kSts), 0u);
}

TEST(Crb, TakesAccessesOfEverySize) {
  for (const unsigned size : {1u, 2u, 4u, 8u}) {
    CrbRig rig;
    rig.make_ready();
    Bytes command = command_of(3968);
    for (size_t i = kHeaderSize; i < command.size(); ++i) command[i] = static_cast<uint8_t>(i * 7);
    rig.put(command, size);
    rig.set(CrbRig::kStart, 1, std::min(size, 4u));
    rig.turn();
    ASSERT_EQ(rig.backend.commands, std::vector<Bytes>{command}) << size;
    EXPECT_EQ(rig.get(0xff8, 8), rig.get(0xff8, 4) | rig.get(0xffc, 4) << 32);
  }
  CrbRig rig;
  rig.set(0x7c, 0x1122'3344'5566'7788, 8);
  EXPECT_EQ(rig.get(0x80), 0x1122'3344u) << "across the beginning of the buffer";
  rig.set(0x09, 1, 1);
  rig.set(0x0a, 1, 2);
  EXPECT_EQ(rig.get(CrbRig::kStatus), 0u) << "not the first byte of a register";
}

TEST(Crb, DoesNothingForWhoHasNotTheLocality) {
  CrbRig rig;
  rig.set(CrbRig::kRequest, 1);
  EXPECT_EQ(rig.get(CrbRig::kSts), 2u);
  rig.make_ready();
  rig.set(CrbRig::kControl, 2);
  rig.start(command_of(12));
  EXPECT_TRUE(rig.backend.commands.empty());
  EXPECT_EQ(rig.get(CrbRig::kStart), 0u);
}

TEST(Crb, AnswersWhatCannotBeACommandItself) {
  for (const uint32_t size : {0u, 9u, 3969u, 0xffff'ffffu}) {
    CrbRig rig;
    rig.make_ready();
    rig.start([&] {
      Bytes bytes = command_of(kHeaderSize);
      for (int i = 0; i < 4; ++i) bytes[static_cast<size_t>(2 + i)] = static_cast<uint8_t>(size >> (24 - 8 * i));
      return bytes;
    }());
    EXPECT_TRUE(rig.backend.commands.empty()) << size;
    EXPECT_EQ(rig.get(CrbRig::kStart), 0u);
    EXPECT_EQ(rig.response(10), (Bytes{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x42}));
  }
}

TEST(Crb, AsksOnceForACancellation) {
  CrbRig rig;
  rig.make_ready();
  rig.set(CrbRig::kCancel, 1);
  rig.turn();
  EXPECT_EQ(rig.backend.cancels, 0u) << "nothing is under way";
  rig.set(CrbRig::kCancel, 0);
  rig.start(command_of(12));
  for (int i = 0; i < 3; ++i) {
    rig.set(CrbRig::kCancel, 1);
    EXPECT_EQ(rig.get(CrbRig::kCancel), 1u);
    rig.set(CrbRig::kCancel, 0);
  }
  rig.turn();
  EXPECT_EQ(rig.backend.cancels, 1u);
  EXPECT_EQ(rig.get(CrbRig::kStart), 1u) << "until it is answered";
}

TEST(Crb, AFailureIsForGood) {
  CrbRig rig;
  rig.make_ready();
  rig.start(command_of(12));
  rig.backend.fail();
  EXPECT_EQ(rig.get(CrbRig::kStart), 0u);
  EXPECT_EQ(rig.get(CrbRig::kSts), 1u);
  rig.start(command_of(12));
  EXPECT_EQ(rig.backend.commands.size(), 1u);
  EXPECT_EQ(rig.get(CrbRig::kStart), 0u);
  rig.crb.reset();
  EXPECT_EQ(rig.get(CrbRig::kSts), 3u);
  EXPECT_TRUE(rig.crb.prepare_save()) << "a VM whose TPM has failed can be saved";
}

TEST(Crb, AResetForgetsTheCommandUnderWay) {
  CrbRig rig;
  rig.make_ready();
  rig.put(command_of(12));
  rig.set(CrbRig::kStart, 1);
  rig.crb.reset();
  rig.turn();
  EXPECT_TRUE(rig.backend.commands.empty()) << "it had not gone out yet";
  EXPECT_EQ(rig.backend.cycles, 2u);
  EXPECT_EQ(rig.get(CrbRig::kStart), 0u);
  EXPECT_EQ(rig.get(CrbRig::kStatus), 0u);
  EXPECT_EQ(rig.response(12), Bytes(12)) << "the buffer is that of another guest now";
  rig.backend.events.answered(command_of(12));
  EXPECT_EQ(rig.response(12), Bytes(12)) << "an answer that nobody waits for";
}

TEST(Crb, TheBackendsStateIsPartOfTheSavedOne) {
  CrbRig rig;
  rig.backend.held.blobs[State::kPermanent] = {2, {1, 2, 3}};
  rig.backend.held.blobs[State::kVolatile] = {0, Bytes(9000, 7)};
  ASSERT_TRUE(rig.crb.prepare_save());
  const Bytes saved = skerry::test::save(rig.crb);
  CrbRig other;
  ASSERT_TRUE(skerry::test::load(other.crb, saved));
  ASSERT_TRUE(other.crb.give_state());
  EXPECT_EQ(other.backend.held, rig.backend.held);
}

TEST(Crb, ASaveAndARestoreFailWithTheBackend) {
  CrbRig rig;
  rig.backend.mute = true;
  EXPECT_FALSE(rig.crb.prepare_save());
  EXPECT_FALSE(rig.crb.give_state());
}

// Random accesses, and answers; at its end nothing is under way, as when a VM is saved.
skerry::test::Trace drive(CrbRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  for (int i = 0; i < 200; ++i) {
    switch (random() % 8) {
      case 0: rig.make_ready(); break;
      case 1: rig.set(random() % 0x80, random() % 4, 1u << random() % 4); break;
      case 2: rig.set(0x80 + random() % 0xf78, random(), 1u << random() % 4); break;
      case 3: rig.start(command_of(static_cast<uint32_t>(random() % 5000))); break;
      case 4: rig.set(CrbRig::kCancel, random() % 2); break;
      case 5: rig.set(CrbRig::kControl, random() % 4); break;
      default: break;
    }
    rig.turn();
    trace.push_back(rig.backend.commands.size());
    trace.push_back(rig.backend.cancels);
    for (uint64_t at = 0; at < 0x90; at += 8) trace.push_back(rig.get(at, 8));
    if (random() % 2) rig.backend.events.answered(command_of(static_cast<uint32_t>(10 + random() % 3900), static_cast<uint8_t>(random())));
  }
  rig.backend.events.answered(command_of(10));
  rig.backend.commands.clear();
  rig.backend.cancels = 0;
  for (size_t at = 0; at < kBufferSize; at += 8) trace.push_back(rig.get(0x80 + at, 8));
  return trace;
}

TEST(CrbState, Survives) { skerry::test::run_state_test<CrbRig>(8, drive); }

TEST(TpmFuzz, AHostileGuestAtTheRegisters) {
  skerry::test::sessions("TpmFuzz.AHostileGuestAtTheRegisters", [](skerry::test::Random& random) {
    CrbRig rig;
    for (int i = 0; i < 300; ++i) {
      rig.set(random() % 0x1000, random() % 3 ? random() % 4 : random(), 1u << random() % 4);
      if (random() % 3 == 0) rig.make_ready();
      if (random() % 4 == 0) rig.put(command_of(static_cast<uint32_t>(random() % 4000)));
      (void)rig.get(random() % 0x1000, 1u << random() % 4);
      if (random() % 4 == 0) rig.set(CrbRig::kStart, 1);
      if (random() % 2) rig.turn();
      if (random() % 4 == 0) rig.backend.events.answered(command_of(static_cast<uint32_t>(10 + random() % 3958)));
      if (random() % 50 == 0) rig.crb.reset();
      if (random() % 5000 == 0) rig.backend.fail();
      ASSERT_LE(rig.backend.commands.size(), 301u);
      if (rig.backend.commands.empty()) continue;
      const size_t size = rig.backend.commands.back().size();
      ASSERT_TRUE(size >= kHeaderSize && size <= kBufferSize);
    }
  });
}

}  // namespace
}  // namespace skerry::devices::tpm
