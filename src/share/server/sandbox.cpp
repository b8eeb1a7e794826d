#include "share/server/sandbox.hpp"

#include <cap-ng.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/helper_sandbox.hpp"

namespace skerry::share {

namespace {

constexpr capng_type_t kAll = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
// Of root, whose requests come with the numbers of the guest's users.
constexpr unsigned kKept[] = {CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_CHOWN, CAP_FSETID, CAP_SETUID, CAP_SETGID};

constexpr int kFileCalls[] = {
    // Requests and answers, and data.
    CALL(recvfrom), CALL(sendto), CALL(pread64), CALL(pwrite64), CALL(pwritev2), CALL(copy_file_range),
    // By descriptor, or by one component in the folder of a descriptor.
    CALL(openat), CALL(openat2), CALL(newfstatat), CALL(fstatfs), CALL(readlinkat), CALL(getdents64), CALL(fchmodat),
    CALL(fchownat), CALL(utimensat), CALL(ftruncate), CALL(mkdirat), CALL(symlinkat), CALL(linkat), CALL(unlinkat),
    CALL(renameat), CALL(renameat2), CALL(fsetxattr), CALL(fgetxattr), CALL(flistxattr), CALL(fremovexattr), CALL(fallocate), CALL(fsync),
    CALL(fdatasync), CALL(syncfs), CALL(dup),
    // What a guest's user creates is that user's (Creator).
    CALL(setfsuid), CALL(setfsgid), CALL(capget), CALL(capset),
};

void on_forbidden_call(int, siginfo_t* about, void*) {
  end_for_call(static_cast<unsigned>(about->si_syscall), "skerry-fs", "the guest cannot use the shared folder any more");
}

// Root passes all through, if it has what that takes (in a container it may not).
Owners choose_owners(bool by_root) {
  for (const unsigned capability : kKept) by_root = by_root && capng_have_capability(CAPNG_EFFECTIVE, capability);
  return by_root ? Owners::unchanged() : Owners::of_one(::geteuid(), ::getegid());
}

}  // namespace

Result<Owners> drop_rights(bool by_root) {
  if (capng_get_caps_process() != 0) return errno_error(errno, "skerry-fs: cannot read its capabilities");
  const Owners owners = choose_owners(by_root);
  capng_clear(CAPNG_SELECT_ALL);
  // The bounding set can be emptied only with CAP_SETPCAP; with no-new-privileges nothing is ever gained from it.
  (void)capng_apply(CAPNG_SELECT_BOUNDS);
  capng_clear(CAPNG_SELECT_ALL);
  if (owners.are_unchanged())
    for (const unsigned capability : kKept) capng_update(CAPNG_ADD, kAll, capability);
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return errno_error(errno, "skerry-fs: cannot drop its capabilities");
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_error(errno, "skerry-fs: cannot set no-new-privileges");
#if defined(NDEBUG) && !defined(SKERRY_SANITIZED)
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
#endif
  return owners;
}

Result<void> confine() {
  struct sigaction action{};
  action.sa_sigaction = on_forbidden_call;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSYS, &action, nullptr);
  HelperFilter filter;
  filter.allow(kFileCalls);
  for (const uint64_t type : {S_IFREG, S_IFIFO, S_IFSOCK}) filter.allow(CALL(mknodat), masked(2, S_IFMT, type));
  filter.allow(CALL(fcntl), is(1, F_GETFL));
  return filter.install("skerry-fs", "shared folder");
}

}  // namespace skerry::share
