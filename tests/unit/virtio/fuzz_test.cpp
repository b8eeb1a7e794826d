// Hostile drivers: random rings, descriptors, registers and states. Nothing may crash, hang, leave memory or the disk;
// after a reset the same function works for an honest driver. tests/fuzz/virtio/run gives it more time.
//
// SKERRY_SEED chooses the sessions, SKERRY_FUZZ_MS how long they go on. A session is told by the seed in the message.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "unit/state_test.hpp"
#include "unit/virtio/memory_node.hpp"
#include "unit/virtio/mmio_driver.hpp"
#include "unit/virtio/pci_driver.hpp"
#include "virtio/block.hpp"
#include "virtio/entropy.hpp"

namespace skerry::virtio::test {
namespace {

using Random = std::mt19937_64;
using namespace pci_layout;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

// Sessions with seeds that follow each other, for the time that there is; at least a few.
template <typename Session>
void sessions(Session session) {
  const uint64_t seed = from_environment("SKERRY_SEED", 1);
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(from_environment("SKERRY_FUZZ_MS", 300));
  uint64_t count = 0;
  std::printf("SKERRY_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  while (count < 5 || std::chrono::steady_clock::now() < end) {
    const uint64_t own = seed * 1'000'003 + count++;
    SCOPED_TRACE("session " + std::to_string(own));
    Random random(own);
    session(random);
    if (::testing::Test::HasFailure()) return;
  }
  std::printf("%llu sessions\n", static_cast<unsigned long long>(count));
}

bool one_in(Random& random, unsigned n) { return random() % n == 0; }

// Numbers that matter more often than others.
uint64_t interesting(Random& random) {
  switch (random() % 6) {
    case 0:
      return random() % 4;
    case 1:
      return (uint64_t{1} << random() % 64) - random() % 2;
    case 2:
      return ~uint64_t{0} - random() % 64;
    case 3:
      return random() % 0x10000;
    default:
      return random() >> random() % 64;
  }
}

// A descriptor at `at`, mostly with a buffer in memory.
void write_descriptor(Guest& guest, Random& random, Gpa at, bool packed) {
  const uint64_t size = guest.memory.ram_size();
  const uint64_t address = one_in(random, 10) ? interesting(random) : random() % size;
  const uint32_t length = one_in(random, 10) ? static_cast<uint32_t>(interesting(random)) : 16 * (random() % 40);
  const auto flags =
      static_cast<uint16_t>(one_in(random, 12) ? random() : (random() & 7) | (packed ? random() & 0x8080 : 0));
  const auto other = static_cast<uint16_t>(random() % 20);
  guest.memory.store<uint64_t>(at, address);
  guest.memory.store<uint32_t>(at + 8, length);
  guest.memory.store<uint16_t>(at + 12, packed ? other : flags);
  guest.memory.store<uint16_t>(at + 14, packed ? flags : other);
}

void disturb_ring(Guest& guest, Random& random, const Queue::Setup& setup, bool packed) {
  if (setup.size == 0) return;
  switch (random() % 4) {
    case 0:
      guest.memory.store<uint16_t>(setup.driver + 2 * (random() % (3 + setup.size)),
                                   static_cast<uint16_t>(random() % 20));
      break;
    case 1:  // as if something were available
      guest.memory.store<uint16_t>(
          setup.driver + 2, static_cast<uint16_t>(guest.memory.load<uint16_t>(setup.driver + 2).value_or(0) + 1));
      break;
    default:
      write_descriptor(guest, random, setup.descriptors + 16 * (random() % setup.size), packed);
      break;
  }
}

// --- rings -----------------------------------------------------------------------------------------------------------

void expect_sound(const Guest& guest, const Chain& chain, uint16_t size) {
  uint64_t readable = 0, writable = 0;
  for (const Buffer& buffer : chain.readable) readable += buffer.length;
  for (const Buffer& buffer : chain.writable) writable += buffer.length;
  EXPECT_EQ(readable, chain.readable_size);
  EXPECT_EQ(writable, chain.writable_size);
  EXPECT_GE(chain.descriptors, 1);
  EXPECT_LE(chain.descriptors, size);
  for (const auto* part : {&chain.readable, &chain.writable})
    for (const Buffer& buffer : *part)
      EXPECT_TRUE(buffer.length > 0 && buffer.address < guest.memory.ram_size() &&
                  buffer.length <= guest.memory.ram_size() - buffer.address);
}

void ring_session(Guest& guest, Random& random) {
  const uint64_t features = random() & (feature::kRingPacked | feature::kRingEventIdx | feature::kRingIndirectDesc);
  const bool packed = features & feature::kRingPacked;
  const auto size = static_cast<uint16_t>(1u << random() % 5);
  Queue::Setup setup{.size = size, .descriptors = 0x1000, .driver = 0x2000, .device = 0x3000, .enabled = true};
  EXPECT_TRUE(guest.memory.fill(0, guest.memory.ram_size(), 0));
  if (one_in(random, 10)) setup.size = static_cast<uint16_t>(interesting(random));
  if (one_in(random, 20)) setup.descriptors = interesting(random);
  if (one_in(random, 20)) setup.device = interesting(random);
  Queue queue(guest.memory);
  queue.start(setup, features);
  std::vector<Chain> taken;
  for (int step = 0; step < 100 && queue.running(); ++step) {
    if (!one_in(random, 4)) disturb_ring(guest, random, setup, packed);
    if (auto chain = queue.pop()) {
      expect_sound(guest, *chain, setup.size);
      if (one_in(random, 8))
        queue.unpop(*chain);
      else
        taken.push_back(std::move(*chain));
    }
    EXPECT_LE(taken.size(), setup.size);
    if (!taken.empty() && one_in(random, 2)) {
      std::swap(taken.back(), taken[random() % taken.size()]);
      queue.push(taken.back(), static_cast<uint32_t>(interesting(random)));
      queue.recycle(std::move(taken.back()));
      taken.pop_back();
    }
    if (one_in(random, 3)) queue.needs_interrupt();
    if (one_in(random, 5)) queue.disable_notifications();
    if (one_in(random, 5)) queue.enable_notifications();
  }
}

TEST(VirtioFuzz, Rings) {
  Guest guest(0x10000);
  sessions([&](Random& random) { ring_session(guest, random); });
}

// --- functions -------------------------------------------------------------------------------------------------------

struct Functions : PciBoard {
  Functions() {
    for (PciTransport* transport : {blk.get(), rng.get()}) EXPECT_TRUE(host.root().add(*transport, next_++));
  }
  static std::unique_ptr<PciTransport> make(Device& device) {
    auto created = PciTransport::create(device, {.loop = LoopThread::kCaller});
    EXPECT_TRUE(created);
    return std::move(*created);
  }
  MemoryNode node{64 * 1024};
  Block block{"blk", *loop, guest.memory, node, {.serial = "fuzz", .queues = 2, .queue_size = 16}};
  Entropy entropy{"rng", *loop, guest.memory};
  std::unique_ptr<PciTransport> blk = make(block), rng = make(entropy);

