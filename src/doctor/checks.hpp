// All checks of a host, in the order in which they are shown.
#pragma once

#include <vector>

#include "doctor/check.hpp"
#include "doctor/host.hpp"

namespace skerry::doctor {

std::vector<Check> examine(const Host& host);

struct Summary {
  unsigned ok = 0, warnings = 0, missing = 0;
};
Summary summary_of(const std::vector<Check>& checks);

}  // namespace skerry::doctor
