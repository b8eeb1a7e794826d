#include "machine/not_yet.hpp"

namespace skerry::machine {

Result<void> check_supported(const config::VmConfig& config) {
  if (config.board == "plain-1") return ok();
  return error("board {}, and with it disks, networks and firmware, is not there yet; start a kernel on board plain-1 "
               "(skerry run --kernel FILE)",
               config.board);
}

}  // namespace skerry::machine
