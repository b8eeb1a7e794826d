// The seccomp filter: which system calls a running VM makes, and why. Everything else ends the process.
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <string_view>

#include "vm/exit_status.hpp"
#include "vm/sandbox.hpp"

namespace skerry::vm {

namespace {

#define CALL(name) SCMP_SYS(name)

constexpr int kPlainCalls[] = {
    // Descriptors that are open already. There is no way to open one but accept4(), and eventfd2(), which leads nowhere.
    CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(lseek), CALL(close), CALL(fstat),
    CALL(pwrite64), CALL(ftruncate),  // of a state file that the monitor's client has opened
    CALL(recvfrom), CALL(sendto), CALL(recvmsg), CALL(sendmsg), CALL(accept4), CALL(eventfd2), CALL(shutdown), CALL(poll), CALL(ppoll),
    CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_ctl), CALL(timerfd_settime),
    // Disks: those that are open. What a ring of io_uring may do is restricted in src/block/aio_uring.cpp.
    CALL(preadv2), CALL(pwritev2), CALL(fdatasync), CALL(fallocate), CALL(io_uring_enter),
    // Memory. mmap() and mprotect() are below.
    CALL(munmap), CALL(mremap), CALL(madvise), CALL(brk),
    // Threads and time.
    CALL(futex), CALL(membarrier), CALL(sched_yield), CALL(sched_getaffinity), CALL(set_robust_list), CALL(rseq),
    CALL(gettid), CALL(getpid), CALL(clock_gettime), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday),
    CALL(getrandom), CALL(rt_sigreturn), CALL(rt_sigprocmask), CALL(sigaltstack), CALL(restart_syscall),
    CALL(exit), CALL(exit_group),
};

#ifdef SKERRY_SANITIZED
// What the sanitizers' run-time libraries do behind the program's back. Such builds are for tests.
constexpr int kSanitizerCalls[] = {
    CALL(open), CALL(openat), CALL(readlink), CALL(readlinkat), CALL(stat), CALL(lstat), CALL(newfstatat), CALL(access),
    CALL(mmap), CALL(mprotect), CALL(clone), CALL(clone3), CALL(prctl), CALL(ptrace), CALL(wait4), CALL(arch_prctl),
    CALL(getdents64), CALL(getuid), CALL(geteuid), CALL(getppid), CALL(sched_setaffinity), CALL(prlimit64),
    CALL(getrlimit), CALL(setrlimit), CALL(personality), CALL(uname), CALL(pipe), CALL(pipe2), CALL(dup), CALL(dup2),
    CALL(process_vm_readv), CALL(fcntl), CALL(ioctl), CALL(rt_sigaction), CALL(tgkill), CALL(mincore), CALL(getcwd),
};
#endif

struct FilterDelete {
  void operator()(void* context) const { seccomp_release(context); }
};
using Filter = std::unique_ptr<void, FilterDelete>;

// Adds rules and remembers the first failure, so that the list below reads as a list.
class Rules {
 public:
  explicit Rules(void* filter) : filter_(filter) {}

  template <typename... Conditions>
  void allow(int call, Conditions... conditions) {
    const std::array<scmp_arg_cmp, sizeof...(conditions)> all{conditions...};
    add(SCMP_ACT_ALLOW, call, all);
  }
  template <typename... Conditions>
  void refuse(int call, int with, Conditions... conditions) {
    const std::array<scmp_arg_cmp, sizeof...(conditions)> all{conditions...};
    add(SCMP_ACT_ERRNO(static_cast<uint32_t>(with)), call, all);
  }
  int failure() const { return failure_; }

 private:
  void add(uint32_t action, int call, std::span<const scmp_arg_cmp> conditions) {
    const int result = seccomp_rule_add_array(filter_, action, call, static_cast<unsigned>(conditions.size()),
                                              conditions.data());
    // EACCES: the same as what happens anyway; EEXIST: there already.
    if (result < 0 && result != -EEXIST && failure_ == 0) failure_ = -result;
  }
  void* filter_;
  int failure_ = 0;
};

