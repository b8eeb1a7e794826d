// What the guest's cloud-init is told: --cloud-init's files as they are, or a document made of --ssh-key and --hostname.
// All is checked here, because a guest that does not understand it comes up without a word and lets nobody in.
#pragma once

#include <optional>
#include <string>

#include "base/result.hpp"
#include "config/vm_config.hpp"

namespace skerry::cli {

struct CloudInitOptions {
  std::string ssh_key;     // --ssh-key FILE
  std::string hostname;    // --hostname NAME
  std::string cloud_init;  // --cloud-init user-data=FILE[,meta-data=FILE][,network-config=FILE]
};

// Nothing if none of them is given. Messages start with the option's name.
Result<std::optional<config::CloudInit>> lower_cloud_init(const CloudInitOptions& options);

// That user-data begins as cloud-init wants it, and is YAML where it has to be.
Result<void> check_user_data(std::string_view text);

}  // namespace skerry::cli
