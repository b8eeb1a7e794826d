#include "vm/vm_control.hpp"

namespace skerry::vm {

std::string_view name(RunState state) {
  switch (state) {
    case RunState::kPrelaunch: return "prelaunch";
    case RunState::kRunning: return "running";
    case RunState::kPaused: return "paused";
    case RunState::kDebug: return "debug";
    case RunState::kSaving: return "finish-migrate";
    case RunState::kSaved: return "postmigrate";
    case RunState::kShutdown: return "shutdown";
  }
  return "internal-error";
}

std::string_view name(SaveStatus::State state) {
  switch (state) {
    case SaveStatus::State::kNone: return "none";
    case SaveStatus::State::kActive: return "active";
    case SaveStatus::State::kCompleted: return "completed";
    case SaveStatus::State::kFailed: return "failed";
    case SaveStatus::State::kCancelled: return "cancelled";
  }
  return "none";
}

std::string_view name(Cause cause) {
  switch (cause) {
    case Cause::kHostError: return "host-error";
    case Cause::kHostQmpQuit: return "host-qmp-quit";
    case Cause::kHostQmpSystemReset: return "host-qmp-system-reset";
    case Cause::kHostSignal: return "host-signal";
    case Cause::kHostUi: return "host-ui";
    case Cause::kGuestShutdown: return "guest-shutdown";
    case Cause::kGuestReset: return "guest-reset";
    case Cause::kGuestPanic: return "guest-panic";
  }
  return "none";
}

bool by_guest(Cause cause) {
  return cause == Cause::kGuestShutdown || cause == Cause::kGuestReset || cause == Cause::kGuestPanic;
}

}  // namespace skerry::vm