// Some have no use in sanitized builds.
scmp_arg_cmp is(unsigned argument, uint64_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }
[[maybe_unused]] scmp_arg_cmp is_not(unsigned argument, uint64_t value) { return {argument, SCMP_CMP_NE, value, 0}; }
[[maybe_unused]] scmp_arg_cmp lacks(unsigned argument, uint64_t bits) { return {argument, SCMP_CMP_MASKED_EQ, bits, 0}; }
[[maybe_unused]] scmp_arg_cmp has(unsigned argument, uint64_t bits) { return {argument, SCMP_CMP_MASKED_EQ, bits, bits}; }

void add_rules(Rules& rules) {
  for (const int call : kPlainCalls) rules.allow(call);
#ifdef SKERRY_SANITIZED
  for (const int call : kSanitizerCalls) rules.allow(call);
#else
  rules.allow(CALL(mmap), lacks(2, PROT_EXEC));
  rules.allow(CALL(mprotect), lacks(2, PROT_EXEC));
  rules.allow(CALL(newfstatat), has(3, AT_EMPTY_PATH));  // glibc's fstat()
  rules.allow(CALL(ioctl), is(1, TCGETS));               // isatty()
  rules.allow(CALL(ioctl), is(1, BLKDISCARD));
  // Whatever is asked of the VM's descriptors of KVM: that is their type of requests.
  rules.allow(CALL(ioctl), scmp_arg_cmp{1, SCMP_CMP_MASKED_EQ, 0xff00, KVMIO << 8});
  rules.allow(CALL(fcntl), is(1, F_GETFL));
  // When the heap of a thread shrinks for the first time, glibc's free() wants to read how the kernel overcommits memory. It
  // does without.
  rules.refuse(CALL(openat), EACCES, is(2, O_RDONLY | O_CLOEXEC));
  // abort() and its like; the handler that reports forbidden calls stays.
  rules.allow(CALL(rt_sigaction), is_not(0, SIGSYS));
  rules.allow(CALL(tgkill), is(0, static_cast<uint64_t>(::getpid())));
#endif
  // An image that is closed is taken from its ring. One that was not open cannot be put in.
  rules.allow(CALL(io_uring_register), is(1, IORING_REGISTER_FILES_UPDATE));
  rules.allow(CALL(arch_prctl), is(0, ARCH_SET_GS));  // the translator's, where WRGSBASE is not allowed
  rules.allow(CALL(setsockopt), is(1, IPPROTO_TCP), is(2, TCP_NODELAY));
  // The console's socket file is to be removed at the end. It cannot be from here: who started the VM does.
  rules.refuse(CALL(unlink), EPERM);
  rules.refuse(CALL(unlinkat), EPERM);
}

// Runs in the midst of anything: only async-signal-safe calls.
void report_forbidden_call(int, siginfo_t* about, void*) {
  std::array<char, 16> digits;
  size_t first = digits.size();
  for (unsigned call = static_cast<unsigned>(about->si_syscall); first == digits.size() || call != 0; call /= 10)
    digits[--first] = static_cast<char>('0' + call % 10);
  const auto say = [](std::string_view text) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  };
  say("skerry: error: sandbox: system call ");
  say({digits.data() + first, digits.size() - first});
  say(" is not allowed; the VM has been ended. This is an error in Skerry, or an attack by the guest\n");
  ::_exit(kExitInternal);
}

Result<void> filter_error(int number, std::string_view doing) {
  return errno_error(number, fmt::format("sandbox: cannot {} the system call filter, without which no VM is run; "
                                         "this kernel or container does not offer seccomp filters",
                                         doing));
}

}  // namespace

Result<void> install_syscall_filter() {
  struct sigaction action{};
  action.sa_sigaction = report_forbidden_call;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSYS, &action, nullptr);

  const Filter filter(seccomp_init(SCMP_ACT_TRAP));
  if (!filter) return filter_error(ENOMEM, "make");
  seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree: vCPU threads make calls too
  if (const int result = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1); result < 0)
    return filter_error(-result, "share among threads");
  Rules rules(filter.get());
  add_rules(rules);
  if (rules.failure()) return filter_error(rules.failure(), "build");
  if (const int result = seccomp_load(filter.get()); result < 0) return filter_error(-result, "install");
  return ok();
}

}  // namespace skerry::vm
