// A translated basic block, what it is known by, and how blocks are joined.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "x86/cpu_state.hpp"
#include "x86/decoder.hpp"
#include "x86/interp/interpreter.hpp"

namespace skerry::accel::bt {

// Everything about a processor's state that translated code takes for granted. Code of one mode runs in that mode only.
class Mode {
 public:
  // None for modes that are not translated: 16-bit code, virtual-8086, CPL 1 and 2, segments that are not flat.
  static std::optional<Mode> of(const x86::Interpreter& interpreter);

  bool code64() const { return bits_ & kCode64; }
  x86::CodeSize code_size() const { return code64() ? x86::CodeSize::k64 : x86::CodeSize::k32; }
  bool user() const { return bits_ & kUser; }
  unsigned tlb() const { return bits_ >> kTlbShift & 3; }
  bool sse() const { return bits_ & kSse; }
  bool avx() const { return bits_ & kAvx; }
  // Whether a data segment spans 4 GiB and may be written (32-bit code), and whether it begins at 0.
  bool flat(unsigned segment) const { return code64() || bits_ & kFlat << segment; }
  bool from_zero(unsigned segment) const { return code64() ? segment < x86::kFs : bits_ & kFromZero << segment; }
  uint32_t bits() const { return bits_; }
  // The same with another privilege.
  Mode at(bool user, unsigned tlb) const {
    Mode other = *this;
    other.bits_ = (bits_ & ~(kUser | 3 << kTlbShift)) | (user ? kUser : 0) | tlb << kTlbShift;
    return other;
  }
  bool operator==(const Mode&) const = default;

 private:
  static constexpr uint32_t kCode64 = 1, kUser = 2, kSse = 4, kAvx = 8, kTlbShift = 4, kFlat = 1 << 8, kFromZero = 1 << 16;
  uint32_t bits_ = 0;
};

// Where the status flags are when a block begins: in Context::flags, which is how all but direct forward jumps come, or in
// EFLAGS.
enum class Entry : uint8_t {
  kFlagsSaved,
  kFlagsLive,
  kApart,  // saved; and each access to memory is checked by itself, because one check of several has failed
};

struct Block;

// A jump from one block to another in the same page, made direct when the other is there.
struct Edge {
  Block* from;
  const std::byte* from_page;
  uint8_t* patch;   // its 4-byte displacement, aligned, in the writable view
  uint32_t target;  // offset in the page
  Entry entry;
  bool quiet;  // forward: there need be no look for requests
};

// What is looked at to find one is in one line of the cache.
struct alignas(64) Block {
  const std::byte* page;  // of the host
  uint16_t offset;
  Entry entry;
  bool dead = false;  // its page has been written to
  Mode mode;
  std::atomic<Block*> next{nullptr};  // in its chain of the table
  const uint8_t* code;    // executable
  const uint8_t* quiet;   // behind the look for requests
  Block* next_in_page = nullptr;
  uint32_t code_size;
  uint32_t undefined_flags = 0;  // at its end
  uint16_t length;        // guest bytes
  uint16_t instructions;  // translated; one more may be left to the interpreter
  bool vectors = false;   // it has vector instructions
};
static_assert(sizeof(Block) == 64);

}  // namespace skerry::accel::bt
