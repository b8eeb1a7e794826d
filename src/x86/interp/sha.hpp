// The SHA instructions in plain C++, for hosts that lack them. Intel SDM vol. 2, SHA1MSG1 and following; FIPS 180-4.
#pragma once

#include <array>
#include <cstdint>

namespace skerry::x86 {

using ShaBlock = std::array<uint32_t, 4>;  // a vector register's dwords, lowest first

enum class ShaOperation : uint8_t {
  kSha1Msg1, kSha1Msg2, kSha1Nexte, kSha1Rnds4, kSha256Msg1, kSha256Msg2, kSha256Rnds2,
};

// What `operation` writes to its destination. `xmm0` is the implicit operand of SHA256RNDS2, `round` the immediate of
// SHA1RNDS4.
ShaBlock sha_step(ShaOperation operation, ShaBlock destination, ShaBlock source, ShaBlock xmm0, uint8_t round);

}  // namespace skerry::x86