 private:
  unsigned next_ = 3;
};

class Attack {
 public:
  Attack(Functions& board, unsigned device, Random& random)
      : board_(board), random_(random), driver_(board, device), transport_(device == 3 ? *board.blk : *board.rng) {}

  void run() {
    if (!one_in(random_, 4)) start_honestly();
    for (int step = 0; step < 150; ++step) {
      one_step();
      board_.run_loop();
    }
    board_.node.hold = false;
    board_.node.release();
    board_.run_loop();
    transport_.resume();  // in case it is held
    board_.run_loop();
  }

  // Whatever was done to it, an honest driver finds a device that works.
  void expect_it_works() {
    if (one_in(random_, 4)) transport_.reset();
    PciDriver honest(board_, transport_.devfn() >> 3);
    honest.start(features(), 16);
    const Buffer header = board_.guest.put(Bytes(16)), data = board_.guest.room(512), status = board_.guest.room(1);
    if (&transport_ == board_.blk.get())
      honest.ring(0).add({header}, {data, status});
    else
      honest.ring(0).add({}, {data});
    honest.notify(0);
    EXPECT_TRUE(honest.ring(0).take()) << "the device does not work any more";
  }

 private:
  uint64_t features() {
    return random_() &
           (feature::kRingPacked | feature::kRingEventIdx | feature::kRingIndirectDesc | feature::kRingReset);
  }
  void start_honestly() {
    board_.node.hold = false;
    board_.node.release();
    features_ = features();
    driver_.start(features_, 16);
    queues_ = driver_.common(kNumQueues, 2);
  }
  bool packed() const { return features_ & feature::kRingPacked; }

  void one_step() {
    switch (random_() % 12) {
      case 0:
        return register_access();
      case 1:
        return config_access();
      case 2:
        return rest();
      case 3:
        board_.node.hold = one_in(random_, 2);
        return board_.node.release(one_in(random_, 2));
      case 4:
        if (queues_ > 0) return driver_.notify(static_cast<unsigned>(random_() % queues_));
        return;
      case 5:
        return request();
      case 6:
        return queue_reset();
      default:
        return disturb();
    }
  }

