// The backends, one function each that opens it; open_chardev() chooses among them.
#pragma once

#include <string>

#include "chardev/chardev.hpp"

namespace skerry::chardev {

Result<std::unique_ptr<Chardev>> open_stdio(std::function<void()> quit);
Result<std::unique_ptr<Chardev>> open_pty();
Result<std::unique_ptr<Chardev>> open_file(const std::string& path);
Result<std::unique_ptr<Chardev>> open_unix(const std::string& path);
std::unique_ptr<Chardev> open_none();

}  // namespace skerry::chardev
