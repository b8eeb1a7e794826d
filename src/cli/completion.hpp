// The shell's completion of this program.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace skerry::cli {

std::string bash_completion(const CLI::App& app);

}  // namespace skerry::cli
