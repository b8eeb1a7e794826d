// One virtual machine: memory, board, processors, and their life as a whole.
//
// Everything here is called by the main thread, the one that runs the event loop, but where it says otherwise.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "accel/accelerator.hpp"
#include "accel/run_gate.hpp"
#include "accel/vcpu_thread.hpp"
#include "base/event_loop.hpp"
#include "bus/address_space.hpp"
#include "chardev/chardev.hpp"
#include "config/vm_config.hpp"
#include "devices/hda/hda.hpp"
#include "devices/i6300esb.hpp"
#include "devices/kvm_clock.hpp"
#include "devices/tpm/crb.hpp"
#include "devices/vga/standard_vga.hpp"
#include "irqchip/lapic.hpp"
#include "machine/accelerators.hpp"
#include "machine/ata_devices.hpp"
#include "machine/board.hpp"
#include "machine/guest_input.hpp"
#include "machine/loader/kernel.hpp"
#include "machine/memory_layout.hpp"
#include "machine/network_cards.hpp"
#include "machine/pci_board.hpp"
#include "machine/tsc.hpp"
#include "machine/usb_devices.hpp"
#include "machine/vcpu_environment.hpp"
#include "machine/virtio_devices.hpp"
#include "machine/workers.hpp"
#include "memory/guest_memory.hpp"
#include "x86/cpu_model.hpp"

namespace skerry::machine {

// What happens by itself. Called on vCPU threads, with no lock held; they only post to the main thread.
struct MachineEvents {
  GuestRequests guest;
  std::function<void(unsigned vcpu)> triple_fault;             // that vCPU has come to rest
  std::function<void(unsigned vcpu, accel::Exit)> debug_stop;  // likewise
  std::function<void(unsigned vcpu)> accelerator_failed;       // likewise
};

class Machine {
 public:
  // Makes a machine that is paused, without content and without threads. `config` is valid. The surroundings and what the
  // events refer to outlive the machine; from now on it is the machine that starts and stops the loops' clock.
  struct Surroundings {
    EventLoop& loop;  // of the main thread
    IoThread& io;     // the machine starts and stops it
    chardev::Chardev& console;
    Backends& backends;
  };
  static Result<std::unique_ptr<Machine>> create(const config::VmConfig& config, std::optional<BootFiles> files, Surroundings around,
                                                 MachineEvents events);
  ~Machine();

  // Brings everything to the state after power-on and loads the kernel anew. Memory keeps what it held elsewhere.
  // While paused; before the first run() too.
  Result<void> reset();

  void start_threads();  // once; the vCPUs stay at rest
  void run();
  void pause();  // returns with every vCPU at rest and the clock stopped
  bool running() const { return running_; }
  // Lets vCPU `index` execute one instruction while the others rest. debug_stop is called at its end; then pause().
  void step(unsigned index);

  // Any thread.
  void press_power_button() { board_->press_power_button(); }
  void inject_nmi();

  // The whole machine but for its memory, while paused. Before it is saved, prepare_save() gets what is elsewhere: it waits for a command
  // of the TPM that is under way, for half a minute at the most.
  Result<void> prepare_save();
  void describe(state::Fields& fields);
  Result<void> restored();  // after describe() has loaded a state
  // After restored(): the time of day goes on by `ns`, which the VM spent in a file. Clocks that count the guest's run
  // time do not.
  void advance_time_of_day(uint64_t ns) { board_->advance_time_of_day(ns); }

  const std::string& description() const { return description_; }  // of the kernel, after reset()
  memory::GuestMemory& memory() { return memory_; }
  const x86::CpuModel& cpu_model() const { return *model_; }
  const accel::Accelerator& accelerator() const { return *accelerator_; }
  const AcceleratorReason& accelerator_reason() const { return accelerator_reason_; }
  unsigned vcpu_count() const { return static_cast<unsigned>(vcpus_.size()); }
  accel::VcpuThread& vcpu(unsigned index) { return *vcpus_[index]->thread; }
  std::vector<bus::Device*> devices();
  bool has_keyboard() { return board_->i8042() != nullptr; }
  // Keyboard and pointing device, if there are such. Any thread, as display::Input says.
  GuestInput& input() { return *input_; }
  // `changed` is called when the guest uses another of them, or changes a keyboard's lamps: on any thread, with locks of devices held;
  // it may ask input() about that, and no more. To be given while nothing runs.
  void on_input_change(std::function<void()> changed);

 private:
  struct Processor {
    std::unique_ptr<VcpuEnvironment> environment;
    std::unique_ptr<accel::VcpuThread> thread;
    std::unique_ptr<irqchip::Lapic> lapic;
  };
  Machine(const config::VmConfig& config, std::optional<BootFiles> files, Surroundings around, MachineEvents events);
  Result<void> build();
  void have_only(const std::vector<std::string>& features);
  Result<void> build_board();
  void make_board();
  void make_microvm();
  Result<void> add_vga();
  Result<void> add_pci_devices();
  AddedInput* added_input();
  std::vector<std::string> boot_order() const;
  Result<void> add_processor(unsigned index);
  void kick_all();
  void raise_smi(bool all);
  Result<void> load();
  void reset_processors(const Entry* entry);
  void start_clocks();
  void stop_clocks();

  const config::VmConfig config_;
  const std::optional<BootFiles> files_;  // none: firmware starts the VM
  const Surroundings around_;
  EventLoop& loop_;
  const MachineEvents events_;
  const MemoryLayout layout_;
  const accel::DebugOptions debug_;
  memory::GuestMemory memory_;
  bus::AddressSpace pio_{"port"}, mmio_{"memory"}, smm_mmio_{"memory in SMM", &mmio_};
  Tsc tsc_;
  std::unique_ptr<x86::CpuModel> model_;
  std::unique_ptr<accel::Accelerator> accelerator_;  // before the devices, which may have something of it
  AcceleratorReason accelerator_reason_;
  std::unique_ptr<Board> board_;
  VirtioHome* virtio_home_ = nullptr;  // the board, if it has virtio devices
  PciBoard* pci_ = nullptr;            // the board, if it has PCI
  Workers workers_;  // of all that follow
  std::unique_ptr<VirtioDevices> virtio_;
  std::unique_ptr<AtaDevices> ata_;  // if a disk is on them
  std::unique_ptr<devices::vga::StandardVga> vga_;  // if that is the screen
  std::unique_ptr<UsbDevices> usb_;  // if anything is on them
  std::unique_ptr<GuestInput> input_;
  std::unique_ptr<NetworkCards> cards_;
  std::unique_ptr<devices::I6300Esb> watchdog_;
  std::unique_ptr<devices::hda::Hda> sound_;
  std::unique_ptr<devices::tpm::Crb> tpm_;
  std::unique_ptr<devices::KvmClock> kvm_clock_;
  accel::RunGate gate_;
  std::unique_ptr<SharedSurroundings> surroundings_;
  std::vector<std::unique_ptr<Processor>> vcpus_;
  std::string description_;
  bool running_ = false;
  std::atomic<bool> pausing_{true};  // the vCPUs are at rest, or are to come to it
  bool has_run_ = false;  // since power-on or restore
};

}  // namespace skerry::machine
