// The version that QMP and gdb are told. A unit test keeps it the one of the build.
#pragma once

namespace skerry::vm {

constexpr unsigned kVersionMajor = 0, kVersionMinor = 1, kVersionMicro = 0;

}  // namespace skerry::vm
