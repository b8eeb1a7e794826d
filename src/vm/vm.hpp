// One running VM: the machine, what it is connected to, who controls it, and its life from power-on to its exit status.
//
// Main thread only, but for what the machine calls back, which is posted to it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "base/io_thread.hpp"
#include "chardev/chardev.hpp"
#include "config/vm_config.hpp"
#include "display/rfb_server.hpp"
#include "machine/backends.hpp"
#include "machine/machine.hpp"
#include "migrate/restore.hpp"
#include "migrate/state_file.hpp"
#include "vm/exit_status.hpp"
#include "vm/gdb_stub.hpp"
#include "vm/gdb_target.hpp"
#include "vm/key_sender.hpp"
#include "vm/qmp.hpp"
#include "vm/save_job.hpp"
#include "vm/socket_server.hpp"
#include "vm/vm_control.hpp"

namespace skerry::vm {

// The saved state that a VM goes on from, instead of starting.
struct RestoreSource {
  std::string path;  // for messages
  UniqueFd file;
  migrate::Verify verify = migrate::Verify::kYes;
};

class Vm final : public VmControl, public DebugTarget {
 public:
  // Opens every file and socket and makes the machine, at rest and empty. `config` is valid; `loop` outlives the VM.
  static Result<std::unique_ptr<Vm>> create(const config::VmConfig& config, EventLoop& loop,
                                            std::optional<RestoreSource> source = {});
  ~Vm() override;

  Result<void> start_threads();
  // Loads the kernel or the saved state, lets the controllers in, and runs; or waits for the debugger to say so. Inside the sandbox.
  Result<void> start(bool wait_for_debugger);
  // After the loop's end: writes out what is buffered and says how it ended.
  int finish();

  // VmControl
  const std::string& vm_name() const override { return config_.name; }
  RunState run_state() const override { return state_; }
  AcceleratorInfo accelerator() const override;
  std::vector<int> vcpu_threads() override;
  void stop() override;
  void cont() override;
  void press_power_button() override;
  void request_reset(Cause cause) override;
  void request_quit(Cause cause) override;
  Result<void> start_save(UniqueFd file) override;
  SaveStatus save_status() const override { return save_.status(); }
  void cancel_save() override;
  display::Screen* screen() override { return backends_.screen.get(); }
  Result<void> send_keys(std::vector<display::KeyCode> keys, int64_t milliseconds) override;
  std::optional<Viewing> viewing() override;
  Result<void> set_viewers_password(std::string password) override;

  // DebugTarget
  unsigned vcpu_count() const override { return machine_->vcpu_count(); }
  bool running() const override { return stepping_ || state_ == RunState::kRunning; }
  void halt() override;
  void resume() override { cont(); }
  void step(unsigned vcpu, bool others_run) override;
  const x86::CpuState& state(unsigned vcpu) override { return vcpu_at(vcpu).state(); }
  void set_state(unsigned vcpu, const x86::CpuState& state) override;
  bool read_memory(unsigned vcpu, uint64_t address, std::span<std::byte> to) override;
  bool write_memory(unsigned vcpu, uint64_t address, std::span<const std::byte> from) override;
  void set_debug(const accel::DebugControls& controls) override;
  uint64_t watch_address(unsigned vcpu) override { return vcpu_at(vcpu).debug_address(); }
  void reset_machine() override { reset(Cause::kHostUi); }
  void kill() override { request_quit(Cause::kHostUi); }

 private:
  Vm(const config::VmConfig& config, EventLoop& loop, std::optional<RestoreSource> source)
      : config_(config), loop_(loop), source_(std::move(source)), save_(loop, [this] { save_changed(); }) {}
  Result<std::optional<machine::BootFiles>> open_boot_files();
  Result<void> open_console();
  Result<void> open_servers();
  Result<void> open_display();
  Result<void> make_machine();
  Result<void> open_reset_timer();
  machine::MachineEvents events();
  Result<void> load_machine();
  Result<void> start_qmp();
  Result<void> start_gdb();

  void guest_panicked();
  void watchdog_expired();
  void guest_reset();
  void triple_fault(unsigned vcpu);
  void log_triple_fault(unsigned vcpu);
  void debug_stop(unsigned vcpu, accel::Exit reason);
  void reset(Cause cause);
  void run_after_reset();
  void end(Cause cause, int status);
  void rest();
  void save_changed();
  // Ends a save under way, because the machine is about to change; the VM is in state `then`.
  void give_up_save(std::string_view why, RunState then);
  void emit(const VmEvent& event);
  accel::Vcpu& vcpu_at(unsigned index) { return machine_->vcpu(index).vcpu(); }
  // Posts `handler` for the main thread, from a vCPU. It is dropped if the machine has been reset by then: the wish was
  // of a guest that is no more.
  template <typename Handler>
  void post_unless_reset(Handler handler);

  const config::VmConfig config_;
  EventLoop& loop_;
  std::optional<RestoreSource> source_;  // until start()
  std::unique_ptr<chardev::Chardev> console_;
  std::unique_ptr<SocketServer> qmp_server_, gdb_server_;
  std::unique_ptr<IoThread> io_;
  machine::Backends backends_;
  std::unique_ptr<machine::Machine> machine_;
  std::unique_ptr<KeySender> keys_;
  std::unique_ptr<display::RfbServer> viewers_;
  std::unique_ptr<QmpSession> qmp_;
  std::unique_ptr<GdbStub> gdb_;
  std::vector<VmListener*> listeners_;

  SaveJob save_;
  RunState state_ = RunState::kPrelaunch;
  RunState before_save_ = RunState::kPrelaunch;
  bool stepping_ = false;
  int exit_status_ = kExitOk;
  uint64_t triple_faults_ = 0;
  // Paces resets. In host time, because the VM's clock stands while it is reset.
  UniqueFd reset_timer_;
  int64_t run_not_before_ = 0;
  uint64_t moves_at_reset_ = 0;
  // Count resets, and times the VM came to rest or left it: a report from a vCPU that is older is not news any more.
  std::atomic<uint64_t> resets_{0}, moves_{0};
  std::atomic<bool> panicked_{false};
};

}  // namespace skerry::vm
