// Loading descriptors and segment registers: shared by the files of the privileged half.
#pragma once

#include "x86/interp/interpreter.hpp"
#include "x86/segmentation.hpp"

namespace skerry::x86 {

// Reads the descriptor that `selector` names. Raises `vector` with the selector (and `ext`) if it is outside its table.
[[nodiscard]] bool read_descriptor(Interpreter& in, Selector selector, Descriptor& descriptor,
                                   uint8_t vector = kGeneralProtection, uint32_t ext = 0);
// The linear address of a descriptor that was read.
uint64_t descriptor_address(const Interpreter& in, Selector selector);
// Sets the accessed bit in memory and in `descriptor`, if it is clear.
[[nodiscard]] bool mark_accessed(Interpreter& in, Selector selector, Descriptor& descriptor);

// Checks and reads what MOV and POP to a data segment register load; `segment` is for the caller to commit.
[[nodiscard]] bool read_data_segment(Interpreter& in, uint16_t selector, Segment& segment);
// The same for SS. `vector` is #GP for loads, #TS where the stack comes from a TSS; `cpl` is that it is loaded for.
[[nodiscard]] bool read_stack_segment(Interpreter& in, uint16_t selector, unsigned cpl, uint8_t vector, uint32_t ext,
                                      Segment& segment);

// The stack for privilege level `cpl` from the current TSS, legacy and long mode. Raises #TS.
[[nodiscard]] bool read_inner_stack(Interpreter& in, unsigned cpl, uint32_t ext, uint16_t& ss, uint64_t& rsp);

// Loads RSP together with a stack segment: a 16-bit one keeps the upper part, on any processor since the 80386.
void switch_stack_pointer(CpuState& state, bool to_64bit, const Segment& ss, uint64_t rsp);

// A stack that is not the current one yet: pushes as supervisor `cpl`. commit() makes it the current one.
class NewStack {
 public:
  NewStack(Interpreter& in, const Segment& ss, uint64_t rsp, unsigned cpl, uint32_t ext)
      : in_(in), ss_(ss), rsp_(rsp), cpl_(cpl), ext_(ext) {}
  [[nodiscard]] bool push(unsigned size, uint64_t value);
  void commit();

 private:
  Interpreter& in_;
  Segment ss_;
  uint64_t rsp_;
  unsigned cpl_;
  uint32_t ext_;
};

// What a change to an outer privilege level does to data segments that are too privileged. SDM vol. 3, 5.8.6.
void drop_privileged_segments(Interpreter& in, unsigned new_cpl);

// Why a hardware task switch happens (task.cpp). SDM vol. 3, 7.3.
enum class TaskSwitchReason : uint8_t { kJump, kCall, kInterrupt, kReturn };
struct TaskSwitch {
  TaskSwitchReason reason;
  uint16_t selector = 0;
  bool has_error_code = false;
  uint32_t error_code = 0;
  bool external = false;
  uint64_t flags_image = 0;  // kInterrupt: RFLAGS as the outgoing task saves them, with RF for a fault
};
[[nodiscard]] bool switch_task(Interpreter& in, const TaskSwitch& to);

}  // namespace skerry::x86
