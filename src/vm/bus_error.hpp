// Memory that is gone: the file that it was mapped from has become shorter, or its disk has failed.
#pragma once

namespace skerry::vm {

// From now on such an access, by any thread, ends the process with kExitInternal and a line that says why. To be called
// before guest memory is mapped from a file.
void report_bus_errors();

}  // namespace skerry::vm
