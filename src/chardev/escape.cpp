#include "chardev/escape.hpp"

namespace skerry::chardev {

// The terminal is raw: a line needs its carriage return.
const std::string_view kEscapeHelp =
    "\r\n"
    "Ctrl-A h       this help\r\n"
    "Ctrl-A x       end the virtual machine\r\n"
    "Ctrl-A b       send a break (magic SysRq)\r\n"
    "Ctrl-A Ctrl-A  send Ctrl-A (so does Ctrl-A a)\r\n";

EscapeFilter::Action EscapeFilter::feed(uint8_t byte) {
  if (!escaped_) {
    escaped_ = byte == kEscapeByte;
    return escaped_ ? Action::kSwallow : Action::kPass;
  }
  escaped_ = false;
  switch (byte) {
    case 'x':
      return Action::kQuit;
    case 'h':
    case '?':
      return Action::kHelp;
    case 'c':
      return Action::kMonitor;
    case 'b':
      return Action::kBreak;
    case 'a':
    case kEscapeByte:
      return Action::kCtrlA;
    default:
      return Action::kSwallow;
  }
}

}  // namespace skerry::chardev