  void register_access() {
    const uint64_t at = PciDriver::kBarAt + (random_() % 5) * kWindow + random_() % 64;
    const unsigned size = 1u << random_() % 4;
    if (one_in(random_, 2)) {
      driver_.read(at, size);
    } else {
      driver_.write(at, size, interesting(random_));
    }
  }
  void config_access() {
    const unsigned size = 1u << random_() % 3, offset = static_cast<unsigned>(random_() % 256) / size * size;
    // Its BARs stay where they are.
    if (offset >= bus::pci::kBar0 && offset < bus::pci::kBar0 + 24) return;
    if (one_in(random_, 2) || offset < 8)
      driver_.config(offset, size);
    else
      driver_.set_config(offset, size, interesting(random_));
    driver_.set_config(bus::pci::kCommand, 2, bus::pci::kCommandMemory | bus::pci::kCommandMaster);
  }
  // A pause, and perhaps a save.
  void rest() {
    if (!one_in(random_, 3)) return;
    bool at_rest = false;
    transport_.quiesce([&] { at_rest = true; });
    board_.node.hold = false;
    board_.node.release();
    board_.run_loop();
    EXPECT_TRUE(at_rest) << "it does not come to rest";
    skerry::test::save(transport_);
    transport_.resume();
  }
  // Random data with an honest place in the ring.
  void request() {
    if (queues_ == 0) return;
    const auto queue = static_cast<unsigned>(random_() % queues_);
    const Gpa header = 0x800 + random_() % 0x400;
    for (Gpa at = header & ~Gpa{7}; at < header + 24; at += 8) board_.guest.memory.store<uint64_t>(at, random_() % 16);
    if (driver_.ring(queue).free() < 3) {
      if (one_in(random_, 5)) start_honestly();
      return;
    }
    board_.guest.memory.store<uint16_t>(driver_.ring(queue).driver, 0);
    driver_.ring(queue).add({{header, static_cast<uint32_t>(1 + random_() % 600)}},
                            {{0x2000 + random_() % 0x1000, static_cast<uint32_t>(1 + random_() % 1200)}, {0x4000, 1}},
                            one_in(random_, 3) && (features_ & feature::kRingIndirectDesc));
    driver_.notify(queue);
  }
  void queue_reset() {
    if (!one_in(random_, 4)) return;
    driver_.set_common(kQueueSelect, 2, random_() % 3);
    driver_.set_common(one_in(random_, 2) ? kQueueReset : kQueueEnable, 2, 1);
  }
  void disturb() {
    if (queues_ == 0) return;
    const auto queue = static_cast<unsigned>(random_() % queues_);
    if (one_in(random_, 4))
      return write_descriptor(board_.guest, random_, driver_.ring(queue).tables + 16 * (random_() % 128), packed());
    disturb_ring(board_.guest, random_, driver_.ring(queue).setup(), packed());
  }

  Functions& board_;
  Random& random_;
  PciDriver driver_;
  PciTransport& transport_;
  uint64_t features_ = 0;
  unsigned queues_ = 0;
};

TEST(VirtioFuzz, Functions) {
  sessions([](Random& random) {
    Functions board;
    const unsigned device = one_in(random, 4) ? 4 : 3;
    Attack attack(board, device, random);
    attack.run();
    attack.expect_it_works();
  });
}

// --- memory-mapped registers -----------------------------------------------------------------------------------------

struct Windows : MmioBoard {
  static constexpr unsigned kBlk = 0, kRng = 1;
  MemoryNode node{64 * 1024};
  Block block{"blk", *loop, guest.memory, node, {.serial = "fuzz", .queues = 2, .queue_size = 16}};
  Entropy entropy{"rng", *loop, guest.memory};
  std::unique_ptr<MmioTransport> blk = connect(block, kBlk), rng = connect(entropy, kRng);

  void release() {
    node.hold = false;
    node.release();
    run_loop();
  }
};

class WindowAttack {
 public:
  WindowAttack(Windows& board, unsigned index, Random& random)
      : board_(board), index_(index), random_(random), transport_(index == Windows::kBlk ? *board.blk : *board.rng) {}

  void run() {
    if (!one_in(random_, 4)) start_honestly();
    for (int step = 0; step < 150; ++step) {
      one_step();
      board_.run_loop();
    }
    board_.release();
    transport_.resume();  // in case it is held
    board_.run_loop();
  }

