// The life of a VM as its controllers (QMP, the gdb stub, signals) see it. Everything here is called on the main thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "display/key_code.hpp"
#include "display/screen.hpp"

namespace skerry::vm {

enum class RunState : uint8_t {
  kPrelaunch,  // has not executed anything yet
  kRunning,
  kPaused,    // by the monitor
  kDebug,     // by the debugger
  kSaving,    // at rest, while its state is written
  kSaved,     // at rest; its state has been written
  kShutdown,  // about to end
};
// As in QEMU's qapi/run-state.json: "prelaunch", "running", "paused", "debug", "finish-migrate",
// "postmigrate", "shutdown".
std::string_view name(RunState state);

// Why a VM was reset or ended: QEMU's ShutdownCause.
enum class Cause : uint8_t {
  kHostError,
  kHostQmpQuit,
  kHostQmpSystemReset,
  kHostSignal,
  kHostUi,
  kGuestShutdown,
  kGuestReset,
  kGuestPanic,
};
std::string_view name(Cause cause);
bool by_guest(Cause cause);

// How the last save goes, or went.
struct SaveStatus {
  enum class State : uint8_t { kNone, kActive, kCompleted, kFailed, kCancelled };
  State state = State::kNone;
  uint64_t total = 0, done = 0, written = 0;  // bytes of guest memory: all, looked at, written (the rest of it is zero)
  int64_t milliseconds = 0;
  std::string error;  // of kFailed
};
// As in QEMU's qapi/migration.json, MigrationStatus: "none", "active", "completed", "failed", "cancelled".
std::string_view name(SaveStatus::State state);

struct VmEvent {
  enum class Kind : uint8_t { kStop, kResume, kReset, kPowerdown, kShutdown, kMigration, kPanicked, kWatchdog };
  Kind kind;
  Cause cause = Cause::kGuestShutdown;  // of kReset and kShutdown
  int exit_status = 0;                  // of kShutdown
  SaveStatus::State save = SaveStatus::State::kNone;  // of kMigration
  std::string_view action = {};                       // of kWatchdog: what is done about it
};

class VmListener {
 public:
  virtual ~VmListener() = default;
  virtual void vm_event(const VmEvent& event) = 0;
};

class VmControl {
 public:
  virtual ~VmControl() = default;
  virtual const std::string& vm_name() const = 0;
  virtual RunState run_state() const = 0;
  // What executes the guest, why, and what would give a faster one (empty: nothing).
  struct AcceleratorInfo {
    std::string name, why, remedy;
  };
  virtual AcceleratorInfo accelerator() const = 0;
  // Linux thread IDs, by vCPU index.
  virtual std::vector<int> vcpu_threads() = 0;

  // stop() returns with every vCPU at rest and the guest's clocks stopped. Both do nothing where nothing is to do.
  virtual void stop() = 0;
  virtual void cont() = 0;
  virtual void press_power_button() = 0;
  // These two are done soon, by the event loop, so that the caller can answer first.
  virtual void request_reset(Cause cause) = 0;
  virtual void request_quit(Cause cause) = 0;

  // Stops the VM and writes its state into `file`, which is open for writing, regular and empty; events tell how it goes.
  // At the end the VM rests as kSaved if that went well, and goes on as before if not. An error: nothing has changed.
  virtual Result<void> start_save(UniqueFd file) = 0;
  virtual SaveStatus save_status() const = 0;
  virtual void cancel_save() = 0;

  // What the guest draws to; null: it has no screen.
  virtual display::Screen* screen() = 0;
  // Presses the keys, in this order, and releases them after so many milliseconds of guest time; after what was sent before. Fails if
  // too much waits.
  virtual Result<void> send_keys(std::vector<display::KeyCode> keys, int64_t milliseconds) = 0;
  // Where viewers of the screen are let in, how, and who there is.
  struct Viewing {
    std::string address;         // as in config::Vnc, with the port that it is
    std::string authentication;  // as in QEMU's qapi/ui.json, VncPrimaryAuth
    std::vector<std::string> viewers;
  };
  virtual std::optional<Viewing> viewing() = 0;  // none: nowhere
  virtual Result<void> set_viewers_password(std::string password) = 0;
};

}  // namespace skerry::vm
