#include "vm/sandbox.hpp"

#include <cap-ng.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>

namespace skerry::vm {

namespace {

Result<void> drop_capabilities() {
  capng_clear(CAPNG_SELECT_ALL);
  // The bounding set can be emptied only with CAP_SETPCAP, which an ordinary user lacks, and need not: with
  // no-new-privileges nothing is ever gained from it.
  (void)capng_apply(CAPNG_SELECT_BOUNDS);
  capng_clear(CAPNG_SELECT_ALL);
  if (capng_apply(CAPNG_SELECT_CAPS) != 0)
    return errno_error(errno, "sandbox: cannot drop the capabilities of this process");
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  capng_get_caps_process();
  if (capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
    return error("sandbox: capabilities are left after dropping all of them; start Skerry as an ordinary user");
  return ok();
}

}  // namespace

Result<void> drop_rights() {
  if (auto dropped = drop_capabilities(); !dropped) return dropped;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return errno_error(errno, "sandbox: cannot set no-new-privileges; Linux 3.5 or newer is needed");
  return ok();
}

void hide_memory() {
#if defined(NDEBUG) && !defined(SKERRY_SANITIZED)
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
#endif
}

}  // namespace skerry::vm
