// The SHA instructions against FIPS 180-4's message "abc": SHA-256 (the standard's example B.1) and SHA-1 (A.1), put
// together as a program does it. Words are numbered from the low end of a register.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstring>

#include "unit/x86/system_rig.hpp"
#include "x86/cpu_features.hpp"

namespace skerry::x86 {
namespace {

using namespace test;
using Words = std::array<uint32_t, 4>;

class ShaTest : public ::testing::Test {
 protected:
  ShaTest() {
    rig.long_mode();
    rig.s.cr4 |= cr4::kOsfxsr;
    rig.model.add(*find_feature("sha_ni"));  // as a VM has it that comes from a host which has
  }
  void set(unsigned number, Words words) { std::memcpy(rig.s.vector[number].bytes.data(), words.data(), 16); }
  // `opcode` xmm1, xmm2 with `xmm0` beside them: the new xmm1.
  Words run(std::vector<uint8_t> opcode, Words first, Words second, Words xmm0 = {}, std::vector<uint8_t> immediate = {}) {
    set(0, xmm0);
    set(1, first);
    set(2, second);
    opcode.push_back(0xca);
    opcode.insert(opcode.end(), immediate.begin(), immediate.end());
    EXPECT_TRUE(succeeds(rig, opcode));
    Words result;
    std::memcpy(result.data(), rig.s.vector[1].bytes.data(), 16);
    return result;
  }
  Rig rig;
};

Words add(Words a, const Words& b) {
  for (unsigned n = 0; n < 4; ++n) a[n] += b[n];
  return a;
}

// The padded message: 0x80 behind its bytes, and its length in bits at the end.
uint32_t message_word(unsigned n) { return n == 0 ? 0x61626380 : n == 15 ? 24 : 0; }

constexpr uint32_t kSha256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

TEST_F(ShaTest, Sha256OfAbc) {
  std::array<uint32_t, 64> w{};
  for (unsigned n = 0; n < 16; ++n) w[n] = message_word(n);
  const auto words = [&](unsigned at) { return Words{w[at], w[at + 1], w[at + 2], w[at + 3]}; };
  for (unsigned t = 16; t < 64; t += 4) {
    const Words first = run({0x0f, 0x38, 0xcc}, words(t - 16), words(t - 12));
    const Words last = run({0x0f, 0x38, 0xcd}, add(first, words(t - 7)), words(t - 4));
    std::copy(last.begin(), last.end(), w.begin() + t);
  }
  const Words abef0 = {0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667}, cdgh0 = {0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372};
  Words abef = abef0, cdgh = cdgh0;
  for (unsigned t = 0; t < 64; t += 2) {
    const Words next = run({0x0f, 0x38, 0xcb}, cdgh, abef, {w[t] + kSha256[t], w[t + 1] + kSha256[t + 1], 0, 0});
    cdgh = abef;
    abef = next;
  }
  EXPECT_EQ(add(abef, abef0), (Words{0x96177a9c, 0xb00361a3, 0x8f01cfea, 0xba7816bf}));
  EXPECT_EQ(add(cdgh, cdgh0), (Words{0xf20015ad, 0xb410ff61, 0x5dae2223, 0x414140de}));
}

TEST_F(ShaTest, Sha1OfAbc) {
  std::array<Words, 20> w{};  // four each, the first one on top
  for (unsigned n = 0; n < 16; ++n) w[n / 4][3 - n % 4] = message_word(n);
  for (unsigned t = 4; t < 20; ++t) {
    Words words = run({0x0f, 0x38, 0xc9}, w[t - 4], w[t - 3]);
    for (unsigned n = 0; n < 4; ++n) words[n] ^= w[t - 2][n];
    w[t] = run({0x0f, 0x38, 0xca}, words, w[t - 1]);
  }
  const Words abcd0 = {0x10325476, 0x98badcfe, 0xefcdab89, 0x67452301};
  constexpr uint32_t kE = 0xc3d2e1f0;
  Words abcd = abcd0, before = abcd0;
  for (unsigned t = 0; t < 20; ++t) {
    const Words e = t == 0 ? add(w[0], {0, 0, 0, kE}) : run({0x0f, 0x38, 0xc8}, before, w[t]);
    before = abcd;
    abcd = run({0x0f, 0x3a, 0xcc}, abcd, e, {}, {static_cast<uint8_t>(t / 5)});
  }
  EXPECT_EQ(add(abcd, abcd0), (Words{0x7850c26c, 0xba3e2571, 0x4706816a, 0xa9993e36}));
  EXPECT_EQ(run({0x0f, 0x38, 0xc8}, before, {0, 0, 0, kE})[3], 0x9cd0d89d);
}

}  // namespace
}  // namespace skerry::x86
