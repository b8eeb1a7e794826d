// The system call filter of a helper (helper.hpp), as a list of what is allowed. What is not ends the process, with a line
// that names it. For programs that link libseccomp.
#pragma once

#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.hpp"

namespace skerry {

#define CALL(name) SCMP_SYS(name)

// What hardly a program does without.
constexpr int kHelperCalls[] = {
    CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(close), CALL(fstat), CALL(lseek), CALL(poll), CALL(ppoll),
    CALL(munmap), CALL(mremap), CALL(madvise), CALL(brk), CALL(futex), CALL(getpid), CALL(gettid), CALL(clock_gettime),
    CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(getrandom), CALL(rt_sigreturn),
    CALL(rt_sigprocmask), CALL(restart_syscall), CALL(exit), CALL(exit_group),
};

#ifdef SKERRY_SANITIZED
// What the sanitizers' run-time libraries do behind the program's back. Such builds are for tests.
constexpr int kSanitizerCalls[] = {
    CALL(open), CALL(readlink), CALL(readlinkat), CALL(stat), CALL(lstat), CALL(access), CALL(mmap), CALL(mprotect),
    CALL(clone), CALL(clone3), CALL(prctl), CALL(ptrace), CALL(wait4), CALL(arch_prctl), CALL(getdents64), CALL(getuid),
    CALL(geteuid), CALL(getppid), CALL(sched_yield), CALL(prlimit64), CALL(getrlimit), CALL(setrlimit),
    CALL(personality), CALL(uname), CALL(pipe), CALL(pipe2), CALL(dup), CALL(dup2), CALL(process_vm_readv), CALL(fcntl),
    CALL(rt_sigaction), CALL(sigaltstack), CALL(tgkill), CALL(mincore), CALL(getcwd), CALL(sched_getaffinity),
};
#endif

inline scmp_arg_cmp is(unsigned argument, uint64_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }
inline scmp_arg_cmp is_not(unsigned argument, uint64_t value) { return {argument, SCMP_CMP_NE, value, 0}; }
inline scmp_arg_cmp masked(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

// A filter that is being made. Remembers the first failure, so that what is allowed reads as a list.
class HelperFilter {
 public:
  HelperFilter() : context_(seccomp_init(SCMP_ACT_TRAP)) { allow_common(); }

  void allow(std::span<const int> calls) {
    for (const int call : calls) allow(call);
  }
  template <typename... Conditions>
  void allow(int call, Conditions... conditions) {
    const std::array<scmp_arg_cmp, sizeof...(conditions)> all{conditions...};
    add(SCMP_ACT_ALLOW, call, all);
  }
  template <typename... Conditions>
  void refuse(int with, int call, Conditions... conditions) {
    const std::array<scmp_arg_cmp, sizeof...(conditions)> all{conditions...};
    add(SCMP_ACT_ERRNO(static_cast<uint32_t>(with)), call, all);
  }
  // An error begins with `program` and says that without the filter there is no `purpose`.
  Result<void> install(std::string_view program, std::string_view purpose) {
    int result = context_ ? -failure_ : -ENOMEM;
    if (result == 0) result = seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (result == 0) result = seccomp_load(context_.get());
    if (result == 0) return ok();
    return errno_error(-result, fmt::format("{}: cannot install the system call filter, without which there is no {}; this "
                                            "kernel or container does not offer seccomp filters", program, purpose));
  }

 private:
  struct Delete {
    void operator()(void* context) const { seccomp_release(context); }
  };
  void allow_common() {
    allow(kHelperCalls);
#ifdef SKERRY_SANITIZED
    allow(kSanitizerCalls);
#else
    allow(CALL(mmap), masked(2, PROT_EXEC, 0));
    allow(CALL(mprotect), masked(2, PROT_EXEC, 0));
    // abort() and its like; the handler that reports forbidden calls stays.
    allow(CALL(rt_sigaction), is_not(0, SIGSYS));
    allow(CALL(tgkill), is(0, static_cast<uint64_t>(::getpid())));
#endif
  }
  void add(uint32_t action, int call, std::span<const scmp_arg_cmp> conditions) {
    const int result = seccomp_rule_add_array(context_.get(), action, call, static_cast<unsigned>(conditions.size()),
                                              conditions.data());
    if (result < 0 && result != -EEXIST && failure_ == 0) failure_ = -result;
  }
  std::unique_ptr<void, Delete> context_;
  int failure_ = 0;
};

// In a handler of SIGSYS: "skerry: error: PROGRAM: system call N is not allowed; CONSEQUENCE", and the end of the process.
[[noreturn]] inline void end_for_call(unsigned call, std::string_view program, std::string_view consequence) {
  std::array<char, 16> digits;
  size_t first = digits.size();
  for (; first == digits.size() || call != 0; call /= 10) digits[--first] = static_cast<char>('0' + call % 10);
  const auto say = [](std::string_view text) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  };
  say("skerry: error: ");
  say(program);
  say(": system call ");
  say({digits.data() + first, digits.size() - first});
  say(" is not allowed; ");
  say(consequence);
  say(". This is an error in Skerry, or an attack\n");
  ::_exit(1);
}

}  // namespace skerry
