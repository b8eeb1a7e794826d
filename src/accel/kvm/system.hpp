// /dev/kvm: whether it is there, may be opened and can do what Skerry needs of it. Linux, Documentation/virt/kvm/api.rst.
#pragma once

#include <sys/ioctl.h>

#include <cerrno>
#include <vector>

#include "accel/kvm/linux_kvm.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::accel::kvm {

// ioctl() with its result or -errno; a call that a signal has interrupted is made again.
template <typename... Argument>
int call(int fd, unsigned long request, Argument... argument) {
  for (;;) {
    const int result = ::ioctl(fd, request, argument...);
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

class System {
 public:
  // Opens /dev/kvm, or takes `fd` if it is one. Says what is wrong and what to do.
  static Result<System> open(UniqueFd fd = {});

  int fd() const { return fd_.get(); }
  // KVM_CHECK_EXTENSION: 0 is "no".
  int check(int capability) const;
  Result<UniqueFd> create_vm() const;
  // Of every vCPU: what is shared with the kernel, in bytes.
  size_t run_size() const { return run_size_; }
  std::vector<kvm_cpuid_entry2> supported_cpuid() const;
  // MSRs whose value a VMM saves and restores.
  std::vector<uint32_t> msr_indices() const;

 private:
  explicit System(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  size_t run_size_ = 0;
};

// Whether this processor virtualizes, as far as KVM knows: it has VT-x or AMD-V, or the module that uses them is loaded.
// Where it does not, a /dev/kvm that is there all the same executes guests in software.
bool hardware_assisted();
// Whether KVM keeps page tables of its own in place of the guest's, so that it has to see every write to those.
bool shadow_paging();

}  // namespace skerry::accel::kvm
