// What `--debug` can ask of an accelerator, beside logs: means to find its errors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace skerry::accel {

struct DebugOptions {
  // bt: each block is run by the interpreter too, and the results compared. One vCPU.
  bool lockstep = false;
  // bt: forgets, discards and interrupts at random, by this seed.
  std::optional<uint64_t> stress;
  std::optional<uint64_t> cache_size;  // bt: of the memory for translated code, in bytes; none: by the guest's memory
  unsigned slow_clock = 1;  // a second of the guest's is so many of the host's, for guests that are made slow
  bool stats = false;     // bt: counts, at the VM's end
  bool perf_map = false;  // bt: /tmp/perf-PID.map, for perf
  bool short_rescues = false;  // kvm: the interpreter executes what KVM cannot and nothing else, however slow KVM is
  // bt: what it may do.
  bool links = true;       // jumps from block to block inside a page
  bool jumps = true;       // the table of jumps is looked up by translated code
  bool returns = true;     // calls and returns are the host's own, checked where they land
  bool live_flags = true;  // flags stay in EFLAGS from block to block
  bool lazy_flags = true;  // flags are made again where they are wanted, rather than kept where they might be
  bool windows = true;     // one check for several accesses off one register
  bool recent = true;      // the page that an instruction accessed last is tried first
  bool long_blocks = true; // a block goes on behind a conditional jump
  bool loops = true;       // a block that jumps back to its beginning has a second copy that begins as the first one ends
  bool split_code = true;  // instructions that end in another page are translated
  bool crossings = true;   // SYSCALL, SYSRET, STAC and CLAC go on in translated code
  bool vectors = true;     // vector instructions are copied
  bool division = true;    // divisions are copied
};

// Applies one word of `--debug`. False if it is none of these; an error if its value is bad.
Result<bool> apply(std::string_view word, DebugOptions& options);
// For help and completion: "lockstep", "bt-stress=SEED", ...
std::vector<std::string_view> debug_option_names();

}  // namespace skerry::accel
