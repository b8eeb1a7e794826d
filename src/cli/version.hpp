// The version that `skerry --version` prints. A unit test keeps it the one of the build.
#pragma once

namespace skerry::cli {

constexpr const char* kVersion = "0.1.0";

}  // namespace skerry::cli
