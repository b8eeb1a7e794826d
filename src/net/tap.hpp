// A tap of the host: an interface whose other end is the card. One queue, whatever the card has.
#pragma once

#include <memory>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "net/backend.hpp"

namespace skerry::net {

// The interface `name`, which must be there.
Result<std::unique_ptr<Backend>> open_tap(const std::string& name);
// A descriptor of a tap or macvtap that somebody else has opened, with or without IFF_VNET_HDR. It becomes the
// backend's.
Result<std::unique_ptr<Backend>> open_tap_fd(int fd);

// What both of these end with, and bridges too. `name` is for messages; `fd` is a non-blocking tap.
Result<std::unique_ptr<Backend>> make_tap(UniqueFd fd, const std::string& name);

}  // namespace skerry::net
