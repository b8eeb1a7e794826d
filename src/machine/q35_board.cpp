#include "machine/q35_board.hpp"

#include "base/log.hpp"
#include "machine/memory_layout.hpp"

namespace skerry::machine {

namespace {

// What firmware and chipset agree on about SMIs; QEMU's names.
constexpr std::string_view kSmiSupported = "etc/smi/supported-features", kSmiRequested = "etc/smi/requested-features",
                           kSmiAgreed = "etc/smi/features-ok";
constexpr size_t kSmiFeatures = 8;  // bytes, little-endian

std::optional<devices::Q35Mch::Smram> smram_of(const config::VmConfig& config) {
  if (!config::has_smm(config)) return std::nullopt;
  return devices::Q35Mch::Smram{low_memory(config)};
}

}  // namespace

Q35Board::Q35Board(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests,
                   memory::GuestMemory& memory, Spaces spaces, Processors processors)
    : PciBoard(config, loop, console, std::move(requests), memory, spaces, processors.kick_all, kFirstSlot),
      lpc_(router(), config::has_smm(config) ? std::move(processors.raise_smi) : nullptr),
      mch_(host(), memory, smram_of(config), processors.kick_all) {
  if (!config::has_smm(config)) return;
  apic_bus().deliver_smis();
  cpu_registers_.emplace(config.vcpus);
}

Result<void> Q35Board::attach_chipset(bus::AddressSpace& pio) {
  if (auto good = lpc_.attach(pio); !good) return good;
  if (auto good = host().root().add(mch_, 0); !good) return good;
  for (unsigned i = 1; i <= kRootPorts; ++i) {
    ports_.push_back(std::make_unique<bus::PciRootPort>(fmt::format("port{}", i), i));
    if (auto good = host().root().add(*ports_.back(), i); !good) return good;
  }
  if (auto good = host().root().add(lpc_, kLpcSlot); !good) return good;
  if (cpu_registers_)
    if (auto good = cpu_registers_->attach(pio); !good) return good;
  mch_.reset();  // before an accelerator takes the memory: some take each change of it dearly
  return ok();
}

void Q35Board::set_up_chipset() {
  mch_.set_up();
  lpc_.set_up();
}

uint8_t Q35Board::interrupt_line(unsigned device, unsigned pin) const {
  return static_cast<uint8_t>(devices::Ich9Lpc::isa_irq(devices::Ich9Lpc::pirq(device, pin)));
}

Result<void> Q35Board::tell_firmware(const FirmwareImage&) {
  if (!config::has_smm(config())) return ok();
  std::vector<uint8_t> supported(kSmiFeatures);
  supported[0] = devices::Ich9Lpc::kSmiBroadcast;
  if (auto good = fw_cfg().add_file(kSmiSupported, supported); !good) return good;
  if (auto good = fw_cfg().add_file(kSmiAgreed, {0}); !good) return good;
  return fw_cfg().add_writable_file(kSmiRequested, std::vector<uint8_t>(kSmiFeatures), [this](std::span<const uint8_t> content) {
    uint64_t features = 0;
    for (size_t n = 0; n < kSmiFeatures; ++n) features |= uint64_t{content[n]} << (8 * n);
    if (lpc_.agree_on_smi_features(features)) show_smi_features_agreed();
  });
}

void Q35Board::show_smi_features_agreed() {
  if (!config::has_smm(config()) || !has_firmware()) return;
  if (auto replaced = fw_cfg().replace_file(kSmiAgreed, {lpc_.smi_features_agreed()}); !replaced)
    log::warn("{}", replaced.error().message());
}

std::vector<bus::Device*> Q35Board::bridges() {
  std::vector<bus::Device*> all{&lpc_};
  for (const auto& port : ports_) all.push_back(port.get());
  return all;
}

std::vector<bus::Device*> Q35Board::last_devices() {
  if (!cpu_registers_) return {&host_state(), &mch_};
  return {&*cpu_registers_, &host_state(), &mch_};
}

}  // namespace skerry::machine
