// QEMU's registers for the hotplug of processors (QEMU, docs/specs/acpi_cpu_hotplug), in the interface that it calls modern: by them
// firmware that has System Management Mode finds out which processors there are. Here all that may be there always are: there are no
// events, and nothing can be put in or taken out.
#pragma once

#include <mutex>

#include "bus/device.hpp"
#include "devices/io_window.hpp"

namespace skerry::devices {

class CpuRegisters final : public bus::Device {
 public:
  static constexpr uint16_t kPort = 0xcd8, kPorts = 12;

  // The processors have the APIC IDs 0 to `count` - 1.
  explicit CpuRegisters(unsigned count);
  Result<void> attach(bus::AddressSpace& pio) { return pio.add(kPort, kPorts, window_, "cpu-registers"); }

  std::string_view name() const override { return "cpu-registers"; }
  void reset() override;
  void describe(state::Fields& fields) override;

 private:
  uint64_t read(uint64_t offset);
  void write(uint64_t offset, uint64_t value);

  const unsigned count_;
  std::mutex lock_;
  uint32_t selector_ = 0;
  uint8_t command_ = 0;
  IoWindow window_;
};

}  // namespace skerry::devices
