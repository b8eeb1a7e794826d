// What KVM can do (KVM_CHECK_EXTENSION; Linux, Documentation/virt/kvm/api.rst), and what Skerry wants it for: the table that
// the accelerator asks and `skerry doctor` shows.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace skerry::accel::kvm {

struct Capability {
  enum class Need : uint8_t { kRequired, kUseful };
  // What has to be another one where it is missing; the processor together with its module.
  enum class From : uint8_t { kKernel, kProcessor };

  unsigned number;        // KVM_CAP_*
  std::string_view name;  // behind KVM_CAP_
  Need need;
  std::string_view without;  // what is lost: "a guest can be given no memory"
  From from = From::kKernel;
  int least = 1;  // of those that are a number of something
};

std::span<const Capability> capabilities();

}  // namespace skerry::accel::kvm
