#include "machine/pci_board.hpp"

#include "base/log.hpp"
#include "machine/firmware_files.hpp"
#include "machine/memory_layout.hpp"
#include "machine/pc_board.hpp"
#include "machine/pci_setup.hpp"
#include "machine/q35_board.hpp"
#include "machine/smbios.hpp"
#include "machine/video_rom.hpp"
#include "virtio/pci_transport.hpp"

namespace skerry::machine {

namespace {

// Behind the ports of the board's own devices.
constexpr uint64_t kIoFirst = 0xc000, kIoEnd = 0x10000;

std::optional<acpi::PciRoot::Chipset> chipset_of(const config::VmConfig& config) {
  if (config.board == Q35Board::kName) return acpi::PciRoot::Chipset::kQ35;
  if (config.board == PcBoard::kName) return acpi::PciRoot::Chipset::kI440fx;
  return std::nullopt;
}

}  // namespace

acpi::Board acpi_board(const config::VmConfig& config) {
  acpi::Board board{.vcpus = config.vcpus, .mouse = true};
  const auto chipset = chipset_of(config);
  if (!chipset) return board;
  board.pci = pci_root(config.memory, *chipset);
  if (*chipset == acpi::PciRoot::Chipset::kQ35) board.pci->root_ports = Q35Board::kRootPorts;
  board.pci->vm_gen_id = 0;  // there is one; where, is found out later
  if (config.tpm) board.pci->tpm.emplace();
  return board;
}

std::optional<smbios::Info> smbios_info(const config::VmConfig& config) {
  if (!chipset_of(config)) return std::nullopt;
  const uint64_t low = low_memory(config);
  return smbios::Info{.product = config.board, .processor = config.cpu_model, .vcpus = config.vcpus, .low_memory = low,
                      .high_memory = config.memory - low};
}

PciBoard::PciBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests,
                   memory::GuestMemory& memory, Spaces spaces, std::function<void()> kick_all, unsigned first_slot)
    : PlainBoard(config, loop, console, requests),
      config_(config),
      memory_(memory),
      spaces_(spaces),
      kick_all_(std::move(kick_all)),
      first_slot_(first_slot),
      host_(spaces.pio, spaces.mmio, apic_bus(), *this),
      fw_cfg_(memory),
      pvpanic_([panicked = requests.panicked](devices::PvPanic::Event) { panicked(); }) {}

Result<unsigned> PciBoard::add(bus::PciFunction& function) {
  for (unsigned slot = first_slot_; slot <= kLastSlot; ++slot) {
    if (host_.root().at(static_cast<uint8_t>(slot << 3))) continue;
    if (auto good = host_.root().add(function, slot); !good) return std::move(good).error();
    functions_.push_back(&function);
    return slot;
  }
  return error("the board has {} places for devices, and all are taken", kLastSlot - first_slot_ + 1);
}

Result<void> PciBoard::add_at(bus::PciFunction& function, unsigned slot, unsigned number) {
  if (auto good = host_.root().add(function, slot, number); !good) return good;
  functions_.push_back(&function);
  return ok();
}

Result<VirtioHome::Place> PciBoard::connect(virtio::Device& device, virtio::LoopThread loop, std::optional<unsigned> slot) {
  auto transport = virtio::PciTransport::create(device, {.loop = loop});
  if (!transport) return std::move(transport).error();
  if (slot) {
    if (auto good = add_at(**transport, *slot, 0); !good) return std::move(good).error();
    return Place{std::move(*transport), *slot};
  }
  auto next = add(**transport);
  if (!next) return std::move(next).error();
  return Place{std::move(*transport), *next};
}

