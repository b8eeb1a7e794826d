// Writes host code: what every part of the translator shares, and the few fixed routines that translated code calls.
#pragma once

#include "accel/bt/code_cache.hpp"
#include "accel/bt/context.hpp"

#define XBYAK_NO_EXCEPTION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
#include <xbyak/xbyak.h>
#pragma GCC diagnostic pop

namespace skerry::accel::bt {

// The register budget. Guest registers are in the host's of the same number, but for RSP and the last three, which are
// in Context: docs/engine.md says why these.
constexpr unsigned kStackRegister = 13, kFirst = 14, kSecond = 15;  // guest RSP; two scratch registers
constexpr unsigned kFirstHomed = 13;                                 // guest R13, R14, R15 live in memory
constexpr bool is_homed(unsigned guest) { return guest >= kFirstHomed; }
// Of a guest register that is not homed.
constexpr unsigned host_register(unsigned guest) { return guest == x86::kRsp ? kStackRegister : guest; }

class Emitter : public Xbyak::CodeGenerator {
 public:
  Emitter(CodeCache& cache, const Offsets& offsets);

  // The fixed routines, in the executable view.
  using Enter = Exit (*)(Context*, const uint8_t* code);
  Enter enter() const { return enter_; }
  // Context::return_lookup for a table of jumps.
  uint64_t return_lookup(unsigned jump_slot) const { return reinterpret_cast<uint64_t>(cache_.executable(lookup_[jump_slot])); }
  // Forgets all but the fixed routines.
  void clear() { setSize(fixed_size_); }
  bool nearly_full() const { return cache_.size() - getSize() < kReserve; }

 protected:
  static constexpr size_t kReserve = 256 << 10;  // more than any block needs
  static constexpr size_t kReturnSpace = 32 << 10;  // of the host's stack
  const Xbyak::Reg64 first_ = r14, second_ = r15, stack_ = r13;

  // A field of Context as an operand; to be preceded by in_context().
  Xbyak::Address field(int offset) { return qword[Xbyak::RegExp(static_cast<size_t>(offset))]; }
  Xbyak::Address field32(int offset) { return dword[Xbyak::RegExp(static_cast<size_t>(offset))]; }
  Emitter& in_context() {
    putSeg(gs);
    return *this;
  }
  static void check_library(); // ends the process if the library was asked for what it cannot do
  void save_flags();     // EFLAGS into Context::flags; uses the second scratch register
  void restore_flags();  // and back
  void jump_to(const uint8_t* place) { jmp(place, T_NEAR); }

  CodeCache& cache_;
  const Offsets at_;
  // Goes on at the guest's address in the first scratch register; the second one is jump_info().
  void look_up_jump(unsigned jump_slot);

  // In the writable view, for relative jumps and calls.
  const uint8_t* leave_[5] = {};  // by Exit
  const uint8_t* fill_ = nullptr;
  const uint8_t* interpret_ = nullptr;
  const uint8_t* load_vectors_ = nullptr;
  const uint8_t* lookup_[kModeSlots] = {};  // look_up_jump()

 private:
  void make_fixed();
  void make_enter();
  void make_leave();
  void make_lookups();
  void make_call(const uint8_t*& routine, int helper, Exit otherwise);
  void save_registers();
  void load_registers();
  void save_vectors();  // if they are loaded
  void load_vectors();
  Enter enter_ = nullptr;
  const uint8_t* no_call_ = nullptr;  // where a return lands that no call is remembered of
  size_t fixed_size_ = 0;
  const bool wide_;  // the host has AVX
};

}  // namespace skerry::accel::bt