  // Whatever was done to it, an honest driver finds a device that works.
  void expect_it_works() {
    if (one_in(random_, 4)) transport_.reset();
    MmioDriver honest(board_, index_);
    honest.start(features(), 16);
    const Buffer header = board_.guest.put(Bytes(16)), data = board_.guest.room(512), status = board_.guest.room(1);
    if (index_ == Windows::kBlk)
      honest.ring(0).add({header}, {data, status});
    else
      honest.ring(0).add({}, {data});
    honest.notify(0);
    EXPECT_TRUE(honest.ring(0).take()) << "the device does not work any more";
  }

 private:
  uint64_t features() {
    return random_() & (feature::kRingPacked | feature::kRingEventIdx | feature::kRingIndirectDesc | feature::kRingReset);
  }
  void start_honestly() {
    board_.release();
    packed_ = false;
    const uint64_t agreed = features();
    driver_.start(agreed, 16);
    packed_ = agreed & feature::kRingPacked;
    started_ = true;
  }
  void one_step() {
    switch (random_() % 8) {
      case 0:
      case 1:
        return register_access();
      case 2:
        return rest();
      case 3:
        board_.node.hold = one_in(random_, 2);
        return board_.node.release(one_in(random_, 2));
      case 4:
        return driver_.notify(static_cast<unsigned>(random_() % 3));
      default:
        if (started_) disturb_ring(board_.guest, random_, driver_.ring(0).setup(), packed_);
        return;
    }
  }
  // Of any size anywhere, or a word where there is a register, after a choice of queue now and then.
  void register_access() {
    if (one_in(random_, 4)) driver_.set(mmio_layout::kQueueSel, random_() % 3);
    const bool anywhere = one_in(random_, 4);
    const auto offset = static_cast<uint32_t>(anywhere ? random_() % MmioTransport::kSize : random_() % mmio_layout::kConfig & ~uint64_t{3});
    const unsigned size = anywhere ? 1u << random_() % 4 : 4;
    if (one_in(random_, 3))
      driver_.get(offset, size);
    else
      driver_.set(offset, interesting(random_), size);
  }
  // A pause, and perhaps a save.
  void rest() {
    if (!one_in(random_, 3)) return;
    bool at_rest = false;
    transport_.quiesce([&] { at_rest = true; });
    board_.release();
    EXPECT_TRUE(at_rest) << "it does not come to rest";
    skerry::test::save(transport_);
    transport_.resume();
  }

  Windows& board_;
  const unsigned index_;
  Random& random_;
  MmioDriver driver_{board_, index_};
  MmioTransport& transport_;
  bool packed_ = false, started_ = false;
};

TEST(VirtioFuzz, Windows) {
  sessions([](Random& random) {
    Windows board;
    WindowAttack attack(board, one_in(random, 4) ? Windows::kRng : Windows::kBlk, random);
    attack.run();
    attack.expect_it_works();
  });
}

TEST(VirtioFuzz, StatesOfWindows) {
  sessions([](Random& random) {
    Windows source;
    MmioDriver driver(source, Windows::kBlk);
    driver.start(random() & (feature::kRingPacked | feature::kRingEventIdx), 16);
    source.blk->quiesce([] {});
    source.run_loop();
    Bytes state = skerry::test::save(*source.blk);
    for (unsigned i = 0; i < 1 + random() % 6; ++i)
      state[random() % state.size()] = static_cast<uint8_t>(interesting(random));

    Windows copy;
    copy.guest.follow(source.guest);
    if (!skerry::test::load(*copy.blk, state)) return;
    copy.blk->resume();
    copy.run_loop();
    WindowAttack attack(copy, Windows::kBlk, random);
    attack.run();
    attack.expect_it_works();
  });
}

// --- states ----------------------------------------------------------------------------------------------------------

TEST(VirtioFuzz, States) {
  sessions([](Random& random) {
    Functions source;
    PciDriver driver(source, 3);
    driver.start(random() & (feature::kRingPacked | feature::kRingEventIdx), 16);
    source.blk->quiesce([] {});
    source.run_loop();
    Bytes state = skerry::test::save(*source.blk);
    for (unsigned i = 0; i < 1 + random() % 6; ++i)
      state[random() % state.size()] = static_cast<uint8_t>(interesting(random));
    if (one_in(random, 8)) state.resize(random() % state.size());

    Functions copy;
    copy.guest.follow(source.guest);
    if (skerry::test::load(*copy.blk, state)) {
      Attack attack(copy, 3, random);
      copy.blk->resume();
      copy.run_loop();
      attack.run();
      attack.expect_it_works();
    }
  });
}

}  // namespace
}  // namespace skerry::virtio::test
