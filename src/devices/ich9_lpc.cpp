#include "devices/ich9_lpc.hpp"

#include <array>

namespace skerry::devices {

namespace {

constexpr unsigned kPmBaseRegister = 0x40, kAcpiControl = 0x44, kPirqRouteA = 0x60, kPirqRouteE = 0x68, kRcba = 0xf0;
// SMI_EN at PMBASE + 0x30 (13.8.3.11), SMI_STS behind it.
constexpr uint16_t kSmiEnable = Ich9Lpc::kPmBase + 0x30, kSmiPorts = 8;
constexpr uint32_t kGlobalEnable = 1 << 0, kApmcEnable = 1 << 5, kSmiEnables = kGlobalEnable | kApmcEnable;
constexpr uint32_t kApmStatus = 1 << 5;
// GEN_PMCON_1 (13.8.1.1): once it is set, the global enable stays as it is.
constexpr unsigned kGenPmcon1 = 0xa0;
constexpr uint8_t kSmiLock = 1 << 4;
constexpr uint16_t kApmPorts = 0xb2;  // APM_CNT, APM_STS

unsigned route_register(unsigned pirq) { return pirq < 4 ? kPirqRouteA + pirq : kPirqRouteE + pirq - 4; }

}  // namespace

Ich9Lpc::Ich9Lpc(bus::IrqSink& irqs, RaiseSmi raise_smi)
    : PciFunction("lpc", {.vendor = 0x8086, .device = 0x2918, .class_code = 0x060100, .revision = 2}),
      routes_(irqs, kFirstGsi),
      raise_smi_(std::move(raise_smi)),
      smi_window_(
          4, [this](uint64_t offset, unsigned) { return read_smi(offset); },
          [this](uint64_t offset, unsigned size, uint64_t value) { write_smi(offset, size, value); }),
      apm_window_(
          1,
          [this](uint64_t offset, unsigned) {
            std::lock_guard guard(lock_);
            return uint64_t{offset ? apm_status_ : apm_control_};
          },
          [this](uint64_t offset, unsigned, uint64_t value) { write_apm(offset, static_cast<uint8_t>(value)); }) {
  // It decodes always (13.1.3), and UEFI looks at that before it uses what is behind it.
  set_config<uint16_t>(bus::pci::kCommand, bus::pci::kCommandIo | bus::pci::kCommandMemory | bus::pci::kCommandMaster);
  set_config<uint32_t>(kPmBaseRegister, kPmBase | 1);
  set_config<uint8_t>(kAcpiControl, 0x80);  // ACPI_EN, SCI on IRQ 9
  for (unsigned i = 0; i < kPirqs; ++i) {
    set_config<uint8_t>(route_register(i), PirqRoutes::kDisabled);
    set_writable<uint8_t>(route_register(i), PirqRoutes::kDisabled | PirqRoutes::kIrq);
  }
  set_writable<uint32_t>(kRcba, 0xffff'c001);
  if (raise_smi_) set_writable<uint8_t>(kGenPmcon1, kSmiLock);
}

Result<void> Ich9Lpc::attach(bus::AddressSpace& pio) {
  if (auto added = pio.add(kSmiEnable, kSmiPorts, smi_window_, "lpc"); !added) return added;
  return pio.add(kApmPorts, 2, apm_window_, "lpc");
}

void Ich9Lpc::set_up() {
  for (unsigned i = 0; i < kPirqs; ++i) PciFunction::config_write(route_register(i), 1, isa_irq(i));
  apply_routes();
}

void Ich9Lpc::set_intx(const bus::PciFunction&, unsigned device, unsigned pin, bool level) { routes_.drive(pirq(device, pin), level); }

// SMI_EN, and SMI_STS behind it.
uint64_t Ich9Lpc::read_smi(uint64_t offset) {
  std::lock_guard guard(lock_);
  const uint64_t both = raise_smi_ ? smi_enable_ | uint64_t{smi_status_} << 32 : kApmcEnable;
  return both >> (8 * offset);
}

void Ich9Lpc::write_smi(uint64_t offset, unsigned size, uint64_t value) {
  std::lock_guard guard(lock_);
  if (!raise_smi_) return;
  const uint64_t written = ((uint64_t{1} << (8 * size)) - 1) << (8 * offset), bits = value << (8 * offset);
  const uint32_t enables = static_cast<uint32_t>(written) & (smi_locked_ ? kSmiEnables & ~kGlobalEnable : kSmiEnables);
  smi_enable_ = (smi_enable_ & ~enables) | (static_cast<uint32_t>(bits) & enables);
  smi_status_ &= ~static_cast<uint32_t>((bits & written) >> 32);
}

void Ich9Lpc::write_apm(uint64_t offset, uint8_t value) {
  std::lock_guard guard(lock_);
  (offset ? apm_status_ : apm_control_) = value;
  if (offset != 0 || !raise_smi_ || (smi_enable_ & kSmiEnables) != kSmiEnables) return;
  smi_status_ |= kApmStatus;
  raise_smi_(smi_features_ & kSmiBroadcast);
}

bool Ich9Lpc::agree_on_smi_features(uint64_t features) {
  std::lock_guard guard(lock_);
  if (smi_features_agreed_ || (features & ~kSmiBroadcast)) return false;
  smi_features_ = features;
  smi_features_agreed_ = true;
  return true;
}

bool Ich9Lpc::smi_features_agreed() {
  std::lock_guard guard(lock_);
  return smi_features_agreed_;
}

void Ich9Lpc::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  {
    std::lock_guard guard(lock_);
    if (smi_locked_) set_config<uint8_t>(kGenPmcon1, config<uint8_t>(kGenPmcon1) | kSmiLock);
    smi_locked_ = config<uint8_t>(kGenPmcon1) & kSmiLock;
  }
  if (offset >= kPirqRouteA && offset < kPirqRouteE + 4) apply_routes();
}

void Ich9Lpc::reset() {
  PciFunction::reset();
  {
    std::lock_guard guard(lock_);
    apm_control_ = apm_status_ = 0;
    smi_enable_ = smi_status_ = 0;
    smi_features_ = 0;
    smi_locked_ = smi_features_agreed_ = false;
  }
  routes_.reset();
}

void Ich9Lpc::restored() {
  PciFunction::restored();
  smi_locked_ = config<uint8_t>(kGenPmcon1) & kSmiLock;
  apply_routes();
}

void Ich9Lpc::apply_routes() {
  std::array<uint8_t, kPirqs> registers;
  for (unsigned i = 0; i < kPirqs; ++i) registers[i] = config<uint8_t>(route_register(i));
  routes_.set(registers);
}

void Ich9Lpc::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  fields.field("apm_control", apm_control_);
  fields.field("apm_status", apm_status_);
  const bool smi = fields.later("smi", smi_enable_ || smi_status_ || smi_features_agreed_, [&] {
    fields.field("enable", smi_enable_, state::in_mask(kSmiEnables));
    fields.field("status", smi_status_, state::in_mask(kApmStatus));
    fields.field("features_agreed", smi_features_agreed_);
    fields.field("features", smi_features_, state::in_mask(kSmiBroadcast));
  });
  if (!smi) {
    smi_enable_ = smi_status_ = 0;
    smi_features_ = 0;
    smi_features_agreed_ = false;
  }
}

}  // namespace skerry::devices
