#include "x86/interp/host_thunks.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "base/log.hpp"
#include "x86/interp/host_form.hpp"

#define XBYAK_NO_EXCEPTION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include <xbyak/xbyak.h>
#pragma GCC diagnostic pop

namespace skerry::x86 {

namespace {

constexpr size_t kArenaSize = 1 << 20;

// The executable ranges of all arenas, for the signal handler: written with a lock, read without.
constexpr size_t kMaxArenas = 1024;
std::array<std::atomic<uintptr_t>, kMaxArenas> arenas;
std::mutex arenas_lock;

bool in_an_arena(uintptr_t address) {
  for (const auto& arena : arenas) {
    const uintptr_t start = arena.load(std::memory_order_acquire);
    if (start != 0 && address - start < kArenaSize) return true;
  }
  return false;
}

// Takes no lock and only redirects: in a thunk, R11 holds the address of its fault exit.
void on_sigfpe(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (!in_an_arena(static_cast<uintptr_t>(registers[REG_RIP]))) {
    ::signal(SIGFPE, SIG_DFL);  // not ours: the instruction faults again and ends the process
    return;
  }
  registers[REG_RIP] = registers[REG_R11];
}

void install_handler() {
  struct sigaction action{};
  action.sa_sigaction = on_sigfpe;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGFPE, &action, nullptr);
}

constexpr size_t kGprOffset = offsetof(CpuState, gpr);
constexpr size_t kRflagsOffset = offsetof(CpuState, rflags);

// Which registers of CpuState the instruction reads and writes.
struct Uses {
  uint32_t vectors_read = 0, vectors_written = 0;
  uint32_t mmx_read = 0, mmx_written = 0;
  uint32_t gprs_read = 0, gprs_written = 0;  // implicit ones
  bool wide = false;          // 256-bit registers or VEX
  bool gpr_read = false, gpr_written = false;
  bool flags_written = false;
  bool mxcsr = true;  // its result depends on MXCSR, or it raises SIMD exceptions
};

// The classes of instructions without SIMD floating-point exceptions. Intel SDM vol. 2, 2.5 and 2.4.
bool uses_mxcsr(const ZydisDecodedInstruction& instruction) {
  switch (instruction.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE1: case ZYDIS_EXCEPTION_CLASS_SSE4: case ZYDIS_EXCEPTION_CLASS_SSE5:
    case ZYDIS_EXCEPTION_CLASS_SSE7: case ZYDIS_EXCEPTION_CLASS_AVX1: case ZYDIS_EXCEPTION_CLASS_AVX4:
    case ZYDIS_EXCEPTION_CLASS_AVX5: case ZYDIS_EXCEPTION_CLASS_AVX6: case ZYDIS_EXCEPTION_CLASS_AVX7: return false;
    default: return true;
  }
}

Uses uses_of(const Decoded& decoded) {
  Uses uses;
  uses.wide = decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  uses.mxcsr = uses_mxcsr(decoded.instruction);
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const bool read = operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ;
    const bool written = operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    const bool visible = n < decoded.instruction.operand_count_visible;
    const unsigned id = static_cast<unsigned>(ZydisRegisterGetId(operand.reg.value));
    switch (ZydisRegisterGetClass(operand.reg.value)) {
      case ZYDIS_REGCLASS_XMM:
      case ZYDIS_REGCLASS_YMM:
        uses.vectors_read |= 1u << id;  // a written one may keep a part of itself
        if (written) uses.vectors_written |= 1u << id;
        break;
      case ZYDIS_REGCLASS_MMX:
        uses.mmx_read |= 1u << id;
        if (written) uses.mmx_written |= 1u << id;
        break;
      case ZYDIS_REGCLASS_GPR8:
      case ZYDIS_REGCLASS_GPR16:
      case ZYDIS_REGCLASS_GPR32:
      case ZYDIS_REGCLASS_GPR64:
        if (visible && operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
          uses.gpr_read |= true;
          uses.gpr_written |= written;
        } else {
          if (read) uses.gprs_read |= 1u << id;
          if (written) uses.gprs_written |= 1u << id;
        }
        break;
      case ZYDIS_REGCLASS_FLAGS: uses.flags_written |= written; break;
      default: break;
    }
  }
  return uses;
}

class VectorThunk : public Xbyak::CodeGenerator {
 public:
  VectorThunk(uint8_t* code, size_t size, const HostForm& form, const Uses& uses)
      : Xbyak::CodeGenerator(size, code), uses_(uses) {
    if (uses.mxcsr) with_mxcsr(form);
    else plain(form);
  }

