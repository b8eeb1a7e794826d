// A hostile guest at fw_cfg: any access to its ports, any descriptor. Runs under ASan and UBSan in the gate; the suite
// tests/fuzz/fw_cfg runs it for longer.
#include <cstdlib>

#include "unit/devices/fw_cfg_rig.hpp"

namespace skerry::devices {
namespace {

using namespace test;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 0) : otherwise;
}

class Guest {
 public:
  Guest(FwCfgRig& rig, uint64_t seed) : rig_(rig), random_(seed) {}

  void act() {
    switch (below(6)) {
      case 0:
        rig_.out(port(), static_cast<uint32_t>(random_()), size());
        break;
      case 1:
        (void)rig_.in(port(), size());
        break;
      case 2:
        rig_.select(key());
        break;
      default:
        operate();
        break;
    }
  }

 private:
  uint64_t below(uint64_t n) { return random_() % n; }
  unsigned size() { return 1u << below(3); }
  uint16_t port() { return static_cast<uint16_t>(0x50c + below(0x14)); }
  uint16_t key() {
    constexpr uint16_t kTelling[] = {0,    1,     5,     0x19,   0x20,   0x21,   0x22,
                                     0x23, 0x11f, 0x120, 0x3fff, 0x4021, 0x8002, 0xffff};
    return below(8) ? kTelling[below(std::size(kTelling))] : static_cast<uint16_t>(random_());
  }
  // Around the edges of what there is.
  uint64_t address() {
    constexpr uint64_t kEdges[] = {0,       FwCfgRig::kDescriptor, FwCfgRig::kBuffer, FwCfgRig::kRam, FwCfgRig::kRom,
                                   4 * GiB, ~uint64_t{0}};
    return below(10) ? kEdges[below(std::size(kEdges))] + below(64) - 32 : random_();
  }
  uint32_t length() {
    constexpr uint32_t kEdges[] = {0, 5, 8, 64, 5000, 1 << 20, FwCfg::kMaxTransfer, 0xffffffff};
    return below(10) ? kEdges[below(std::size(kEdges))] + static_cast<uint32_t>(below(5)) - 2
                     : static_cast<uint32_t>(random_());
  }
  void operate() {
    const uint64_t at = below(3) ? FwCfgRig::kDescriptor + below(4096) : address();
    const uint32_t bits =
        below(8) ? 1u << below(5) | kSelect * static_cast<uint32_t>(below(2)) : static_cast<uint32_t>(random_());
    rig_.put_descriptor(bits | uint32_t{key()} << 16, length(), address(), at);
    rig_.start(at);
  }

  FwCfgRig& rig_;
  std::mt19937_64 random_;
};

TEST(Fuzz, FwCfgSurvivesAnyGuestAndKeepsWhatIsNotTheGuests) {
  const uint64_t seed = from_environment("SKERRY_SEED", 1), rounds = from_environment("SKERRY_FUZZ_ROUNDS", 20'000);
  SCOPED_TRACE("SKERRY_SEED=" + std::to_string(seed));
  FwCfgRig rig;
  Guest guest(rig, seed);
  for (uint64_t i = 0; i < rounds; ++i) {
    guest.act();
    for (const Bytes& content : rig.told) ASSERT_EQ(content.size(), 8u);
    rig.told.clear();
  }
  rig.select(0x20);
  EXPECT_EQ(rig.data(5), "hello");
  rig.select(0);
  EXPECT_EQ(rig.data(4), "QEMU");
  EXPECT_EQ(rig.memory.load<uint8_t>(FwCfgRig::kRom), 0x11) << "the ROM";
}

}  // namespace
}  // namespace skerry::devices
