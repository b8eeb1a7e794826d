#include "net/user/sandbox.hpp"

#include <cap-ng.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/helper_sandbox.hpp"
#include "net/user/resolver.hpp"

namespace skerry::net::user {

namespace {

// No socket is made to listen after the start.
constexpr int kGatewayCalls[] = {
    CALL(recvfrom), CALL(sendto), CALL(recvmsg), CALL(sendmsg), CALL(accept), CALL(accept4), CALL(bind), CALL(connect),
    CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(setsockopt), CALL(shutdown),
};
constexpr int kResolverCalls[] = {CALL(pwrite64), CALL(ftruncate), CALL(inotify_add_watch), CALL(readlink),
                                  CALL(newfstatat), CALL(lstat), CALL(readlinkat)};
constexpr int kDialerCalls[] = {CALL(connect), CALL(sendmsg), CALL(sendto), CALL(recvfrom)};

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
  end_for_call(static_cast<unsigned>(about->si_syscall), "skerry-net", "the network of the VM has been ended");
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
  HelperFilter filter;
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
  return filter.install("skerry-net", "network");
}

Result<void> confine_resolver() {
  handle_trapped_calls();
  HelperFilter filter;
  filter.allow(kResolverCalls);
  filter.allow(CALL(openat), masked(2, O_ACCMODE | O_CREAT, O_RDONLY));
  return filter.install("skerry-net", "network");
}

Result<void> confine_dialer() {
  handle_trapped_calls();
  HelperFilter filter;
  filter.allow(kDialerCalls);
  filter.allow(CALL(socket), is(0, AF_UNIX), masked(1, 0xf, SOCK_STREAM));
  return filter.install("skerry-net", "network");
}

}  // namespace skerry::net::user
