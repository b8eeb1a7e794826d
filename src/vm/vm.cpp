#include "vm/vm.hpp"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.hpp"
#include "config/saved_config.hpp"
#include "vm/bus_error.hpp"
#include "vm/cpu_dump.hpp"
#include "vm/viewer_options.hpp"

namespace skerry::vm {

namespace {

constexpr int kConsoleFlush = 2000, kMonitorFlush = 500;  // ms, for readers that take their time
constexpr uint64_t kTripleFaultDumps = 3;
// A guest that resets itself for ever gets no more of the main thread, and of its controllers' patience, than this.
constexpr int64_t kResetPeriod = 10'000'000;  // ns

chardev::Spec spec_of(const config::Console& console) {
  using Type = config::Console::Type;
  switch (console.type) {
    case Type::kStdio: return {chardev::Kind::kStdio, ""};
    case Type::kPty: return {chardev::Kind::kPty, ""};
    case Type::kFile: return {chardev::Kind::kFile, console.path};
    case Type::kUnix: return {chardev::Kind::kUnix, console.path};
    case Type::kNone: break;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Vm>> Vm::create(const config::VmConfig& config, EventLoop& loop,
                                       std::optional<RestoreSource> source) {
  std::unique_ptr<Vm> vm(new Vm(config, loop, std::move(source)));
  if (auto made = vm->make_machine(); !made) return std::move(made).error();
  if (auto opened = vm->open_reset_timer(); !opened) return std::move(opened).error();
  if (auto opened = vm->open_servers(); !opened) return std::move(opened).error();
  if (auto opened = vm->open_display(); !opened) return std::move(opened).error();
  return vm;
}

Vm::~Vm() {
  if (viewers_) machine_->on_input_change({});
  if (reset_timer_) loop_.remove(reset_timer_.get());
}

Result<void> Vm::open_reset_timer() {
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer) return errno_error(errno, "cannot create a timer");
  auto added = loop_.add(timer.get(), EPOLLIN, [this](uint32_t) {
    uint64_t count;
    [[maybe_unused]] const ssize_t got = ::read(reset_timer_.get(), &count, sizeof count);
    if (moves_ == moves_at_reset_ && state_ == RunState::kRunning) run_after_reset();
  });
  if (!added) return added;
  reset_timer_ = std::move(timer);
  return ok();
}

Result<void> Vm::open_console() {
  auto console = chardev::open_chardev(spec_of(config_.console), {.quit = [this] { request_quit(Cause::kHostUi); }});
  if (!console) return std::move(console).error();
  console_ = std::move(*console);
  return ok();
}

// A restored VM needs its kernel only to start again after a reset.
Result<std::optional<machine::BootFiles>> Vm::open_boot_files() {
  if (config_.kernel.path.empty()) return std::optional<machine::BootFiles>();
  auto files = machine::open_boot_files(config_.kernel);
  if (files) return std::optional(std::move(*files));
  if (!source_) return std::move(files).error();
  if (!config_.no_reboot)
    return error("{}; the saved VM starts again from it after a reset: put it there, or restore with --no-reboot",
                 files.error().message());
  UniqueFd none(::memfd_create("skerry-no-kernel", MFD_CLOEXEC));
  constexpr std::string_view kText = "it was not there when the VM was restored";
  if (!none || ::write(none.get(), kText.data(), kText.size()) != static_cast<ssize_t>(kText.size()))
    return errno_error(errno, "cannot get memory");
  auto kernel = machine::InputFile::adopt("kernel", config_.kernel.path, std::move(none));
  if (!kernel) return std::move(kernel).error();
  return std::optional(machine::BootFiles{std::move(*kernel), {}});
}

Result<void> Vm::make_machine() {
  auto files = open_boot_files();
  if (!files) return std::move(files).error();
  if (auto opened = open_console(); !opened) return opened;
  auto io = IoThread::create(loop_.clock(), "io");
  if (!io) return std::move(io).error();
  io_ = std::move(*io);
  auto backends = machine::open_backends(config_, io_->loop());
  if (!backends) return std::move(backends).error();
  backends_ = std::move(*backends);
  auto machine = machine::Machine::create(config_, std::move(*files), {loop_, *io_, *console_, backends_}, events());
  if (!machine) return std::move(machine).error();
  machine_ = std::move(*machine);
  keys_ = std::make_unique<KeySender>(loop_, machine_->input());
  return ok();
}

Result<void> Vm::start_threads() {
  if (viewers_) {
    if (auto started = viewers_->start(); !started) return started;
    machine_->on_input_change([this] {
      viewers_->leds_changed(machine_->input().leds());
      viewers_->pointer_changed();
    });
  }
  machine_->start_threads();
  return ok();
}

Result<void> Vm::open_servers() {
  if (config_.qmp) {
    auto server = SocketServer::listen_unix("--qmp", *config_.qmp);
    if (!server) return std::move(server).error();
    qmp_server_ = std::move(*server);
  }
  if (!config_.gdb) return ok();
  auto server = config_.gdb->type == config::GdbAddress::Type::kUnix
                    ? SocketServer::listen_unix("--gdb", config_.gdb->path)
                    : SocketServer::listen_tcp("--gdb", config_.gdb->host, config_.gdb->port);
  if (!server) return std::move(server).error();
  gdb_server_ = std::move(*server);
  if (config_.gdb->type == config::GdbAddress::Type::kTcp && config_.gdb->port == 0)
    log::info("gdb: target remote :{}", gdb_server_->port());
  return ok();
}

Result<void> Vm::open_display() {
  if (!config_.vnc) return ok();
  auto options = viewer_options(config_);
  if (!options) return std::move(options).error().in("--display");
  auto server = display::RfbServer::listen(*backends_.screen, machine_->input(), backends_.sound.get(), *options);
  if (!server) return std::move(server).error().in("--display");
  viewers_ = std::move(*server);
  if (viewers_->port() != 0 && config_.vnc->listen.ends_with(":0")) log::info("vnc: port {}", viewers_->port());
  return ok();
}

template <typename Handler>
void Vm::post_unless_reset(Handler handler) {
  loop_.post([this, handler, resets = resets_.load()] {
    if (resets == resets_.load() && state_ != RunState::kShutdown) handler();
  });
}

machine::MachineEvents Vm::events() {
  machine::MachineEvents events;
  events.guest.power_off = [this] { post_unless_reset([this] { end(Cause::kGuestShutdown, kExitOk); }); };
  events.guest.reset = [this] { post_unless_reset([this] { guest_reset(); }); };
  events.guest.watchdog_expired = [this] { post_unless_reset([this] { watchdog_expired(); }); };
  events.guest.debug_exit = [this](uint8_t status) {
    post_unless_reset([this, status] { end(Cause::kGuestShutdown, status); });
  };
  // Told once between two resets: a guest can say it in a loop.
  events.guest.panicked = [this] {
    if (!panicked_.exchange(true)) post_unless_reset([this] { guest_panicked(); });
  };
  events.triple_fault = [this](unsigned vcpu) { post_unless_reset([this, vcpu] { triple_fault(vcpu); }); };
  events.accelerator_failed = [this](unsigned vcpu) {
    post_unless_reset([this, vcpu] {
      log::write_raw(describe_registers(vcpu_at(vcpu).state()));
      end(Cause::kHostError, kExitInternal);
    });
  };
  // A breakpoint that is dropped here, because the VM came to rest before, is hit again when it runs on.
  events.debug_stop = [this](unsigned vcpu, accel::Exit reason) {
    loop_.post([this, vcpu, reason, moves = moves_.load()] {
      if (moves == moves_.load() && state_ != RunState::kShutdown) debug_stop(vcpu, reason);
    });
  };
  return events;
}

Result<void> Vm::load_machine() {
  if (!source_) return machine_->reset();
  report_bus_errors();
  auto file = migrate::StateFile::open(source_->path, std::move(source_->file));
  if (!file) return std::move(file).error();
  auto restored = migrate::restore(*machine_, config_, *file, source_->verify);
  source_.reset();
  return restored;
}

Result<void> Vm::start(bool wait_for_debugger) {
  if (auto loaded = load_machine(); !loaded) return loaded;
  log::debug(log::Category::kVm, "{} under accelerator {}", machine_->description(), machine_->accelerator().name());
  if (auto started = console_->start(loop_); !started) return started;
  if (backends_.guest_agent)
    if (auto started = backends_.guest_agent->start(loop_); !started) return started;
  if (backends_.tpm)
    if (auto started = backends_.tpm->start(loop_); !started) return started;
  if (auto started = start_qmp(); !started) return started;
  if (auto started = start_gdb(); !started) return started;
  if (!wait_for_debugger) cont();
  return ok();
}

Result<void> Vm::start_qmp() {
  if (!qmp_server_) return ok();
  qmp_ = std::make_unique<QmpSession>(*this, [this](std::string_view bytes) { qmp_server_->send(bytes); });
  listeners_.push_back(qmp_.get());
  return qmp_server_->start(loop_, {.connected = [this] { qmp_->connected(); },
                                    .descriptor = [this](UniqueFd fd) { qmp_->descriptor(std::move(fd)); },
                                    .received = [this](std::string_view bytes) { qmp_->received(bytes); },
                                    .disconnected = [this] { qmp_->disconnected(); }});
}

Result<void> Vm::start_gdb() {
  if (!gdb_server_) return ok();
  gdb_ = std::make_unique<GdbStub>(*this, [this](std::string_view bytes) { gdb_server_->send(bytes); });
  listeners_.push_back(gdb_.get());
  return gdb_server_->start(loop_, {.connected = [this] { gdb_->connected(); },
                                    .received = [this](std::string_view bytes) { gdb_->received(bytes); },
                                    .disconnected = [this] { gdb_->disconnected(); }});
}

Result<void> Vm::send_keys(std::vector<display::KeyCode> keys, int64_t milliseconds) {
  if (!machine_->has_keyboard()) return error("send-key: board {} has no keyboard; use its console, or another board", config_.board);
  return keys_->send(std::move(keys), milliseconds);
}

std::optional<VmControl::Viewing> Vm::viewing() {
  if (!viewers_) return std::nullopt;
  Viewing viewing{config_.vnc->listen, vnc_authentication(*config_.vnc), {}};
  if (viewers_->port() != 0) viewing.address = fmt::format("{}:{}", viewing.address.substr(0, viewing.address.rfind(':')), viewers_->port());
  for (display::ViewerInfo& viewer : viewers_->viewers()) viewing.viewers.push_back(std::move(viewer.name));
  return viewing;
}

Result<void> Vm::set_viewers_password(std::string password) {
  if (!viewers_) return error("There is no VNC server; start the VM with --display vnc=ADDRESS");
  return viewers_->set_password(std::move(password));
}

int Vm::finish() {
  machine_->pause();
  if (viewers_) viewers_->stop();
  console_->flush(kConsoleFlush);
  if (qmp_server_) qmp_server_->flush(kMonitorFlush);
  if (gdb_server_) gdb_server_->flush(kMonitorFlush);
  return exit_status_;
}

void Vm::emit(const VmEvent& event) {
  for (VmListener* listener : listeners_) listener->vm_event(event);
}

std::vector<int> Vm::vcpu_threads() {
  std::vector<int> all;
  for (unsigned i = 0; i < vcpu_count(); ++i) all.push_back(machine_->vcpu(i).thread_id());
  return all;
}

// Brings the machine to rest, without a word to anybody.
void Vm::rest() {
  machine_->pause();
  stepping_ = false;
  ++moves_;
}

void Vm::stop() {
  if (state_ == RunState::kSaving && before_save_ == RunState::kRunning) before_save_ = RunState::kPaused;
  if (state_ != RunState::kRunning) return;
  rest();
  state_ = RunState::kPaused;
  emit({VmEvent::Kind::kStop});
}

void Vm::cont() {
  if (state_ == RunState::kRunning || state_ == RunState::kShutdown || state_ == RunState::kSaving) return;
  if (stepping_) rest();
  ++moves_;
  state_ = RunState::kRunning;
  machine_->run();
  emit({VmEvent::Kind::kResume});
}

void Vm::press_power_button() {
  machine_->press_power_button();
  emit({VmEvent::Kind::kPowerdown});
}

void Vm::request_reset(Cause cause) {
  loop_.post([this, cause] {
    if (state_ == RunState::kShutdown) return;
    if (config_.no_reboot)
      end(cause, kExitOk);
    else
      reset(cause);
  });
}

void Vm::request_quit(Cause cause) {
  loop_.post([this, cause] { end(cause, cause == Cause::kHostSignal ? kExitSignal : kExitOk); });
}

Result<void> Vm::start_save(UniqueFd file) {
  if (save_.active()) return error("There's a migration process in progress");
  if (state_ == RunState::kShutdown) return error("The VM is about to end; it cannot be saved");
  if (stepping_) return error("The debugger executes an instruction; save after that");
  if (auto possible = config::check_can_be_saved(config_); !possible) return possible;
  const bool ran = running();
  rest();
  if (auto started = save_.start(*machine_, config_, std::move(file)); !started) {
    if (ran) machine_->run();
    return started;
  }
  return ok();
}

void Vm::give_up_save(std::string_view why, RunState then) {
  if (!save_.active()) return;
  before_save_ = then;
  save_.abandon(SaveStatus::State::kFailed, std::string(why));
}

void Vm::cancel_save() { save_.abandon(SaveStatus::State::kCancelled, ""); }

void Vm::save_changed() {
  const SaveStatus::State save = save_.status().state;
  if (save == SaveStatus::State::kActive) {
    before_save_ = state_;
    state_ = RunState::kSaving;
    if (before_save_ == RunState::kRunning) emit({VmEvent::Kind::kStop});
  } else if (state_ == RunState::kSaving) {
    const bool go_on = save != SaveStatus::State::kCompleted && before_save_ == RunState::kRunning;
    state_ = save == SaveStatus::State::kCompleted ? RunState::kSaved
             : go_on                               ? RunState::kPaused
                                                   : before_save_;
    if (go_on) cont();
  }
  emit({.kind = VmEvent::Kind::kMigration, .save = save});
}

// What it does then, to wait or to restart, is its own choice.
void Vm::guest_panicked() {
  log::warn("the guest's kernel has panicked; see its console");
  emit({VmEvent::Kind::kPanicked});
}

// The first of these is told before what it leads to, as QEMU does it.
void Vm::watchdog_expired() {
  const config::WatchdogAction action = *config_.watchdog;
  const std::string_view name = config::kWatchdogActions[static_cast<unsigned>(action)].first;
  log::warn("the guest's watchdog has expired; action: {}", name);
  emit({.kind = VmEvent::Kind::kWatchdog, .action = name});
  switch (action) {
    case config::WatchdogAction::kReset: return guest_reset();
    case config::WatchdogAction::kPoweroff: return end(Cause::kGuestShutdown, kExitOk);
    case config::WatchdogAction::kPause: return stop();
    case config::WatchdogAction::kNone: return;
  }
}

void Vm::guest_reset() {
  if (config_.no_reboot)
    end(Cause::kGuestReset, kExitOk);
  else
    reset(Cause::kGuestReset);
}

void Vm::reset(Cause cause) {
  give_up_save("the VM was reset", before_save_);
  rest();
  ++resets_;
  keys_->forget();
  if (auto loaded = machine_->reset(); !loaded) {
    log::failure("cannot reset the VM: {}", loaded.error().message());
    return end(Cause::kHostError, kExitInternal);
  }
  log::debug(log::Category::kVm, "reset ({})", name(cause));
  emit({VmEvent::Kind::kReset, cause});
  if (state_ == RunState::kRunning) run_after_reset();
}

void Vm::run_after_reset() {
  const int64_t now = VmClock::host_now();
  if (now >= run_not_before_) {
    run_not_before_ = now + kResetPeriod;
    return machine_->run();
  }
  moves_at_reset_ = moves_;
  itimerspec when{};
  when.it_value.tv_sec = run_not_before_ / 1'000'000'000;
  when.it_value.tv_nsec = run_not_before_ % 1'000'000'000;
  ::timerfd_settime(reset_timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Vm::end(Cause cause, int status) {
  if (state_ == RunState::kShutdown) return;
  give_up_save("the VM ended", RunState::kPaused);
  rest();
  state_ = RunState::kShutdown;
  exit_status_ = status;
  log::debug(log::Category::kVm, "ends ({}), status {}", name(cause), status);
  emit({VmEvent::Kind::kShutdown, cause, status});
  loop_.quit();
}

// A guest may do this for ever: the log is told in full a few times, then in powers of ten.
void Vm::log_triple_fault(unsigned vcpu) {
  ++triple_faults_;
  if (triple_faults_ > kTripleFaultDumps) {
    uint64_t power = 10;
    while (power < triple_faults_) power *= 10;
    if (power == triple_faults_) log::warn("triple fault, the {}th of this VM", triple_faults_);
    return;
  }
  log::warn("triple fault on vCPU {}; {}. The last instructions, then the registers:", vcpu,
            config_.no_reboot ? "the VM ends" : "the VM is reset");
  for (const std::string& line : vcpu_at(vcpu).recent_instructions()) log::write_raw("  " + line + "\n");
  log::write_raw(describe_registers(vcpu_at(vcpu).state()));
}

void Vm::triple_fault(unsigned vcpu) {
  rest();
  log_triple_fault(vcpu);
  if (config_.no_reboot)
    end(Cause::kGuestReset, kExitTripleFault);
  else
    reset(Cause::kGuestReset);
}

VmControl::AcceleratorInfo Vm::accelerator() const {
  const machine::AcceleratorReason& reason = machine_->accelerator_reason();
  return {std::string(machine_->accelerator().name()), reason.why, reason.remedy};
}

// The debugger.
void Vm::debug_stop(unsigned vcpu, accel::Exit reason) {
  const bool was_running = state_ == RunState::kRunning;
  rest();
  state_ = RunState::kDebug;
  if (gdb_) gdb_->debug_stopped(vcpu, reason);
  if (was_running) emit({VmEvent::Kind::kStop});
}

void Vm::halt() {
  const bool was_running = state_ == RunState::kRunning;
  if (!running()) return;
  rest();
  state_ = RunState::kDebug;
  if (was_running) emit({VmEvent::Kind::kStop});
}

void Vm::step(unsigned vcpu, bool others_run) {
  give_up_save("the debugger made the VM go on", RunState::kDebug);
  state_ = RunState::kDebug;
  stepping_ = true;
  ++moves_;
  machine_->step(vcpu);
  for (unsigned i = 0; others_run && i < vcpu_count(); ++i)
    if (i != vcpu) machine_->vcpu(i).resume();
}

void Vm::set_state(unsigned vcpu, const x86::CpuState& state) {
  give_up_save("the debugger changed the VM", RunState::kDebug);
  vcpu_at(vcpu).mutable_state() = state;
  vcpu_at(vcpu).state_changed();
}

bool Vm::read_memory(unsigned vcpu, uint64_t address, std::span<std::byte> to) {
  return vcpu_at(vcpu).read_linear(address, to);
}

bool Vm::write_memory(unsigned vcpu, uint64_t address, std::span<const std::byte> from) {
  give_up_save("the debugger changed the VM", RunState::kDebug);
  return vcpu_at(vcpu).write_linear(address, from);
}

void Vm::set_debug(const accel::DebugControls& controls) {
  for (unsigned i = 0; i < vcpu_count(); ++i) vcpu_at(i).set_debug(controls);
}

}  // namespace skerry::vm
