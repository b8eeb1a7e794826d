#include "net/user/sandbox.hpp"

#include <cap-ng.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "net/user/resolver.hpp"

namespace skerry::net::user {

namespace {

#define CALL(name) SCMP_SYS(name)

constexpr int kCommonCalls[] = {
    CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(close), CALL(fstat), CALL(lseek), CALL(poll), CALL(ppoll),
    CALL(munmap), CALL(mremap), CALL(madvise), CALL(brk), CALL(futex), CALL(getpid), CALL(gettid), CALL(clock_gettime),
    CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(getrandom), CALL(rt_sigreturn),
    CALL(rt_sigprocmask), CALL(restart_syscall), CALL(exit), CALL(exit_group),
};
// No socket is made to listen after the start.
constexpr int kGatewayCalls[] = {
    CALL(recvfrom), CALL(sendto), CALL(recvmsg), CALL(sendmsg), CALL(accept), CALL(accept4), CALL(bind), CALL(connect),
    CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(setsockopt), CALL(shutdown),
};
constexpr int kResolverCalls[] = {CALL(pwrite64), CALL(ftruncate), CALL(inotify_add_watch), CALL(readlink),
                                  CALL(newfstatat), CALL(lstat), CALL(readlinkat)};
constexpr int kDialerCalls[] = {CALL(connect), CALL(sendmsg), CALL(sendto), CALL(recvfrom)};

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

struct FilterDelete {
  void operator()(void* context) const { seccomp_release(context); }
};

scmp_arg_cmp is(unsigned argument, uint64_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }
[[maybe_unused]] scmp_arg_cmp is_not(unsigned argument, uint64_t value) { return {argument, SCMP_CMP_NE, value, 0}; }
scmp_arg_cmp masked(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

// A filter that is being made. Remembers the first failure, so that what is allowed reads as a list.
class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_TRAP)) { allow_common(); }

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
  Result<void> install();

 private:
  void allow_common();
  void add(uint32_t action, int call, std::span<const scmp_arg_cmp> conditions) {
    const int result = seccomp_rule_add_array(context_.get(), action, call, static_cast<unsigned>(conditions.size()),
                                              conditions.data());
    if (result < 0 && result != -EEXIST && failure_ == 0) failure_ = -result;
  }
  std::unique_ptr<void, FilterDelete> context_;
  int failure_ = 0;
};

void Filter::allow_common() {
  allow(kCommonCalls);
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

Result<void> Filter::install() {
  int result = context_ ? -failure_ : -ENOMEM;
  if (result == 0) result = seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (result == 0) result = seccomp_load(context_.get());
  if (result == 0) return ok();
  return errno_error(-result, "skerry-net: cannot install the system call filter, without which no network is run; "
                              "this kernel or container does not offer seccomp filters");
}

int resolv_conf = -1;  // for the signal handler, which can be given nothing; written once, before it is there

// Answers what libslirp asks the file system. Only async-signal-safe calls. -ENOSYS: not a question to be answered.
long answer(int call, const greg_t* registers) {
  if (call != CALL(openat) && call != CALL(newfstatat)) return -ENOSYS;
  const auto* path = reinterpret_cast<const char*>(registers[REG_RSI]);
  if (resolv_conf < 0 || std::strcmp(path, kResolvConf) != 0) return -EACCES;
  if (call == CALL(newfstatat))
    return ::fstat(resolv_conf, reinterpret_cast<struct stat*>(registers[REG_RDX])) == 0 ? 0 : -EIO;
  if ((registers[REG_RDX] & O_ACCMODE) != O_RDONLY) return -EACCES;
  const int copy = ::fcntl(resolv_conf, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return -EMFILE;
  ::lseek(copy, 0, SEEK_SET);
  return copy;
}

void on_trapped_call(int, siginfo_t* about, void* context) {
  const int saved = errno;
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const long result = answer(about->si_syscall, registers);
  errno = saved;
  if (result != -ENOSYS) {
    registers[REG_RAX] = result;
    return;
  }
  std::array<char, 16> digits;
  size_t first = digits.size();
  for (unsigned call = static_cast<unsigned>(about->si_syscall); first == digits.size() || call != 0; call /= 10)
    digits[--first] = static_cast<char>('0' + call % 10);
  const auto say = [](std::string_view text) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  };
  say("skerry: error: skerry-net: system call ");
  say({digits.data() + first, digits.size() - first});
  say(" is not allowed; the network of the VM has been ended. This is an error in Skerry, or an attack\n");
  ::_exit(1);
}

void handle_trapped_calls() {
  struct sigaction action{};
  action.sa_sigaction = on_trapped_call;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSYS, &action, nullptr);
}

}  // namespace

Result<void> drop_rights() {
  capng_clear(CAPNG_SELECT_ALL);
  // The bounding set can be emptied only with CAP_SETPCAP; with no-new-privileges nothing is ever gained from it.
  (void)capng_apply(CAPNG_SELECT_BOUNDS);
  capng_clear(CAPNG_SELECT_ALL);
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return errno_error(errno, "skerry-net: cannot drop its capabilities");
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return errno_error(errno, "skerry-net: cannot set no-new-privileges");
#if defined(NDEBUG) && !defined(SKERRY_SANITIZED)
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
#endif
  return ok();
}

Result<void> confine_gateway(int resolv_conf_copy) {
  resolv_conf = resolv_conf_copy;
  handle_trapped_calls();
  Filter filter;
  filter.allow(kGatewayCalls);
  for (const uint64_t family : {AF_INET, AF_INET6}) {
    constexpr uint64_t kTypeBits = 0xf;  // the rest is SOCK_CLOEXEC and SOCK_NONBLOCK; no SOCK_RAW
    filter.allow(CALL(socket), is(0, family), masked(1, kTypeBits, SOCK_STREAM));
    filter.allow(CALL(socket), is(0, family), masked(1, kTypeBits, SOCK_DGRAM));
  }
  filter.refuse(EACCES, CALL(socket), is(0, AF_UNIX));  // glibc's, to ask about interfaces; it goes on with AF_INET
  for (const uint64_t request : {uint64_t{FIONREAD}, uint64_t{FIONBIO}, uint64_t{SIOCGIFINDEX}, uint64_t{SIOCGIFNAME}})
    filter.allow(CALL(ioctl), is(1, request));
  for (const uint64_t command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC})
    filter.allow(CALL(fcntl), is(1, command));
  filter.allow(CALL(newfstatat), masked(3, AT_EMPTY_PATH, AT_EMPTY_PATH));  // glibc's fstat()
  return filter.install();
}

Result<void> confine_resolver() {
  handle_trapped_calls();
  Filter filter;
  filter.allow(kResolverCalls);
  filter.allow(CALL(openat), masked(2, O_ACCMODE | O_CREAT, O_RDONLY));
  return filter.install();
}

Result<void> confine_dialer() {
  handle_trapped_calls();
  Filter filter;
  filter.allow(kDialerCalls);
  filter.allow(CALL(socket), is(0, AF_UNIX), masked(1, 0xf, SOCK_STREAM));
  return filter.install();
}

}  // namespace skerry::net::user
