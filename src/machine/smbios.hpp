// What the machine is, for people who look at it from inside: dmidecode, inventories, cloud-init. DMTF DSP0134, "System
// Management BIOS", 3.0.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace skerry::machine::smbios {

using Bytes = std::vector<uint8_t>;

struct Info {
  std::array<uint8_t, 16> uuid{};                            // in the order in which it is written; all 0: none
  std::string serial;                                        // empty: none
  std::string product = "q35-1";                             // the board
  std::string processor;                                     // the CPU model's name; empty: not told
  uint32_t processor_signature = 0, processor_features = 0;  // CPUID leaf 1, EAX and EDX
  unsigned vcpus = 1;
  uint64_t low_memory = 0, high_memory = 0;  // bytes below 4 GiB, and from there on
};

// Of strings; what is longer is cut.
constexpr size_t kMaxString = 64;

// The structures, which stand one after the other at some address.
Bytes structures(const Info& info);

// What guests look for, at a multiple of 16 in 0xf0000 to 0xfffff: the older form, which must have `structures` below
// 4 GiB, and the newer one (5.2.1, 5.2.2). Either is enough; who knows both takes the newer.
Bytes entry_point_2_8(const Bytes& structures, uint32_t address);
Bytes entry_point_3_0(const Bytes& structures, uint64_t address);

// Both entry points and the structures, for 0xf0000, where there is no firmware to do it.
constexpr uint64_t kAddress = 0xf0000;
Bytes image(const Info& info);

}  // namespace skerry::machine::smbios
