// What the boards with PCI have in common: a PC with a root bus, the devices of its description on it, firmware, and what
// firmware is told. Which chipset it is, is said by q35_board.hpp and pc_board.hpp.
//
// Root bus: the chipset's own functions; the devices of the VM in the order in which they are added; 1d.0 the screen (a VGA
// or a virtio GPU), 1e.0 the USB controller, 1f.N the AHCI controller, where there are such.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/pci.hpp"
#include "devices/cfi_flash.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/pvpanic.hpp"
#include "devices/vmgenid.hpp"
#include "machine/acpi/tables.hpp"
#include "machine/firmware_image.hpp"
#include "machine/plain_board.hpp"
#include "machine/uefi_variables.hpp"
#include "machine/virtio_home.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

class PciBoard : public PlainBoard, public VirtioHome, private bus::PciHost::IntxSink {
 public:
  static constexpr unsigned kLastSlot = 28, kVideoSlot = 29;

  struct Spaces {
    bus::AddressSpace &pio, &mmio, &smm_mmio;
  };
  // What the chipset asks of the processors; any thread.
  struct Processors {
    std::function<void()> kick_all;           // every one comes to an instruction boundary
    std::function<void(bool all)> raise_smi;  // an SMI for all, or for the one whose thread calls
  };

  // After attach(). `function` outlives the board's use. Gives its slot.
  Result<unsigned> add(bus::PciFunction& function);
  // Likewise, of a function that has its place.
  Result<void> add_at(bus::PciFunction& function, unsigned slot, unsigned number);
  Result<Place> connect(virtio::Device& device, virtio::LoopThread loop, std::optional<unsigned> slot) final;
  virtual unsigned ahci_function() const = 0;  // where the AHCI controller is in its slot
  // For a VM that is started by firmware: finds it, and tells it what there is, and the disks to start from by their
  // boot_path_of_disk() and the like, in their order. After the last add(), before the sandbox closes.
  Result<void> prepare_firmware(std::vector<std::string> boot_order);
  // Puts it where the processor starts. After the devices have been reset.
  void load_firmware();
  devices::VmGenId& vm_gen_id() { return *vm_gen_id_; }
  std::string firmware() const { return image_ ? image_->path() : ""; }

  Result<void> attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) final;
  Result<void> set_up() final;
  std::vector<bus::Device*> devices() final;
  // After a state has been loaded: the guest is told that it is not the one it was.
  void restored();

 protected:
  // Devices are added from `first_slot` on.
  PciBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests, memory::GuestMemory& memory,
           Spaces spaces, std::function<void()> kick_all, unsigned first_slot);

  // What a chipset is, besides: its functions on the root bus, and its ports.
  virtual Result<void> attach_chipset(bus::AddressSpace& pio) = 0;
  virtual void set_up_chipset() = 0;
  virtual uint8_t interrupt_line(unsigned device, unsigned pin) const = 0;  // what set_up_chipset() makes of a pin
  // Those that come before the functions of the VM's devices, and those that come last: host_state(), and the host bridge, because what
  // registers say of the address spaces is put into effect when the last of them is known.
  virtual std::vector<bus::Device*> bridges() = 0;
  virtual std::vector<bus::Device*> last_devices() = 0;
  // What firmware has to know of the chipset alone. Fails if it is one that cannot start such a board.
  virtual Result<void> tell_firmware(const FirmwareImage& image) = 0;
  virtual void firmware_restarts() {}  // or has been restored

  const config::VmConfig& config() const { return config_; }
  bus::PciHost& host() { return host_; }
  memory::GuestMemory& memory() { return memory_; }
  devices::FwCfg& fw_cfg() { return fw_cfg_; }
  bus::Device& host_state() { return host_state_; }
  bool has_firmware() const { return image_.has_value(); }

 private:
  // Port 0xcf9 lies among those of the configuration mechanism.
  Result<void> attach_reset_register(bus::AddressSpace&) final { return host_.attach(&acpi_pm().reset_register()); }

  // The host bridge's own state is no function's.
  class HostState final : public bus::Device {
   public:
    explicit HostState(bus::PciHost& host) : host_(host) {}
    std::string_view name() const override { return "pci"; }
    void reset() override { host_.reset(); }
    void describe(state::Fields& fields) override { host_.describe(fields); }
    void restored() override { host_.remap(); }

   private:
    bus::PciHost& host_;
  };

  Result<void> add_uefi_variables();

  const config::VmConfig config_;
  memory::GuestMemory& memory_;
  const Spaces spaces_;
  const std::function<void()> kick_all_;
  const unsigned first_slot_;
  bus::PciHost host_;
  HostState host_state_{host_};
  std::vector<bus::PciFunction*> functions_;
  devices::FwCfg fw_cfg_;
  devices::PvPanic pvpanic_;
  std::unique_ptr<devices::VmGenId> vm_gen_id_;
  std::optional<FirmwareImage> image_;
  std::optional<UefiVariables> uefi_variables_;
  std::unique_ptr<devices::CfiFlash> flash_;  // where they are
};

}  // namespace skerry::machine
