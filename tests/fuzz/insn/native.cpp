// The processor itself: a signal handler puts the test's registers into the context that it returns to, the test ends in
// another signal, and its handler takes the registers out and puts the old context back.
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "insn/testcase.hpp"

namespace skerry::insn_fuzz {

namespace {

constexpr std::array<int, 16> kGreg = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                       REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
constexpr size_t kXstateBv = 512, kYmmHigh = 576;

const Case* current = nullptr;  // set while a test runs
Outcome* outcome = nullptr;
ucontext_t host_context;
std::array<uint8_t, 4096> host_fp;
size_t fp_size = 0;
struct sigaction previous[65];
alignas(64) uint8_t alternate_stack[1 << 16];

uint8_t* fp_area(ucontext_t* context) { return reinterpret_cast<uint8_t*>(context->uc_mcontext.fpregs); }

void load(const Registers& r, ucontext_t* context) {
  auto& g = context->uc_mcontext.gregs;
  for (unsigned n = 0; n < 16; ++n) g[kGreg[n]] = static_cast<greg_t>(r.gpr[n]);
  g[REG_RIP] = static_cast<greg_t>(r.rip);
  g[REG_EFL] = static_cast<greg_t>(r.rflags);
  uint8_t* fp = fp_area(context);
  std::memcpy(fp, &r.fcw, 2);
  std::memcpy(fp + 2, &r.fsw, 2);
  fp[4] = r.ftw;
  std::memset(fp + 6, 0, 18);
  std::memcpy(fp + 24, &r.mxcsr, 4);
  for (unsigned n = 0; n < 8; ++n) std::memcpy(fp + 32 + 16 * n, r.st[n].data(), 10);
  for (unsigned n = 0; n < 16; ++n) {
    std::memcpy(fp + 160 + 16 * n, r.ymm[n].data(), 16);
    std::memcpy(fp + kYmmHigh + 16 * n, r.ymm[n].data() + 16, 16);
  }
  uint64_t bv;
  std::memcpy(&bv, fp + kXstateBv, 8);
  bv |= 7;
  std::memcpy(fp + kXstateBv, &bv, 8);
}

void store(ucontext_t* context, Registers& r) {
  const auto& g = context->uc_mcontext.gregs;
  for (unsigned n = 0; n < 16; ++n) r.gpr[n] = static_cast<uint64_t>(g[kGreg[n]]);
  r.rip = static_cast<uint64_t>(g[REG_RIP]);
  r.rflags = static_cast<uint64_t>(g[REG_EFL]);
  const uint8_t* fp = fp_area(context);
  uint64_t bv;
  std::memcpy(&bv, fp + kXstateBv, 8);
  r.fcw = 0x37f;
  if (bv & 1) {
    std::memcpy(&r.fcw, fp, 2);
    std::memcpy(&r.fsw, fp + 2, 2);
    r.ftw = fp[4];
    for (unsigned n = 0; n < 8; ++n) std::memcpy(r.st[n].data(), fp + 32 + 16 * n, 10);
  }
  std::memcpy(&r.mxcsr, fp + 24, 4);
  for (unsigned n = 0; n < 16; ++n) {
    if (bv & 2) std::memcpy(r.ymm[n].data(), fp + 160 + 16 * n, 16);
    if (bv & 4) std::memcpy(r.ymm[n].data() + 16, fp + kYmmHigh + 16 * n, 16);
  }
}

void on_start(int, siginfo_t*, void* raw) {
  auto* context = static_cast<ucontext_t*>(raw);
  host_context = *context;
  uint32_t xsave_size;
  std::memcpy(&xsave_size, fp_area(context) + 464 + 16, 4);  // sw_reserved.xstate_size
  fp_size = std::min<size_t>(xsave_size, host_fp.size());
  std::memcpy(host_fp.data(), fp_area(context), fp_size);
  load(current->start, context);
}

void on_end(int signal, siginfo_t* info, void* raw) {
  auto* context = static_cast<ucontext_t*>(raw);
  if (!current) {
    // A thunk of the interpreter, or a real bug.
    if (previous[signal].sa_flags & SA_SIGINFO) return previous[signal].sa_sigaction(signal, info, raw);
    ::signal(signal, SIG_DFL);
    return;
  }
  outcome->vector = static_cast<unsigned>(context->uc_mcontext.gregs[REG_TRAPNO]);
  outcome->error_code = static_cast<uint32_t>(context->uc_mcontext.gregs[REG_ERR]);
  outcome->cr2 = static_cast<uint64_t>(context->uc_mcontext.gregs[REG_CR2]);
  store(context, outcome->end);
  current = nullptr;
  // Back to where the test was started from; the frame of this signal takes the old floating-point state.
  std::memcpy(context->uc_mcontext.gregs, host_context.uc_mcontext.gregs, sizeof host_context.uc_mcontext.gregs);
  std::memcpy(fp_area(context), host_fp.data(), fp_size);
}

void map_at(uint64_t address, size_t size, int protection) {
  if (::mmap(reinterpret_cast<void*>(address), size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
      MAP_FAILED) {
    std::perror("insn_fuzz: cannot map the test's pages");
    std::exit(2);
  }
}

}  // namespace

void prepare_native() {
  map_at(kCode, kPage, PROT_READ | PROT_WRITE | PROT_EXEC);
  map_at(kData, kDataSize + kPage, PROT_READ | PROT_WRITE);
  map_at(kStack, kStackSize, PROT_READ | PROT_WRITE);
  const stack_t stack{alternate_stack, 0, sizeof alternate_stack};
  ::sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  action.sa_sigaction = on_start;
  ::sigaction(SIGUSR1, &action, nullptr);
  action.sa_sigaction = on_end;
  for (const int signal : {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE}) ::sigaction(signal, &action, &previous[signal]);
}

Outcome run_native(const Case& test) {
  Outcome result;
  const auto memory = initial_memory(test.data_seed, kDataSize + kPage + kStackSize);
  ::mprotect(reinterpret_cast<void*>(kReadOnly), kPage, PROT_READ | PROT_WRITE);
  std::memcpy(reinterpret_cast<void*>(kData), memory.data(), kDataSize + kPage);
  ::mprotect(reinterpret_cast<void*>(kReadOnly), kPage, PROT_READ);
  std::memcpy(reinterpret_cast<void*>(kStack), memory.data() + kDataSize + kPage, kStackSize);
  std::memcpy(reinterpret_cast<void*>(kCode), test.code.data(), test.code.size());
  outcome = &result;
  current = &test;
  ::raise(SIGUSR1);
  result.memory.resize(kDataSize + kStackSize);
  std::memcpy(result.memory.data(), reinterpret_cast<void*>(kData), kDataSize);
  std::memcpy(result.memory.data() + kDataSize, reinterpret_cast<void*>(kStack), kStackSize);
  return result;
}

}  // namespace skerry::insn_fuzz
