#include "machine/machine.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "machine/firmware_files.hpp"
#include "machine/microvm_board.hpp"
#include "machine/pc_board.hpp"
#include "machine/plain_board.hpp"
#include "machine/q35_board.hpp"
#include "x86/cpu_features.hpp"

namespace skerry::machine {

namespace {

// IA32_MTRR_DEF_TYPE as firmware leaves it: MTRRs enabled, memory is write-back (Intel SDM vol. 3, 12.11.2.1). With
// MTRRs off all memory is uncached, and kernels that believe it switch the PAT off.
constexpr uint64_t kMtrrEnabledWriteBack = 1 << 11 | 6;

// The words have been checked with the rest of the configuration; those of the log are none of these.
accel::DebugOptions debug_options(const config::VmConfig& config) {
  accel::DebugOptions options;
  for (const std::string& word : config.debug) (void)accel::apply(word, options);
  return options;
}

// Who is to have the local APICs, if KVM executes the guest. A debugger needs Skerry's own.
accel::KvmOptions::LocalApics local_apics(const config::VmConfig& config) {
  using enum accel::KvmOptions::LocalApics;
  switch (config.kvm.irqchip) {
    case config::Kvm::Irqchip::kSplit: return kKernels;
    case config::Kvm::Irqchip::kUser: return kSkerrys;
    case config::Kvm::Irqchip::kAuto: break;
  }
  return config.gdb ? kSkerrys : kBest;
}

}  // namespace

Machine::Machine(const config::VmConfig& config, std::optional<BootFiles> files, Surroundings around, MachineEvents events)
    : config_(config),
      files_(std::move(files)),
      around_(around),
      loop_(around.loop),
      events_(std::move(events)),
      layout_(config.memory, acpi_board(config)),
      debug_(debug_options(config)),
      tsc_(config.tsc_hz, host_tsc_hz(), debug_.slow_clock) {
  if (loop_.clock().running()) loop_.clock().stop();
  loop_.clock().slow_down(debug_.slow_clock);
  loop_.clock_changed();
}

Machine::~Machine() {
  pause();
  mmio_.set_doorbell_listener(nullptr);
  for (auto& processor : vcpus_) processor->thread.reset();  // joins
  around_.io.stop();  // after that nobody calls the devices
}

Result<std::unique_ptr<Machine>> Machine::create(const config::VmConfig& config, std::optional<BootFiles> files, Surroundings around,
                                                 MachineEvents events) {
  std::unique_ptr<Machine> machine(new Machine(config, std::move(files), around, std::move(events)));
  if (auto good = machine->build(); !good) return std::move(good).error();
  return machine;
}

Result<void> Machine::build() {
  if (auto good = layout_.add_ram(memory_, config::has_smm(config_)); !good) return good;
  if (auto good = build_board(); !good) return good;
  input_ = std::make_unique<GuestInput>(board_->i8042(), added_input());
  auto model = x86::CpuModel::create(config_.cpu_model, config_.vcpus, tsc_.hz());
  if (!model) return std::move(model).error();
  model_ = std::make_unique<x86::CpuModel>(std::move(*model));
  if (!config_.cpu_features.empty()) have_only(config_.cpu_features);
  if (debug_.lockstep && config_.vcpus > 1) return error("debug: lockstep is for one vCPU; use --cpus 1");
  auto accelerator = make_accelerator(config_.accelerator, {memory_, *model_, debug_}, {UniqueFd(config_.kvm.fd), local_apics(config_)},
                                      config::has_smm(config_));
  if (!accelerator) return std::move(accelerator).error();
  accelerator_ = std::move(accelerator->accelerator);
  if (config_.cpu_features.empty())
    for (const x86::Feature* feature : accelerator_->paravirtual_features()) model_->add(*feature);
  if (!accelerator_->sets_tsc()) tsc_.be_hosts();
  if (irqchip::ForeignApics* apics = accelerator_->local_apics()) board_->apic_bus().use(*apics);
  mmio_.set_doorbell_listener(accelerator_->doorbell_listener());
  accelerator_reason_ = std::move(accelerator->reason);
  const std::string remedy = accelerator_reason_.remedy.empty() ? "" : fmt::format("; {}", accelerator_reason_.remedy);
  log::debug(log::Category::kAccel, "accelerator {}: {}{}", accelerator_->name(), accelerator_reason_.why, remedy);
  kvm_clock_ = std::make_unique<devices::KvmClock>(loop_.clock(), memory_, config_.vcpus, tsc_.hz(),
                                                   [this] { return tsc_.now(); });
  surroundings_ = std::make_unique<SharedSurroundings>(SharedSurroundings{
      pio_, mmio_, smm_mmio_, *kvm_clock_, board_->ferr(), tsc_, [this](unsigned index, const std::function<void()>& work) {
        gate_.exclusive(
            [this, index] {
              for (const auto& other : vcpus_)
                if (other->thread->index() != index) other->thread->kick();
            },
            work);
      }});
  for (unsigned i = 0; i < config_.vcpus; ++i)
    if (auto good = add_processor(i); !good) return std::move(good).error().in(fmt::format("vCPU {}", i));
  return ok();
}

// A VM that was saved goes on with what it had, under whatever accelerator.
void Machine::have_only(const std::vector<std::string>& features) {
  const auto anywhere = [](const x86::Feature& feature) {
    return feature.provided == x86::Provided::kByKernel || feature.provided == x86::Provided::kSlowly || feature.provided == x86::Provided::kBySoftware;
  };
  for (const std::string& name : features)
    if (const x86::Feature* feature = x86::find_feature(name); feature && anywhere(*feature)) model_->add(*feature);
  (void)model_->keep([&](const x86::Feature& feature) { return std::ranges::find(features, feature.name) != features.end(); });
}

void Machine::make_board() {
  const PciBoard::Spaces spaces{pio_, mmio_, smm_mmio_};
  PciBoard::Processors processors{[this] { kick_all(); }, [this](bool all) { raise_smi(all); }};
  const auto with_pci = [this](auto board) {
    virtio_home_ = pci_ = board.get();
    board_ = std::move(board);
  };
  if (config_.board == Q35Board::kName)
    with_pci(std::make_unique<Q35Board>(config_, loop_, around_.console, events_.guest, memory_, spaces, std::move(processors)));
  else if (config_.board == PcBoard::kName)
    with_pci(std::make_unique<PcBoard>(config_, loop_, around_.console, events_.guest, memory_, spaces, std::move(processors)));
  else if (config_.board == MicrovmBoard::kName)
    make_microvm();
  else
    board_ = std::make_unique<PlainBoard>(config_, loop_, around_.console, events_.guest);
}

void Machine::make_microvm() {
  auto board = std::make_unique<MicrovmBoard>(config_, loop_, around_.console, events_.guest,
                                              MicrovmBoard::Surroundings{memory_, mmio_, [this] { return !pausing_.load(); }});
  virtio_home_ = board.get();
  board_ = std::move(board);
}

Result<void> Machine::build_board() {
  make_board();
  if (auto good = board_->attach(pio_, mmio_); !good) return good;
  if (pci_)
    if (auto good = add_vga(); !good) return good;
  if (virtio_home_) {
    auto devices = VirtioDevices::create(config_, around_.backends, loop_, around_.io, memory_, *virtio_home_);
    if (!devices) return std::move(devices).error();
    virtio_ = std::move(*devices);
    virtio_->join(workers_);
  }
  return pci_ ? add_pci_devices() : ok();
}

Result<void> Machine::add_pci_devices() {
  auto ata = AtaDevices::create(config_, around_.backends, around_.io, memory_, {pio_, *pci_});
  if (!ata) return std::move(ata).error();
  ata_ = std::move(*ata);
  if (ata_) ata_->join(workers_);
  auto usb = UsbDevices::create(config_, around_.backends, around_.io, memory_, *pci_);
  if (!usb) return std::move(usb).error();
  usb_ = std::move(*usb);
  if (usb_) usb_->join(workers_);
  auto cards = NetworkCards::create(config_, around_.backends, around_.io, memory_, *pci_);
  if (!cards) return std::move(cards).error();
  cards_ = std::move(*cards);
  cards_->join(workers_);
  if (config_.watchdog) {
    watchdog_ = std::make_unique<devices::I6300Esb>("watchdog", loop_, events_.guest.watchdog_expired);
    if (auto slot = pci_->add(*watchdog_); !slot) return std::move(slot).error();
  }
  if (config_.sound == config::Sound::kHda) {
    sound_ = std::make_unique<devices::hda::Hda>("sound", loop_, memory_, *around_.backends.sound);
    if (auto slot = pci_->add(*sound_); !slot) return std::move(slot).error();
  }
  if (around_.backends.tpm) {
    tpm_ = std::make_unique<devices::tpm::Crb>(loop_, *around_.backends.tpm);
    if (auto good = tpm_->attach(mmio_); !good) return good;
  }
  return !files_ ? pci_->prepare_firmware(boot_order()) : ok();
}

Result<void> Machine::add_vga() {
  if (config_.video != config::Video::kVga) return ok();
  auto vga = devices::vga::StandardVga::create(memory_, [this] { kick_all(); }, *around_.backends.screen);
  if (!vga) return std::move(vga).error();
  vga_ = std::move(*vga);
  if (auto good = vga_->attach(pio_, mmio_); !good) return good;
  return pci_->add_at(*vga_, PciBoard::kVideoSlot, 0);
}

void Machine::on_input_change(std::function<void()> changed) {
  if (has_keyboard()) board_->i8042()->on_leds_change(changed);
  if (usb_) usb_->on_input_change(changed);
  if (virtio_) virtio_->on_input_change(std::move(changed));
}

AddedInput* Machine::added_input() {
  if (config_.input == config::Input::kVirtio) return virtio_->input();
  return usb_ ? usb_->input() : nullptr;
}

// The disks, in their order.
std::vector<std::string> Machine::boot_order() const {
  std::map<size_t, std::string> paths;
  for (const auto& [disk, slot] : virtio_->disk_slots()) paths[disk] = boot_path_of_disk(slot);
  for (const auto& [disk, place] : virtio_->scsi_disks()) paths[disk] = boot_path_of_scsi(place.slot, place.target);
  if (ata_)
    for (const auto& [disk, path] : ata_->boot_paths()) paths[disk] = path;
  if (usb_)
    for (const auto& [disk, port] : usb_->disk_ports()) paths[disk] = boot_path_of_usb(port);
  std::vector<std::string> order;
  for (auto& [disk, path] : paths) order.push_back(std::move(path));
  return order;
}

void Machine::kick_all() {
  for (const auto& processor : vcpus_) processor->thread->kick();
}

void Machine::raise_smi(bool all) {
  accel::VcpuThread* const caller = accel::VcpuThread::current();
  for (const auto& processor : vcpus_)
    if (all || processor->thread.get() == caller) processor->thread->smi();
}

Result<void> Machine::add_processor(unsigned index) {
  auto processor = std::make_unique<Processor>();
  processor->environment = std::make_unique<VcpuEnvironment>(index, *surroundings_);
  auto vcpu = accelerator_->create_vcpu(index, *processor->environment);
  if (!vcpu) return std::move(vcpu).error();
  accel::VcpuThread::Hooks hooks{
      .triple_fault = [this](accel::VcpuThread& thread) { events_.triple_fault(thread.index()); },
      .failed = [this](accel::VcpuThread& thread) { events_.accelerator_failed(thread.index()); },
      .debug_stop = [this](accel::VcpuThread& thread, accel::Exit exit) { events_.debug_stop(thread.index(), exit); }};
  processor->thread =
      std::make_unique<accel::VcpuThread>(index, std::move(*vcpu), gate_, model_->signature(), std::move(hooks));
  processor->lapic = std::make_unique<irqchip::Lapic>(
      index, index == 0, board_->apic_bus(), *processor->thread, loop_, [this] { return tsc_.now(); }, tsc_.hz());
  if (irqchip::ForeignApic* apic = processor->thread->vcpu().local_apic()) processor->lapic->keep_in(*apic);
  processor->environment->connect(*processor->lapic);
  if (auto good = board_->apic_bus().add(*processor->lapic); !good) return good;
  vcpus_.push_back(std::move(processor));
  return ok();
}

std::vector<bus::Device*> Machine::devices() {
  std::vector<bus::Device*> all;
  for (const auto& processor : vcpus_) all.push_back(processor->lapic.get());
  for (bus::Device* device : board_->devices()) all.push_back(device);
  all.push_back(kvm_clock_.get());
  if (tpm_) all.push_back(tpm_.get());
  return all;
}

Result<void> Machine::reset() {
  tsc_.set(0);
  for (bus::Device* device : devices()) device->reset();
  if (auto good = load(); !good) return good;
  has_run_ = false;
  return ok();
}

Result<void> Machine::load() {
  if (!files_) {
    pci_->load_firmware();
    description_ = pci_->firmware();
    reset_processors(nullptr);
    return ok();
  }
  if (auto good = board_->set_up(); !good) return good;
  if (ata_) ata_->set_up();
  acpi::Board described = acpi_board(config_);
  board_->complete(described);
  const BootTables tables(layout_, described, smbios_info(config_));
  tables.write(memory_);
  if (pci_) pci_->vm_gen_id().place(tables.vm_gen_id_page());
  const std::vector<E820Entry> memory_map = tables.e820();
  auto loaded = load_kernel({memory_, *files_, config_.kernel.command_line, memory_map, MemoryLayout::kRsdp});
  if (!loaded) return std::move(loaded).error();
  description_ = loaded->description;
  reset_processors(&loaded->entry);
  return ok();
}

// With an entry, as firmware would hand the machine to a kernel; else as after power-on, for the firmware.
void Machine::reset_processors(const Entry* entry) {
  for (const auto& processor : vcpus_) {
    accel::VcpuThread& thread = *processor->thread;
    x86::CpuState& state = thread.vcpu().mutable_state();
    thread.clear_requests();  // those too that the state has brought with it
    state.reset(model_->signature(), false);
    if (entry) state.mtrr.def_type = kMtrrEnabledWriteBack;
    if (thread.index() != 0)
      state.activity = x86::Activity::kWaitForSipi;
    else if (entry)
      apply(*entry, state);
    processor->lapic->set_tsc_offset(static_cast<int64_t>(state.tsc_offset));
    thread.vcpu().state_changed();
  }
}

void Machine::start_threads() {
  around_.backends.start();
  around_.io.start();
  for (const auto& processor : vcpus_) processor->thread->start();
}

void Machine::start_clocks() {
  if (loop_.clock().running()) return;
  loop_.clock().start();
  tsc_.start();
  if (has_run_) kvm_clock_->resumed();  // the guest's watchdogs must not take the pause for a hang
  has_run_ = true;
  loop_.clock_changed();
  around_.io.loop().clock_changed();
  workers_.resume();
}

void Machine::stop_clocks() {
  if (!loop_.clock().running()) return;
  workers_.quiesce();
  loop_.clock().stop();
  tsc_.stop();
  loop_.clock_changed();
  around_.io.loop().clock_changed();
}

void Machine::run() {
  if (running_) return;
  pausing_.store(false);
  start_clocks();
  running_ = true;
  log::debug(log::Category::kVm, "running");
  for (const auto& processor : vcpus_) processor->thread->resume();
}

void Machine::pause() {
  pausing_.store(true);
  for (const auto& processor : vcpus_) processor->thread->request_pause();
  for (const auto& processor : vcpus_) processor->thread->pause();
  stop_clocks();
  if (running_) log::debug(log::Category::kVm, "paused");
  running_ = false;
}

void Machine::step(unsigned index) {
  pausing_.store(false);
  start_clocks();
  vcpus_[index]->thread->resume_for_one_step();
}

void Machine::inject_nmi() {
  // An edge at LINT1 of every processor, which guests program as NMI because the ACPI tables say so.
  board_->apic_bus().set_lint1(true);
  board_->apic_bus().set_lint1(false);
}

Result<void> Machine::prepare_save() { return tpm_ ? tpm_->prepare_save() : ok(); }

void Machine::describe(state::Fields& fields) {
  uint64_t clock = static_cast<uint64_t>(loop_.clock().now()), tsc = tsc_.now();
  fields.field("clock", clock, state::up_to(uint64_t{1} << 62));
  fields.field("tsc", tsc);
  if (tsc > tsc_.now() && !accelerator_->sets_tsc())
    log::warn("the VM's time-stamp counter goes back: this host's KVM cannot set it; with --accel bt it goes on from where it was");
  loop_.clock().restore(static_cast<int64_t>(clock));
  tsc_.set(tsc);
  for (bus::Device* device : devices()) fields.group(device->name(), [&] { device->describe(fields); });
  for (const auto& processor : vcpus_)
    fields.group(fmt::format("vcpu{}", processor->thread->index()), [&] {
      processor->thread->describe(fields);
      processor->thread->vcpu().mutable_state().describe(fields);
    });
}

Result<void> Machine::restored() {
  for (bus::Device* device : devices()) device->restored();
  for (const auto& processor : vcpus_) {
    processor->lapic->set_tsc_offset(static_cast<int64_t>(processor->thread->vcpu().state().tsc_offset));
    processor->thread->vcpu().state_changed();
  }
  workers_.restored();
  if (virtio_) virtio_->restored();
  if (pci_) pci_->restored();
  has_run_ = true;
  return tpm_ ? tpm_->give_state() : ok();
}

}  // namespace skerry::machine
