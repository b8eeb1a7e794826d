#include "devices/ich9_lpc.hpp"

namespace skerry::devices {

namespace {

constexpr unsigned kPmBaseRegister = 0x40, kAcpiControl = 0x44, kPirqRouteA = 0x60, kPirqRouteE = 0x68, kRcba = 0xf0;
constexpr uint8_t kRouteDisabled = 0x80, kRouteIrq = 0x0f;
// SMI_EN at PMBASE + 0x30 (13.8.3.11), SMI_STS behind it.
constexpr uint16_t kSmiEnable = Ich9Lpc::kPmBase + 0x30, kSmiPorts = 8;
constexpr uint32_t kApmcEnable = 1 << 5;
constexpr uint16_t kApmPorts = 0xb2;  // APM_CNT, APM_STS
// Interrupts that a PIRQ may be routed to (13.1.12).
constexpr uint16_t kRoutable = 0xdef8;

unsigned route_register(unsigned pirq) { return pirq < 4 ? kPirqRouteA + pirq : kPirqRouteE + pirq - 4; }

}  // namespace

Ich9Lpc::Ich9Lpc(bus::IrqSink& irqs)
    : PciFunction("lpc", {.vendor = 0x8086, .device = 0x2918, .class_code = 0x060100, .revision = 2}),
      irqs_(irqs),
      smi_window_(
          4, [](uint64_t offset, unsigned) { return offset < 4 ? uint64_t{kApmcEnable} >> (8 * offset) : 0; },
          [](uint64_t, unsigned, uint64_t) {}),
      apm_window_(
          1,
          [this](uint64_t offset, unsigned) {
            std::lock_guard guard(lock_);
            return uint64_t{offset ? apm_status_ : apm_control_};
          },
          [this](uint64_t offset, unsigned, uint64_t value) {
            std::lock_guard guard(lock_);
            (offset ? apm_status_ : apm_control_) = static_cast<uint8_t>(value);
          }) {
  // It decodes always (13.1.3), and UEFI looks at that before it uses what is behind it.
  set_config<uint16_t>(bus::pci::kCommand, bus::pci::kCommandIo | bus::pci::kCommandMemory | bus::pci::kCommandMaster);
  set_config<uint32_t>(kPmBaseRegister, kPmBase | 1);
  set_config<uint8_t>(kAcpiControl, 0x80);  // ACPI_EN, SCI on IRQ 9
  for (unsigned i = 0; i < kPirqs; ++i) {
    set_config<uint8_t>(route_register(i), kRouteDisabled);
    set_writable<uint8_t>(route_register(i), kRouteDisabled | kRouteIrq);
  }
  set_writable<uint32_t>(kRcba, 0xffff'c001);
  routes_.fill(kRouteDisabled);
}

Result<void> Ich9Lpc::attach(bus::AddressSpace& pio) {
  if (auto added = pio.add(kSmiEnable, kSmiPorts, smi_window_, "lpc"); !added) return added;
  return pio.add(kApmPorts, 2, apm_window_, "lpc");
}

void Ich9Lpc::set_up() {
  for (unsigned i = 0; i < kPirqs; ++i) PciFunction::config_write(route_register(i), 1, isa_irq(i));
  apply_routes();
}

void Ich9Lpc::set_intx(const bus::PciFunction&, unsigned device, unsigned pin, bool level) {
  std::lock_guard guard(lines_lock_);
  const unsigned index = pirq(device, pin);
  asserted_[index] += level ? 1 : -1;
  irqs_.set_irq(kFirstGsi + index, asserted_[index] > 0);
  drive_isa();
}

void Ich9Lpc::drive_isa() {
  uint16_t levels = 0;
  for (unsigned i = 0; i < kPirqs; ++i)
    if (asserted_[i] > 0 && !(routes_[i] & kRouteDisabled)) levels |= static_cast<uint16_t>(1u << (routes_[i] & kRouteIrq));
  levels &= kRoutable;
  for (unsigned irq = 0; irq < 16; ++irq)
    if ((levels ^ isa_levels_) >> irq & 1) irqs_.set_irq(irq, levels >> irq & 1);
  isa_levels_ = levels;
}

void Ich9Lpc::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  if (offset >= kPirqRouteA && offset < kPirqRouteE + 4) apply_routes();
}

void Ich9Lpc::reset() {
  PciFunction::reset();
  {
    std::lock_guard guard(lock_);
    apm_control_ = apm_status_ = 0;
  }
  std::lock_guard guard(lines_lock_);
  asserted_ = {};
  isa_levels_ = 0;
  routes_.fill(kRouteDisabled);
}

void Ich9Lpc::restored() {
  PciFunction::restored();
  apply_routes();
}

void Ich9Lpc::apply_routes() {
  std::lock_guard guard(lines_lock_);
  for (unsigned i = 0; i < kPirqs; ++i) routes_[i] = config<uint8_t>(route_register(i));
  drive_isa();
}

void Ich9Lpc::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  fields.field("apm_control", apm_control_);
  fields.field("apm_status", apm_status_);
}

}  // namespace skerry::devices
