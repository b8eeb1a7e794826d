// The board "q35-1": a plain board with PCI Express, as the Q35 chipset has it.
//
// Root bus: 00.0 host bridge; 1 to kRootPorts empty root ports, for what is plugged in later; from kFirstSlot on the
// devices of the VM, in the order in which they are added; 1d.0 the screen and 1e.0 the USB controller, 1f.2 the AHCI controller, where there
// are such; 1f.0 LPC bridge.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/pci.hpp"
#include "devices/cfi_flash.hpp"
#include "devices/cpu_registers.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/ich9_lpc.hpp"
#include "devices/pvpanic.hpp"
#include "devices/q35_mch.hpp"
#include "devices/vmgenid.hpp"
#include "machine/acpi/tables.hpp"
#include "machine/firmware_image.hpp"
#include "machine/plain_board.hpp"
#include "machine/uefi_variables.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

class Q35Board final : public PlainBoard {
 public:
  static constexpr std::string_view kName = "q35-1";
  static constexpr unsigned kRootPorts = 4, kFirstSlot = 5, kLastSlot = 28, kVideoSlot = 29, kLpcSlot = 31;

  struct Spaces {
    bus::AddressSpace &pio, &mmio, &smm_mmio;
  };
  // What the chipset asks of the processors; any thread.
  struct Processors {
    std::function<void()> kick_all;               // every one comes to an instruction boundary
    std::function<void(bool all)> raise_smi;      // an SMI for all, or for the one whose thread calls
  };
  Q35Board(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests,
           memory::GuestMemory& memory, Spaces spaces, Processors processors);

  // After attach(). `function` outlives the board's use. Gives its slot.
  Result<unsigned> add(bus::PciFunction& function);
  // Likewise, of a function that has its place.
  Result<void> add_at(bus::PciFunction& function, unsigned slot, unsigned number);
  // For a VM that is started by firmware: finds it, and tells it what there is, and the disks to start from by their
  // boot_path_of_disk() and the like, in their order. After the last add(), before the sandbox closes.
  Result<void> prepare_firmware(std::vector<std::string> boot_order);
  // Puts it where the processor starts. After the devices have been reset.
  void load_firmware();
  devices::VmGenId& vm_gen_id() { return *vm_gen_id_; }
  std::string firmware() const { return image_ ? image_->path() : ""; }

  Result<void> attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) override;
  Result<void> set_up() override;
  std::vector<bus::Device*> devices() override;
  // After a state has been loaded: the guest is told that it is not the one it was.
  void restored();

 private:
  // Port 0xcf9 lies among those of the configuration mechanism.
  Result<void> attach_reset_register(bus::AddressSpace&) override { return host_.attach(&acpi_pm().reset_register()); }

  // The host bridge's own state is no function's.
  class HostState final : public bus::Device {
   public:
    explicit HostState(bus::PciHost& host) : host_(host) {}
    std::string_view name() const override { return "pci"; }
    void reset() override { host_.reset(); }
    void describe(state::Fields& fields) override { host_.describe(fields); }

   private:
    bus::PciHost& host_;
  };

  Result<void> add_uefi_variables();
  Result<void> add_smi_files();
  void show_smi_features_agreed();

  const config::VmConfig config_;
  memory::GuestMemory& memory_;
  const Spaces spaces_;
  const std::function<void()> kick_all_;
  devices::Ich9Lpc lpc_;
  bus::PciHost host_;
  devices::Q35Mch mch_;
  HostState host_state_{host_};
  std::vector<std::unique_ptr<bus::PciRootPort>> ports_;
  std::vector<bus::PciFunction*> functions_;
  devices::FwCfg fw_cfg_;
  std::optional<devices::CpuRegisters> cpu_registers_;  // of a machine with System Management Mode
  devices::PvPanic pvpanic_;
  std::unique_ptr<devices::VmGenId> vm_gen_id_;
  std::optional<FirmwareImage> image_;
  std::optional<UefiVariables> uefi_variables_;
  std::unique_ptr<devices::CfiFlash> flash_;  // where they are
};

}  // namespace skerry::machine
