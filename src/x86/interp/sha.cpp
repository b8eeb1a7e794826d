#include "x86/interp/sha.hpp"

#include <bit>

namespace skerry::x86 {

namespace {

using std::rotl;
using std::rotr;

uint32_t choose(uint32_t b, uint32_t c, uint32_t d) { return (b & c) ^ (~b & d); }
uint32_t parity(uint32_t b, uint32_t c, uint32_t d) { return b ^ c ^ d; }
uint32_t majority(uint32_t b, uint32_t c, uint32_t d) { return (b & c) ^ (b & d) ^ (c & d); }

ShaBlock sha1_msg1(ShaBlock a, ShaBlock b) {
  // W0..W3 are a[3]..a[0], W4 and W5 are b[3] and b[2].
  return {b[2] ^ a[0], b[3] ^ a[1], a[0] ^ a[2], a[1] ^ a[3]};
}

ShaBlock sha1_msg2(ShaBlock a, ShaBlock b) {
  const uint32_t w16 = rotl(a[3] ^ b[2], 1);
  const uint32_t w17 = rotl(a[2] ^ b[1], 1);
  const uint32_t w18 = rotl(a[1] ^ b[0], 1);
  const uint32_t w19 = rotl(a[0] ^ w16, 1);
  return {w19, w18, w17, w16};
}

ShaBlock sha1_nexte(ShaBlock a, ShaBlock b) { return {b[0], b[1], b[2], b[3] + rotl(a[3], 30)}; }

ShaBlock sha1_rounds(ShaBlock state, ShaBlock words, uint8_t round) {
  constexpr std::array<uint32_t, 4> kConstants = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
  const unsigned kind = round & 3;
  uint32_t a = state[3], b = state[2], c = state[1], d = state[0], e = 0;
  for (unsigned n = 0; n < 4; ++n) {
    const uint32_t f = kind == 0 ? choose(b, c, d) : kind == 2 ? majority(b, c, d) : parity(b, c, d);
    // E comes in with the first word.
    const uint32_t next = f + rotl(a, 5) + words[3 - n] + e + kConstants[kind];
    e = d;
    d = c;
    c = rotl(b, 30);
    b = a;
    a = next;
  }
  return {d, c, b, a};
}

uint32_t sigma0(uint32_t x) { return rotr(x, 7) ^ rotr(x, 18) ^ (x >> 3); }
uint32_t sigma1(uint32_t x) { return rotr(x, 17) ^ rotr(x, 19) ^ (x >> 10); }

ShaBlock sha256_msg1(ShaBlock a, ShaBlock b) {
  return {a[0] + sigma0(a[1]), a[1] + sigma0(a[2]), a[2] + sigma0(a[3]), a[3] + sigma0(b[0])};
}

ShaBlock sha256_msg2(ShaBlock a, ShaBlock b) {
  const uint32_t w16 = a[0] + sigma1(b[2]);
  const uint32_t w17 = a[1] + sigma1(b[3]);
  return {w16, w17, a[2] + sigma1(w16), a[3] + sigma1(w17)};
}

ShaBlock sha256_rounds(ShaBlock cdgh, ShaBlock abef, ShaBlock words) {
  uint32_t a = abef[3], b = abef[2], c = cdgh[3], d = cdgh[2], e = abef[1], f = abef[0], g = cdgh[1], h = cdgh[0];
  for (unsigned n = 0; n < 2; ++n) {
    const uint32_t s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
    const uint32_t s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
    const uint32_t t = choose(e, f, g) + s1 + words[n] + h;
    const uint32_t next_a = t + majority(a, b, c) + s0;
    const uint32_t next_e = t + d;
    h = g;
    g = f;
    f = e;
    e = next_e;
    d = c;
    c = b;
    b = a;
    a = next_a;
  }
  return {f, e, b, a};
}

}  // namespace

ShaBlock sha_step(ShaOperation operation, ShaBlock destination, ShaBlock source, ShaBlock xmm0, uint8_t round) {
  switch (operation) {
    case ShaOperation::kSha1Msg1: return sha1_msg1(destination, source);
    case ShaOperation::kSha1Msg2: return sha1_msg2(destination, source);
    case ShaOperation::kSha1Nexte: return sha1_nexte(destination, source);
    case ShaOperation::kSha1Rnds4: return sha1_rounds(destination, source, round);
    case ShaOperation::kSha256Msg1: return sha256_msg1(destination, source);
    case ShaOperation::kSha256Msg2: return sha256_msg2(destination, source);
    case ShaOperation::kSha256Rnds2: return sha256_rounds(destination, source, xmm0);
  }
  return destination;
}

}  // namespace skerry::x86
