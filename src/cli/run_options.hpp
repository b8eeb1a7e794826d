// The options of `skerry run` and what they are lowered to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cli/cloud_init.hpp"
#include "config/vm_config.hpp"

namespace skerry::cli {

// As typed. Texts, because every wrong one is answered in our own words.
struct RunOptions {
  std::string image;  // the disk that stands alone, a path as it is
  std::vector<std::string> disks, cdroms, nets;
  CloudInitOptions cloud_init;
  std::string vsock;
  std::string guest_agent;
  std::string firmware;
  std::string board;  // empty: the one that has room for the rest
  std::string name;   // empty: the first image's, or "vm"
  std::string accel = "auto";
  std::string cpu = "host";
  std::string kernel;
  std::string initrd;
  std::string append;
  std::string memory;  // empty: 1G with a disk, 512M without
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

// A valid description, or the first thing that is wrong, starting with the option's name. Images are looked at, but not
// changed; the files for cloud-init are read.
Result<RunPlan> lower(const RunOptions& options);

// What can be completed after the options that take one of a few words.
std::vector<std::string> accelerator_choices();
std::vector<std::string> debug_choices();

}  // namespace skerry::cli
