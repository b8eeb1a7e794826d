#include "devices/piix3_isa.hpp"

#include <array>

namespace skerry::devices {

namespace {
// X-Bus chip selects, PIRQRC, top of memory: what guests look at of the registers.
constexpr unsigned kXbcs = 0x4e, kPirqRouteA = 0x60, kTom = 0x69;
constexpr uint16_t kXbcsDefault = 0x0003, kXbcsWritable = 0x01ff;
constexpr uint8_t kTomDefault = 0x02, kTomWritable = 0xfe;
}  // namespace

Piix3Isa::Piix3Isa(bus::IrqSink& irqs)
    : PciFunction("isa", {.vendor = 0x8086, .device = 0x7000, .class_code = 0x060100}), routes_(irqs, std::nullopt) {
  // It decodes always.
  set_config<uint16_t>(bus::pci::kCommand, bus::pci::kCommandIo | bus::pci::kCommandMemory | bus::pci::kCommandMaster);
  set_config<uint16_t>(kXbcs, kXbcsDefault);
  set_writable<uint16_t>(kXbcs, kXbcsWritable);
  set_config<uint8_t>(kTom, kTomDefault);
  set_writable<uint8_t>(kTom, kTomWritable);
  for (unsigned i = 0; i < kPirqs; ++i) {
    set_config<uint8_t>(kPirqRouteA + i, PirqRoutes::kDisabled);
    set_writable<uint8_t>(kPirqRouteA + i, PirqRoutes::kDisabled | PirqRoutes::kIrq);
  }
}

void Piix3Isa::set_up() {
  for (unsigned i = 0; i < kPirqs; ++i) PciFunction::config_write(kPirqRouteA + i, 1, isa_irq(i));
  apply_routes();
}

void Piix3Isa::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  if (offset < kPirqRouteA + kPirqs && offset + size > kPirqRouteA) apply_routes();
}

void Piix3Isa::reset() {
  PciFunction::reset();
  routes_.reset();
}

void Piix3Isa::restored() {
  PciFunction::restored();
  apply_routes();
}

void Piix3Isa::apply_routes() {
  std::array<uint8_t, kPirqs> registers;
  for (unsigned i = 0; i < kPirqs; ++i) registers[i] = config<uint8_t>(kPirqRouteA + i);
  routes_.set(registers);
}

}  // namespace skerry::devices
