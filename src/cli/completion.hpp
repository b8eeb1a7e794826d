// The shell's completion of this program.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace skerry::cli {

std::string bash_completion(const CLI::App& app);

}  // namespace skerry::cli
