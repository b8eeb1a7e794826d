// The control group that this process is in.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "doctor/host.hpp"

namespace skerry::doctor {

struct Cgroup {
  bool unified = false;                  // version 2 alone
  std::string folder;                    // where its files are; of version 1, the one of the memory controller
  std::string path;                      // as the kernel names it
  std::vector<std::string> controllers;  // those that this process has
};

// A failure says what could not be read.
Result<Cgroup> cgroup_of(const Host& host);
// How much memory the cgroup still lets its processes use, where it has a limit.
std::optional<uint64_t> memory_left_in_cgroup(const Host& host);

}  // namespace skerry::doctor
