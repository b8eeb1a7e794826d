// Writes host code: what every part of the translator shares, and the few fixed routines that translated code calls.
#pragma once

#include <cstring>
#include <optional>
#include <utility>

#include "accel/bt/code_cache.hpp"
#include "accel/bt/context.hpp"
#include "accel/bt/flag_recipe.hpp"
#include "x86/interp/tlb.hpp"

#define XBYAK_NO_EXCEPTION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
#include <xbyak/xbyak.h>
#pragma GCC diagnostic pop

namespace skerry::accel::bt {

// The register budget. Three guest registers are homed: they live in Context. docs/engine.md says why these.
constexpr unsigned kStackRegister = 13, kFirst = 14, kSecond = 15;  // guest RSP; two scratch registers
constexpr unsigned kFirstHomed = 9, kLastHomed = 11;
constexpr bool is_homed(unsigned guest) { return guest >= kFirstHomed && guest <= kLastHomed; }
// Of a guest register that is not homed: the host's of the same number, unless that is one of ours.
constexpr unsigned host_register(unsigned guest) {
  if (guest == x86::kRsp) return kStackRegister;
  return guest >= kStackRegister ? guest - kStackRegister + kFirstHomed : guest;
}

class Emitter : public Xbyak::CodeGenerator {
 public:
  Emitter(CodeCache& cache, const Offsets& offsets);

  // The fixed routines, in the executable view.
  using Enter = Exit (*)(Context*, const uint8_t* code);
  Enter enter() const { return enter_; }
  // Context::return_lookup for a table of jumps.
  uint64_t return_lookup(unsigned jump_slot) const { return reinterpret_cast<uint64_t>(cache_.executable(lookup_[jump_slot])); }
  // Forgets all but the fixed routines.
  void clear() {
    setSize(fixed_size_);
    rare_ = rare_start();
  }
  bool nearly_full() const { return rare_start() - getSize() < kReserve || cache_.size() - rare_ < kReserve; }
  // Memory that is not in use goes back to the host.
  void give_back() const {
    cache_.give_back(getSize(), rare_start());
    cache_.give_back(rare_, cache_.size());
  }
  size_t used() const { return getSize() + rare_ - rare_start(); }

 protected:
  static constexpr size_t kReserve = 64 << 10;  // more than any block needs, in each half
  static constexpr size_t kReturnSpace = 32 << 10;  // of the host's stack
  const Xbyak::Reg64 first_ = r14, second_ = r15, stack_ = r13;

  // A field of Context as an operand; to be preceded by in_context().
  Xbyak::Address field(int offset) { return qword[Xbyak::RegExp(static_cast<size_t>(offset))]; }
  Xbyak::Address field32(int offset) { return dword[Xbyak::RegExp(static_cast<size_t>(offset))]; }
  Emitter& in_context() {
    putSeg(gs);
    return *this;
  }
  // The hot ones are put together by hand: with the library a block takes twice as long.
  void raw(const uint8_t* bytes, size_t size) {
    std::memcpy(top_ + size_, bytes, size);
    size_ += size;
  }
  void load_field(const Xbyak::Reg64& to, int offset) { move_field(0x8b, to, offset); }
  void store_field(int offset, const Xbyak::Reg64& from) { move_field(0x89, from, offset); }
  void store_field32(int offset, uint32_t value);
  void store_field_value(int offset, int32_t value);  // extended to 64 bits
  // LEA of [base + index * scale + disp] into the first scratch register. No `base` or `index`: -1. Gives a register that has it too.
  unsigned lea_first(int base, int index, unsigned scale, int32_t disp);
  // From the linear address in the first scratch register to the host's: there, or, `split`, the page in the second one and the
  // offset in the first, which is there a cycle earlier. So it is, by another one, if `also` is the register that the address was
  // copied from. Gives the displacement of the jump to what is to be
  // done if the tag at `tag` of the entry is another, or the access is not within its page.
  uint8_t* look_up_page(int tag, int host_page, uint32_t last, bool split, unsigned also);
  // The same by a slot of RecentPages, without a calculation.
  uint8_t* look_up_recent(int slot, uint32_t last, bool split);
  void place_in_tlb();  // of the entry for the address in the first scratch register, from the table's: into the second one
  static void check_library(); // ends the process if the library was asked for what it cannot do
  void save_flags(bool packed = false);  // EFLAGS into Context::flags; uses the second scratch register. `packed`: Context::kept is 0
  void restore_flags();                  // and back
  // Sets EFLAGS as they were, from operands in registers, the first of which it may overwrite, and, without an `other`, an immediate.
  void do_again(FlagRecipe::How how, const Xbyak::Reg& value, const Xbyak::Reg* other, int32_t immediate);
  // Between two calls, what is written is what is rarely executed: it goes to the other half of the cache, so that the rest is
  // closer together.
  void switch_half() { std::swap(size_, rare_); }
  void jump_to(const uint8_t* place) { go_near(0xe9, place); }
  void call_routine(const uint8_t* place) { go_near(0xe8, place); }

