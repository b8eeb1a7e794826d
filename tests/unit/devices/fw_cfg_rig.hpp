// fw_cfg with a little memory around it, and the descriptors of its DMA.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "base/units.hpp"
#include "devices/fw_cfg.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices::test {

using Bytes = std::vector<uint8_t>;

enum : uint32_t { kError = 1, kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16 };

inline Bytes bytes(std::string_view text) { return {text.begin(), text.end()}; }

struct FwCfgRig : skerry::test::PortRig {
  static constexpr uint64_t kRam = 1 * MiB, kDescriptor = 0x1000, kBuffer = 0x2000, kRom = 0xffff0000;
  memory::GuestMemory memory;
  FwCfg fw_cfg{memory};
  std::vector<Bytes> told;  // of the writable file

  FwCfgRig() {
    EXPECT_TRUE(memory.add_ram(0, kRam, "ram"));
    EXPECT_TRUE(memory.add_rom(kRom, Bytes(4096, 0x11), "rom"));
    EXPECT_TRUE(fw_cfg.attach(pio));
    EXPECT_TRUE(fw_cfg.add_item(FwCfg::FW_CFG_NB_CPUS, {2, 0}));
    EXPECT_TRUE(fw_cfg.add_file("etc/first", bytes("hello")));
    EXPECT_TRUE(fw_cfg.add_writable_file("etc/address", Bytes(8), [this](std::span<const uint8_t> content) {
      told.emplace_back(content.begin(), content.end());
    }));
    EXPECT_TRUE(fw_cfg.add_file("etc/large", Bytes(5000, 'x')));
  }
  bus::Device& device() { return fw_cfg; }

  void select(uint16_t key) { out(0x510, key, 2); }
  std::string data(size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += static_cast<char>(in(0x511));
    return text;
  }
  void put_descriptor(uint32_t control, uint32_t length, uint64_t address, uint64_t at = kDescriptor) {
    const uint32_t words[] = {__builtin_bswap32(control), __builtin_bswap32(length),
                              __builtin_bswap32(static_cast<uint32_t>(address >> 32)),
                              __builtin_bswap32(static_cast<uint32_t>(address))};
    (void)memory.write(at, std::as_bytes(std::span(words)));
  }
  void start(uint64_t at = kDescriptor) {
    if (at >> 32) out(0x514, __builtin_bswap32(static_cast<uint32_t>(at >> 32)), 4);
    out(0x518, __builtin_bswap32(static_cast<uint32_t>(at)), 4);
  }
  // What `control` says afterwards.
  uint32_t dma(uint32_t control, uint32_t length, uint64_t address = kBuffer) {
    put_descriptor(control, length, address);
    start();
    return __builtin_bswap32(memory.load<uint32_t>(kDescriptor).value_or(~0u));
  }
  uint32_t dma_of(uint16_t key, uint32_t control, uint32_t length, uint64_t address = kBuffer) {
    return dma(control | kSelect | uint32_t{key} << 16, length, address);
  }
  std::string text(uint64_t address, size_t size) {
    std::string result(size, '\0');
    EXPECT_TRUE(memory.read(address, std::as_writable_bytes(std::span(result))));
    return result;
  }
};

}  // namespace skerry::devices::test
