// What translated code sees of its vCPU. The host's GS base points at it, so that it costs no register: see docs/engine.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "x86/interp/interpreter.hpp"

namespace skerry::accel::bt {

// Why translated code came back to the run loop.
enum class Exit : uint32_t {
  kLookup,     // Context::argument is the address to go on at, in no block that is linked; Context::insn is jump_info()
  kLink,       // Context::argument is the Edge to go along
  kInterpret,  // the instruction at Context::insn needs the interpreter
  kPoll,       // a request came; goes on at Context::insn
  kResume,     // state.rip is right already
};

// By address: where the code of the block is that begins there. One table a mode (see Mode).
struct JumpEntry {
  uint64_t tag;  // address ^ Context::jump_key
  uint64_t code;
};
constexpr unsigned kJumpBits = 16, kJumpCount = 1 << kJumpBits;
constexpr unsigned kModeSlots = 32;  // the even ones for supervisor modes, the odd ones for user modes
// Each address has two places, so that two that are jumped to in turn find room beside each other.
constexpr unsigned jump_index(uint64_t rip) { return static_cast<unsigned>((rip ^ rip >> 9) & (kJumpCount - 1)); }
constexpr unsigned kOtherWay = 1;  // exclusive or

// Beside it, for jumps out of a page to an address in the instruction: each has a place of its own, found without a calculation.
constexpr unsigned kSiteCount = 1 << 16;

// Where an instruction goes on that changes the privilege of 64-bit code and nothing else of its mode.
struct Crossing {
  uint64_t lookup = 0;  // the routine that looks up an address in the table of the new mode; 0: the instruction is the interpreter's
  uint32_t mode = 0;    // Mode::bits()
  uint32_t unused = 0;
};
enum class Crossed : uint32_t { kNo, kSyscall, kSysret };  // by what CS and SS would have been loaded last

struct Context {
  // Its memory is zeroes from the host, most of which are never used.
  static void* operator new(size_t size);
  static void operator delete(void* at);
  // By the vCPU's own thread, outside of translated code.
  void give_back_jumps();  // they are empty then
  void give_back_second_tlbs();
  Context(unsigned index, memory::GuestMemory& memory, x86::Environment& environment, const x86::CpuModel& model)
      : interpreter(index, memory, environment, model) {}

  Context* self = this;
  uint64_t page_base = 0;  // linear address of the page that is being executed
  uint64_t flags = 0;      // the guest's status flags where they are not in EFLAGS: AH as of LAHF, AL is OF;
  uint32_t kept = 0;       // if this is 0. Else it says how they are to be made of flag_value: see kept_flags(). 0 in C++ code
  uint64_t value = 0;      // one value across a check
  uint64_t argument = 0;   // of an exit
  uint64_t host_stack = 0;      // what was there when translated code was entered
  uint64_t return_limit = 0;    // where host_stack has no room for more returns
  uint64_t return_lookup = 0;   // the routine that looks up a return which no call is remembered of
  Crossing to_kernel, to_user, to_open;  // the last one: the kernel with SMAP suspended
  uint32_t mode = 0;                     // Mode::bits() of the code that is being executed
  Crossed crossed = Crossed::kNo;        // since CS and SS were right
  uint64_t tsc_offset = 0;       // what the guest's time-stamp counter is above the host's,
  uint32_t tsc_direct[2] = {};  // if that is all there is to it, for supervisor and user code
  uint64_t flag_value[2] = {};  // operands of which flags can be made again: see FlagRecipe
  uint64_t window[16] = {};  // by guest register: the host's address of what was checked off it at once (see Translator::window())
  uint64_t jump_key[2] = {};  // of supervisor and user modes; changes when their tables of jumps are to be forgotten
  uint32_t insn = 0;       // offset in the page of the instruction that left, and what else a helper needs of it
  uint32_t vector_loaded = 0;  // the vector registers and MXCSR are in the host's
  uint32_t host_mxcsr = 0x1f80;

  // Called from translated code.
  bool (*fill)(Context*) = nullptr;
  bool (*interpret)(Context*) = nullptr;
  bool (*note_site)(Context*) = nullptr;

  x86::Interpreter interpreter;
  void* owner = nullptr;        // the Runner
  bool interpret_next = false;  // the run loop is to take one instruction by the interpreter
  x86::SecondTlb second_tlbs[3];  // zeroes in the beginning
  uint32_t site = 0;  // the place in `sites` that a jump looked at last in vain, or a slot of RecentPages; from the GS base
  alignas(memory::kPageSize) JumpEntry jumps[kModeSlots][kJumpCount];  // zeroes in the beginning
  JumpEntry sites[kModeSlots][kSiteCount];                             // likewise
};

// Context::kept: FlagRecipe::How, the size of the operands in bytes, and the second one if it is a small immediate, not flag_value[1].
constexpr uint32_t kKeptImmediate = 1 << 7;
constexpr uint32_t kept_flags(unsigned how, unsigned size) { return (size == 8 ? 3 : size / 2) | how << 2; }
constexpr bool fits_kept(int32_t immediate) { return immediate >= -(1 << 23) && immediate < 1 << 23; }
constexpr uint32_t with_immediate(uint32_t kept, int32_t immediate) { return kept | kKeptImmediate | static_cast<uint32_t>(immediate) << 8; }

// Context::insn as the memory check writes it.
constexpr uint32_t access_info(unsigned offset, unsigned size, bool write, bool window = false) {
  return offset | size << 16 | static_cast<uint32_t>(window) << 30 | static_cast<uint32_t>(write) << 31;
}
// As interpret() has it, of an instruction behind which it is looked up where it goes on, in whatever mode it leaves.
constexpr uint32_t any_mode_info(unsigned offset) { return access_info(offset, 0, true); }
constexpr bool is_any_mode(uint32_t info) { return info >> 31; }
constexpr unsigned access_size(uint32_t info) { return info >> 16 & 0xfff; }
constexpr bool access_writes(uint32_t info) { return info >> 31; }
constexpr bool access_is_window(uint32_t info) { return info >> 30 & 1; }

// Context::insn where a jump leaves: the offset, and what to take off the stack pointer if the jump must be done again.
constexpr uint32_t jump_info(unsigned offset, int undo) { return offset | static_cast<uint32_t>(undo) << 12; }
constexpr uint32_t jump_offset(uint32_t info) { return info & 0xfff; }
constexpr int jump_undo(uint32_t info) { return static_cast<int32_t>(info) >> 12; }

// Offsets from the GS base. The same in every Context.
struct Offsets {
  explicit Offsets(const Context& context);
  int self, page_base, flags, kept, flag_value[2], value, argument, host_stack, return_limit, return_lookup, jump_key, insn, vector_loaded, host_mxcsr;
  int fill, interpret, note_site, jumps, site, sites;
  int tsc_offset, tsc_direct, window, to_kernel, to_user, to_open, mode, crossed;
  int gdt_base, gdt_limit;
  int gpr, rflags, lstar, fmask, kernel_gs_base, tsc_aux, vector, mxcsr, segment_base[x86::kSegmentCount], selector[x86::kSegmentCount];
  int requests, interest, tlb[3], second_tlb[3];
  int recent[2], recent_filled, recent_list, recent_pages, recent_misses;  // of the user
};

// Status flags in the form of Context::flags, and in RFLAGS.
uint64_t pack_flags(uint64_t rflags);
uint64_t unpack_flags(uint64_t rflags, uint64_t packed);

}  // namespace skerry::accel::bt
