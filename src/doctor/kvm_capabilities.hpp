// A check for each capability of KVM's that the accelerator knows a use for.
#pragma once

#include <vector>

#include "doctor/check.hpp"
#include "doctor/host.hpp"

namespace skerry::doctor {

// One check each; empty where /dev/kvm has not answered.
std::vector<Check> kvm_capability_checks(const Host& host);

}  // namespace skerry::doctor