  CodeCache& cache_;
  const Offsets at_;
  // Goes on at the guest's address in the first scratch register. jump_info() is in the second one, if it is not given here.
  void look_up_jump(unsigned jump_slot, std::optional<uint32_t> info);

  int jump_key(unsigned jump_slot) const { return at_.jump_key + static_cast<int>(8 * (jump_slot & 1)); }
  int jump_entry(unsigned jump_slot, size_t member) const {
    return at_.jumps + static_cast<int>(jump_slot * kJumpCount * sizeof(JumpEntry) + member);
  }

  // In the writable view, for relative jumps and calls.
  const uint8_t* leave_[5] = {};  // by Exit
  const uint8_t* fill_ = nullptr;            // Context::argument is the address
  // After a look_up_page() that failed, by TLB and by whether it was for a write. ZF: it is to be done again. Else Context::argument
  // is the address.
  const uint8_t* refill_[3][2] = {};
  // After a look_up_recent() that failed, with the address in the first scratch register and the slot's place in the second one. ZF: it
  // is to be done again. Else Context::argument is the address. Of an instruction of a loop there is a NOP behind the call, whose displacement
  // leads to that of the loop's jump back: see Translator::next_round().
  const uint8_t* refill_recent_[2] = {};
  const uint8_t* note_site_ = nullptr;
  const uint8_t* interpret_ = nullptr;
  const uint8_t* pack_ = nullptr;  // what Context::kept says goes into Context::flags; uses the second scratch register
  const uint8_t* load_vectors_ = nullptr;
  const uint8_t* lookup_[kModeSlots] = {};  // look_up_jump()
  const uint8_t* find_site_[kModeSlots] = {};  // the same for Context::site, where it is put too

 private:
  void make_fixed();
  void make_enter();
  void make_leave();
  void make_lookups();
  void find_jump(unsigned jump_slot, const Xbyak::Label& miss);
  void make_find_site(unsigned jump_slot);
  void make_refill(unsigned tlb, bool write);
  void make_refill_recent(bool write);
  void go_near(uint8_t opcode, const uint8_t* place) {
    uint8_t bytes[5] = {opcode};
    const auto distance = static_cast<int32_t>(place - (getCurr() + sizeof bytes));
    std::memcpy(bytes + 1, &distance, sizeof distance);
    raw(bytes, sizeof bytes);
  }
  void move_field(uint8_t opcode, const Xbyak::Reg64& reg, int offset);
  void make_pack();
  void pack_kept();  // if there is something
  void make_call(const uint8_t*& routine, int helper, Exit otherwise);
  void save_registers();
  void load_registers();
  void save_vectors();  // if they are loaded
  void load_vectors();
  Enter enter_ = nullptr;
  const uint8_t* no_call_ = nullptr;  // where a return lands that no call is remembered of
  size_t rare_start() const { return cache_.size() / 2; }
  size_t fixed_size_ = 0, rare_ = rare_start();  // in bytes: the fixed routines, and up to where the other half is in use
  const bool wide_, has_rorx_;  // the host has AVX, BMI2
};

}  // namespace skerry::accel::bt
