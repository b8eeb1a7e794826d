// The memory of the card. The guest writes to it at any time by itself, since it is the linear frame buffer too, so what is
// read may be something else the next time: nothing is decided by two readings. Every access is atomic and relaxed. Addresses
// behind the end read as zero, and are not written to.
//
// The four planes of the VGA lie side by side: byte `address` of plane p is byte 4 * address + p. So one word of 32 bits is
// what the VGA reads at an address, and bytes in the order of chain-4 lie in the order of the linear frame buffer.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace skerry::devices::vga {

class Vram {
 public:
  static_assert(std::endian::native == std::endian::little, "plane 0 is the lowest byte of a word");

  // A multiple of 64 KiB, at least 256 KiB, aligned to 8 bytes; outlives this.
  explicit Vram(std::span<std::byte> bytes) : bytes_(bytes) {}

  size_t size() const { return bytes_.size(); }

  // The planes at an address, plane 0 in the lowest byte.
  uint32_t planes(size_t address) const {
    return address < size() / 4 ? ref<uint32_t>(address * 4).load(std::memory_order_relaxed) : 0;
  }
  // Changes those planes that are in the mask, bit 0 for plane 0; the others may be written to meanwhile.
  void set_planes(size_t address, uint32_t value, unsigned mask) const {
    if (address >= size() / 4) return;
    if (mask == 0xf) return ref<uint32_t>(address * 4).store(value, std::memory_order_relaxed);
    for (unsigned plane = 0; plane < 4; ++plane)
      if (mask >> plane & 1)
        ref<uint8_t>(address * 4 + plane).store(static_cast<uint8_t>(value >> plane * 8), std::memory_order_relaxed);
  }
  // How many words of 64 bits `row` wants for so many bytes.
  static constexpr size_t row_words(size_t count) { return count / 8 + 2; }
  // Copies `count` bytes from `at` on into the buffer; tells where in it they begin.
  const uint8_t* row(size_t at, size_t count, std::span<uint64_t> buffer) const {
    const size_t first = at / 8, words = row_words(count);
    for (size_t i = 0; i < words && i < buffer.size(); ++i)
      buffer[i] = first + i < size() / 8 ? ref<uint64_t>((first + i) * 8).load(std::memory_order_relaxed) : 0;
    return reinterpret_cast<const uint8_t*>(buffer.data()) + at % 8;
  }
  void clear(size_t count) const {
    const size_t words = (count < size() ? count : size()) / 8;
    for (size_t i = 0; i < words; ++i) ref<uint64_t>(i * 8).store(0, std::memory_order_relaxed);
  }

 private:
  template <typename T>
  std::atomic_ref<T> ref(size_t at) const {
    return std::atomic_ref<T>(*reinterpret_cast<T*>(bytes_.data() + at));
  }
  std::span<std::byte> bytes_;
};

}  // namespace skerry::devices::vga