 private:
  void plain(const HostForm& form) {
    body(form);
    leave();
    ret();
  }

  // Under the guest's MXCSR, with a way out for SIGFPE.
  void with_mxcsr(const HostForm& form) {
    Xbyak::Label fault, end;
    lea(r11, ptr[rip + fault]);
    sub(rsp, 24);
    stmxcsr(ptr[rsp]);
    ldmxcsr(ptr[rdi + static_cast<int>(offsetof(CpuState, mxcsr))]);
    body(form);
    L(end);
    stmxcsr(ptr[rdi + static_cast<int>(offsetof(CpuState, mxcsr))]);
    leave();
    ldmxcsr(ptr[rsp]);
    add(rsp, 24);
    ret();
    L(fault);
    mov(eax, 1);
    jmp(end);
  }

  void body(const HostForm& form) {
    load(form);
    db(form.bytes.data(), form.length);
    store(form);
    xor_(eax, eax);
  }

  // The host's registers as C++ wants them.
  void leave() {
    if (uses_.wide) vzeroupper();
    if (uses_.mmx_read) emms();
  }

  Xbyak::Address vector_at(unsigned n) {
    return ptr[rdi + static_cast<int>(offsetof(CpuState, vector) + n * sizeof(VectorRegister))];
  }
  Xbyak::Address mmx_at(unsigned n) {
    return ptr[rdi + static_cast<int>(offsetof(CpuState, x87) + offsetof(X87, st) + n * sizeof(X87::Register))];
  }
  Xbyak::Address gpr_at(unsigned n) { return ptr[rdi + static_cast<int>(kGprOffset + 8 * n)]; }

  void load(const HostForm& form) {
    for (int n = 0; n < 16; ++n) {
      if (uses_.vectors_read >> n & 1) {
        if (uses_.wide) vmovups(Xbyak::Ymm(n), vector_at(static_cast<unsigned>(n)));
        else movups(Xbyak::Xmm(n), vector_at(static_cast<unsigned>(n)));
      }
      if (n < 8 && (uses_.mmx_read >> n & 1)) movq(Xbyak::Mmx(n), mmx_at(static_cast<unsigned>(n)));
    }
    if (uses_.gprs_read >> kRax & 1) mov(rax, gpr_at(kRax));
    if (uses_.gprs_read >> kRdx & 1) mov(rdx, gpr_at(kRdx));
    if (uses_.gpr_read && form.gpr >= 0) mov(rcx, gpr_at(static_cast<unsigned>(form.gpr)));
  }

  void store(const HostForm& form) {
    if (uses_.flags_written) {
      pushfq();
      pop(r8);
      and_(r8d, static_cast<int>(flags::kStatus));
      and_(qword[rdi + static_cast<int>(kRflagsOffset)], ~static_cast<int>(flags::kStatus));
      or_(qword[rdi + static_cast<int>(kRflagsOffset)], r8);
    }
    for (int n = 0; n < 16; ++n) {
      if (uses_.vectors_written >> n & 1) {
        if (uses_.wide) vmovups(vector_at(static_cast<unsigned>(n)), Xbyak::Ymm(n));
        else movups(vector_at(static_cast<unsigned>(n)), Xbyak::Xmm(n));
      }
      if (n < 8 && (uses_.mmx_written >> n & 1)) movq(mmx_at(static_cast<unsigned>(n)), Xbyak::Mmx(n));
    }
    if (uses_.gprs_written >> kRcx & 1) mov(gpr_at(kRcx), rcx);
    if (uses_.gpr_written && form.gpr >= 0) mov(gpr_at(static_cast<unsigned>(form.gpr)), rcx);
  }

  const Uses& uses_;
};

class X87Thunk : public Xbyak::CodeGenerator {
 public:
  X87Thunk(uint8_t* code, size_t size, const HostForm& form, bool reads_flags, bool writes_flags)
      : Xbyak::CodeGenerator(size, code) {
    constexpr int kFx = offsetof(ThunkBuffer, fx);
    Xbyak::Label fault;
    lea(r11, ptr[rip + fault]);
    fxrstor64(ptr[rsi + kFx]);
    if (reads_flags) {
      push(qword[rdi + static_cast<int>(kRflagsOffset)]);
      and_(qword[rsp], static_cast<int>(flags::kStatus));
      popfq();
    }
    db(form.bytes.data(), form.length);
    if (writes_flags) {
      pushfq();
      pop(r8);
      and_(r8d, static_cast<int>(flags::kStatus));
      and_(qword[rdi + static_cast<int>(kRflagsOffset)], ~static_cast<int>(flags::kStatus));
      or_(qword[rdi + static_cast<int>(kRflagsOffset)], r8);
    }
    fxsave64(ptr[rsi + kFx]);
    fninit();
    xor_(eax, eax);
    ret();
    L(fault);
    fninit();
    mov(eax, 1);
    ret();
  }

