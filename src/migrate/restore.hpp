// Restoring: makes a machine go on from a state file.
#pragma once

#include "base/result.hpp"
#include "config/vm_config.hpp"
#include "machine/machine.hpp"
#include "migrate/state_file.hpp"

namespace skerry::migrate {

// Whether all of the file's memory is read and compared with its checksums first. Without, damage to it goes unnoticed.
enum class Verify : uint8_t { kYes, kNo };

// `machine` was made of `config`, has never run and has not been reset. Everything is checked before anything of the
// machine is changed, but for the values of its state: after an error the machine is good for nothing but its end. Guest
// memory is mapped from the file and read as it is used; the file has to keep its content for as long as the machine
// lives, and may lose its name.
Result<void> restore(machine::Machine& machine, const config::VmConfig& config, const StateFile& file, Verify verify);

}  // namespace skerry::migrate
