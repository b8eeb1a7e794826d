// /etc/resolv.conf for libslirp, which reads it whenever the guest asks a name and a second has passed; and that in a
// process that may open no file.
//
// A copy of the file is in memory. A second process, which no guest's byte reaches, keeps the right to open files, and
// writes the copy anew when the file changes. What libslirp opens and looks at is the copy: see sandbox.hpp.
#pragma once

#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::net::user {

constexpr const char* kResolvConf = "/etc/resolv.conf";
constexpr size_t kMaxResolvConf = 16 * 1024;

// Makes the copy and starts the process that keeps it up to date, which ends when this one does. The descriptor is to
// be read from its beginning. `path` is kResolvConf but in tests.
Result<UniqueFd> follow_resolv_conf(const std::string& path);

}  // namespace skerry::net::user
