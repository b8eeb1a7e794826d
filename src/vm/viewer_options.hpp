// What a description says of the viewers of the screen, for the server that lets them in.
#pragma once

#include <string>

#include "base/result.hpp"
#include "config/vm_config.hpp"
#include "display/rfb_server.hpp"

namespace skerry::vm {

// Of a description with `vnc`. Reads the file with the password.
Result<display::RfbOptions> viewer_options(const config::VmConfig& config);
// As in QEMU's qapi/ui.json, VncPrimaryAuth.
std::string vnc_authentication(const config::Vnc& vnc);

}  // namespace skerry::vm
