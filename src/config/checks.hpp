// The parts of validate(). Each says the first thing that is wrong in one line that starts with the field's path.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "config/vm_config.hpp"

namespace skerry::config {

// Text that can be in a JSON string and in a C string.
Result<void> check_text(std::string_view field, std::string_view text, size_t max_size);
// Not empty, and no longer than PATH_MAX allows.
Result<void> check_path(std::string_view field, std::string_view path);
Result<void> check_socket(std::string_view field, std::string_view path);
Result<void> check_choice(std::string_view field, std::string_view value, const std::vector<std::string_view>& choices);
// `text` for a message: as it is, or '?' where it could garble a terminal.
std::string_view shown(std::string_view text);

Result<void> check_disks(const VmConfig& config);
Result<void> check_nics(const VmConfig& config);
Result<void> check_tpm(const VmConfig& config);
Result<void> check_screen(const VmConfig& config);
Result<void> check_guest_services(const VmConfig& config);  // cloud-init, vsock, shares, guest agent

}  // namespace skerry::config
