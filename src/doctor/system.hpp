// What of a host is in no file: its processor, what its kernel does when asked, its programs. Tests put their own here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "x86/cpu_model.hpp"

namespace skerry::doctor {

// What /dev/kvm said. Errors are values of errno, 0 where there was none; what comes after an error was not asked.
struct KvmAnswer {
  int open_error = 0;
  int api_version = 0;
  int create_error = 0;           // of a VM, which is given back at once
  std::vector<int> capabilities;  // in the order of accel::kvm::capabilities()
};

struct User {
  uid_t id = 0;                      // the effective one
  std::string name;                  // a number where it has none
  std::vector<gid_t> groups;         // of this process
  std::vector<gid_t> listed_groups;  // of the user: a new session would have them
};

struct ProgramResult {
  int exit_status = 0;
  std::string output, errors;  // as much as there is room for
  bool cut = false;            // there was more
};

class System {
 public:
  virtual ~System() = default;

  virtual x86::CpuidResult cpuid(uint32_t leaf, uint32_t subleaf) const = 0;
  virtual KvmAnswer ask_kvm() const = 0;

  // The value of errno with which it fails, 0 if it does not. What was made is closed at once.
  virtual int open_device(const std::string& path) const = 0;  // to read and write
  virtual int make_io_uring() const = 0;
  virtual int make_userfaultfd() const = 0;  // one that serves the kernel's accesses too, as KVM's
  virtual int use_seccomp_filters() const = 0;
  // The translator's memory for code.
  virtual Result<void> make_code_memory() const = 0;

  virtual uint64_t open_files_limit() const = 0;
  virtual User user() const = 0;
  virtual std::string group_name(gid_t group) const = 0;   // a number where it has none
  virtual Result<std::string> program_folder() const = 0;  // the one of this program, without a '/' at its end

  // Runs a program by its path with an empty environment and nothing to read, for so long at most. A failure: it could
  // not be started, did not end in time, or was ended by a signal.
  virtual Result<ProgramResult> run(const std::vector<std::string>& command, int milliseconds) const = 0;
};

// This host.
std::unique_ptr<System> this_system();

}  // namespace skerry::doctor
