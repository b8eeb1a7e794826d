// Makes a block of host code of a basic block of guest code. One per VM, used under the engine's lock.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "accel/bt/block.hpp"
#include "accel/bt/emitter.hpp"
#include "accel/bt/flag_recipe.hpp"
#include "accel/bt/kinds.hpp"
#include "accel/bt/operands.hpp"
#include "accel/bt/rewriter.hpp"
#include "accel/debug_options.hpp"
#include "x86/cpu_model.hpp"

namespace skerry::accel::bt {

class Translator : public Emitter {
 public:
  Translator(CodeCache& cache, const Offsets& offsets, const x86::CpuModel& model, const DebugOptions& options)
      : Emitter(cache, offsets), model_(model), options_(options), random_(options.stress.value_or(0)) {}

  // Fills `block`, whose page, offset, entry and mode are set, from `page` of guest code. `jumps` is the place of the
  // mode's table in Context::jumps. The edges to other blocks of the page are appended to `edges`. False: it begins with an instruction
  // that ends in the page behind, and `beyond`, that page, is null.
  bool translate(Block& block, std::span<const uint8_t> page, const uint8_t* beyond, unsigned jump_slot, std::deque<Edge>& edges);

  static constexpr unsigned kFirstOwn = 2048;  // of RecentPages' slots: those that belong to one instruction
  void leave_quick_round(uint64_t nop);

 private:
  static constexpr unsigned kMostInstructions = 64, kMostSideExits = 2;
  static constexpr uint32_t kPageBytes = memory::kPageSize;
  static constexpr int kWidest = 1024;  // bytes of a window
  enum Condition : unsigned { kBelow = 2, kAboveEqual = 3, kZero = 4, kNotZero = 5, kBelowEqual = 6, kAbove = 7 };
  // Where the guest's status flags are: in EFLAGS, in Context::flags, in both, or nowhere, but to be made by recipe_.
  enum class Flags : uint8_t { kHost, kSaved, kBoth, kRecipe };

  struct Item {  // an instruction of the block
    x86::Decoded decoded;
    uint32_t offset, next;  // in the page
    bool good;  // it is one, whole in this page, and one of the model's. If not, what follows means nothing
    Kind kind;
    bool reads_flags, writes_flags;
    RegisterUse use;
    const ZydisDecodedOperand* memory;  // its explicit operand there, or null
  };
  struct Access {
    int displacement;
    unsigned size;
    bool write;
  };
  // What one check found for accesses off a register from `lo` to `hi`, relative to the register as it was then. It has moved
  // by `shift` since.
  struct Window {
    bool valid = false, write = false;
    int lo = 0, hi = 0, shift = 0;
    unsigned accesses = 0;  // that it was made for
    bool operator==(const Window&) const = default;
  };
  // What is known where a round of a loop begins that is not the first.
  struct Round {
    const uint8_t* start = nullptr;  // null: there is none yet
    const uint8_t* back = nullptr;   // the displacement of the jump back of the quick round, if there is one and it is written
    bool quick = false;              // instructions have their own slots,
    std::array<unsigned, 2> slots{};  // slots_ at its beginning
    Flags flags = Flags::kHost;
    FlagRecipe recipe;
    std::array<Window, 16> windows;
  };
  struct Unlinked {  // where an edge goes before it is linked: written behind the block
    Edge* edge;
    bool live_flags;
  };
  struct SideExit {  // a conditional jump's target, written behind the block
    uint8_t* jump;
    uint32_t target, offset;  // in the page; of the jump
    Flags flags;
    FlagRecipe recipe;
  };

  struct Slow {  // out of line: behind the block
    enum class What : uint8_t { kFill, kInterpret, kPoll, kLoadVectors, kForgetCalls, kPack, kFindSite, kInterpretHere, kRecent } what;
    uint8_t* jump;         // the displacement that comes here
    const uint8_t* retry;  // where to go on
    uint32_t insn;         // Context::insn
    int tag;               // kFill: where the tag was looked up; kRecent: the slot
    std::optional<FlagRecipe> recipe;  // of flags that are nowhere
  };

  bool decode_block(const uint8_t* beyond);
  x86::DecodeStatus decode_item(Item& item, size_t end);
  void check_beyond(const Item& item);
  bool one(const Item& item, std::span<const uint8_t> bytes);  // false: the block ends after it
  bool plain(std::span<const uint8_t> bytes);
  void plain_keeping(const HostPlace& place, const HomedUse& homed);
  bool interpret();
  void interpret_last();
  void interpret_and_look();
  void interrupt_return();
  void leave_calls();  // forgets those that are remembered
  bool lea_();
  bool move_offset();
  bool push_();
  void pop_();
  void leave_frame();
  void push_flags();
  bool read_segment();
  void clear_interrupts();
  void set_interrupts();
  void divide(const HostPlace& place);
  bool multiply();
  void read_tsc();
  void swap_gs();
  bool verify_write();
  bool bit_string();
  bool repeated();
  bool syscall_();
  bool sysret_();
  bool set_access(bool suspended);
  void ensure_vectors();
  bool jump_();
  bool conditional();
  bool loops_back(const Item& item) const;
  bool next_round();
  void push_return();
  void call_();
  void jump_indirect();
  void call_indirect();
  void return_();

