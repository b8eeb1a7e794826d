// Hostile drivers of the 82574L: random registers, rings, descriptors and contexts, frames of every kind from a backend that takes
// and refuses as it likes, states from attackers. Nothing may crash, hang or leave memory; after a reset the card works for an
// honest driver. tests/fuzz/e1000e/run gives it more time.
//
// SKERRY_SEED chooses the sessions, SKERRY_FUZZ_MS how long they go on. The seed of a session that ends the program stays as
// a file in SKERRY_CORPUS, and those that are there come first.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "unit/devices/e1000e_rig.hpp"

namespace skerry::devices::e1000e::test {
namespace {

using Random = std::mt19937_64;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

uint64_t address(Random& random) {
  switch (random() % 8) {
    case 0: return Rig::kRam - random() % 4096;
    case 1: return random();
    case 2: return random() % 0x4000;  // rings themselves
    default: return random() % Rig::kRam;
  }
}
uint32_t length(Random& random) {
  constexpr uint32_t kLengths[] = {0, 1, 13, 14, 54, 59, 60, 1514, 1518, 4096, 16384, 65535, 0xf'ffff};
  return random() % 4 ? kLengths[random() % std::size(kLengths)] : static_cast<uint32_t>(random() % 3000);
}
Bytes frame(Random& random) {
  const uint8_t protocol = random() % 2 ? net::kProtocolTcp : net::kProtocolUdp;
  Bytes bytes = ip_frame(protocol, random() % 8 ? random() % 1500 : random() % 60'000, random() % 2);
  for (unsigned i = random() % 4; i > 0; --i) bytes[random() % std::min<size_t>(bytes.size(), 80)] = static_cast<uint8_t>(random());
  if (random() % 4 == 0) bytes.resize(random() % bytes.size());
  if (random() % 8 == 0) bytes.resize(1 + random() % net::kMaxFrame);
  return bytes;
}
uint32_t register_of(Random& random) {
  constexpr uint32_t kRegisters[] = {CTRL, STATUS, EEC, EERD, CTRL_EXT, MDIC, VET, ICR, ITR, ICS, IMS, IMC, EIAC, IAM, IVAR, EITR, RCTL,
                                     RCTL, TCTL, EXTCNF_CTRL, PBA, PSRCTL, RXCSUM, RFCTL, RFCTL, MRQC, SWSM, RETA, RSSRK, MTA, RAL, VFTA};
  constexpr uint32_t kOfQueue[] = {kBaseLow, kBaseHigh, kLength, kHead, kTail, kTail};
  switch (random() % 4) {
    case 0: return static_cast<uint32_t>(random() % 0x2'0000) & ~3u;
    case 1:
      return (random() % 2 ? RDBAL : TDBAL) + static_cast<uint32_t>(random() % 2) * kQueueStride +
             kOfQueue[random() % std::size(kOfQueue)];
    default: return kRegisters[random() % std::size(kRegisters)] + 4 * static_cast<uint32_t>(random() % 16 == 0 ? random() % 16 : 0);
  }
}
uint32_t value_for(uint32_t at, Random& random) {
  if (at == RCTL) return static_cast<uint32_t>(random() | rctl::EN | (random() % 2 ? rctl::UPE | rctl::MPE : 0));
  if (at == TCTL) return tctl::EN | static_cast<uint32_t>(random() % 16);
  if (at == CTRL && random() % 4) return static_cast<uint32_t>(random()) & ~(ctrl::RST | ctrl::GIO_MASTER_DISABLE);
  const uint32_t in_queue = at % kQueueStride;
  if (at >= RDBAL && at < TDBAL + 2 * kQueueStride && in_queue >= kHead && in_queue <= kTail) return static_cast<uint32_t>(random() % 24);
  if (at >= RDBAL && at < TDBAL + 2 * kQueueStride && in_queue == kBaseHigh) return random() % 8 ? 0 : static_cast<uint32_t>(random());
  return static_cast<uint32_t>(random() % 4 ? random() : random() % 0x1000);
}

void put_descriptors(Rig& rig, Random& random) {
  const unsigned queue = random() % 2;
  for (unsigned i = random() % Rig::kRing; i > 0; --i) {
    const uint32_t command = (static_cast<uint32_t>(random()) & 0xff00'0000) | Rig::kDext | Rig::kData;
    const auto options = static_cast<uint32_t>(random()), some = static_cast<uint32_t>(random() % 5000);
    const auto mss = static_cast<uint16_t>(random() % 4 ? 48 + random() % 1500 : random());
    switch (random() % 4) {
      case 0: rig.put_context(random() % 2, random() % 4, random() % 2, mss, queue); break;
      case 1: rig.put_descriptor(random(), static_cast<uint32_t>(random()), options, queue); break;
      case 2: rig.put_descriptor(address(random), command | length(random), options, queue); break;
      default: rig.put_descriptor(rig.buffer_of(frame(random)), command | some, options, queue);
    }
  }
  rig.ring_send(queue);
}

void step(Rig& rig, Random& random) {
  rig.backend.room = random() % 2 ? ~0u : static_cast<unsigned>(random() % 4);
  switch (random() % 12) {
    case 0: rig.start(static_cast<uint32_t>(random()) | rctl::EN, random() % 4 ? 1 << 15 : 0); break;
    case 1:
    case 2: put_descriptors(rig, random); break;
    case 3: {
      const unsigned queue = random() % 2;
      rig.give_buffers(random() % Rig::kRing, queue);
      if (random() % 4 == 0) rig.set<uint64_t>(rig.receive_at(static_cast<unsigned>(random()), queue), address(random));
      break;
    }
    case 4:
    case 5:
      for (unsigned i = random() % 6; i > 0 && rig.backend.card; --i) rig.backend.card->receive({}, frame(random));
      break;
    case 6: rig.time.advance(static_cast<int64_t>(random() % 200'000'000)); break;
    case 7:
      if (rig.backend.card) rig.backend.card->backend_has_room();
      if (rig.backend.card && random() % 4 == 0) rig.backend.card->link_changed(random() % 2);
      break;
    case 8: rig.mmio.write(Rig::kBar + random() % 0x2'0000, 1u << random() % 4, random()); break;
    case 9: rig.mmio.read(Rig::kBar + random() % 0x2'0000, 1u << random() % 4); break;
    case 10: rig.pio.write(Rig::kPorts + random() % 32, 1u << random() % 3, random() % 0x2'1000); break;
    default: {
      const uint32_t at = register_of(random);
      rig.write(at, value_for(at, random));
    }
  }
  if (random() % 64 == 0) rig.host.config_write(0, Rig::kDevfn, bus::pci::kCommand, 2, random() % 8);
  if (random() % 64 == 0) rig.use_msix();
  if (random() % 16 == 0) rig.map();
  rig.run_loop();
  rig.backend.sent.clear();
  rig.messages.sent.clear();
}

void bend(std::vector<uint8_t>& state, Random& random) {
  for (unsigned i = random() % 6; i > 0; --i) state[random() % state.size()] = static_cast<uint8_t>(random());
}

void session(Random& random) {
  const bool takes = random() % 2;
  Rig rig({.checksum = takes, .tso4 = takes, .tso6 = takes && random() % 2});
  rig.start();
  for (int i = 0; i < 400; ++i) step(rig, random);
  ASSERT_TRUE(rig.rest()) << "it does not come to rest";
  auto state = skerry::test::save(*rig.card);
  rig.card->reset();
  if (random() % 2) {
    bend(state, random);
    if (!skerry::test::load(*rig.card, state)) rig.card->reset();
    rig.map();
    rig.card->resume();
    for (int i = 0; i < 50; ++i) step(rig, random);
    ASSERT_TRUE(rig.rest());
    rig.card->reset();
  }
  rig.map();
  rig.card->resume();
  rig.backend.room = ~0u;
  rig.backend.sent.clear();
  rig.next_send[0] = rig.next_receive[0] = 0;
  rig.start();
  rig.give_buffers(2);
  const Bytes good = ip_frame(net::kProtocolTcp, 700);
  rig.send(good);
  ASSERT_EQ(rig.backend.sent.size(), 1u);
  ASSERT_EQ(rig.backend.sent[0].second, good);
  ASSERT_TRUE(rig.receive(good));
  ASSERT_EQ(rig.bytes(rig.receive_buffer(0), good.size()), good);
}

TEST(E1000eFuzz, HostileDrivers) {
  const char* corpus = std::getenv("SKERRY_CORPUS");
  const auto one = [](uint64_t seed) {
    SCOPED_TRACE("session " + std::to_string(seed));
    Random random(seed);
    session(random);
  };
  std::error_code none;
  if (corpus)
    for (const auto& entry : std::filesystem::directory_iterator(corpus, none))
      if (const std::string name = entry.path().filename(); name != "README") one(std::strtoull(name.c_str(), nullptr, 10));
  const uint64_t seed = from_environment("SKERRY_SEED", 1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(from_environment("SKERRY_FUZZ_MS", 500));
  std::printf("SKERRY_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  uint64_t count = 0;
  while (!HasFailure() && (count < 5 || std::chrono::steady_clock::now() < end)) {
    const uint64_t own = seed * 1'000'003 + count++;
    const auto path = corpus ? std::filesystem::path(corpus) / std::to_string(own) : std::filesystem::path();
    if (corpus) std::ofstream(path) << "a session of test_devices\n";
    one(own);
    if (corpus && !HasFailure()) std::filesystem::remove(path, none);
  }
  std::printf("%llu sessions\n", static_cast<unsigned long long>(count));
}

}  // namespace
}  // namespace skerry::devices::e1000e::test
