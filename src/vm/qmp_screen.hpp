// The monitor's commands about screen, keyboard and viewers: QEMU's qapi/ui.json.
#pragma once

#include "vm/qmp_commands.hpp"

namespace skerry::vm {

// "filename" is "fd:NAME", a descriptor that came by getfd: this process opens no files.
Result<nlohmann::json> screendump(const QmpCall& call);
Result<nlohmann::json> send_key(const QmpCall& call);
Result<nlohmann::json> query_vnc(const QmpCall& call);
Result<nlohmann::json> set_password(const QmpCall& call);

}  // namespace skerry::vm
