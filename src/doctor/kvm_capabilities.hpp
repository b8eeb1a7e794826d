// What KVM can do (KVM_CHECK_EXTENSION; Documentation/virt/kvm/api.rst), and what Skerry uses it for.
#pragma once

#include <span>
#include <vector>

#include "doctor/check.hpp"
#include "doctor/host.hpp"

namespace skerry::doctor {

// The numbers to ask for, in the order of the answers.
std::span<const unsigned> kvm_capability_numbers();
// One check each; empty where /dev/kvm has not answered.
std::vector<Check> kvm_capability_checks(const Host& host);

}  // namespace skerry::doctor
