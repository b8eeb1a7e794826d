// The options of `skerry run` and what they are lowered to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "config/vm_config.hpp"

namespace skerry::cli {

// As typed. Texts, because every wrong one is answered in our own words.
struct RunOptions {
  std::string accel = "auto";
  std::string cpu = "host";
  std::string kernel;
  std::string initrd;
  std::string append;
  std::string memory = "512M";
  std::string cpus = "1";
  bool no_reboot = false;
  std::string console = "stdio";
  std::string isa_debug_exit;
  std::string qmp;
  std::string gdb;
  std::string debug;
};

struct RunPlan {
  config::VmConfig config;
  bool wait_for_gdb = false;  // how this one run begins; not part of what the VM is
};

// A valid description, or the first thing that is wrong, starting with the option's name.
Result<RunPlan> lower(const RunOptions& options);

// What can be completed after the options that take one of a few words.
std::vector<std::string> accelerator_choices();
std::vector<std::string> debug_choices();

}  // namespace skerry::cli
