#include "devices/i440fx_pmc.hpp"

#include "devices/pam.hpp"

namespace skerry::devices {

namespace {
constexpr unsigned kPam0 = 0x59, kSmram = 0x72;
constexpr uint8_t kCompatibleBase = 0x02;
}  // namespace

I440fxPmc::I440fxPmc(memory::GuestMemory& memory, std::function<void()> map_changed)
    : PciFunction("pmc", {.vendor = 0x8086, .device = 0x1237, .class_code = 0x060000, .revision = 2}),
      memory_(memory),
      map_changed_(std::move(map_changed)) {
  for (unsigned i = 0; i < pam::kRegisters; ++i) set_writable<uint8_t>(kPam0 + i, pam::kWritable[i]);
  set_config<uint8_t>(kSmram, kCompatibleBase);
}

void I440fxPmc::set_up() {
  for (unsigned i = 0; i < pam::kRegisters; ++i) set_config<uint8_t>(kPam0 + i, pam::kWritable[i]);
  apply_segments();
}

void I440fxPmc::reset() {
  PciFunction::reset();
  apply_segments();
}

void I440fxPmc::restored() {
  PciFunction::restored();
  apply_segments();
}

void I440fxPmc::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  if (offset < kPam0 + pam::kRegisters && offset + size > kPam0) apply_segments();
}

void I440fxPmc::apply_segments() {
  pam::Registers registers;
  for (unsigned i = 0; i < registers.size(); ++i) registers[i] = config<uint8_t>(kPam0 + i);
  pam::apply(registers, memory_);
  map_changed_();
}

}  // namespace skerry::devices
