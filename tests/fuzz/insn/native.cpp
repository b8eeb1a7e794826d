#include "native.hpp"

#include <asm/prctl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "x86/exception.hpp"

namespace skerry::fuzz {

namespace {

constexpr uint8_t kInt3 = 0xcc;
constexpr size_t kGregCount = NGREG;

// The extended state in a signal frame. Linux, arch/x86/include/uapi/asm/sigcontext.h; Intel SDM vol. 1, 13.4.
constexpr size_t kFxMxcsr = 24, kFxSt = 32, kFxXmm = 160, kXstateBv = 512, kYmmHigh = 576;
constexpr uint64_t kX87SseAvx = 7;

enum class Phase : uint8_t { kIdle, kEnter, kRunning, kDone };

struct Frame {
  alignas(64) uint8_t fp[8192];
  greg_t gregs[kGregCount];
};

// What the handlers work on; there is one native side.
volatile Phase phase = Phase::kIdle;
volatile unsigned ticks = 0;
const Case* current = nullptr;
Outcome* result = nullptr;
Frame own;
struct sigaction previous_fpe;
void (*timeout_call)(void*) = nullptr;
void* timeout_argument = nullptr;

constexpr int kGregOfGpr[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(2);
}

size_t fp_size(const uint8_t* fp) {
  const auto* reserved = reinterpret_cast<const _fpx_sw_bytes*>(fp + offsetof(_fpstate, __glibc_reserved1) + 48);
  return std::min<size_t>(reserved->xstate_size, sizeof(own.fp));
}

void load_fp(const Registers& from, uint8_t* fp) {
  const x86::X87& x87 = from.x87;
  std::memcpy(fp, &x87.fcw, 2);
  std::memcpy(fp + 2, &x87.fsw, 2);
  fp[4] = x87.ftw;
  fp[5] = 0;
  std::memcpy(fp + 6, &x87.fop, 2);
  std::memcpy(fp + 8, &x87.fip, 8);
  std::memcpy(fp + 16, &x87.fdp, 8);
  std::memcpy(fp + kFxMxcsr, &from.mxcsr, 4);
  for (unsigned n = 0; n < 8; ++n) {
    std::memcpy(fp + kFxSt + 16 * n, &x87.st[n].significand, 8);
    std::memcpy(fp + kFxSt + 16 * n + 8, &x87.st[n].sign_exponent, 2);
  }
  for (unsigned n = 0; n < 16; ++n) {
    std::memcpy(fp + kFxXmm + 16 * n, from.ymm[n].data(), 16);
    std::memcpy(fp + kYmmHigh + 16 * n, from.ymm[n].data() + 16, 16);
  }
  uint64_t used;
  std::memcpy(&used, fp + kXstateBv, 8);
  used |= kX87SseAvx;
  std::memcpy(fp + kXstateBv, &used, 8);
}

void store_fp(const uint8_t* fp, Registers& to) {
  x86::X87& x87 = to.x87;
  std::memcpy(&x87.fcw, fp, 2);
  std::memcpy(&x87.fsw, fp + 2, 2);
  x87.ftw = fp[4];
  std::memcpy(&x87.fop, fp + 6, 2);
  std::memcpy(&x87.fip, fp + 8, 8);
  std::memcpy(&x87.fdp, fp + 16, 8);
  std::memcpy(&to.mxcsr, fp + kFxMxcsr, 4);
  for (unsigned n = 0; n < 8; ++n) {
    std::memcpy(&x87.st[n].significand, fp + kFxSt + 16 * n, 8);
    std::memcpy(&x87.st[n].sign_exponent, fp + kFxSt + 16 * n + 8, 2);
  }
  for (unsigned n = 0; n < 16; ++n) {
    std::memcpy(to.ymm[n].data(), fp + kFxXmm + 16 * n, 16);
    std::memcpy(to.ymm[n].data() + 16, fp + kYmmHigh + 16 * n, 16);
  }
}

// The signal of the INT3 in run(): its frame becomes the sequence's.
void enter(ucontext_t& context) {
  auto* fp = reinterpret_cast<uint8_t*>(context.uc_mcontext.fpregs);
  std::memcpy(own.gregs, context.uc_mcontext.gregs, sizeof(own.gregs));
  std::memcpy(own.fp, fp, fp_size(fp));
  const Registers& from = current->registers;
  greg_t* gregs = context.uc_mcontext.gregs;
  for (unsigned n = 0; n < 16; ++n) gregs[kGregOfGpr[n]] = static_cast<greg_t>(from.gpr[n]);
  gregs[REG_RIP] = static_cast<greg_t>(from.rip);
  gregs[REG_EFL] = static_cast<greg_t>(from.rflags);
  const uint16_t cs = current->mode == x86::CodeSize::k64 ? kUserCode64 : kUserCode32;
  gregs[REG_CSGSFS] = static_cast<greg_t>((static_cast<uint64_t>(gregs[REG_CSGSFS]) & ~uint64_t{0xffff}) | cs);
  load_fp(from, fp);
  ticks = 0;
  phase = Phase::kRunning;
}

// A signal of the sequence: its frame is the outcome, and becomes that of run() again.
void leave(ucontext_t& context, bool usable) {
  greg_t* gregs = context.uc_mcontext.gregs;
  auto* fp = reinterpret_cast<uint8_t*>(context.uc_mcontext.fpregs);
  Registers& to = result->registers;
  result->usable = usable;
  for (unsigned n = 0; n < 16; ++n) to.gpr[n] = static_cast<uint64_t>(gregs[kGregOfGpr[n]]);
  to.rip = static_cast<uint64_t>(gregs[REG_RIP]);
  to.rflags = static_cast<uint64_t>(gregs[REG_EFL]);
  result->vector = static_cast<uint8_t>(gregs[REG_TRAPNO]);
  result->error_code = static_cast<uint32_t>(gregs[REG_ERR]);
  result->cr2 = static_cast<uint64_t>(gregs[REG_CR2]);
  store_fp(fp, to);
  std::memcpy(fp, own.fp, fp_size(fp));
  std::memcpy(gregs, own.gregs, sizeof(own.gregs));
  phase = Phase::kDone;
}

void on_tick(ucontext_t& context) {
  ticks = ticks + 1;
  if (ticks < 3) return;
  if (phase == Phase::kRunning) leave(context, false);
  else if (timeout_call) timeout_call(timeout_argument);
}

void handler(int signal, siginfo_t* info, void* raw) {
  // Linux leaves AC as the sequence set it, and AMD's processors then check accesses of 16 bytes too.
  __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~x86::flags::kAc);
  auto& context = *static_cast<ucontext_t*>(raw);
  if (signal == SIGALRM) return on_tick(context);
  switch (phase) {
    case Phase::kEnter: return enter(context);
    case Phase::kRunning: return leave(context, signal != SIGSYS);
    default: break;
  }
  if (signal == SIGFPE && previous_fpe.sa_sigaction) return previous_fpe.sa_sigaction(signal, info, raw);
  ::signal(signal, SIG_DFL);  // the test's own crash
}

void install_handlers() {
  constexpr size_t kStack = 256 << 10;
  stack_t stack{};
  stack.ss_sp = ::mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack.ss_size = kStack;
  if (::sigaltstack(&stack, nullptr) != 0) die("sigaltstack");
  struct sigaction action{};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  ::sigfillset(&action.sa_mask);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGSYS, SIGALRM})
    if (::sigaction(signal, &action, nullptr) != 0) die("sigaction");
  if (::sigaction(SIGFPE, &action, &previous_fpe) != 0) die("sigaction");
  const itimerval every{{0, 300000}, {0, 300000}};
  ::setitimer(ITIMER_REAL, &every, nullptr);
}

