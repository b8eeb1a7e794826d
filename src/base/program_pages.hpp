// What a process has of its program's files in memory.
#pragma once

namespace skerry {

// For a process that has done what it was started for and now waits: gives back the pages of its program and libraries
// that are as they are in the files. Those it still needs come back as it uses them.
void give_back_program_pages();

}  // namespace skerry
