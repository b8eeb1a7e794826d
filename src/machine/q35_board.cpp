#include "machine/q35_board.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "base/units.hpp"
#include "machine/firmware_files.hpp"
#include "machine/memory_layout.hpp"
#include "machine/pci_setup.hpp"
#include "machine/smbios.hpp"
#include "machine/video_rom.hpp"

namespace skerry::machine {

namespace {

// Behind the ports of the board's own devices.
constexpr uint64_t kIoFirst = 0xc000, kIoEnd = 0x10000;

// What firmware and chipset agree on about SMIs; QEMU's names.
constexpr std::string_view kSmiSupported = "etc/smi/supported-features", kSmiRequested = "etc/smi/requested-features",
                           kSmiAgreed = "etc/smi/features-ok";
constexpr size_t kSmiFeatures = 8;  // bytes, little-endian

uint64_t low_memory(const config::VmConfig& config) { return std::min(config.memory, MemoryLayout::hole_start(acpi_board(config))); }

std::optional<devices::Q35Mch::Smram> smram_of(const config::VmConfig& config) {
  if (!config::has_smm(config)) return std::nullopt;
  return devices::Q35Mch::Smram{low_memory(config)};
}

}  // namespace

acpi::Board acpi_board(const config::VmConfig& config) {
  acpi::Board board{.vcpus = config.vcpus, .mouse = true};
  if (config.board != Q35Board::kName) return board;
  board.pci = pci_root(config.memory);
  board.pci->root_ports = Q35Board::kRootPorts;
  board.pci->vm_gen_id = 0;  // there is one; where, is found out later
  return board;
}

std::optional<smbios::Info> smbios_info(const config::VmConfig& config) {
  if (config.board != Q35Board::kName) return std::nullopt;
  const uint64_t low = low_memory(config);
  return smbios::Info{.product = config.board, .processor = config.cpu_model, .vcpus = config.vcpus, .low_memory = low,
                      .high_memory = config.memory - low};
}

Q35Board::Q35Board(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests,
                   memory::GuestMemory& memory, Spaces spaces, Processors processors)
    : PlainBoard(config, loop, console, requests),
      config_(config),
      memory_(memory),
      spaces_(spaces),
      kick_all_(processors.kick_all),
      lpc_(router(), config::has_smm(config) ? std::move(processors.raise_smi) : nullptr),
      host_(spaces.pio, spaces.mmio, apic_bus(), lpc_),
      mch_(host_, memory, smram_of(config), processors.kick_all),
      fw_cfg_(memory),
      pvpanic_([panicked = requests.panicked](devices::PvPanic::Event) { panicked(); }) {
  if (!config::has_smm(config)) return;
  apic_bus().deliver_smis();
  cpu_registers_.emplace(config.vcpus);
}

Result<unsigned> Q35Board::add(bus::PciFunction& function) {
  for (unsigned slot = kFirstSlot; slot <= kLastSlot; ++slot) {
    if (host_.root().at(static_cast<uint8_t>(slot << 3))) continue;
    if (auto good = host_.root().add(function, slot); !good) return std::move(good).error();
    functions_.push_back(&function);
    return slot;
  }
  return error("the board has {} places for devices, and all are taken", kLastSlot - kFirstSlot + 1);
}

Result<void> Q35Board::add_at(bus::PciFunction& function, unsigned slot, unsigned number) {
  if (auto good = host_.root().add(function, slot, number); !good) return good;
  functions_.push_back(&function);
  return ok();
}

Result<void> Q35Board::attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) {
  if (auto good = PlainBoard::attach(pio, mmio); !good) return good;
  if (auto good = lpc_.attach(pio); !good) return good;
  if (auto good = host_.root().add(mch_, 0); !good) return good;
  for (unsigned i = 1; i <= kRootPorts; ++i) {
    ports_.push_back(std::make_unique<bus::PciRootPort>(fmt::format("port{}", i), i));
    if (auto good = host_.root().add(*ports_.back(), i); !good) return good;
  }
  if (auto good = host_.root().add(lpc_, kLpcSlot); !good) return good;
  if (auto good = pvpanic_.attach(pio); !good) return good;
  if (cpu_registers_)
    if (auto good = cpu_registers_->attach(pio); !good) return good;
  auto guid = devices::VmGenId::random_guid();
  if (!guid) return std::move(guid).error();
  vm_gen_id_ = std::make_unique<devices::VmGenId>(memory_, *guid, [this](unsigned event) { acpi_pm().raise_gpe(event); });
  mch_.reset();  // before an accelerator takes the memory: some take each change of it dearly
  return fw_cfg_.attach(pio);
}

