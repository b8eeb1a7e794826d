// The swtpm of a VM: started here, with its state in a folder, or one that runs already. Before the sandbox closes.
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "devices/tpm/swtpm.hpp"

namespace skerry::devices::tpm {

// Debian's name of the program and its package.
constexpr std::string_view kSwtpmProgram = "swtpm";

// Starts swtpm with its state in `folder`, which is made if it is not there. It ends with this thread. The folder is locked for as long
// as swtpm lives; where it is locked already, an error says so. Errors and later messages begin with `label`.
Result<std::unique_ptr<Swtpm>> start_swtpm(const std::string& folder, std::string label);

// The swtpm whose control channel is the unix socket `path`, as it was started with --ctrl type=unixio,path=PATH.
Result<std::unique_ptr<Swtpm>> connect_swtpm(const std::string& path, std::string label);

}  // namespace skerry::devices::tpm