 private:
  void fxrstor64(const Xbyak::Address&) { db(0x48), db(0x0f), db(0xae), db(0x4e), db(offsetof(ThunkBuffer, fx)); }
  void fxsave64(const Xbyak::Address&) { db(0x48), db(0x0f), db(0xae), db(0x46), db(offsetof(ThunkBuffer, fx)); }
};
static_assert(offsetof(ThunkBuffer, fx) == 64);

}  // namespace

HostThunks::HostThunks() {
  static std::once_flag once;
  std::call_once(once, install_handler);
  const int fd = ::memfd_create("thunks", MFD_CLOEXEC);
  void* rw = MAP_FAILED;
  void* rx = MAP_FAILED;
  if (fd >= 0 && ::ftruncate(fd, kArenaSize) == 0) {
    rw = ::mmap(nullptr, kArenaSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rx = ::mmap(nullptr, kArenaSize, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  }
  if (fd >= 0) ::close(fd);
  if (rw == MAP_FAILED || rx == MAP_FAILED) {
    log::failure("cannot map memory for host instructions; is executable memory forbidden here (SELinux, noexec)?");
    std::abort();
  }
  writable_ = static_cast<std::byte*>(rw);
  executable_ = static_cast<std::byte*>(rx);
  std::lock_guard guard(arenas_lock);
  for (auto& arena : arenas) {
    if (arena.load() != 0) continue;
    arena.store(reinterpret_cast<uintptr_t>(rx), std::memory_order_release);
    return;
  }
  log::failure("more than {} vCPUs in one process", kMaxArenas);
  std::abort();
}

HostThunks::~HostThunks() {
  {
    std::lock_guard guard(arenas_lock);
    for (auto& arena : arenas)
      if (arena.load() == reinterpret_cast<uintptr_t>(executable_)) arena.store(0, std::memory_order_release);
  }
  ::munmap(writable_, kArenaSize);
  ::munmap(executable_, kArenaSize);
}

void HostThunks::clear() {
  known_.clear();
  used_ = 0;
  full_ = false;
}

Thunk HostThunks::add(const std::string& key, const uint8_t* code, size_t size) {
  const size_t start = (used_ + 15) & ~size_t{15};
  if (start + size > kArenaSize) {
    full_ = true;
    return nullptr;
  }
  std::memcpy(writable_ + start, code, size);
  used_ = start + size;
  const auto thunk = reinterpret_cast<Thunk>(executable_ + start);
  known_.emplace(key, thunk);
  return thunk;
}

Thunk HostThunks::vector(const Decoded& decoded, std::span<const uint8_t> guest) {
  const HostForm form = host_form(decoded, guest);
  std::string key(reinterpret_cast<const char*>(form.bytes.data()), form.length);
  key.push_back(static_cast<char>(form.gpr));
  if (const auto found = known_.find(key); found != known_.end()) return found->second;
  std::array<uint8_t, 1024> code;
  const Uses uses = uses_of(decoded);
  VectorThunk thunk(code.data(), code.size(), form, uses);
  return add(key, code.data(), thunk.getSize());
}

Thunk HostThunks::x87(const Decoded& decoded, std::span<const uint8_t> guest) {
  const HostForm form = host_form(decoded, guest);
  std::string key(reinterpret_cast<const char*>(form.bytes.data()), form.length);
  if (const auto found = known_.find(key); found != known_.end()) return found->second;
  bool reads_flags = decoded.instruction.meta.category == ZYDIS_CATEGORY_FCMOV;
  bool writes_flags = false;
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_FCOMI: case ZYDIS_MNEMONIC_FCOMIP: case ZYDIS_MNEMONIC_FUCOMI: case ZYDIS_MNEMONIC_FUCOMIP:
      writes_flags = reads_flags = true;  // some flags stay as they were
      break;
    default: break;
  }
  std::array<uint8_t, 128> code;
  X87Thunk thunk(code.data(), code.size(), form, reads_flags, writes_flags);
  return add(key, code.data(), thunk.getSize());
}

}  // namespace skerry::x86
