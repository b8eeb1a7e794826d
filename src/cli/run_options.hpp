// The options of `skerry run` and what they are lowered to.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
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
  std::vector<std::string> shares;
  std::string guest_agent;
  std::string sound;
  std::string watchdog;
  std::string tpm;
  std::string firmware;
  bool smm = false;
  std::string uefi_variables;
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
  std::string display, video;
  std::string console = "stdio";
  std::string input;
  std::string isa_debug_exit;
  std::string qmp;
  std::string gdb;
  std::string debug;
  bool verbose = false;
  std::string restore;
  bool no_verify = false;
};

struct RunPlan {
  config::VmConfig config;
  // How this one run begins; not part of what the VM is.
  bool wait_for_gdb = false;
  UniqueFd restore;    // the state file to go on from, if there is one
  bool verify = true;  // its memory
};

// A valid description, or the first thing that is wrong, starting with the option's name. Images are looked at, but not
// changed; the files for cloud-init are read.
Result<RunPlan> lower(const RunOptions& options);
// The same with --restore: the description of the VM in that file. `given` are the names of the options that were used.
Result<RunPlan> lower_restored(const RunOptions& options, const std::vector<std::string>& given);
// The part of both that is about this host: console, monitor, debugger, log. Checks the whole.
Result<void> lower_host(const RunOptions& options, RunPlan& plan);

// NAME or kvm[,fd=N][,irqchip=split|user], of --accel.
Result<void> lower_accelerator(const std::string& text, config::VmConfig& config);

// DIR[,model=crb], unix:PATH[,model=crb] or none, of --tpm.
Result<std::optional<config::Tpm>> parse_tpm(const std::string& text);

// "unix:PATH" of --qmp: the path.
Result<std::string> parse_qmp(std::string_view text);

// What can be completed after the options that take one of a few words.
std::vector<std::string> accelerator_choices();
std::vector<std::string> debug_choices();

}  // namespace skerry::cli
