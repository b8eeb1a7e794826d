// Makes a block of host code of a basic block of guest code. One per VM, used under the engine's lock.
#pragma once

#include <array>
#include <deque>
#include <random>
#include <span>
#include <vector>

#include "accel/bt/block.hpp"
#include "accel/bt/emitter.hpp"
#include "accel/bt/kinds.hpp"
#include "accel/debug_options.hpp"
#include "x86/cpu_model.hpp"

namespace skerry::accel::bt {

class Translator : public Emitter {
 public:
  Translator(CodeCache& cache, const Offsets& offsets, const x86::CpuModel& model, const DebugOptions& options)
      : Emitter(cache, offsets), model_(model), options_(options), random_(options.stress.value_or(0)) {}

  // Fills `block`, whose page, offset, entry and mode are set, from `page` of guest code. `jumps` is the place of the
  // mode's table in Context::jumps. The edges to other blocks of the page are appended to `edges`.
  void translate(Block& block, std::span<const uint8_t> page, unsigned jump_slot, std::deque<Edge>& edges);

 private:
  static constexpr unsigned kMostInstructions = 64;
  enum class Flags : uint8_t { kHost, kSaved, kBoth };  // where the guest's status flags are

  struct Slow {  // out of line: behind the block
    enum class What : uint8_t { kFill, kInterpret, kPoll, kLoadVectors, kForgetCalls } what;
    uint8_t* jump;         // the displacement that comes here
    const uint8_t* retry;  // where to go on
    uint32_t insn;         // Context::insn
    int tag;               // kFill: where the tag was looked up
  };

  bool one(const x86::Decoded& decoded, std::span<const uint8_t> bytes);  // false: the block ends after it
  bool plain(std::span<const uint8_t> bytes);
  bool interpret();
  void interpret_last();
  bool lea_();
  bool move_offset();
  bool push_();
  void pop_();
  void leave_frame();
  void push_flags();
  void read_segment();
  void clear_interrupts();
  void set_interrupts();
  void divide();
  void swap_gs();
  bool syscall_();
  bool sysret_();
  bool set_access(bool suspended);
  void jump_(uint32_t target);
  void conditional();
  void call_();
  void jump_indirect();
  void call_indirect();
  void return_();

  // Memory. Each leaves the host address in the first scratch register, and takes the flags out of EFLAGS.
  bool can_address(const ZydisDecodedOperand& memory) const;
  void check(const ZydisDecodedOperand& memory, unsigned size, bool write);
  void check_stack(int displacement, unsigned size, bool write);
  void check_register(unsigned host, unsigned size, bool write);
  void address(const ZydisDecodedOperand& memory);
  void look_up(unsigned size, bool write, const uint8_t* retry);
  void check_alignment(unsigned alignment);

  // Flags.
  void need_flags();   // into EFLAGS
  void spare_flags();  // out of EFLAGS, which may then be used
  void ensure_vectors();
  void gather_flags();
  void scatter_flags();

  // Ways out.
  void edge(uint32_t target);                 // to an offset of this page
  void go_to(uint32_t target);                // to an offset of this page, or beyond it
  void cross(int crossing);                   // to the address in the first scratch register, in another mode
  void look_up(int undo = 0);                 // to the address in the first scratch register
  template <typename Go>
  void call_to(Go go);                        // what go() writes, when the address behind the call has been pushed
  void leave_with(Exit exit, uint32_t insn);
  void write_slow();
  uint8_t* branch(unsigned condition);        // a conditional jump whose displacement is returned
  void patch(uint8_t* displacement, const uint8_t* to);
  void align_displacement(unsigned opcode_size);

  unsigned stack_size() const { return block_->mode.code64() ? 8 : 4; }
  void move_stack(int by);
  void page_address(uint32_t offset);         // linear address of an offset of this page, in the first scratch register
  void load_guest(const Xbyak::Reg64& to, unsigned guest);
  void put(std::span<const uint8_t> bytes) { db(bytes.data(), bytes.size()); }
  Xbyak::Reg sized(unsigned host, unsigned size) const;

  const x86::CpuModel& model_;
  const DebugOptions options_;
  std::minstd_rand random_;  // stress
  Block* block_ = nullptr;
  std::deque<Edge>* edges_ = nullptr;
  unsigned jump_slot_ = 0;
  const x86::Decoded* decoded_ = nullptr;
  uint32_t offset_ = 0, next_ = 0;  // of the instruction, and of the one behind it
  Flags flags_ = Flags::kSaved;
  bool vectors_ensured_ = false;
  bool ends_interpreted_ = false;  // the last instruction of the block is left to the interpreter
  std::vector<Slow> slow_;
  std::array<uint8_t, memory::kPageSize> code_copy_{};
};

}  // namespace skerry::accel::bt