Result<void> Q35Board::prepare_firmware(std::vector<std::string> boot_order) {
  auto image = FirmwareImage::load(config_.firmware);
  if (!image) return std::move(image).error();
  image_ = std::move(*image);
  if (auto good = memory_.add_rom(image_->base(), image_->content(), "firmware"); !good) return good;
  if (auto good = add_uefi_variables(); !good) return good;
  if (auto good = add_smi_files(); !good) return good;
  FirmwareInputs inputs{.board = acpi_board(config_), .machine = *smbios_info(config_), .boot_order = std::move(boot_order)};
  if (config_.video != config::Video::kNone) {
    auto rom = load_video_rom(!image_->variables().empty());
    if (!rom) return std::move(rom).error();
    inputs.video_rom = std::move(*rom);
  }
  if (config_.console.type != config::Console::Type::kNone) inputs.serial_console = devices::Serial16550::kCom1;
  return add_firmware_files(fw_cfg_, inputs, vm_gen_id_.get());
}

Result<void> Q35Board::add_uefi_variables() {
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

Result<void> Q35Board::add_smi_files() {
  if (!config::has_smm(config_)) return ok();
  std::vector<uint8_t> supported(kSmiFeatures);
  supported[0] = devices::Ich9Lpc::kSmiBroadcast;
  if (auto good = fw_cfg_.add_file(kSmiSupported, supported); !good) return good;
  if (auto good = fw_cfg_.add_file(kSmiAgreed, {0}); !good) return good;
  return fw_cfg_.add_writable_file(kSmiRequested, std::vector<uint8_t>(kSmiFeatures), [this](std::span<const uint8_t> content) {
    uint64_t features = 0;
    for (size_t n = 0; n < kSmiFeatures; ++n) features |= uint64_t{content[n]} << (8 * n);
    if (lpc_.agree_on_smi_features(features)) show_smi_features_agreed();
  });
}

void Q35Board::show_smi_features_agreed() {
  if (!config::has_smm(config_) || !image_) return;
  if (auto replaced = fw_cfg_.replace_file(kSmiAgreed, {lpc_.smi_features_agreed()}); !replaced) log::warn("{}", replaced.error().message());
}

void Q35Board::load_firmware() {
  show_smi_features_agreed();  // after a reset: no longer
  memory_.put(image_->low_base(), std::as_bytes(image_->low_content()));
}

void Q35Board::restored() {
  show_smi_features_agreed();
  const auto guid = devices::VmGenId::random_guid();
  if (!guid) return log::warn("the restored guest is not told that it is a copy: {}", guid.error().message());
  vm_gen_id_->renew(*guid);
  // The firmware puts it there again at the next reset.
  if (image_)
    if (auto replaced = fw_cfg_.replace_file(devices::VmGenId::kGuidFile, vm_gen_id_->page()); !replaced)
      log::warn("after its next reset the guest has its old generation ID: {}", replaced.error().message());
}

Result<void> Q35Board::set_up() {
  const acpi::PciRoot root = pci_root(config_.memory);
  mch_.set_up();
  lpc_.set_up();
  const PciWindows windows{.io = {kIoFirst, kIoEnd},
                           .low = {root.mmio32_first, uint64_t{root.mmio32_last} + 1},
                           .high = {root.mmio64_first, root.mmio64_last + 1}};
  return set_up_pci(host_, windows, [](unsigned device, unsigned pin) {
    return static_cast<uint8_t>(devices::Ich9Lpc::isa_irq(devices::Ich9Lpc::pirq(device, pin)));
  });
}

std::vector<bus::Device*> Q35Board::devices() {
  std::vector<bus::Device*> all = PlainBoard::devices();
  // What their registers say of the address spaces is put into effect when the last of them is known.
  all.push_back(&lpc_);
  for (const auto& port : ports_) all.push_back(port.get());
  for (bus::PciFunction* function : functions_) all.push_back(function);
  all.push_back(&fw_cfg_);
  all.push_back(&pvpanic_);
  all.push_back(vm_gen_id_.get());
  if (flash_) all.push_back(flash_.get());
  if (cpu_registers_) all.push_back(&*cpu_registers_);
  all.push_back(&host_state_);
  all.push_back(&mch_);
  return all;
}

}  // namespace skerry::machine