  // Memory. Each gives the host's place, which is right until a scratch register changes.
  bool can_address(const ZydisDecodedOperand& memory) const;
  // `split`: both scratch registers may be part of it.
  HostPlace check(const ZydisDecodedOperand& memory, unsigned size, bool write, bool split = false);
  HostPlace check_stack(int displacement, unsigned size, bool write);
  HostPlace check_off(unsigned base, int displacement, unsigned size, bool write);  // a guest register that is not homed
  unsigned address(const ZydisDecodedOperand& memory);
  struct Look {
    bool window = false, split = false;  // of several accesses; see check()
    std::optional<int> slot;             // of RecentPages, from the GS base
    unsigned also = kFirst;              // see look_up_page()
  };
  HostPlace look_up(unsigned size, bool write, const uint8_t* retry, Look look);
  std::optional<int> slot_for(bool stack, bool write);
  std::optional<int> slot_for(const ZydisDecodedOperand& memory, bool write);
  int slot(unsigned number, bool write) const;
  int tag_of(bool write) const;  // where the TLB in use has its tags
  uint8_t* find_page(bool write, uint32_t last, bool split, unsigned also = kFirst);  // look_up_page() in it
  void check_alignment(const HostPlace& place, unsigned alignment);
  Xbyak::RegExp at(const HostPlace& place) const;

  // Windows.
  std::optional<unsigned> window_base(const ZydisDecodedOperand& memory) const;
  bool accesses_off(unsigned base, const Item& item, std::array<Access, 2>& list, unsigned& count) const;
  std::optional<int> moves(unsigned reg, const Item& item) const;
  Window plan(unsigned base) const;
  bool covers(unsigned base, int displacement, unsigned size, bool write) const;
  bool covered(const ZydisDecodedOperand& memory, unsigned size, bool write) const;  // needs no check
  std::optional<HostPlace> window(unsigned base, int displacement, unsigned size, bool write);
  void open_window(unsigned base);
  void open_windows_early();
  int window_field(unsigned base) const { return at_.window + static_cast<int>(8 * base); }
  void move_windows(const Item& item);
  void forget_windows();

  // Flags.
  void need_flags();   // into EFLAGS
  void spare_flags();  // EFLAGS may be used from now on
  void store_flags();  // into Context; EFLAGS may be used
  void store_packed_flags();  // into Context::flags
  void pack();
  void need_packed();  // those that are in Context are in Context::flags
  void make_flags(const FlagRecipe& recipe);
  void keep_flags(const FlagRecipe& recipe);
  void keep_operand(unsigned n, unsigned guest);
  bool flags_survive(unsigned from) const;
  void keep_recipe(const RegisterUse& use, bool overwrites_flags);
  void gather_flags();
  void scatter_flags();

  // Ways out.
  std::optional<Entry> entry_without_store(uint32_t target) const;
  void edge(uint32_t target);                 // to an offset of this page
  void jump_by_edge(uint32_t target, Entry entry);
  void branch_by_edge(unsigned condition, uint32_t target, Entry entry);
  void add_edge(uint8_t* displacement, uint32_t target, Entry entry);
  void go_to(uint32_t target);                // to an offset of this page, or beyond it
  void go_beyond(uint32_t target);
  bool may_cross(bool user) const;
  void begin_crossing(int crossing);          // to the interpreter if there is none
  void cross(int crossing);                   // to the address in the first scratch register, in another mode
  void look_up(int undo = 0);                 // to the address in the first scratch register
  template <typename Go>
  void call_to(Go go);                        // what go() writes, when the address behind the call has been pushed
  void leave_with(Exit exit, uint32_t insn);
  void slow(Slow::What what, uint8_t* jump, const uint8_t* retry, uint32_t insn, int tag);
  void to_interpreter(unsigned condition);    // with this instruction
  void poll();
  void write_side_exits();
  void write_unlinked();
  void store_flags_of(const Slow& slow);
  void write_apart(const Slow& slow);
  void write_fill(const Slow& slow);
  void write_slow();
  uint8_t* branch(unsigned condition);        // a conditional jump whose displacement is returned
  void patch(uint8_t* displacement, const uint8_t* to);
  void align_displacement(unsigned opcode_size);

  unsigned stack_size() const { return block_->mode.code64() ? 8 : 4; }
  void move_stack(int by);
  void page_address(uint32_t offset);         // linear address of an offset of this page, in the first scratch register
  void load_guest(const Xbyak::Reg64& to, unsigned guest);
  void put(std::span<const uint8_t> bytes) { raw(bytes.data(), bytes.size()); }
  Xbyak::Reg sized(unsigned host, unsigned size) const;

  const x86::CpuModel& model_;
  const DebugOptions options_;
  std::minstd_rand random_;  // stress
  Block* block_ = nullptr;
  std::deque<Edge>* edges_ = nullptr;
  unsigned jump_slot_ = 0;
  unsigned sites_ = 0;  // given away, of Context::sites
  std::array<unsigned, 2> slots_{};            // of them, given away: for reads, for writes
  const x86::Decoded* decoded_ = nullptr;
  uint32_t offset_ = 0, next_ = 0;  // of the instruction, and of the one behind it
  Flags flags_ = Flags::kSaved;
  FlagRecipe recipe_;  // of the flags that were written last
  bool packed_ = false;  // Context::kept is known to be 0
  std::array<Item, kMostInstructions> items_;
  unsigned count_ = 0, index_ = 0;  // of items_; the one that is being written
  bool carries_ = false;            // one of them adds or subtracts with a carry
  std::array<Window, 16> windows_;  // by guest register
  int held_ = -1;                   // whose window's entry of Context::window is in the first scratch register
  std::vector<SideExit> side_exits_;
  std::vector<Unlinked> unlinked_;
  Round round_;
  bool vectors_ensured_ = false;
  bool ends_interpreted_ = false;  // the last instruction of the block is left to the interpreter
  std::vector<Slow> slow_;
  std::array<uint8_t, memory::kPageSize + x86::kLongestInsn> code_copy_{};  // of the page, and the beginning of the one behind it
};

}  // namespace skerry::accel::bt