Result<void> PciBoard::attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) {
  if (auto good = PlainBoard::attach(pio, mmio); !good) return good;
  if (auto good = attach_chipset(pio); !good) return good;
  if (auto good = pvpanic_.attach(pio); !good) return good;
  auto guid = devices::VmGenId::random_guid();
  if (!guid) return std::move(guid).error();
  vm_gen_id_ = std::make_unique<devices::VmGenId>(memory_, *guid, [this](unsigned event) { acpi_pm().raise_gpe(event); });
  return fw_cfg_.attach(pio);
}

Result<void> PciBoard::prepare_firmware(std::vector<std::string> boot_order) {
  auto image = FirmwareImage::load(config_.firmware);
  if (!image) return std::move(image).error();
  image_ = std::move(*image);
  if (auto good = memory_.add_rom(image_->base(), image_->content(), "firmware"); !good) return good;
  if (auto good = tell_firmware(*image_); !good) return good;
  if (auto good = add_uefi_variables(); !good) return good;
  FirmwareInputs inputs{.board = acpi_board(config_), .machine = *smbios_info(config_), .boot_order = std::move(boot_order)};
  if (config_.video == config::Video::kVga) {
    auto rom = load_video_rom(!image_->variables().empty());
    if (!rom) return std::move(rom).error();
    inputs.video_rom = std::move(*rom);
  }
  if (config_.console.type != config::Console::Type::kNone) inputs.serial_console = devices::Serial16550::kCom1;
  return add_firmware_files(fw_cfg_, inputs, vm_gen_id_.get());
}

Result<void> PciBoard::add_uefi_variables() {
  if (image_->variables().empty() && config_.uefi_variables.empty()) return ok();
  auto variables = UefiVariables::open(config_.uefi_variables, image_->variables());
  if (!variables) return std::move(variables).error();
  uefi_variables_ = std::move(*variables);
  const std::span<const uint8_t> content = uefi_variables_->content();
  const auto store = [this](uint64_t offset, std::span<const std::byte> bytes) { return uefi_variables_->store(offset, bytes); };
  auto flash = devices::CfiFlash::create("uefi-variables", memory_, {spaces_.mmio, config::has_smm(config_) ? &spaces_.smm_mmio : nullptr},
                                         image_->base() - content.size(), content, {kick_all_, store});
  if (!flash) return std::move(flash).error();
  flash_ = std::move(*flash);
  return ok();
}

void PciBoard::load_firmware() {
  firmware_restarts();
  memory_.put(image_->low_base(), std::as_bytes(image_->low_content()));
}

void PciBoard::restored() {
  firmware_restarts();
  const auto guid = devices::VmGenId::random_guid();
  if (!guid) return log::warn("the restored guest is not told that it is a copy: {}", guid.error().message());
  vm_gen_id_->renew(*guid);
  // The firmware puts it there again at the next reset.
  if (image_)
    if (auto replaced = fw_cfg_.replace_file(devices::VmGenId::kGuidFile, vm_gen_id_->page()); !replaced)
      log::warn("after its next reset the guest has its old generation ID: {}", replaced.error().message());
}

Result<void> PciBoard::set_up() {
  const acpi::PciRoot root = *acpi_board(config_).pci;
  set_up_chipset();
  const PciWindows windows{.io = {kIoFirst, kIoEnd},
                           .low = {root.mmio32_first, uint64_t{root.mmio32_last} + 1},
                           .high = {root.mmio64_first, root.mmio64_last + 1}};
  return set_up_pci(host_, windows, [this](unsigned device, unsigned pin) { return interrupt_line(device, pin); });
}

std::vector<bus::Device*> PciBoard::devices() {
  std::vector<bus::Device*> all = PlainBoard::devices();
  for (bus::Device* bridge : bridges()) all.push_back(bridge);
  for (bus::PciFunction* function : functions_) all.push_back(function);
  all.push_back(&fw_cfg_);
  all.push_back(&pvpanic_);
  all.push_back(vm_gen_id_.get());
  if (flash_) all.push_back(flash_.get());
  for (bus::Device* last : last_devices()) all.push_back(last);
  return all;
}

}  // namespace skerry::machine