// No system call is made from the code of a sequence, whatever it jumps into.
void forbid_system_calls() {
  const uint32_t low = static_cast<uint32_t>(kCodeBase), high = static_cast<uint32_t>(kCodeBase + kCodeSize);
  const uint32_t ip = offsetof(seccomp_data, instruction_pointer);
  const auto op = [](int code) { return static_cast<uint16_t>(code); };
  sock_filter filter[] = {
      {op(BPF_LD | BPF_W | BPF_ABS), 0, 0, ip + 4},
      {op(BPF_JMP | BPF_JEQ | BPF_K), 0, 4, 0},
      {op(BPF_LD | BPF_W | BPF_ABS), 0, 0, ip},
      {op(BPF_JMP | BPF_JGE | BPF_K), 0, 2, low},
      {op(BPF_JMP | BPF_JGT | BPF_K), 1, 0, high},
      {op(BPF_RET | BPF_K), 0, 0, SECCOMP_RET_TRAP},
      {op(BPF_RET | BPF_K), 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog program{sizeof(filter) / sizeof(filter[0]), filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    die("seccomp");
}

uint8_t* map_at(uint64_t base, size_t size, int protection, int fd, off_t offset) {
  void* at = ::mmap(reinterpret_cast<void*>(base), size, protection,
                    MAP_SHARED | MAP_POPULATE | (base ? MAP_FIXED_NOREPLACE : 0), fd, offset);
  if (at == MAP_FAILED) die("mmap of the sequence's memory");
  return static_cast<uint8_t*>(at);
}

class NativeSide final : public Side {
 public:
  NativeSide() {
    const int fd = ::memfd_create("sequence", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, kCodeSize + kDataSize + kStackSize) != 0) die("memfd");
    writable_ = map_at(0, kCodeSize + kDataSize + kStackSize, PROT_READ | PROT_WRITE, fd, 0);
    map_at(kCodeBase, kCodeSize, PROT_READ | PROT_EXEC, fd, 0);
    map_at(kDataBase, kReadOnlyBase - kDataBase, PROT_READ | PROT_WRITE, fd, kCodeSize);
    map_at(kReadOnlyBase, kDataBase + kDataSize - kReadOnlyBase, PROT_READ, fd,
           static_cast<off_t>(kCodeSize + kReadOnlyBase - kDataBase));
    map_at(kStackBase, kStackSize, PROT_READ | PROT_WRITE, fd, kCodeSize + kDataSize);
    ::close(fd);
    // 32-bit code needs data segments; Linux keeps them for the process.
    asm volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(static_cast<uint32_t>(kUserData)));
    install_handlers();
    forbid_system_calls();
  }

  const char* name() const override { return "native"; }

  void run(const Case& test, Outcome& outcome) override {
    const std::span code(writable_, kCodeSize), data(writable_ + kCodeSize, kDataSize);
    const std::span stack(writable_ + kCodeSize + kDataSize, kStackSize);
    std::memset(code.data(), kInt3, code.size());
    std::memcpy(code.data() + (test.registers.rip - kCodeBase), test.code.data(), test.code.size());
    fill_memory(test.memory_seed, data, stack);
    // Each time: the translator has its own use for the GS base.
    if (::syscall(SYS_arch_prctl, ARCH_SET_GS, kGsBase) != 0) die("arch_prctl");
    current = &test;
    result = &outcome;
    phase = Phase::kEnter;
    // A signal frame does not bring back all flags: NT and ID stay as the last sequence left them.
    asm volatile("lea -128(%%rsp), %%rsp\n\tpushq $2\n\tpopfq\n\tlea 128(%%rsp), %%rsp\n\tint3" : : : "memory", "cc");
    phase = Phase::kIdle;
    outcome.data = data;
    outcome.stack = stack;
  }

 private:
  uint8_t* writable_;
};

}  // namespace

std::unique_ptr<Side> make_native_side() { return std::make_unique<NativeSide>(); }

void on_timeout(void (*call)(void*), void* argument) {
  timeout_argument = argument;
  timeout_call = call;
}

}  // namespace skerry::fuzz
