// The programmable attribute map of Intel's host bridges: what of the memory from 0xc0000 to 1 MiB is RAM that can be written.
// Intel 440FX (82441FX) datasheet, chapter 3; 3 Series Express Chipset Family Datasheet, 5.1.20.
//
// That memory always reads as what is in it: firmware is put there before the guest starts, and the registers' "read
// enable" bits, which on a PC choose between that RAM and the flash that holds the same, choose nothing here.
#pragma once

#include <array>
#include <cstdint>

#include "memory/guest_memory.hpp"

namespace skerry::devices::pam {

constexpr unsigned kRegisters = 7;  // PAM0 to PAM6
using Registers = std::array<uint8_t, kRegisters>;
// The bits that can be written: two for each segment. PAM0's are in its high half only.
constexpr Registers kWritable = {0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33};

// The segments that they govern: the last 64 KiB below 1 MiB, and from 0xc0000 twelve of 16 KiB. Guest memory has a
// region for each, or none of them.
constexpr unsigned kSegments = 13;
struct Segment {
  memory::Gpa base;
  uint64_t size;
};
Segment segment(unsigned index);

// Then every vCPU has to be kicked.
void apply(const Registers& registers, memory::GuestMemory& memory);

}  // namespace skerry::devices::pam
