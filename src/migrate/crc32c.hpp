// CRC-32C (Castagnoli), the checksum of state files: RFC 3720, appendix B.4, as iSCSI and ext4 use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace skerry::migrate {

// The checksum of what `crc` is the checksum of, followed by `data`. Begin with 0. Any thread. By the processor's
// instruction where it has SSE4.2, some GB/s.
uint32_t crc32c(uint32_t crc, std::span<const std::byte> data);
// The same for `size` zero bytes.
uint32_t crc32c_zeros(uint32_t crc, uint64_t size);
// Without the instruction; for processors that lack it, and to test the other against.
uint32_t crc32c_portable(uint32_t crc, std::span<const std::byte> data);

}  // namespace skerry::migrate
