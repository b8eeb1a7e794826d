// The keys that are for Skerry and not for the guest, on a console in a terminal: Ctrl-A and a letter.
#pragma once

#include <cstdint>
#include <string_view>

namespace skerry::chardev {

constexpr uint8_t kEscapeByte = 0x01;

class EscapeFilter {
 public:
  enum class Action : uint8_t {
    kPass,     // the byte is the guest's
    kCtrlA,    // Ctrl-A is the guest's
    kSwallow,  // nothing for now
    kQuit,     // Ctrl-A x
    kHelp,     // Ctrl-A h
    kMonitor,  // Ctrl-A c
    kBreak,    // Ctrl-A b
  };
  Action feed(uint8_t byte);

 private:
  bool escaped_ = false;
};

extern const std::string_view kEscapeHelp;

}  // namespace skerry::chardev
