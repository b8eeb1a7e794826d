// The person's terminal while a guest's console is on it.
#pragma once

#include <termios.h>

namespace skerry::cli {

// Raw from hold() to release(): every key goes to the guest. Where standard input is no terminal, nothing is done.
// Belongs to the process that outlives the VM's, so that the terminal is given back however that one ends.
class Terminal {
 public:
  ~Terminal() { release(); }
  void hold();
  void release();

 private:
  termios saved_{};
  bool held_ = false;
};

}  // namespace skerry::cli
