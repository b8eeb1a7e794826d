// QEMU's pvpanic on the ISA bus: a guest's kernel says that it has panicked. QEMU, docs/specs/pvpanic.
#pragma once

#include <functional>
#include <string_view>

#include "bus/address_space.hpp"
#include "bus/device.hpp"

namespace skerry::devices {

class PvPanic final : public bus::Device, private bus::IoHandler {
 public:
  static constexpr uint16_t kPort = 0x505;

  enum Event : uint8_t {
    PVPANIC_PANICKED = 1 << 0,      // for the host to act upon
    PVPANIC_CRASH_LOADED = 1 << 1,  // the guest goes on by itself (kdump): for the host to report
  };
  static constexpr uint8_t kEvents = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;

  // `happened` gets one event a call, on a vCPU thread, with no lock held; it only posts. A panicked guest may write as
  // often as it likes.
  explicit PvPanic(std::function<void(Event)> happened) : happened_(std::move(happened)) {}
  Result<void> attach(bus::AddressSpace& pio) { return pio.add(kPort, 1, *this, "pvpanic"); }

  std::string_view name() const override { return "pvpanic"; }
  void reset() override {}
  void describe(state::Fields&) override {}  // it remembers nothing

 private:
  uint64_t io_read(uint64_t, unsigned) override { return kEvents; }
  void io_write(uint64_t, unsigned, uint64_t value) override {
    // A guest with a crash kernel sets one bit; one that sets both has panicked.
    if (value & PVPANIC_PANICKED)
      happened_(PVPANIC_PANICKED);
    else if (value & PVPANIC_CRASH_LOADED)
      happened_(PVPANIC_CRASH_LOADED);
  }
  unsigned widest_access() const override { return 1; }

  const std::function<void(Event)> happened_;
};

}  // namespace skerry::devices
