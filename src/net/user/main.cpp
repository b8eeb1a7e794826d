// skerry-net: the network side of one VM, in a process of its own. Started by skerry-vm.
#include <signal.h>

#include <cstdio>
#include <exception>

#include "base/log.hpp"
#include "net/helper.hpp"
#include "net/user/dial.hpp"
#include "net/user/forwards.hpp"
#include "net/user/gateway.hpp"
#include "net/user/options.hpp"
#include "net/user/resolver.hpp"
#include "net/user/sandbox.hpp"

namespace {

using namespace skerry;
using namespace skerry::net;

constexpr int kExitOk = 0, kExitFailure = 1, kExitBadInput = 2;

// What the terminal sends to all of its processes is for the VM to act on; this one ends with it.
void ignore_terminal() {
  for (const int number : {SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGPIPE}) ::signal(number, SIG_IGN);
  ::signal(SIGCHLD, SIG_IGN);  // the process that follows /etc/resolv.conf
}

// Everything that needs rights comes before they are dropped.
Result<std::unique_ptr<user::Gateway>> set_up_gateway(const user::Options& options) {
  auto memory = RingMemory::map(UniqueFd(kHelperMemory));
  if (!memory) return std::move(memory).error();
  auto gateway = user::Gateway::create(
      user::GuestLink(std::move(*memory), UniqueFd(kHelperWake), UniqueFd(kHelperWakeVm)), options.restricted);
  if (!gateway) return gateway;
  if (auto added = user::add_forwards((*gateway)->slirp(), options.forwards); !added) return std::move(added).error();
  auto resolv_conf = user::follow_resolv_conf(user::kResolvConf);
  if (!resolv_conf) return std::move(resolv_conf).error();
  if (auto dropped = user::drop_rights(); !dropped) return std::move(dropped).error();
  if (auto confined = user::confine_gateway(resolv_conf->release()); !confined) return std::move(confined).error();
  return gateway;
}

Result<void> be_gateway(const user::Options& options) {
  auto gateway = set_up_gateway(options);
  if (!gateway) {
    report_failure(gateway.error().message());
    return ok();
  }
  report_ready();
  return (*gateway)->run(kHelperControl);
}

Result<void> be_dialer(const user::Options& options) {
  auto confined = user::drop_rights();
  if (confined) confined = user::confine_dialer();
  if (!confined) {
    report_failure(confined.error().message());
    return ok();
  }
  report_ready();
  if (!options.dial.empty()) return user::dial(options.dial, kHelperControl);
  user::dial_ports(options.dial_ports, kHelperControl);
  return ok();
}

int run(int argc, char** argv) {
  const auto options = user::parse_options(argc, argv);
  if (!options) {
    log::failure("{}", options.error().message());
    return kExitBadInput;
  }
  if (options->exit) return *options->exit;
  ignore_terminal();
  const auto done = options->user ? be_gateway(*options) : be_dialer(*options);
  if (done) return kExitOk;
  log::failure("skerry-net: {}", done.error().message());
  return kExitFailure;
}

}  // namespace

#ifdef SKERRY_SANITIZED
// The leak checker at the end looks into /proc and stops the process by another: the sandbox lets it do neither, and it
// would try for ever.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& failure) {  // memory: what the standard library throws
    log::failure("skerry-net cannot go on: {}", failure.what());
    return kExitFailure;
  }
}
